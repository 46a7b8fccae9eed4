"""Images/s through the pipeline, beside plain decoding and PyTorch's DataLoader; its memory."""

import contextlib
import importlib.util
import os
import statistics
import tempfile
import time
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from operator import truediv
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from colorjax.data import pipeline
from colorjax.data.batches import random_crop
from colorjax.data.records import Source
from colorjax.images.decode import num_cores, resize

FILES = 1000
PLAIN = "plain OpenCV decoding"
SETTLE_SECONDS = 0.5
MIN_SCALE = 0.6


class Repeated:
    """A source made as large as wanted by index, not on disk."""

    def __init__(self, source: Source, size: int):
        self._source, self._size, self._real = source, size, len(source)

    def __len__(self) -> int:
        return self._size

    def __getitem__(self, index: int, /) -> Mapping[str, Any]:
        return self._source[index % self._real]


class TorchFaces:
    """The same files for PyTorch's DataLoader: decode, crop, resize, mirror."""

    def __init__(self, files: Sequence[str], count: int, image_size: int):
        self._files, self._count, self._image_size = files, count, image_size

    def __len__(self) -> int:
        return self._count

    def __getitem__(self, index: int) -> np.ndarray:
        rng = np.random.default_rng(index)
        bgr = cv2.imread(self._files[index % len(self._files)], cv2.IMREAD_COLOR)
        assert bgr is not None
        rgb = cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB)
        rgb = resize(random_crop(rgb, MIN_SCALE, rng.random(4).tolist()), self._image_size)
        return cv2.flip(rgb, 1) if rng.random() < 0.5 else rgb


