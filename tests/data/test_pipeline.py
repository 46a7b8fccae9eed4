"""Evaluation batches, and how data sets are opened."""

import pickle
import subprocess
import sys

import numpy as np
import pytest
import tensorflow_datasets as tfds
from image_files import encoded, load, people, write_files

from colorjax.data import pipeline
from colorjax.terminal.errors import InputError


def flat_source(count):
    """All pixels of image i have the value i."""
    return [{"image": encoded(np.full((8, 8, 3), i, np.uint8))} for i in range(count)]


@pytest.mark.parametrize("process_count", [1, 2])
def test_evaluation_sees_every_image_once_in_order_and_masks_the_padding(process_count):
    parts = [
        list(
            pipeline.eval_batches(
                flat_source(10),
                batch_size=4,
                image_size=4,
                process_index=index,
                process_count=process_count,
            )
        )
        for index in range(process_count)
    ]
    assert {len(part) for part in parts} == {3}

    def joined(key):
        """Image i of the global batch is in process i % process_count."""
        steps = [np.stack([batch[key] for batch in step], 1) for step in zip(*parts, strict=True)]
        return np.concatenate(steps).reshape(12, *steps[0].shape[2:])

    assert joined("image").dtype == np.uint8
    assert joined("index").tolist() == list(range(12))
    assert joined("mask").tolist() == [True] * 10 + [False] * 2
    assert joined("image")[:, 0, 0, 0].tolist() == [*range(10), 0, 0]


def test_processes_with_nothing_left_still_get_their_padded_batches():
    (batch,) = pipeline.eval_batches(
        flat_source(1), batch_size=4, image_size=4, process_index=3, process_count=4
    )
    assert batch["image"].shape == (1, 4, 4, 3)
    assert not batch["mask"].any()


@pytest.mark.parametrize(("limit", "count"), [(None, 10), (0, 0), (3, 3), (8, 8), (99, 10)])
def test_the_limit_counts_images(limit, count):
    batches = pipeline.eval_batches(flat_source(10), batch_size=4, image_size=4, limit=limit)
    assert sum(int(batch["mask"].sum()) for batch in batches) == count


def test_an_unknown_data_set_is_refused_with_the_names_of_those_known(tmp_path):
    with pytest.raises(InputError, match=r"'faces'.*digiface1m, image_folder, procedural_faces"):
        pipeline.load_sources("faces", cache_dir=tmp_path)


def test_the_cache_follows_xdg(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert pipeline.default_cache_dir() == tmp_path / "colorjax" / "datasets"
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert pipeline.default_cache_dir() == tmp_path / ".cache" / "colorjax" / "datasets"


def test_preparing_and_reading_need_no_tensorflow_and_importing_no_tfds(tmp_path):
    write_files(tmp_path / "in", people(2))
    script = f"""
import sys
from colorjax.data import pipeline
assert "tensorflow_datasets" not in sys.modules
sources = pipeline.load_sources(
    "image_folder", path={str(tmp_path / "in")!r}, cache_dir={str(tmp_path / "cache")!r}
)
batches = pipeline.train_iterator(sources.train, batch_size=2, image_size=8, seed=0)
next(batches)
batches.close()
list(pipeline.eval_batches(sources.validation, batch_size=2, image_size=8))
assert "tensorflow" not in sys.modules
"""
    subprocess.run([sys.executable, "-c", script], check=True, timeout=120)


def test_records_are_those_that_tfds_reads(tmp_path):
    sources = load(tmp_path, write_files(tmp_path / "in", people(4)))
    builder = tfds.builder_from_directory(tmp_path / "cache" / sources.key)
    decoders = {"image": tfds.decode.SkipDecoding()}
    theirs = builder.as_data_source("train", decoders=decoders)
    assert len(theirs) == len(sources.train) == 6
    copy = pickle.loads(pickle.dumps(sources.train))
    for index in range(6):
        assert sources.train[index] == copy[index] == theirs[index]
    assert pipeline.open_prepared(sources.key, tmp_path / "cache").train[0] == theirs[0]
    assert pipeline.open_prepared("image_folder/0/3.0.0", tmp_path / "cache") is None
