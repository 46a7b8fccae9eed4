"""Batches: the same for any number of processes, resumable, of the right pixels."""

import io
import json
import os
import pickle
import signal
import subprocess
import sys
import time
from pathlib import Path

import cv2
import numpy as np
import pytest
import tensorflow_datasets as tfds
from PIL import Image
from support import environment

from colorjax.data import pipeline
from colorjax.data.batches import random_crop
from colorjax.terminal.errors import InputError


def _png(rgb):
    return cv2.imencode(".png", cv2.cvtColor(rgb, cv2.COLOR_RGB2BGR))[1].tobytes()


def _source(count, height=40, width=32, seed=0):
    """Images of noise: no two crops of them are equal."""
    rng = np.random.default_rng(seed)
    shape = (count, height, width, 3)
    return [{"image": _png(rgb)} for rgb in rng.integers(0, 256, shape, dtype=np.uint8)]


def _flat_source(count):
    """Image i is of the one grey value i."""
    return [{"image": _png(np.full((8, 8, 3), i, np.uint8))} for i in range(count)]


def _take(iterator, count):
    batches = [next(iterator)["image"] for _ in range(count)]
    iterator.close()
    return batches


def _train(source, **kwargs):
    settings = {"batch_size": 8, "image_size": 16, "seed": 3, "num_threads": 2}
    return pipeline.train_iterator(source, **(settings | kwargs))


