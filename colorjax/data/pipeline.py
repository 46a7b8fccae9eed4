"""From prepared faces to batches: random access, deterministic for any number of processes."""

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import grain
import numpy as np

from colorjax.data.batches import Batch, BatchIterator, TrainBatches, default_workers
from colorjax.data.records import Records, Source
from colorjax.images.decode import centre_square, decode, num_cores, resize
from colorjax.terminal.errors import InputError

# Each data set, with the keys of config.dataset that only its builder takes.
DATASETS: dict[str, tuple[str, ...]] = {
    "digiface1m": ("variant",),
    "image_folder": ("min_chroma",),
    "procedural_faces": (),
}


class Sources(NamedTuple):
    """The two splits of a data set, and `key`: its name, fingerprint and version."""

    train: Source
    validation: Source
    key: str


def default_cache_dir() -> Path:
    """Where data are prepared: `$XDG_CACHE_HOME`, else `~/.cache`, with `colorjax/datasets`."""
    return Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "colorjax/datasets"


def load_sources(
    name: str,
    *,
    path: str | None = None,
    validation_path: str | None = None,
    cache_dir: str | os.PathLike[str] | None = None,
    **options: Any,
) -> Sources:
    """Opens a data set; prepares it first if that has not been done.

    Args:
      name: one of DATASETS.
      path: folders and zips, comma-separated, for `image_folder`.
      validation_path: likewise, for validation; without it, people of `path` are held out.
      cache_dir: where data are prepared; by default `default_cache_dir()`.
      options: what only some builders take (see DATASETS); the others do without.

    Raises:
      InputError: an unknown name; paths that hold no usable images; a folder that cannot be
        written.
    """
    if name not in DATASETS:
        raise InputError(f"unknown data set {name!r}; choose one of {', '.join(sorted(DATASETS))}")
    # Importing TFDS takes seconds.
    from colorjax.data.preparing import prepare, quiet_tfds

    builder_class = _builder_class(name)
    options = {key: value for key, value in options.items() if key in DATASETS[name]}
    data_dir = Path(cache_dir or default_cache_dir()).expanduser()
    with quiet_tfds():
        builder = prepare(
            builder_class.from_paths(path or "", validation_path or "", data_dir, **options)
        )
    return _opened(builder, Path(builder.data_dir).relative_to(data_dir).as_posix())


def open_prepared(key: str, cache_dir: str | os.PathLike[str] | None = None) -> Sources | None:
    """Opens data that were prepared before, wherever they came from.

    Args:
      key: of `Sources`.
      cache_dir: see `load_sources`.

    Returns:
      None if they are not there, or not whole.
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
    """The TFDS builder of one of DATASETS, imported only when it is needed."""
    if name == "digiface1m":
        from colorjax.data.digiface.builder import Digiface1m

        return Digiface1m
    if name == "image_folder":
        from colorjax.data.image_folder.builder import ImageFolder

        return ImageFolder
    from colorjax.data.procedural.builder import ProceduralFaces

    return ProceduralFaces


def _opened(builder: Any, key: str) -> Sources:
    """The splits of a prepared builder."""
    train, validation = (builder.info.splits[name] for name in ("train", "validation"))
    return Sources(
        Records(train.filepaths, train.num_examples),
        Records(validation.filepaths, validation.num_examples),
        key,
    )


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
    """Endless training batches, every epoch in another order.

    Image i of the global batch goes to process i % process_count, and neither it nor its crop
    depends on the number of processes, workers or threads.

    Args:
      source: what to read.
      batch_size: global: over all processes.
      image_size: side of the square images, in pixels.
      seed: fixes order and augmentation.
      process_index: this process.
      process_count: number of processes.
      min_scale: see `random_crop`, in (0, 1].
      flip: mirror every second image on average.
      workers: processes that read and decode; 0 means threads of this process, and -1 chooses by
        the number of CPUs. A program that starts some needs a `__main__` guard.
      num_threads: threads that read and decode, of each worker; by default the CPUs are shared
        out, 16 at most.
      place: puts a batch where it is wanted, such as on the devices; called ahead of time.

    Returns:
      An iterator of {"image": [batch_size // process_count, image_size, image_size, 3] uint8}, or
      of what `place` makes of these. `get_state()` gives a dict that JSON can hold; after
      `set_state()` with it, the next batch is the one that would have come next.

    Raises:
      InputError: batch_size is not a multiple of process_count.
    """
    _local_batch_size(batch_size, process_count)
    workers = default_workers() if workers < 0 else workers
    threads = num_threads or max(1, _num_threads() // max(1, workers))
    batches = TrainBatches(
        source,
        batch_size=batch_size,
        image_size=image_size,
        seed=seed,
        process_index=process_index,
        process_count=process_count,
        min_scale=min_scale,
        flip=flip,
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
    num_threads: int | None = None,
) -> Iterator[dict[str, np.ndarray]]:
    """All images once and in order: the centre square, resized; every process as many batches.

    Args:
      source: what to read.
      batch_size: global: over all processes.
      image_size: side of the square images, in pixels.
      process_index: this process, which gets the images process_index::process_count.
      process_count: number of processes.
      limit: only the first images (over all processes).
      num_threads: threads that read and decode; by default one per CPU, 16 at most.

    Returns:
      An iterator of {"image": [b, image_size, image_size, 3] uint8, "mask": [b] bool, "index":
      [b] int32}, with b = batch_size // process_count. The mask is False where the last batch is
      padded with black images; the number is the image's in the source.

    Raises:
      InputError: batch_size is not a multiple of process_count.
    """
    local_batch_size = _local_batch_size(batch_size, process_count)
    count = len(source) if limit is None else min(limit, len(source))
    padded_count = -(-count // batch_size) * batch_size

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
        .batch(local_batch_size)
        .to_iter_dataset(_read_options(num_threads))
    )


def eval_image(source: Source, index: int, image_size: int) -> np.ndarray:
    """Image `index` as evaluation sees it: [image_size, image_size, 3] uint8."""
    return resize(centre_square(decode(source[index]["image"])), image_size)


def sample_images(source: Source, count: int, image_size: int) -> np.ndarray:
    """Some images, evenly spread, as evaluation sees them: [count, image_size, image_size, 3]."""
    indices = np.linspace(0, len(source) - 1, count, dtype=int)
    return np.stack([eval_image(source, int(index), image_size) for index in indices])


def _local_batch_size(batch_size: int, process_count: int) -> int:
    if batch_size < 1 or batch_size % process_count:
        raise InputError(
            f"a batch of {batch_size} cannot be shared by {process_count} process(es); "
            "set config.batch_size to a multiple"
        )
    return batch_size // process_count


def _num_threads() -> int:
    return min(16, num_cores())


def _read_options(num_threads: int | None) -> grain.ReadOptions:
    """Each thread makes whole batches; the buffer counts those in work and those that wait."""
    threads = num_threads or _num_threads()
    return grain.ReadOptions(num_threads=threads, prefetch_buffer_size=threads + 2)
