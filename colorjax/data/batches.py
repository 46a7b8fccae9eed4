"""Endless training batches: the same for any number of processes, workers and threads."""

import dataclasses
import functools
import multiprocessing
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import cv2
import grain
import numpy as np
from absl import flags

from colorjax.data.records import Source
from colorjax.images.decode import centre_square, decode_bgr, num_cores, resize

# Batches placed on the devices ahead of time.
AHEAD = 2

Batch = Mapping[str, Any]


@dataclasses.dataclass(frozen=True)
class TrainBatches:
    """Random access to training batches: batch k depends on k and the seed only.

    Grain's own chain (shuffle, repeat, random_map, batch) takes 20 to 30 % more CPU time per image:
    it creates a random generator for each.

    Attributes: see `pipeline.train_iterator`.
    """

    source: Source
    batch_size: int
    image_size: int
    seed: int
    process_index: int
    process_count: int
    min_scale: float
    flip: bool

    def __len__(self) -> int:
        return sys.maxsize // self.batch_size

    def __getitem__(self, index: int) -> dict[str, np.ndarray]:
        """{"image": [batch_size // process_count, image_size, image_size, 3] uint8}."""
        mine = slice(self.process_index, None, self.process_count)
        size, seed = len(self.source), self.seed % 2**32
        positions = (index * self.batch_size + np.arange(self.batch_size))[mine]
        # For the global batch, so that the number of processes changes nothing.
        draws = np.random.default_rng([seed, 1, index]).random((self.batch_size, 5))[mine]
        images = np.empty((len(positions), self.image_size, self.image_size, 3), np.uint8)
        bgr = np.empty_like(images[0])  # reused: new memory is slower than writing to it
        for position, (*box, mirror), image in zip(
            positions.tolist(), draws.tolist(), images, strict=True
        ):
            epoch, place = divmod(position, size)
            record = self.source[int(_order(seed, epoch, size)[place])]
            resize(random_crop(decode_bgr(record["image"]), self.min_scale, box), len(bgr), bgr)
            if self.flip and mirror < 0.5:
                # The reversed bytes of a BGR row are the mirrored row in RGB.
                cv2.flip(bgr.reshape(len(bgr), -1), 1, dst=image.reshape(len(bgr), -1))
            else:
                cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB, dst=image)
        return {"image": images}


@functools.lru_cache(maxsize=3)
def _order(seed: int, epoch: int, size: int) -> np.ndarray:
    """The order of an epoch: 5 MB for 1.2 million images."""
    return np.random.default_rng([seed, 0, epoch]).permutation(np.arange(size, dtype=np.uint32))


def random_crop(image: np.ndarray, min_scale: float, draws: list[float]) -> np.ndarray:
    """A random crop of the centre square.

    Args:
      image: [H, W, 3].
      min_scale: the area of the crop is uniform in [min_scale, 1] of the centre square; its aspect
        ratio is log-uniform in [4/5, 5/4], or in [min_scale, 1/min_scale] if that is narrower.
        1.0 gives the centre square itself.
      draws: four numbers, uniform in [0, 1).

    Returns:
      [h, w, 3], a view.
    """
    square = centre_square(image)
    side = len(square)
    area = (min_scale + draws[0] * (1 - min_scale)) * side**2
    aspect = min(5 / 4, 1 / min_scale) ** (2 * draws[1] - 1)
    width = min(max(round((area * aspect) ** 0.5), 1), side)
    height = min(max(round((area / aspect) ** 0.5), 1), side)
    top, left = int(draws[2] * (side - height + 1)), int(draws[3] * (side - width + 1))
    return square[top : top + height, left : left + width]


class BatchIterator(Iterator[Batch]):
    """Successive batches, read ahead by threads or worker processes.

    The state is the number of the next batch only: a run can be resumed with any number of workers
    and threads.

    Args:
      batches: random access to batches.
      workers: processes that read and decode; 0 means threads of this process.
      num_threads: threads of this process or of each worker.
      place: moves a batch, such as to the devices; called AHEAD batches in advance.
    """

    def __init__(
        self,
        batches: TrainBatches,
        *,
        workers: int,
        num_threads: int,
        place: Callable[[Batch], Batch] | None,
    ) -> None:
        self._next = 0
        self._batches, self._workers, self._place = batches, workers, place
        # A thread makes complete batches; the buffer counts those in progress and those waiting.
        self._options = grain.ReadOptions(
            num_threads=num_threads, prefetch_buffer_size=num_threads + 1
        )
        self._iterator: Any = None

    def __next__(self) -> Batch:
        if self._iterator is None:
            self._iterator = self._start()
        batch = next(self._iterator)
        self._next += 1
        return batch

    def _start(self) -> Any:
        numbers = grain.MapDataset.source(self._batches).slice(slice(self._next, None))
        dataset = numbers.to_iter_dataset(self._options)
        if self._workers:
            if not flags.FLAGS.is_parsed():  # grain passes the flags of absl on to its workers
                flags.FLAGS.mark_as_parsed()
            dataset = dataset.mp_prefetch(
                grain.MultiprocessingOptions(num_workers=self._workers, per_worker_buffer_size=1),
                worker_init_fn=_ignore_signals,
            ).map(_own)
        if self._place is not None:
            dataset = grain.experimental.ThreadPrefetchIterDataset(
                dataset.map(self._place), prefetch_buffer_size=AHEAD
            )
        return iter(dataset)

    def get_state(self) -> dict[str, int]:
        """A dict for JSON, from which `set_state` resumes with the same batches."""
        return {"next_index": self._next}

    def set_state(self, state: Mapping[str, int]) -> None:
        """Resumes from a state; what was read ahead is dropped."""
        self.close()
        self._next = state["next_index"]

    def close(self) -> None:
        """Stops threads and workers."""
        if self._iterator is not None:
            self._iterator.close()
            self._iterator = None


def _ignore_signals(worker: int, workers: int) -> None:
    """Makes a worker end when its parent stops it or is gone, and not by a signal.

    Ctrl-C and cluster managers signal all processes of a group, and the parent still has to save.
    """
    del worker, workers
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    parent = multiprocessing.parent_process()
    assert parent is not None

    def watch() -> None:
        parent.join()
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def _own(batch: Batch) -> Batch:
    """Copies a batch out of the memory shared with a worker: JAX on a CPU would keep it in use."""
    return {name: np.array(value) for name, value in batch.items()}


def default_workers() -> int:
    """Half the cores; none on few cores, where starting processes costs more than it gains."""
    return 0 if num_cores() < 8 else min(num_cores() // 2, 16)
