"""Endless training batches by number: the same for any number of processes, workers and threads."""

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

from colorjax.data.records import Source
from colorjax.images.decode import centre_square, decode_bgr, num_cores, resize

# Batches that are ready on the device while a step runs.
AHEAD = 2

Batch = Mapping[str, Any]


class TrainBatches:
    """Random access to the batches of a training: everything about batch k follows from k.

    Image i of the global batch goes to process i % process_count; each epoch has another order.

    Args:
      source: what to read.
      batch_size: global: over all processes, a multiple of process_count.
      image_size: side of the square images, in pixels.
      seed: fixes order and augmentation.
      process_index: this process.
      process_count: number of processes.
      min_scale: see `crop_box`, in (0, 1].
      flip: mirror every second image on average.
    """

    def __init__(
        self,
        source: Source,
        *,
        batch_size: int,
        image_size: int,
        seed: int,
        process_index: int = 0,
        process_count: int = 1,
        min_scale: float = 0.6,
        flip: bool = True,
    ) -> None:
        self._source = source
        self._size = len(source)
        self._batch_size, self._image_size, self._seed = batch_size, image_size, seed % 2**32
        self._mine = slice(process_index, None, process_count)
        self._min_scale, self._flip = min_scale, flip

    def __len__(self) -> int:
        return sys.maxsize // self._batch_size

    def __getitem__(self, number: int) -> dict[str, np.ndarray]:
        """Batch `number`: {"image": [batch_size // process_count, size, size, 3] uint8}."""
        positions = number * self._batch_size + np.arange(self._batch_size)[self._mine]
        # Of the global batch, so that the number of processes changes nothing.
        rng = np.random.default_rng([self._seed, 1, number])
        draws = rng.random((self._batch_size, 5))[self._mine]
        images = np.empty((len(positions), self._image_size, self._image_size, 3), np.uint8)
        bgr = np.empty_like(images[0])  # reused: fresh memory costs more than what is written to it
        for position, (*box, mirror), image in zip(
            positions.tolist(), draws.tolist(), images, strict=True
        ):
            epoch, place = divmod(position, self._size)
            index = int(_order(self._seed, epoch, self._size)[place])
            crop = random_crop(decode_bgr(self._source[index]["image"]), self._min_scale, box)
            resize(crop, self._image_size, bgr)
            if self._flip and mirror < 0.5:
                # A row of bytes from its end is the row mirrored, in RGB.
                cv2.flip(bgr.reshape(len(bgr), -1), 1, dst=image.reshape(len(bgr), -1))
            else:
                cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB, dst=image)
        return {"image": images}


@functools.lru_cache(maxsize=3)
def _order(seed: int, epoch: int, size: int) -> np.ndarray:
    """The order of an epoch: of 1.2 million images 5 MB, made in a moment."""
    return np.random.default_rng([seed, 0, epoch]).permutation(np.arange(size, dtype=np.uint32))


def random_crop(image: np.ndarray, min_scale: float, draws: list[float]) -> np.ndarray:
    """A random part of the centre square, before resizing.

    Args:
      image: [H, W, 3].
      min_scale: the part's area is uniform in [min_scale, 1] of the centre square's, its aspect
        log-uniform in [4/5, 5/4], or in less where min_scale is nearer to 1; so 1.0 gives the
        centre square itself.
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
    """Batches one after another, read ahead by threads or worker processes.

    The state is the number of the next batch and nothing else: a run goes on with any number of
    workers and threads.

    Args:
      batches: random access to them.
      workers: processes that read and decode; 0 means threads of this process.
      num_threads: threads, of this process or of each worker.
      place: puts a batch where it is wanted, such as on the devices; called AHEAD batches before.
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
        # Each thread makes whole batches; the buffer counts those in work and those that wait.
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
            _parse_flags()
            dataset = dataset.mp_prefetch(
                grain.MultiprocessingOptions(num_workers=self._workers, per_worker_buffer_size=1),
                worker_init_fn=_stay_until_told,
            ).map(_own)
        if self._place is not None:
            dataset = grain.experimental.ThreadPrefetchIterDataset(
                dataset.map(self._place), prefetch_buffer_size=AHEAD
            )
        return iter(dataset)

    def get_state(self) -> dict[str, int]:
        """A dict that JSON can hold; after `set_state` with it, the same batches follow."""
        return {"next_index": self._next}

    def set_state(self, state: Mapping[str, int]) -> None:
        """Goes on from a state; forgets what was read ahead."""
        self.close()
        self._next = state["next_index"]

    def close(self) -> None:
        """Ends threads and workers."""
        if self._iterator is not None:
            self._iterator.close()
            self._iterator = None


def _stay_until_told(worker: int, workers: int) -> None:
    """A worker ends when its parent says so or is gone, not by a signal meant for the parent.

    Ctrl-C and cluster managers send theirs to the whole group: the parent still has to save.
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
    """Out of the memory that is shared with a worker: on a CPU, JAX would keep it in use."""
    return {name: np.array(value) for name, value in batch.items()}


def _parse_flags() -> None:
    """Grain's workers take over the flags of absl, which need not have been parsed."""
    from absl import flags

    if not flags.FLAGS.is_parsed():
        flags.FLAGS.mark_as_parsed()


def default_workers() -> int:
    """No processes on few cores, where starting them costs more than they bring; else half."""
    return 0 if num_cores() < 8 else min(num_cores() // 2, 16)
