"""Training batches: the same for any number of processes, workers and threads; resumable."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from image_files import encoded
from support import environment

from colorjax.data import pipeline
from colorjax.data.batches import random_crop


def noisy_source(count, height=40, width=32, seed=0):
    """No two crops of these images are equal."""
    rng = np.random.default_rng(seed)
    shape = (count, height, width, 3)
    return [{"image": encoded(rgb)} for rgb in rng.integers(0, 256, shape, dtype=np.uint8)]


def flat_source(count):
    """All pixels of image i have the value i."""
    return [{"image": encoded(np.full((8, 8, 3), i, np.uint8))} for i in range(count)]


def take(iterator, count):
    batches = [next(iterator)["image"] for _ in range(count)]
    iterator.close()
    return batches


def train(source, **kwargs):
    settings = {"batch_size": 8, "image_size": 16, "seed": 3, "num_threads": 2}
    return pipeline.train_iterator(source, **(settings | kwargs))


@pytest.mark.parametrize("process_count", [2, 4])
def test_the_global_batch_is_the_same_for_any_number_of_processes(process_count):
    source = noisy_source(21)
    expected = take(train(source), 7)  # more than two epochs
    for index in range(process_count):
        part = take(train(source, process_index=index, process_count=process_count), 7)
        np.testing.assert_array_equal(part, [batch[index::process_count] for batch in expected])


def test_seeds_give_different_batches_and_the_same_seed_the_same():
    source = noisy_source(16)
    (a,), (b,), (c,) = (take(train(source, seed=seed), 1) for seed in (0, 0, 1))
    np.testing.assert_array_equal(a, b)
    assert not np.array_equal(a, c)


def test_a_restored_state_resumes_with_the_next_batch():
    source = noisy_source(13)
    straight = train(source)
    for _ in range(5):
        next(straight)
    state = json.loads(json.dumps(straight.get_state()))
    expected = take(straight, 4)

    resumed = train(source)
    next(resumed)  # what was read ahead must be dropped
    resumed.set_state(state)
    assert resumed.get_state() == state
    np.testing.assert_array_equal(take(resumed, 4), expected)
    for index in range(2):
        part = train(source, process_index=index, process_count=2)
        part.set_state(state)
        np.testing.assert_array_equal(take(part, 1)[0], expected[0][index::2])


def test_each_epoch_has_every_image_once_in_another_order():
    values = np.concatenate(take(train(flat_source(24), image_size=4), 9))[:, 0, 0, 0]
    epochs = values.reshape(3, 24)
    for epoch in epochs:
        assert sorted(epoch) == list(range(24))
    assert not np.array_equal(epochs[0], epochs[1])
    assert not np.array_equal(epochs[1], epochs[2])


@pytest.mark.parametrize("count", [1, 2, 3, 5])
def test_a_data_set_smaller_than_the_batch_fills_it(count):
    (batch,) = take(train(flat_source(count), image_size=4), 1)
    counts = np.bincount(batch[:, 0, 0, 0], minlength=count)
    assert batch.shape == (8, 4, 4, 3)
    assert set(counts) <= {8 // count, -(-8 // count)}


def test_without_augmentation_training_sees_what_evaluation_sees():
    source = noisy_source(6, height=48, width=31)
    batches = take(train(source, batch_size=1, min_scale=1.0, flip=False), 6)
    (evaluated,) = pipeline.eval_batches(source, batch_size=6, image_size=16)
    assert {b.tobytes() for b in batches} == {image.tobytes() for image in evaluated["image"]}


def test_about_half_of_the_images_are_mirrored_and_not_changed_otherwise():
    ramp = np.repeat(np.arange(16, dtype=np.uint8)[None, :, None] * 16, 16, axis=0).repeat(3, 2)
    ramp[..., 1] = 7  # the channels differ
    (batch,) = take(train([{"image": encoded(ramp)}], batch_size=400, min_scale=1.0), 1)
    mirrored = (batch == ramp[:, ::-1]).all(axis=(1, 2, 3))
    assert (mirrored | (batch == ramp).all(axis=(1, 2, 3))).all()
    assert 150 < mirrored.sum() < 250  # five standard deviations


def test_crops_have_the_documented_area_and_aspect():
    rng = np.random.default_rng(0)
    image = np.zeros((300, 200, 3), np.uint8)
    shapes = np.array(
        [random_crop(image, 0.25, rng.random(4).tolist()).shape[:2] for _ in range(2000)]
    )
    area, aspect = shapes.prod(axis=1) / 200**2, shapes[:, 1] / shapes[:, 0]
    assert 0.24 < area.min() < 0.27
    assert area.max() <= 1
    assert 0.79 < aspect.min() < 0.82
    assert 1.22 < aspect.max() < 1.27
    assert abs(area.mean() - 0.61) < 0.03  # 0.625, less what does not fit into the square
    assert random_crop(image, 1.0, rng.random(4).tolist()).shape == (200, 200, 3)


def test_worker_processes_change_nothing_and_any_number_of_them_can_resume():
    source = noisy_source(13)
    expected = take(train(source), 6)
    iterator = train(source, workers=2, num_threads=1)
    batches = [next(iterator)["image"] for _ in range(3)]
    state = iterator.get_state()
    iterator.close()
    resumed = train(source)
    resumed.set_state(state)
    np.testing.assert_array_equal(batches + take(resumed, 3), expected)


def test_batches_are_placed_ahead_and_the_state_counts_those_that_were_taken():
    placed = []

    def place(batch):
        placed.append(batch["image"].copy())
        return {"image": batch["image"], "placed": len(placed)}

    expected = take(train(noisy_source(13)), 3)
    iterator = train(noisy_source(13), place=place)
    assert next(iterator)["placed"] == 1
    deadline = time.monotonic() + 60
    while len(placed) < 3 and time.monotonic() < deadline:
        time.sleep(0.01)
    assert iterator.get_state() == {"next_index": 1}
    np.testing.assert_array_equal(placed[:3], expected)  # two more than were taken
    iterator.close()


WORKERS = """
import cv2, numpy as np
from colorjax.data import pipeline
from colorjax.parallel import devices

