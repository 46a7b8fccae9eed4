import pytest
from PIL import Image

from colorjax.colorize.plan import Job, plan

ALBUM = ["1950/a.JPG", "1950/c.tif", "1950/summer/d.webp", "a.jpg", "b.png"]


@pytest.fixture
def album(tmp_path):
    """Five grey pictures of four formats in nested folders."""
    folder = tmp_path / "album"
    for name in ALBUM:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("L", (48, 40), 99).save(folder / name)
    (folder / "notes.txt").write_text("not an image")
    return folder


def test_files_folders_and_globs_are_found(album, tmp_path):
    output = tmp_path / "out"
    jobs = plan([str(album / "a.jpg"), str(album / "1950")], output).jobs
    expected = ["a.jpg", "a.JPG", "c.tif", "summer/d.webp"]
    assert [str(job.target.relative_to(output)) for job in jobs] == expected
    jobs = plan([str(album / "**" / "*.jpg")], output).jobs
    assert jobs == [Job(album / "a.jpg", output / "a.jpg")]
