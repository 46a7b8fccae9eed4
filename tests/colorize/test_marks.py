"""What colorjax wrote is known by its XMP once it lies elsewhere."""

import io
import types

import numpy as np
import pytest
from albums import names

from colorjax.images import xmp
from colorjax.images.photo import Photo
from colorjax.images.write_photo import write_photo


def test_results_that_were_moved_are_left_out_but_never_replaced(command, album, capsys):
    assert command(album / "a.jpg", "--compare") == 0
    moved = album / "1950" / "summer"
    for name in ("a_coloured.jpg", "a_coloured.jpg_compare.jpg"):
        (album / name).rename(moved / name)
    capsys.readouterr()
    assert command(moved) == 0
    assert "2 left out because colorjax wrote them" in capsys.readouterr().out
    assert len(names(moved)) == 4  # the two, d.webp and its result
    assert command(moved / "a_coloured.jpg") == 2
    assert "written by colorjax" in capsys.readouterr().err
    (moved / "a_coloured.jpg").rename(album / "b_coloured.png")
    assert command(album / "b.png") == 1
    assert "exists and is not from colorjax" in capsys.readouterr().err


def test_results_without_a_mark_are_photographs_elsewhere(command, album):
    assert command(album / "a.jpg", "--no-mark") == 0
    (album / "a_coloured.jpg").rename(album / "1950" / "summer" / "a_coloured.jpg")
    assert command(album / "1950" / "summer") == 0
    assert (album / "1950" / "summer" / "a_coloured_coloured.jpg").exists()


def test_the_result_of_a_pipe_is_not_an_input(command, album, monkeypatch, capsys):
    def piped(data):
        out = io.BytesIO()
        with monkeypatch.context() as patch:
            patch.setattr("sys.stdin", types.SimpleNamespace(buffer=io.BytesIO(data)))
            patch.setattr("sys.stdout", io.TextIOWrapper(out, write_through=True))
            return command("-"), out.getvalue()

    status, result = piped((album / "b.png").read_bytes())
    assert status == 0
    (album / "result.png").write_bytes(result)
    assert command(album / "result.png") == 2
    capsys.readouterr()
    assert piped(result) == (2, b"")
    assert capsys.readouterr().err.startswith("colorjax: standard input: written by colorjax")


@pytest.mark.parametrize("format", ["jpeg", "png", "webp", "tiff"])
def test_a_mark_is_found_in_every_format_and_as_other_programs_write_it(tmp_path, format):
    noise = np.random.default_rng(0).integers(0, 256, (600, 500, 3), dtype=np.uint8)
    path, exif = tmp_path / "a", b"MM\0*\0\0\0\x08" + bytes(60_000)
    photo = Photo(noise, format=format, exif=exif)
    write_photo(path, photo)
    assert not xmp.is_marked(path)
    write_photo(path, photo._replace(xmp=xmp.marked(None, "colorjax 1.0", "faces")))
    assert path.stat().st_size > 260_000
    assert xmp.is_marked(path)
    for text, expected in (
        (b"<Iptc4xmpExt:AISystemUsed>colorjax 1.0</Iptc4xmpExt:AISystemUsed>", True),
        (b'Iptc4xmpExt:AISystemUsed="another"', False),
    ):
        path.write_bytes(text)
        assert xmp.is_marked(path) == expected
    assert not xmp.is_marked(tmp_path / "nothing")
