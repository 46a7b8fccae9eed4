"""From a data set to batches: deterministic for any number of processes."""

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import grain
import numpy as np

from colorjax.data.batches import Batch, BatchIterator, TrainBatches, default_workers
from colorjax.data.names import DATASETS
from colorjax.data.records import Records, Source
from colorjax.files import cache_folder
from colorjax.images.decode import centre_square, decode, num_cores, resize
from colorjax.terminal.errors import InputError


class Sources(NamedTuple):
    """The splits of a data set, and `key`: its name, config and version."""

    train: Source
    validation: Source
    key: str


def default_cache_dir() -> Path:
    """`colorjax/datasets` in `$XDG_CACHE_HOME` or `~/.cache`."""
    return cache_folder() / "datasets"


def load_sources(
    name: str,
    *,
    path: str | None = None,
    validation_path: str | None = None,
    cache_dir: str | os.PathLike[str] | None = None,
    **options: Any,
) -> Sources:
    """Opens a data set, and prepares it first if it is not prepared.

    Args:
      name: a key of DATASETS.
      path: folders and zips, comma-separated, for `image_folder`.
      validation_path: likewise, for validation; without it, people of `path` are held out.
      cache_dir: where data are prepared; by default `default_cache_dir()`.
      options: see DATASETS; a builder ignores those of others.

    Raises:
      InputError: an unknown name, paths without usable images, or a folder that cannot be written.
    """
    if name not in DATASETS:
        raise InputError(f"unknown data set {name!r}; choose one of {', '.join(sorted(DATASETS))}")
    from colorjax.data.preparing import prepare, quiet_tfds  # importing TFDS takes seconds

    builder_class = _builder_class(name)
    options = {key: value for key, value in options.items() if key in DATASETS[name]}
    data_dir = Path(cache_dir or default_cache_dir()).expanduser()
    with quiet_tfds():
        builder = prepare(
            builder_class.from_paths(path or "", validation_path or "", data_dir, **options)
        )
    return _opened(builder, Path(builder.data_dir).relative_to(data_dir).as_posix())


def open_prepared(key: str, cache_dir: str | os.PathLike[str] | None = None) -> Sources | None:
    """Opens prepared data by their key, whether or not their sources still exist.

    Args:
      key: see `Sources`.
      cache_dir: see `load_sources`.

    Returns:
      None if they are missing or incomplete.
    """
    import tensorflow_datasets as tfds

    from colorjax.data.preparing import is_prepared, quiet_tfds

    directory = Path(cache_dir or default_cache_dir()).expanduser() / key
    if not key or not (directory / "dataset_info.json").is_file():
        return None
    with quiet_tfds():
        builder = tfds.builder_from_directory(directory)
        if not is_prepared(builder):
            return None
    return _opened(builder, key)


def _builder_class(name: str) -> Any:
    """The TFDS builder of a data set; imported here, because it imports TFDS."""
    if name == "digiface1m":
        from colorjax.data.digiface.builder import Digiface1m

        return Digiface1m
    if name == "image_folder":
        from colorjax.data.image_folder.builder import ImageFolder

        return ImageFolder
    from colorjax.data.procedural.builder import ProceduralFaces

    return ProceduralFaces


def _opened(builder: Any, key: str) -> Sources:
    train, validation = (
        Records(builder.info.splits[name].filepaths) for name in ("train", "validation")
    )
    return Sources(train, validation, key)


def train_iterator(
    source: Source,
    *,
    batch_size: int,
    image_size: int,
    seed: int,
    process_index: int = 0,
    process_count: int = 1,
    min_scale: float = 0.6,
    flip: bool = True,
    workers: int = 0,
    num_threads: int | None = None,
    place: Callable[[Batch], Batch] | None = None,
) -> BatchIterator:
    """Endless training batches; each epoch has another order.

    Image i of the global batch goes to process i % process_count. Neither the image nor its crop
    depends on the number of processes, workers or threads.

    Args:
      source: what is read.
      batch_size: over all processes; a multiple of process_count.
      image_size: side of the square images, in pixels.
      seed: determines order and augmentation.
      process_index: index of this process.
      process_count: number of processes.
      min_scale: see `random_crop`, in (0, 1].
      flip: mirrors images with probability 1/2.
      workers: processes that read and decode; 0 means threads of this process, and -1 chooses by
        the number of CPU cores. A program with workers needs a `__main__` guard.
      num_threads: threads of each worker; by default one per core over all workers, 16 at most.
      place: moves a batch, such as to the devices; called ahead of time.

    Returns:
      An iterator of {"image": [batch_size // process_count, image_size, image_size, 3] uint8}, or
      of what `place` returns. `get_state()` gives a dict for JSON; after `set_state()` with it the
      iterator resumes with the batch that would have come next.
    """
    workers = default_workers() if workers < 0 else workers
    threads = num_threads or max(1, min(16, num_cores()) // max(1, workers))
    batches = TrainBatches(
        source, batch_size, image_size, seed, process_index, process_count, min_scale, flip
    )
    return BatchIterator(batches, workers=workers, num_threads=threads, place=place)


def eval_batches(
    source: Source,
    *,
    batch_size: int,
    image_size: int,
    process_index: int = 0,
    process_count: int = 1,
    limit: int | None = None,
) -> Iterator[dict[str, np.ndarray]]:
    """The centre squares of all images, once and in order; processes get equal numbers of batches.

    Args:
      source: what is read.
      batch_size: over all processes; a multiple of process_count.
      image_size: side of the square images, in pixels.
      process_index: index of this process, which gets the images process_index::process_count.
      process_count: number of processes.
      limit: reads only the first images (over all processes).

    Returns:
      An iterator of {"image": [b, image_size, image_size, 3] uint8, "mask": [b] bool, "index":
      [b] int32}, with b = batch_size // process_count. The mask is False where the last batch is
      padded with black images; the index is the image's index in the source.
    """
    count = len(source) if limit is None else min(limit, len(source))
    padded_count = -(-count // batch_size) * batch_size
    threads = min(16, num_cores())

    def load(index: int) -> dict[str, np.ndarray]:
        if index < count:
            image = eval_image(source, index, image_size)
        else:
            image = np.zeros((image_size, image_size, 3), np.uint8)
        return {
            "image": image,
            "mask": np.array(index < count),
            "index": np.array(index, np.int32),
        }

    return iter(
        grain.MapDataset.range(padded_count)
        .slice(slice(process_index, None, process_count))
        .map(load)
        .batch(batch_size // process_count)
        .to_iter_dataset(grain.ReadOptions(num_threads=threads, prefetch_buffer_size=threads + 2))
    )


def eval_image(source: Source, index: int, image_size: int) -> np.ndarray:
    """Image `index` as in `eval_batches`: [image_size, image_size, 3] uint8."""
    return resize(centre_square(decode(source[index]["image"])), image_size)


def sample_images(source: Source, count: int, image_size: int) -> np.ndarray:
    """Evenly spread images as in `eval_batches`: [count, image_size, image_size, 3] uint8."""
    indices = np.linspace(0, len(source) - 1, count, dtype=int)
    return np.stack([eval_image(source, int(index), image_size) for index in indices])
