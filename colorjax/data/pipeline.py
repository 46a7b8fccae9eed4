"""From prepared faces to batches: random access, deterministic for any number of processes."""

import importlib
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import cv2
import grain
import numpy as np

from colorjax.errors import InputError

# A data set is one line here: module in colorjax.data -> its TFDS builder.
BUILDERS = {"image_folder": "ImageFolder", "procedural_faces": "ProceduralFaces"}

# grain decodes in threads of its own; OpenCV's would only fight with them.
cv2.setNumThreads(1)


class Source(Protocol):
    """Random access to records {"image": JPEG or PNG bytes, "subject": …, "index": …}."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: int, /) -> Mapping[str, Any]: ...


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
) -> Sources:
    """Opens a data set; prepares it first if that has not been done.

    Args:
      name: one of BUILDERS.
      path: folders and zips, comma-separated, for `image_folder`.
      validation_path: likewise, for validation; without it, people of `path` are held out.
      cache_dir: where data are prepared; by default `default_cache_dir()`.

    Raises:
      InputError: an unknown name; paths that hold no usable images; a folder that cannot be
        written.
    """
    if name not in BUILDERS:
        raise InputError(f"unknown data set {name!r}; choose one of {', '.join(sorted(BUILDERS))}")
    # TFDS takes its time to import: only when it is needed.
    import tensorflow_datasets as tfds

    from colorjax.data.preparing import prepare, quiet_tfds

    builder_class = getattr(importlib.import_module(f"colorjax.data.{name}"), BUILDERS[name])
    data_dir = Path(cache_dir or default_cache_dir()).expanduser()
    with quiet_tfds():
        builder = prepare(builder_class.from_paths(path or "", validation_path or "", data_dir))
        decoders = {"image": tfds.decode.SkipDecoding()}
        train, validation = builder.as_data_source(["train", "validation"], decoders=decoders)
    return Sources(train, validation, Path(builder.data_dir).relative_to(data_dir).as_posix())


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
        decoders = {"image": tfds.decode.SkipDecoding()}
        train, validation = builder.as_data_source(["train", "validation"], decoders=decoders)
    return Sources(train, validation, key)


def decode(image: bytes) -> np.ndarray:
    """Decodes JPEG or PNG bytes to [H, W, 3] uint8 RGB, turned upright as EXIF says."""
    bgr = cv2.imdecode(np.frombuffer(image, np.uint8), cv2.IMREAD_COLOR)
    if bgr is None:
        raise ValueError("these bytes are no image, although the data were checked")
    return cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB)


def resize(image: np.ndarray, size: int) -> np.ndarray:
    """Resizes [H, W, 3] to [size, size, 3]: means of areas to shrink it, bicubic to enlarge it."""
    shrink = size < min(image.shape[:2])
    interpolation = cv2.INTER_AREA if shrink else cv2.INTER_CUBIC
    return cv2.resize(image, (size, size), interpolation=interpolation)


def centre_square(image: np.ndarray) -> np.ndarray:
    """The largest square in the middle of [H, W, 3]."""
    height, width = image.shape[:2]
    side = min(height, width)
    top, left = (height - side) // 2, (width - side) // 2
    return image[top : top + side, left : left + side]


def random_crop(image: np.ndarray, min_scale: float, rng: np.random.Generator) -> np.ndarray:
    """A random part of the centre square, before resizing.

    Args:
      image: [H, W, 3].
      min_scale: the part's area is uniform in [min_scale, 1] of the centre square's, its aspect
        log-uniform in [4/5, 5/4], or in less where min_scale is nearer to 1; so 1.0 gives the
        centre square itself.
      rng: drawn from four times.

    Returns:
      [h, w, 3], a view.
    """
    square = centre_square(image)
    side = len(square)
    limit = np.log(min(5 / 4, 1 / min_scale))
    area = rng.uniform(min_scale, 1) * side**2
    aspect = np.exp(rng.uniform(-limit, limit))
    width = int(np.clip(round(np.sqrt(area * aspect)), 1, side))
    height = int(np.clip(round(np.sqrt(area / aspect)), 1, side))
    top, left = rng.integers(side - height + 1), rng.integers(side - width + 1)
    return square[top : top + height, left : left + width]


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
    num_threads: int | None = None,
) -> grain.DatasetIterator[dict[str, np.ndarray]]:
    """Endless training batches, every epoch in another order.

    Image i of the global batch goes to process i % process_count, and neither it nor its crop
    depends on the number of processes.

    Args:
      source: what to read.
      batch_size: global: over all processes.
      image_size: side of the square images, in pixels.
      seed: fixes order and augmentation.
      process_index: this process.
      process_count: number of processes.
      min_scale: see `random_crop`, in (0, 1].
      flip: mirror every second image on average.
      num_threads: threads that read and decode; by default one per CPU, 16 at most.

    Returns:
      An iterator of {"image": [batch_size // process_count, image_size, image_size, 3] uint8}.
      `get_state()` gives a dict that JSON can hold; after `set_state()` with it, the next batch
      is the one that would have come next.

    Raises:
      InputError: batch_size is not a multiple of process_count.
    """

    def load(record: Mapping[str, Any], rng: np.random.Generator) -> dict[str, np.ndarray]:
        image = resize(random_crop(decode(record["image"]), min_scale, rng), image_size)
        return {"image": image[:, ::-1] if flip and rng.random() < 0.5 else image}

    return iter(
        grain.MapDataset.source(source)
        .seed(seed % 2**32)
        .shuffle()
        .repeat()
        # Before the slice: its random numbers follow the position in the global order.
        .random_map(load)
        .slice(slice(process_index, None, process_count))
        # Nothing is dropped from what never ends; without this, grain overflows at batches of 1.
        .batch(_local_batch_size(batch_size, process_count), drop_remainder=True)
        .to_iter_dataset(_read_options(num_threads))
    )


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
      An iterator of {"image": [b, image_size, image_size, 3] uint8, "mask": [b] bool}, with
      b = batch_size // process_count. The mask is False where the last batch is padded with
      black images.

    Raises:
      InputError: batch_size is not a multiple of process_count.
    """
    local_batch_size = _local_batch_size(batch_size, process_count)
    count = len(source) if limit is None else min(limit, len(source))
    padded_count = -(-count // batch_size) * batch_size

    def load(index: int) -> dict[str, np.ndarray]:
        if index >= count:
            black = np.zeros((image_size, image_size, 3), np.uint8)
            return {"image": black, "mask": np.array(False)}
        return {"image": eval_image(source, index, image_size), "mask": np.array(True)}

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


def _read_options(num_threads: int | None) -> grain.ReadOptions:
    """Each thread makes whole batches; the buffer counts those in work and those that wait."""
    threads = num_threads or min(16, os.cpu_count() or 1)
    return grain.ReadOptions(num_threads=threads, prefetch_buffer_size=threads + 2)
