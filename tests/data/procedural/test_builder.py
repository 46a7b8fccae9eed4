import numpy as np
import pytest
import tensorflow_datasets as tfds

from colorjax.data import pipeline, preparing
from colorjax.data.procedural import builder

# Mean RGB of three faces.
MEANS = [[141.5, 130.8, 117.0], [128.4, 86.6, 76.0], [146.1, 108.8, 87.0]]


@pytest.fixture
def small(monkeypatch):
    """Twenty subjects with two images each, to save time."""
    monkeypatch.setattr(builder, "SUBJECTS", 20)
    monkeypatch.setattr(builder, "IMAGES_PER_SUBJECT", 2)


def _load(folder):
    sources = pipeline.load_sources("procedural_faces", cache_dir=folder)
    train, validation = ([s[i] for i in range(len(s))] for s in (sources.train, sources.validation))
    return train, validation, sources.key


def test_every_image_is_stored_once_and_subjects_are_in_one_split(small, tmp_path):
    train, validation, _ = _load(tmp_path)
    assert (len(train), len(validation)) == (36, 4)
    pairs = {(int(r["subject"]), int(r["index"])) for r in train + validation}
    assert pairs == {(subject, index) for subject in range(20) for index in range(2)}
    assert {int(r["subject"]) for r in train}.isdisjoint(int(r["subject"]) for r in validation)
    for record in validation:
        assert record["image"].startswith(b"\x89PNG")
        stored = pipeline.decode(record["image"])
        expected = builder.render_face(0, int(record["subject"]), int(record["index"]), 112)
        np.testing.assert_array_equal(stored, expected)


def test_preparing_twice_gives_the_same_records(small, tmp_path):
    assert _load(tmp_path / "a") == _load(tmp_path / "b")


def test_another_version_prepares_other_data(small, tmp_path, monkeypatch):
    before = _load(tmp_path)[2]
    monkeypatch.setattr(builder.ProceduralFaces, "VERSION", tfds.core.Version("99.0.0"))
    monkeypatch.setattr(builder, "render_face", lambda *_: np.full((112, 112, 3), 7, np.uint8))
    train, _, after = _load(tmp_path)
    assert after != before
    assert (pipeline.decode(train[0]["image"]) == 7).all()


def test_a_renderer_that_draws_other_faces_has_another_version():
    faces = [builder.render_face(0, subject, 1, 64) for subject in range(3)]
    np.testing.assert_allclose(
        np.round([face.mean(axis=(0, 1)) for face in faces], 1),
        MEANS,
        atol=0.2,
        err_msg="The renderer draws other faces: increase ProceduralFaces.VERSION, so that runs "
        "on earlier faces are refused, then put these means here.",
    )


@pytest.mark.parametrize("people", [2, 9, 11, builder.SUBJECTS])
def test_a_tenth_of_the_people_is_held_out_in_any_order_but_at_least_one(people):
    names = [str(person) for person in range(people)]
    assert len(preparing.held_out(names)) == max(1, round(people / 10))
    assert preparing.held_out(names) == preparing.held_out(reversed(names))
