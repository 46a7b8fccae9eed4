"""What each process of parallel/test_processes.py runs: a few steps of a tiny GAN.

    python many_processes.py FOLDER NAME COORDINATOR NUM_PROCESSES PROCESS_ID

The first process writes FOLDER/NAME.npz: the state after one float32 step, and after 50 in float64
with a checkpoint in FOLDER/NAME half way. The second half is also run from the checkpoint of every
other NAME in FOLDER.
"""

import sys
from functools import partial
from pathlib import Path

import jax
import numpy as np
import optax
import tiny

from colorjax.parallel import devices, processes
from colorjax.runs.checkpoint import Checkpoints
from colorjax.training import augment
from colorjax.training.inflight import InFlight

BATCH = 8
HALF = 25


def main() -> None:
    folder, name, coordinator, count, index = sys.argv[1:]
    devices.configure()
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
    given = (None, None, None) if count == "1" else (coordinator, int(count), int(index))
    augmentation = partial(augment.translate_and_cut, max_shift=0.125, cut=0.25)
    with processes.started(*given, detect=False):
        results = {}
        optimizers = {"optimizer": optax.adam(1e-3), "discriminator_optimizer": optax.adam(1e-3)}
        step = devices.compile_train_step(tiny.gan_step(**optimizers, augment=augmentation))
        # Adam would magnify rounding errors of gradients near zero.
        plain = devices.compile_train_step(tiny.gan_step(augment=augmentation))
        results["one"] = jax.device_get(trained(plain, devices.replicate(tiny.state()), 0, 1))
        with jax.enable_x64(True):
            start = devices.replicate(tiny.state(dtype=np.float64, **optimizers))
            like = devices.replicate(tiny.state(dtype=np.float64, **optimizers))
            half = trained(step, start, 0, HALF)
            with Checkpoints(Path(folder) / name) as checkpoints:
                checkpoints.save(HALF, half, {"name": name})
            results["fifty"] = jax.device_get(trained(step, half, HALF, 2 * HALF))
            others = processes.from_first(
                lambda: sorted(path.name for path in Path(folder).iterdir() if path.is_dir())
            )
            for other in others:
                with Checkpoints(Path(folder) / other) as checkpoints:
                    found = checkpoints.restore(like)
                assert found is not None
                at, state, resume_point = found
                assert (at, resume_point) == (HALF, {"name": other})
                results[f"from {other}"] = jax.device_get(trained(step, state, HALF, 2 * HALF))
        if processes.is_first():
            leaves = {
                f"{key}/{jax.tree_util.keystr(path)}": leaf
                for key, state in results.items()
                for path, leaf in jax.tree_util.tree_leaves_with_path(state)
            }
            np.savez(Path(folder) / f"{name}.npz", **leaves)


def trained(step, state, first, last):
    """The state after updates first … last - 1, whose global batches follow from their numbers."""
    in_flight = InFlight()
    index, count = processes.process().values()
    for number in range(first, last):
        # As the pipeline splits it over processes.
        batch = devices.shard({"image": tiny.images(BATCH, number)[index::count]})
        state, metrics = step(state, batch)
        in_flight.add(number + 1, metrics, batch, None)
    in_flight.settle()
    return state


if __name__ == "__main__":
    main()
