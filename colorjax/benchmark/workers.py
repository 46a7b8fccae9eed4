"""What `benchmark train` measures of colorjax, each in its own process."""

import importlib.metadata
import os
import platform
import statistics
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from itertools import repeat
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from ml_collections import ConfigDict

from colorjax.benchmark.flops import step_flops
from colorjax.benchmark.measuring import peak_mib, random_images, seconds
from colorjax.data import pipeline
from colorjax.parallel import devices
from colorjax.training.check_config import check_config
from colorjax.training.inflight import InFlight
from colorjax.training.setup import build_plan, initial_state

PRODUCTS = 10
PREDICTIONS = 10


class Device:
    """What does not depend on a model."""

    def about(self) -> dict[str, Any]:
        device = devices.one_device()
        versions = [f"{name} {importlib.metadata.version(name)}" for name in ("jax", "flax")]
        return {
            "date": datetime.now(UTC).date().isoformat(),
            "device": f"{jax.local_device_count()} × {device.device_kind}, {os.cpu_count()} CPUs",
            "backend": jax.default_backend(),
            "versions": ", ".join([f"Python {platform.python_version()}", *versions]),
        }

    def peak(self, dtype: str) -> float:
        """FLOP/s of a large matrix product on all devices at once."""
        side = 1024 if jax.default_backend() == "cpu" else 8192
        # XLA multiplies bfloat16 as such on a CPU only if the result is float32.
        product = devices.compile_eval_step(
            lambda x, y: jnp.matmul(x, y, preferred_element_type=jnp.float32)
        )
        x = devices.replicate(jnp.ones((side, side), dtype))
        y = devices.shard(np.ones((jax.local_device_count() * side, side))).astype(dtype)
        jax.block_until_ready(product(x, y))
        took = seconds(lambda: [product(x, y) for _ in range(PRODUCTS)])
        return PRODUCTS * 2 * side**3 * jax.local_device_count() / took


class Trainer:
    """Training by a config, of a GAN with the adversarial step. The first step is done.

    Args:
      cache: folder for compiled programs.
      config: see configs/common.py.

    Raises:
      InputError: a value of the config is not valid.
    """

    def __init__(self, cache: str, config: ConfigDict) -> None:
        devices.configure()
        jax.config.update("jax_compilation_cache_dir", cache)
        check_config(config)
        self._config = config
        self._plan, self._state = build_plan(config), initial_state(config)
        self._step = self._plan.adversarial_step or self._plan.pretrain_step
        shape = config.batch_size, config.image_size, config.image_size, 3
        self._kept = devices.shard({"image": random_images(*shape)})
        self._files: Any = None
        self.train(1)

    def train(self, steps: int) -> tuple[float, float]:
        """Seconds and CPU seconds per step, all on one batch that is on the devices."""
        cpu = time.process_time()
        took = self._train(steps, repeat(self._kept))
        return took, (time.process_time() - cpu) / steps

    def train_from_files(self, steps: int) -> float:
        """Seconds per step on batches of the data set, of which the first was read before."""
        if self._files is None:
            options = self._config.dataset
            self._files = pipeline.train_iterator(
                pipeline.load_sources(options.name, path=options.path, min_chroma=0.0).train,
                seed=0,
                batch_size=self._config.batch_size,
                image_size=self._config.image_size,
                min_scale=options.min_scale,
                flip=options.flip,
                workers=options.workers,
                place=devices.shard,
            )
        next(self._files)
        took = self._train(steps, self._files)
        self._files.close()
        return took

    def _train(self, steps: int, batches: Iterator[Any]) -> float:
        """As in training, a step runs while the next one is dispatched."""
        in_flight = InFlight()
        start = time.perf_counter()
        for step in range(steps):
            batch = next(batches)
            self._state, metrics = self._step(self._state, batch)
            in_flight.add(step, metrics, batch, None)
        in_flight.settle()
        return (time.perf_counter() - start) / steps

    def predict(self, count: int) -> float:
        """Median seconds from L of `count` images in the host's memory to their a*b* there.

        In float32, as users have them.
        """
        predict = jax.jit(self._plan.predict)
        variables = jax.device_put(self._state.ema, devices.one_device())
        l = random_images(count, self._config.image_size, self._config.image_size, 1) / 2.55
        l = l.astype(np.float32)
        jax.block_until_ready(predict(variables, l))
        times = [seconds(lambda: np.asarray(predict(variables, l))) for _ in range(PREDICTIONS)]
        return statistics.median(times)

    def flops(self) -> int:
        return step_flops(self._config)

    def parameters(self) -> int:
        nets = [self._state.generator, self._state.discriminator]
        return sum(leaf.size for net in nets if net for leaf in jax.tree.leaves(net.params))

    def peak_mib(self) -> float:
        """Peak memory of a device; on a CPU that of the process."""
        memory = devices.one_device().memory_stats() or {}
        return memory["peak_bytes_in_use"] / 2**20 if "peak_bytes_in_use" in memory else peak_mib()
