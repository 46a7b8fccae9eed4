"""Images/s of the input pipeline, compared with plain decoding."""

import os
import statistics
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from operator import truediv
from pathlib import Path
from typing import Any

import cv2
import jax

from colorjax.benchmark.measuring import family_cpu_seconds
from colorjax.data import pipeline
from colorjax.data.records import Source
from colorjax.images.decode import num_cores
from colorjax.parallel import devices

Row = Mapping[str, Any]

FILES = 1000
PLAIN = "plain OpenCV decoding"
SETTLE_SECONDS = 0.5
MIN_SCALE = 0.6


class Repeated:
    """A source made as large as wanted by repeating its indices."""

    def __init__(self, source: Source, size: int):
        self._source, self._size, self._real = source, size, len(source)

    def __len__(self) -> int:
        return self._size

    def __getitem__(self, index: int, /) -> Mapping[str, Any]:
        return self._source[index % self._real]


def measure(
    *,
    path: str,
    images: int,
    rounds: int,
    batch_size: int,
    image_size: int,
    size: int,
    workers: int,
) -> tuple[list[Row], Row]:
    """Measures in turns, so that other load of the machine affects all alike.

    Args:
      path: of image_folder; empty for procedural_faces.
      images: number of images that each way reads in a round.
      rounds: number of rounds.
      batch_size: images in a batch.
      image_size: side in pixels.
      size: size of the data set as the pipeline sees it.
      workers: see `pipeline.train_iterator`.

    Returns:
      A row for each way of reading, and the conditions.
    """
    devices.check_batch_size(batch_size)
    options: dict[str, Any] = {"path": path or None, "min_chroma": 0.0}
    name = "image_folder" if path else "procedural_faces"
    pipeline.load_sources(name, **options)  # prepares the data set
    start = time.perf_counter()
    sources = pipeline.load_sources(name, **options)
    batches = pipeline.train_iterator(
        Repeated(sources.train, size),
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
        cores = num_cores()
        with ThreadPoolExecutor(cores) as pool:
            list(pool.map(lambda first: _decode(files[first:count:cores]), range(cores)))

    def through(count: int) -> None:
        for _ in range(count // batch_size):
            batch = next(batches)
        jax.block_until_ready(batch)

    count = -(-images // batch_size) * batch_size
    with tempfile.TemporaryDirectory() as folder:
        written = _write_files(sources.train, Path(folder))
        files = written * -(-count // len(written))
        ways = {PLAIN: plain, "colorjax, to the device": through}
        rates, cpu = _take_turns(ways, rounds, count, 16 * batch_size)
        mean_bytes = round(statistics.mean(map(os.path.getsize, written)))
    batches.close()
    rows: list[Row] = [
        {
            "": name,
            "images/s": statistics.median(rate),
            "of plain decoding": statistics.median(map(truediv, rate, rates[PLAIN])),
            "CPU ms per image": statistics.median(cpu[name]),
        }
        for name, rate in rates.items()
    ]
    about = {
        "data": sources.key,
        "bytes per image": mean_bytes,
        "images in the data set": size,
        "cores": num_cores(),
        "workers": workers if workers >= 0 else pipeline.default_workers(),
        "rounds of images": f"{rounds} × {images}, medians",
        "seconds from opening to the first batch": round(start_up, 2),
    }
    return rows, about


def _write_files(source: Source, folder: Path) -> list[str]:
    files = [str(folder / str(index)) for index in range(min(FILES, len(source)))]
    for index, file in enumerate(files):
        Path(file).write_bytes(source[index]["image"])
    return files


def _decode(files: Sequence[str]) -> None:
    for file in files:
        if cv2.imread(file, cv2.IMREAD_COLOR) is None:
            raise ValueError(f"{file} cannot be decoded")


def _take_turns(
    ways: Mapping[str, Callable[[int], None]], rounds: int, images: int, ahead: int
) -> tuple[dict[str, list[float]], dict[str, list[float]]]:
    """Images/s of each way in each round, and milliseconds of all cores per image.

    Before its turn each way reads `ahead` images, so that images which it read ahead meanwhile do
    not count. After its turn it has time to fill its buffers again.
    """
    rates: dict[str, list[float]] = {name: [] for name in ways}
    cpu: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(rounds):
        for name, read in ways.items():
            read(ahead)
            start, cpu_start = time.perf_counter(), family_cpu_seconds()
            read(images)
            rates[name].append(images / (time.perf_counter() - start))
            cpu[name].append(1000 * (family_cpu_seconds() - cpu_start) / images)
            time.sleep(SETTLE_SECONDS)
    return rates, cpu