def measure(
    *,
    path: str,
    images: int,
    rounds: int,
    batch_size: int,
    image_size: int,
    size: int,
    workers: int,
    reads: int,
) -> tuple[list[Mapping[str, Any]], Mapping[str, Any]]:
    """Measures in turns, so that what else the machine does weighs on all alike.

    Args:
      path: of image_folder; empty for procedural_faces.
      images: how many each of them reads in a round.
      rounds: how often.
      batch_size: images a batch.
      image_size: side, in pixels.
      size: of the data set as the pipeline sees it.
      workers: see `pipeline.train_iterator`.
      reads: over so many more images the memory is watched.

    Returns:
      A row for each way of reading, and the circumstances.
    """
    import jax

    from colorjax.parallel import devices

    devices.check_batch_size(batch_size)
    name = "image_folder" if path else "procedural_faces"
    pipeline.load_sources(name, path=path or None, min_chroma=0.0)  # prepared, if it was not
    cores = num_cores()
    start = time.perf_counter()
    sources = pipeline.load_sources(name, path=path or None, min_chroma=0.0)
    source = Repeated(sources.train, size)
    batches = pipeline.train_iterator(
        source,
        batch_size=batch_size,
        image_size=image_size,
        seed=0,
        min_scale=MIN_SCALE,
        workers=workers,
        place=devices.shard,
    )
    jax.block_until_ready(next(batches))
    start_up = time.perf_counter() - start

    def plain(count: int) -> None:
        with ThreadPoolExecutor(cores) as pool:
            list(pool.map(lambda first: _decode(files, range(first, count, cores)), range(cores)))

    def through_pipeline(count: int) -> None:
        for _ in range(count // batch_size):
            batch = next(batches)
        jax.block_until_ready(batch)

    with tempfile.TemporaryDirectory() as folder, contextlib.ExitStack() as stack:
        files = _write_files(sources.train, Path(folder))
        sizes = [os.path.getsize(file) for file in files]
        ways: dict[str, Callable[[int], None]] = {
            PLAIN: plain,
            "colorjax, to the device": through_pipeline,
        }
        if importlib.util.find_spec("torch"):
            loader = _torch_batches(files, image_size, batch_size, cores)
            stack.callback(loader.close)

            def through_torch(count: int) -> None:
                for _ in range(count // batch_size):
                    next(loader)

            ways["PyTorch's DataLoader"] = through_torch
        count = -(-images // batch_size) * batch_size
        rates, cpu = _take_turns(ways, rounds, count, 16 * batch_size)
    memory = _memory(batches, batch_size, reads) if reads else {}
    batches.close()

    rows: list[Mapping[str, Any]] = [
        {
            "": name,
            "images/s": statistics.median(rate),
            "of plain decoding": statistics.median(map(truediv, rate, rates[PLAIN])),
            "CPU ms an image": statistics.median(cpu[name]),
        }
        for name, rate in rates.items()
    ]
    about = {
        "data": sources.key,
        "bytes an image": round(statistics.mean(sizes)),
        "images in the data set": size,
        "cores": cores,
        "workers": workers if workers >= 0 else pipeline.default_workers(),
        "rounds of images": f"{rounds} × {images}, medians",
        "seconds from opening to the first batch": round(start_up, 2),
        **memory,
    }
    return rows, about


def _write_files(source: Source, folder: Path) -> list[str]:
    files = []
    for index in range(min(FILES, len(source))):
        files.append(os.fspath(folder / str(index)))
        Path(files[-1]).write_bytes(source[index]["image"])
    return files


def _decode(files: Sequence[str], numbers: range) -> None:
    for number in numbers:
        if cv2.imread(files[number % len(files)], cv2.IMREAD_COLOR) is None:
            raise ValueError(f"{files[number % len(files)]} cannot be decoded")


def _torch_batches(
    files: Sequence[str], image_size: int, batch_size: int, cores: int
) -> Generator[Any, None, None]:
    from torch.utils.data import DataLoader

    dataset: Any = TorchFaces(files, 2**30, image_size)
    # JAX has threads, after which forking may hang.
    context = "spawn"
    yield from DataLoader(
        dataset, batch_size=batch_size, num_workers=cores, multiprocessing_context=context
    )


def _take_turns(
    ways: Mapping[str, Callable[[int], None]], rounds: int, images: int, ahead: int
) -> tuple[dict[str, list[float]], dict[str, list[float]]]:
    """Images/s of each way in each round, and milliseconds of all cores an image.

    Before its turn each reads `ahead` images, so that what it had read ahead meanwhile does not
    count; after it, it is given time to fill its buffers again.
    """
    rates: dict[str, list[float]] = {name: [] for name in ways}
    cpu: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(rounds):
        for name, read in ways.items():
            read(ahead)
            begin, begin_cpu = time.perf_counter(), _cpu_seconds()
            read(images)
            rates[name].append(images / (time.perf_counter() - begin))
            cpu[name].append(1000 * (_cpu_seconds() - begin_cpu) / images)
            time.sleep(SETTLE_SECONDS)
    return rates, cpu


def _memory(batches: pipeline.BatchIterator, batch_size: int, reads: int) -> dict[str, Any]:
    """How much memory grows over some reads, after the first tenth of them."""
    before = 0.0
    for number in range(-(-reads // batch_size)):
        next(batches)
        if number * batch_size >= reads // 10 and not before:
            before = _resident_mib()
    return {f"MiB more after {reads} images": round(_resident_mib() - before, 1)}


def _family() -> Iterator[Path]:
    """The folders in /proc of this process and its descendants."""
    waiting = [os.getpid()]
    while waiting:
        process = Path(f"/proc/{waiting.pop()}")
        try:
            for task in (process / "task").iterdir():
                waiting += map(int, (task / "children").read_text().split())
        except OSError:
            continue  # it has ended
        yield process


def _resident_mib() -> float:
    pages = sum(int((process / "statm").read_text().split()[1]) for process in _family())
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


def _cpu_seconds() -> float:
    # After the name, which may hold anything: user and system time are the 12th and 13th fields.
    stats = ((process / "stat").read_text().rpartition(")")[2].split() for process in _family())
    return sum(int(stat[11]) + int(stat[12]) for stat in stats) / os.sysconf("SC_CLK_TCK")