def main():
    global kept
    png = cv2.imencode(".png", np.zeros((8, 8, 3), np.uint8))[1].tobytes()
    batches = pipeline.train_iterator(
        [{"image": png}] * 20, batch_size=8, image_size=64, seed=0, workers=1, place=devices.shard
    )
    kept = [next(batches) for _ in range(3)]
    batches.close()

if __name__ == "__main__":
    main()
"""


def test_a_program_with_workers_ends_silently(tmp_path):
    """No process and no shared memory is left behind, also if a batch is kept."""
    script = tmp_path / "program.py"
    script.write_text(WORKERS)
    process = subprocess.run(
        [sys.executable, script], capture_output=True, text=True, timeout=300, env=environment()
    )
    assert (process.returncode, process.stdout, process.stderr) == (0, "", "")


def _children(pid):
    tasks = Path(f"/proc/{pid}/task").iterdir()  # any thread may have started them
    return [child for task in tasks for child in (task / "children").read_text().split()]


def _runs(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="needs Linux's /proc")
def test_workers_survive_signals_to_the_group_but_not_their_parent(tmp_path):
    script = tmp_path / "program.py"
    wait = "    print('ready', flush=True)\n    import time; time.sleep(300)\n    batches.close()"
    script.write_text(WORKERS.replace("    batches.close()", wait))
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


MANY_READS = """
import os
import cv2, numpy as np
from colorjax.data import pipeline
from colorjax.benchmark.data import Repeated

def resident_mib():
    return int(open("/proc/self/statm").read().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 2**20

tiny = cv2.imencode(".png", np.zeros((4, 4, 3), np.uint8))[1].tobytes()
source = Repeated([{"image": tiny}] * 10, 1_200_000)
batches = pipeline.train_iterator(source, batch_size=1000, image_size=4, seed=0)
for number in range(1000):
    next(batches)
    if number == 100:
        before = resident_mib()
print(resident_mib() - before)
batches.close()
"""


@pytest.mark.slow
def test_a_million_reads_take_no_more_memory_than_a_hundred_thousand():
    command = [sys.executable, "-c", MANY_READS]
    process = subprocess.run(command, check=True, capture_output=True, text=True, timeout=600)
    assert float(process.stdout) < 20  # each order of an epoch has 4.8 MB, and three are kept
