"""Batches of photographs that are there already: read ahead, coloured, written."""

import struct
from concurrent.futures import Future
from pathlib import Path

import numpy as np
import pytest
from albums import is_reddish, reddish, reddish_colorizer
from PIL import Image
from skimage import color

from colorjax.colorize import extras, files
from colorjax.colorize.colorizer import Colorizer
from colorjax.colorize.plan import Job, plan
from colorjax.images.photo import Photo
from colorjax.images.write_photo import write_photo


class Instant:
    """A reader that has the photographs already."""

    def __init__(self, photos):
        self.photos = photos

    def submit(self, path):
        return self.now(path)

    def now(self, path):
        future = Future()
        found = self.photos[path.name]
        (future.set_exception if isinstance(found, Exception) else future.set_result)(found)
        return future

    def end(self):
        pass


def grey_photo(**fields):
    return Photo(np.full((20, 30, 3), 119, np.uint8), format="jpeg", **fields)


def colour(folder, photos, colorizer=None, ending="", **options):
    jobs = [Job(Path(name), folder / (name + ending)) for name in photos]
    colorizer = colorizer or reddish_colorizer()
    return jobs, files.colorize_files(jobs, colorizer, reader=Instant(photos), **options)


def test_no_fault_of_one_file_ends_a_batch(tmp_path, monkeypatch):
    """Not even of a kind that nobody expects: in reading, in colouring and in writing."""

    class Short(Colorizer):
        def coefficients(self, pictures, crops):
            if len(pictures) > 1 or pictures[0].shape[0] == 1:
                raise MemoryError
            return super().coefficients(pictures, crops)

    def write(path, photo):
        if path.name == "tag.jpg":
            raise struct.error("required argument\nis not an integer")
        write_photo(path, photo)

    monkeypatch.setattr(files, "write_photo", write)
    (tmp_path / "folder.jpg").mkdir()
    photos = {name: grey_photo() for name in ("a.jpg", "tag.jpg", "b.jpg", "folder.jpg")}
    photos["odd.jpg"] = ZeroDivisionError("resolution")
    photos["large.jpg"] = Photo(np.zeros((1, 9, 3), np.uint8), format="jpeg")
    written, counted = [], []
    _, results = colour(
        tmp_path,
        photos,
        Short(reddish, {}, 32),
        written=lambda job, path: written.append(path),
        advance=lambda: counted.append(1),
    )
    assert results.coloured == len(written) == 2
    assert len(counted) == len(photos)
    assert sorted(results.failures) == [
        (tmp_path / "folder.jpg", "cannot be written (Is a directory)"),
        (tmp_path / "tag.jpg", "cannot be written (error: required argument)"),
        (Path("large.jpg"), "cannot be coloured (not enough memory)"),
        (Path("odd.jpg"), "ZeroDivisionError: resolution"),
    ]
    assert is_reddish(tmp_path / "a.jpg")
    assert is_reddish(tmp_path / "b.jpg")


def test_a_name_that_the_output_cannot_hold_is_a_fault_of_the_output(tmp_path):
    (job,), results = colour(tmp_path, {"a.jpg": grey_photo()}, ending="x" * 251)
    assert results.failures == [(job.target, "cannot be written (File name too long)")]


@pytest.mark.parametrize(("side", "most"), [(1000, 16), (5000, 4)])
def test_large_pictures_are_read_ahead_by_the_core_and_not_by_the_batch(monkeypatch, side, most):
    """Of 60 pictures of one colour, whose files are small, few are in memory at once."""
    monkeypatch.setattr(files, "num_cores", lambda: 2)
    flat = Photo(np.broadcast_to(np.uint8(99), (side, side, 3)))  # without memory of its own
    reader = Instant({str(number): flat for number in range(60)})
    submitted = []
    monkeypatch.setattr(reader, "submit", lambda path: submitted.append(path) or reader.now(path))
    jobs = [Job(Path(name), Path(name)) for name in reader.photos]
    tally = files._Tally(files.Results(), lambda: None)
    ahead = []
    for seen, _ in enumerate(files._arriving(jobs, reader, 8, tally)):
        ahead.append(len(submitted) - seen)
    assert len(ahead) == 60
    assert max(ahead) == most


def test_pages_are_coloured_and_what_is_left_out_is_noted(tmp_path, monkeypatch):
    seen = []
    monkeypatch.setattr(files, "write_photo", lambda path, photo: seen.append((path, photo)))
    pages = {"a.tif": grey_photo(notes=("a tag",), pages=(grey_photo(), grey_photo()))}
    _, results = colour(tmp_path, pages)
    assert results.notes[0] == (Path("a.tif"), "a tag")
    ((_, photo),) = seen
    assert photo.format == "tiff"
    for page in (photo, *photo.pages):
        assert (page.rgb @ [1, -1, 0] > 20).all()
    pages = {"a.tif": grey_photo(pages=(grey_photo(), grey_photo()))}
    _, results = colour(tmp_path, pages, ending=".png")
    assert results.notes[0] == (Path("a.tif"), "page 1 of 3 only; --format tiff keeps all")
    assert seen[1][1].pages == ()


def test_the_comparison_of_a_large_picture_is_made_smaller(tmp_path, monkeypatch):
    monkeypatch.setattr(extras, "COMPARED_SIDE", 30)
    job = Job(Path("a.jpg"), tmp_path / "a.jpg", compared=tmp_path / "pair.jpg")
    reader = Instant({"a.jpg": grey_photo()})
    files.colorize_files([job], reddish_colorizer(), reader=reader)
    with Image.open(job.compared) as pair:
        assert pair.size == (30, 10)
        left, right = np.hsplit(color.rgb2lab(np.asarray(pair)), 2)
    # JPEG mixes the two at their border.
    assert abs(left[:, :8, 1:]).max() < 3
    assert right[:, 8:, 1].min() > 15
    assert abs(left[:, :8, 0] - right[:, 8:, 0].mean()).max() < 2


def test_the_mark_names_the_model_and_can_be_left_out(tmp_path, monkeypatch):
    seen = []
    monkeypatch.setattr(files, "write_photo", lambda path, photo: seen.append(photo.xmp))
    for mark in ("faces", None):
        colour(tmp_path, {"a.jpg": grey_photo()}, mark=mark)
    assert b"compositeWithTrainedAlgorithmicMedia" in seen[0]
    assert b"model faces" in seen[0]
    assert seen[1] is None


@pytest.mark.parametrize(
    ("batch_size", "pixels", "expected"),
    [(2, 1 << 24, [2, 2, 1]), (8, 2 * 48 * 40, [2, 2, 1]), (8, 1, [1] * 5)],
)
def test_batches_are_limited_in_files_and_pixels(
    album, tmp_path, monkeypatch, batch_size, pixels, expected
):
    """And each file is counted once, those that fail too."""
    (album / "empty.png").write_bytes(b"")
    sizes, done = [], []

    class Grey(Colorizer):
        def coefficients(self, pictures, crops):
            sizes.append(len(pictures))
            return [np.zeros((1, 1, 4), np.float32)] * len(pictures)

    monkeypatch.setattr(files, "BATCH_PIXELS", pixels)
    jobs = sorted(
        plan([str(album)], tmp_path / "out").jobs, key=lambda job: job.source.name == "empty.png"
    )
    failures = files.colorize_files(
        jobs, Grey(reddish, {}, 32), batch_size=batch_size, advance=lambda: done.append(1)
    ).failures
    assert sizes == expected
    assert len(done) == len(jobs) == 6
    assert [source.name for source, _ in failures] == ["empty.png"]
