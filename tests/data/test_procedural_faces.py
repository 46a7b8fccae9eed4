"""The rendered faces as a data set: sizes, splits, determinism."""

import cv2
import numpy as np
import pytest
import tensorflow_datasets as tfds

from colorjax.data import pipeline, preparing
from colorjax.data.procedural import builder
from colorjax.terminal.errors import InputError

# Mean RGB of six faces.
MEANS = [
    [67.7, 53.3, 33.8],
    [145.3, 112.6, 93.2],
    [137.0, 123.9, 98.6],
    [125.8, 110.2, 79.3],
    [97.5, 73.4, 57.3],
    [117.5, 79.5, 67.1],
]


@pytest.fixture
def small(monkeypatch):
    """Twenty subjects with two images each, because rendering takes its time."""
    monkeypatch.setattr(builder, "SUBJECTS", 20)
    monkeypatch.setattr(builder, "IMAGES_PER_SUBJECT", 2)


def _records(source):
    return [source[i] for i in range(len(source))]


def test_every_subject_is_in_one_split_with_all_its_images(small, tmp_path):
    sources = pipeline.load_sources("procedural_faces", cache_dir=tmp_path)
    train, validation = _records(sources.train), _records(sources.validation)
    assert (len(train), len(validation)) == (36, 4)
    pairs = {(int(r["subject"]), int(r["index"])) for r in train + validation}
    assert pairs == {(subject, index) for subject in range(20) for index in range(2)}
    assert {int(r["subject"]) for r in train}.isdisjoint(int(r["subject"]) for r in validation)


def test_the_stored_images_are_what_the_renderer_painted(small, tmp_path):
    sources = pipeline.load_sources("procedural_faces", cache_dir=tmp_path)
    for record in _records(sources.validation):
        expected = builder.render_face(
            builder.SEED, int(record["subject"]), int(record["index"]), 112
        )
        np.testing.assert_array_equal(pipeline.decode(record["image"]), expected)


def test_building_twice_gives_the_same_bytes(small, tmp_path):
    folders = []
    for name in ("a", "b"):
        sources = pipeline.load_sources("procedural_faces", cache_dir=tmp_path / name)
        folders.append(tmp_path / name / sources.key)
    files = sorted(p.name for p in folders[0].glob("*array_record*"))
    assert len(files) == 2
    for file in files:
        assert (folders[0] / file).read_bytes() == (folders[1] / file).read_bytes()


def test_another_version_prepares_other_data(small, tmp_path, monkeypatch):
    before = pipeline.load_sources("procedural_faces", cache_dir=tmp_path).key
    faces = builder.ProceduralFaces
    assert before == f"procedural_faces/{faces.VERSION}"
    monkeypatch.setattr(faces, "VERSION", tfds.core.Version("99.0.0"))
    monkeypatch.setattr(builder, "render_face", lambda *_: np.full((112, 112, 3), 7, np.uint8))
    after = pipeline.load_sources("procedural_faces", cache_dir=tmp_path)
    assert after.key != before
    assert (pipeline.decode(after.train[0]["image"]) == 7).all()


def test_a_renderer_that_draws_other_faces_has_another_version():
    faces = [builder.render_face(0, subject, 1, 64) for subject in range(6)]
    means = np.round([face.mean(axis=(0, 1)) for face in faces], 1)
    np.testing.assert_allclose(
        means,
        MEANS,
        atol=0.2,
        err_msg="The renderer draws other faces: raise ProceduralFaces.VERSION, so that runs on "
        "earlier faces are refused, then put these means here.",
    )


def test_a_tenth_of_the_subjects_is_held_out_from_all_over_the_range():
    subjects = [str(i) for i in range(builder.SUBJECTS)]
    held_out = preparing.held_out(subjects)
    assert len(held_out) == 26
    assert held_out == preparing.held_out(reversed(subjects))
    quarters = {int(name) * 4 // builder.SUBJECTS for name in held_out}
    assert quarters == {0, 1, 2, 3}


@pytest.mark.parametrize("people", [2, 3, 9, 10, 11, 100])
def test_no_split_is_empty(people):
    held_out = preparing.held_out(f"person {i}" for i in range(people))
    assert len(held_out) == max(1, round(people / 10))


def test_a_path_is_refused_because_nothing_reads_it(tmp_path):
    with pytest.raises(InputError, match="procedural_faces reads no files"):
        pipeline.load_sources("procedural_faces", path="faces.zip", cache_dir=tmp_path)


def test_images_are_stored_as_png(small, tmp_path):
    sources = pipeline.load_sources("procedural_faces", cache_dir=tmp_path)
    image = sources.train[0]["image"]
    assert image.startswith(b"\x89PNG")
    decoded = cv2.imdecode(np.frombuffer(image, np.uint8), cv2.IMREAD_UNCHANGED)
    assert decoded.shape == (112, 112, 3)
    assert decoded.dtype == np.uint8
