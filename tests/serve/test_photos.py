import asyncio
import io
import zipfile

import pytest

from colorjax.serve.limits import Refusal
from colorjax.serve.photos import File, clean_name
from colorjax.serve.zips import FAILED, zipped


@pytest.mark.parametrize(
    ("given", "name"),
    [
        ("a.jpg", "a.jpg"),
        ("C:\\Users\\me\\a.JPG", "a.JPG"),
        ("../../../etc/passwd", "passwd"),
        ("..", "photograph"),
        ("", "photograph"),
        (".jpg", "jpg"),
        ("a\0b\r\n\x1b[2J.png", "ab[2J.png"),
        ('a<b>:"|?*.png', "ab.png"),
        ("x\ud800.png", "x.png"),
        ("日本.tif", "日本.tif"),
    ],
)
def test_a_name_has_no_folders_and_can_be_saved_everywhere(given, name):
    assert clean_name(given) == name


def test_a_long_name_is_cut_and_keeps_its_ending():
    name = clean_name(300 * "é" + ".jpeg")
    assert name.endswith("é.jpeg")
    assert 190 < len(name.encode()) <= 204


def test_what_cannot_be_coloured_is_listed_in_the_zip():
    async def coloured(data):
        return File(data, "A.png"), 0.1

    async def failed():
        raise Refusal(422, "the photograph is corrupt")

    async def pieces():
        files = [("a.png", coloured(b"1")), ("b.png", failed()), ("c.png", coloured(b"2"))]
        return [piece async for piece in zipped(iter(files))]

    with zipfile.ZipFile(io.BytesIO(b"".join(asyncio.run(pieces())))) as archive:
        assert {name: archive.read(name) for name in archive.namelist()} == {
            "A.png": b"1",
            "A_2.png": b"2",
            FAILED: b"b.png: the photograph is corrupt\n",
        }