@pytest.mark.parametrize("process_count", [2, 4])
def test_the_global_batch_is_the_same_for_any_number_of_processes(process_count):
    source = _source(21)
    expected = _take(_train(source), 7)  # more than two epochs
    parts = [
        _take(_train(source, process_index=i, process_count=process_count), 7)
        for i in range(process_count)
    ]
    for step, batch in enumerate(expected):
        for index in range(process_count):
            assert parts[index][step].shape == (8 // process_count, 16, 16, 3)
            np.testing.assert_array_equal(parts[index][step], batch[index::process_count])


def test_the_number_of_threads_changes_nothing():
    source = _source(11)
    for a, b in zip(
        _take(_train(source, num_threads=1), 5),
        _take(_train(source, num_threads=4), 5),
        strict=True,
    ):
        np.testing.assert_array_equal(a, b)


def test_seeds_give_different_batches_and_the_same_seed_the_same():
    source = _source(16)
    (a,), (b,), (c,) = (_take(_train(source, seed=seed), 1) for seed in (0, 0, 1))
    np.testing.assert_array_equal(a, b)
    assert not np.array_equal(a, c)


def test_a_restored_state_goes_on_with_the_very_next_batch():
    source = _source(13)
    straight = _train(source)
    for _ in range(5):
        next(straight)
    state = json.loads(json.dumps(straight.get_state()))
    expected = _take(straight, 4)

    resumed = _train(source)
    next(resumed)  # what was prefetched before restoring must be forgotten
    resumed.set_state(state)
    assert resumed.get_state() == state
    for a, b in zip(_take(resumed, 4), expected, strict=True):
        np.testing.assert_array_equal(a, b)


def test_a_state_restores_on_another_number_of_processes():
    source = _source(13)
    one = _train(source)
    next(one)
    state = one.get_state()
    (expected,) = _take(one, 1)
    for index in range(2):
        part = _train(source, process_index=index, process_count=2)
        part.set_state(state)
        np.testing.assert_array_equal(_take(part, 1)[0], expected[index::2])


def test_each_epoch_has_every_image_once_in_another_order():
    values = np.concatenate(_take(_train(_flat_source(24), image_size=4), 9))[:, 0, 0, 0]
    epochs = values.reshape(3, 24)
    for epoch in epochs:
        assert sorted(epoch) == list(range(24))
    assert not np.array_equal(epochs[0], epochs[1])
    assert not np.array_equal(epochs[1], epochs[2])


def test_a_batch_of_one_works():
    (batch,) = _take(_train(_flat_source(3), batch_size=1, image_size=4), 1)
    assert batch.shape == (1, 4, 4, 3)


@pytest.mark.parametrize("count", [1, 2, 3, 5])
def test_a_data_set_smaller_than_the_batch_fills_it(count):
    (batch,) = _take(_train(_flat_source(count), image_size=4), 1)
    counts = np.bincount(batch[:, 0, 0, 0], minlength=count)
    assert batch.shape == (8, 4, 4, 3)
    assert set(counts) <= {8 // count, -(-8 // count)}


def test_without_augmentation_training_sees_what_evaluation_sees():
    source = _source(6, height=48, width=31)
    train = np.concatenate(_take(_train(source, batch_size=6, min_scale=1.0, flip=False), 1))
    (evaluated,) = pipeline.eval_batches(source, batch_size=6, image_size=16)
    as_set = {image.tobytes() for image in train}
    assert as_set == {image.tobytes() for image in evaluated["image"]}


def test_about_half_of_the_images_are_mirrored_and_nothing_else_happens_to_them():
    ramp = np.repeat(np.arange(16, dtype=np.uint8)[None, :, None] * 16, 16, axis=0)
    source = [{"image": _png(np.repeat(ramp, 3, axis=2))}]
    iterator = _train(source, batch_size=400, min_scale=1.0)
    (batch,) = _take(iterator, 1)
    mirrored = (batch == ramp[:, ::-1]).all(axis=(1, 2, 3))
    assert (mirrored | (batch == ramp).all(axis=(1, 2, 3))).all()
    assert 150 < mirrored.sum() < 250  # five standard deviations


def test_crops_have_the_area_and_aspect_that_are_asked_for():
    rng = np.random.default_rng(0)
    image = np.zeros((300, 200, 3), np.uint8)
    shapes = np.array(
        [random_crop(image, 0.25, rng.random(4).tolist()).shape[:2] for _ in range(2000)]
    )
    area, aspect = shapes.prod(axis=1) / 200**2, shapes[:, 1] / shapes[:, 0]
    assert area.min() > 0.24
    assert area.min() < 0.27
    assert area.max() <= 1
    assert 0.79 < aspect.min() < 0.82
    assert 1.22 < aspect.max() < 1.27
    assert abs(area.mean() - 0.61) < 0.03  # 0.625, less what does not fit into the square
    assert random_crop(image, 1.0, rng.random(4).tolist()).shape == (200, 200, 3)


@pytest.mark.parametrize("process_count", [1, 2])
def test_evaluation_sees_every_image_once_in_order_and_masks_the_padding(process_count):
    source = _flat_source(10)
    parts = [
        list(
            pipeline.eval_batches(
                source,
                batch_size=4,
                image_size=4,
                process_index=index,
                process_count=process_count,
            )
        )
        for index in range(process_count)
    ]
    assert {len(part) for part in parts} == {3}
    seen, numbers = [], []
    for step in range(3):
        for row in range(4 // process_count):
            for part in parts:
                batch = part[step]
                assert batch["image"].dtype == np.uint8
                assert batch["mask"].dtype == bool
                numbers.append(int(batch["index"][row]))
                if batch["mask"][row]:
                    seen.append(int(batch["image"][row, 0, 0, 0]))
                else:
                    assert not batch["image"][row].any()
    assert seen == list(range(10))
    assert numbers == list(range(12))


def test_processes_with_nothing_left_still_get_their_padded_batches():
    batches = list(
        pipeline.eval_batches(
            _flat_source(1), batch_size=4, image_size=4, process_index=3, process_count=4
        )
    )
    assert len(batches) == 1
    assert batches[0]["image"].shape == (1, 4, 4, 3)
    assert not batches[0]["mask"].any()


@pytest.mark.parametrize(("limit", "count"), [(None, 10), (0, 0), (3, 3), (8, 8), (99, 10)])
def test_the_limit_counts_images(limit, count):
    batches = pipeline.eval_batches(_flat_source(10), batch_size=4, image_size=4, limit=limit)
    assert sum(int(batch["mask"].sum()) for batch in batches) == count


@pytest.mark.parametrize("call", [pipeline.train_iterator, pipeline.eval_batches])
def test_a_batch_that_the_processes_do_not_divide_is_refused_with_both_numbers(call):
    seed = {"seed": 0} if call is pipeline.train_iterator else {}
    with pytest.raises(InputError, match=r"batch of 10 .* 4 process"):
        call(_flat_source(3), batch_size=10, image_size=4, process_count=4, **seed)


def test_shrinking_takes_the_mean_of_the_pixels_as_pil_does():
    rgb = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    ours = pipeline.resize(rgb, 16).astype(int)
    means = rgb.reshape(16, 4, 16, 4, 3).mean(axis=(1, 3))
    pil = np.asarray(Image.fromarray(rgb).resize((16, 16), Image.Resampling.BOX), int)
    assert abs(ours - means).max() <= 0.5 + 1e-6
    assert abs(ours - pil).max() <= 1


def test_enlarging_a_ramp_gives_a_ramp():
    ramp = np.repeat(np.repeat(np.arange(0, 160, 10, dtype=np.uint8)[None, :, None], 16, 0), 3, 2)
    ours = pipeline.resize(ramp, 32).astype(float)
    expected = (np.arange(32) + 0.5) / 2 * 10 - 5
    inner = slice(6, -6)  # beyond the borders' influence
    assert abs(ours[:, inner] - expected[None, inner, None]).max() <= 1


@pytest.mark.parametrize("size", [7, 32, 100])
def test_a_flat_colour_stays_exactly_that_colour(size):
    rgb = np.tile(np.array([200, 30, 77], np.uint8), (32, 32, 1))
    assert (pipeline.resize(rgb, size) == rgb[0, 0]).all()


def test_the_same_size_changes_no_pixel():
    rgb = np.random.default_rng(0).integers(0, 256, (32, 32, 3), dtype=np.uint8)
    np.testing.assert_array_equal(pipeline.resize(rgb, 32), rgb)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("suffix", ["jpeg", "png"])
def test_images_are_turned_upright_as_exif_says(orientation, suffix):
    if suffix == "png" and orientation > 1 and int(cv2.__version__.split(".")[0]) < 5:
        pytest.skip("this OpenCV does not read EXIF in PNG")
    rgb = np.zeros((16, 32, 3), np.uint8)
    rgb[:8, :16], rgb[8:, 16:] = (250, 10, 10), (10, 250, 10)
    exif = Image.Exif()
    exif[0x0112] = orientation
    file = io.BytesIO()
    options = {"quality": 95, "subsampling": 0} if suffix == "jpeg" else {}
    Image.fromarray(rgb).save(file, suffix, exif=exif, **options)
    from PIL import ImageOps

    upright = ImageOps.exif_transpose(Image.open(io.BytesIO(file.getvalue())))
    ours = pipeline.decode(file.getvalue())
    assert ours.shape == np.asarray(upright).shape
    assert abs(ours.astype(int) - np.asarray(upright, int)).max() <= 8


@pytest.mark.parametrize("mode", ["L", "P", "RGBA", "I;16"])
def test_other_png_modes_become_three_channels(mode):
    pixels = np.arange(64, dtype=np.uint16).reshape(8, 8)
    if mode == "I;16":
        image = Image.fromarray(pixels * 257)
    else:
        image = Image.fromarray(pixels.astype(np.uint8)).convert(mode)
    file = io.BytesIO()
    image.save(file, "png")
    ours = pipeline.decode(file.getvalue())
    np.testing.assert_array_equal(ours, np.repeat(pixels[..., None], 3, axis=2))


def test_an_unknown_data_set_is_refused_with_the_names_of_those_known(tmp_path):
    with pytest.raises(InputError, match=r"'faces'.*digiface1m, image_folder, procedural_faces"):
        pipeline.load_sources("faces", cache_dir=tmp_path)


def test_the_cache_is_where_xdg_says(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert pipeline.default_cache_dir() == tmp_path / "colorjax" / "datasets"
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert pipeline.default_cache_dir() == tmp_path / ".cache" / "colorjax" / "datasets"


def test_preparing_and_reading_need_no_tensorflow_and_importing_no_tfds(tmp_path):
    for person in range(2):
        (tmp_path / "in" / str(person)).mkdir(parents=True)
        (tmp_path / "in" / str(person) / "0.png").write_bytes(_source(2)[person]["image"])
    script = f"""
import sys
import time
from colorjax.data import pipeline
assert "tensorflow_datasets" not in sys.modules
for _ in range(2):
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


def test_worker_processes_change_nothing_and_a_state_goes_on_with_any_number_of_them():
    source = _source(13)
    expected = _take(_train(source), 7)
    iterator = _train(source, workers=2, num_threads=1)
    batches = [next(iterator)["image"] for _ in range(3)]
    state = json.loads(json.dumps(iterator.get_state()))
    iterator.set_state(state)  # ends the workers, and what they had read ahead is read again
    batches += _take(iterator, 1)
    last = _train(source)
    last.set_state({"next_index": state["next_index"] + 1})
    batches += _take(last, 3)
    for ours, theirs in zip(batches, expected, strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_batches_are_placed_ahead_of_time_and_the_state_counts_those_that_were_taken():
    placed = []

    def place(batch):
        placed.append(batch["image"].copy())
        return {"image": batch["image"], "placed": len(placed)}

    expected = _take(_train(_source(13)), 3)
    iterator = _train(_source(13), place=place)
    batch = next(iterator)
    assert batch["placed"] == 1
    deadline = time.monotonic() + 60
    while len(placed) < 3 and time.monotonic() < deadline:
        time.sleep(0.01)
    assert len(placed) >= 3  # two more than were taken
    assert iterator.get_state() == {"next_index": 1}
    for image, theirs in zip(placed, expected, strict=False):
        np.testing.assert_array_equal(image, theirs)
    iterator.close()


def test_records_give_what_tfds_gives(tmp_path):
    """Read by TFDS itself: `as_data_source`, images not decoded."""
    for person in range(4):
        for index, record in enumerate(_source(2, seed=person)):
            file = tmp_path / "in" / str(person) / f"{index}.png"
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(record["image"])
    sources = pipeline.load_sources(
        "image_folder", path=str(tmp_path / "in"), cache_dir=tmp_path / "cache"
    )
    builder = tfds.builder_from_directory(tmp_path / "cache" / sources.key)
    decoders = {"image": tfds.decode.SkipDecoding()}
    theirs = builder.as_data_source("train", decoders=decoders)
    assert len(theirs) == len(sources.train) == 6
    for index in range(6):
        ours = sources.train[index]
        assert ours == theirs[index]
        assert pickle.loads(pickle.dumps(sources.train))[index] == ours


_WORKERS = """
import cv2, numpy as np
from colorjax import parallel
from colorjax.data import pipeline

def main():
    global kept
    png = cv2.imencode(".png", np.zeros((8, 8, 3), np.uint8))[1].tobytes()
    batches = pipeline.train_iterator(
        [{"image": png}] * 20, batch_size=8, image_size=64, seed=0, workers=1, place=parallel.shard
    )
    kept = [next(batches) for _ in range(3)]
    batches.close()

if __name__ == "__main__":
    main()
"""


def test_a_program_with_workers_ends_without_a_word(tmp_path):
    """No process, and no piece of shared memory is left behind, also if a batch is kept."""
    script = tmp_path / "program.py"
    script.write_text(_WORKERS)
    process = subprocess.run(
        [sys.executable, script], capture_output=True, text=True, timeout=300, env=environment()
    )
    assert (process.returncode, process.stdout, process.stderr) == (0, "", "")


def _children(pid):
    tasks = Path(f"/proc/{pid}/task").iterdir()  # any thread may have started them
    return [child for task in tasks for child in (task / "children").read_text().split()]


def _runs(pid):
    stat = Path(f"/proc/{pid}/stat")
    return stat.exists() and stat.read_text().rpartition(")")[2].split()[0] != "Z"


@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="needs Linux's /proc")
def test_workers_outlive_a_signal_to_the_group_but_not_their_parent(tmp_path):
    script = tmp_path / "program.py"
    wait = "    print('ready', flush=True)\n    import time; time.sleep(300)\n    batches.close()"
    script.write_text(_WORKERS.replace("    batches.close()", wait))
    with subprocess.Popen(
        [sys.executable, script], stdout=subprocess.PIPE, text=True, env=environment()
    ) as process:
        try:
            assert process.stdout.readline() == "ready\n"
            children = _children(process.pid)
            (worker,) = (
                child
                for child in children
                if "resource_tracker" not in Path(f"/proc/{child}/cmdline").read_text()
            )
            for number in (signal.SIGINT, signal.SIGTERM):
                os.kill(int(worker), number)
            time.sleep(0.5)
            assert _runs(worker)
        finally:
            process.kill()
    deadline = time.monotonic() + 60
    while any(map(_runs, children)) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not any(map(_runs, children))


_MANY_READS = """
import sys, time
start = time.perf_counter()
import cv2, numpy as np
from colorjax.data import pipeline
from colorjax.data.benchmark import Repeated, _memory

tiny = cv2.imencode(".png", np.zeros((4, 4, 3), np.uint8))[1].tobytes()
source = Repeated([{"image": tiny}] * 10, 1_200_000)
batches = pipeline.train_iterator(
    source, batch_size=1000, image_size=4, seed=0, place=lambda batch: batch
)
next(batches)
print(time.perf_counter() - start)
print(*_memory(batches, 1000, int(sys.argv[1])).values())
batches.close()
"""


@pytest.mark.slow
def test_a_million_reads_take_no_more_memory_than_a_hundred_thousand():
    command = [sys.executable, "-c", _MANY_READS, "1000000"]
    process = subprocess.run(command, check=True, capture_output=True, text=True, timeout=600)
    _, mib = map(float, process.stdout.split())
    assert mib < 20  # each order of an epoch has 4.8 MB, and three are kept
