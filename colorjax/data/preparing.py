"""What the builders of data sets share: the split by person, and preparing without half results."""

import contextlib
import hashlib
import io
import os
import shutil
from collections.abc import Iterable, Iterator
from pathlib import Path

import tensorflow_datasets as tfds
from absl import logging
from array_record.python.array_record_module import ArrayRecordReader

from colorjax.files import locked
from colorjax.images.folders import name_bytes
from colorjax.terminal.errors import InputError


def held_out(people: Iterable[str]) -> set[str]:
    """The tenth of at least two people for validation: those whose names hash lowest."""
    ranked = sorted(set(people), key=rank)
    return set(ranked[: num_held_out(len(ranked))])


def num_held_out(count: int) -> int:
    """The number of people for validation, out of at least two."""
    return max(1, round(0.1 * count))


def rank(name: str) -> bytes:
    """The hash of a person's name; the people with the lowest are held out."""
    return hashlib.sha256(name_bytes(name)).digest()


def is_prepared(builder: tfds.core.DatasetBuilder) -> bool:
    """Whether all records that the builder's metadata list are on disk."""
    if not builder.is_prepared():
        return False
    try:
        return all(
            sum(ArrayRecordReader(os.fspath(file)).num_records() for file in split.filepaths)
            == split.num_examples
            for split in builder.info.splits.values()
        )
    except (OSError, RuntimeError, ValueError):  # a file is missing or truncated
        return False


def prepare(
    builder: tfds.core.DatasetBuilder, manual_dir: Path | None = None
) -> tfds.core.DatasetBuilder:
    """Prepares the data of a builder unless they are on disk and complete.

    TFDS writes into a temporary folder and renames it at the end, so that a killed process leaves
    nothing that looks prepared. A lock makes other processes on this host wait.

    Args:
      builder: of any data set of this package.
      manual_dir: a folder with downloaded files, for builders that read some.

    Returns:
      A builder of the same data that can be read.

    Raises:
      InputError: the folder cannot be written, or the disk is full.
    """
    if is_prepared(builder):
        return builder
    folder = Path(builder.data_dir)
    try:
        with locked(folder.parent):
            builder = _reopened(builder)  # another process may have prepared it
            if not is_prepared(builder):
                # Incomplete or corrupt, and not being written: this process has the lock.
                for leftover in folder.parent.glob(f"*{folder.name}"):
                    shutil.rmtree(leftover)
                builder = _reopened(builder)
                config = tfds.download.DownloadConfig(try_download_gcs=False, manual_dir=manual_dir)
                builder.download_and_prepare(download_config=config, file_format="array_record")
    except OSError as error:
        raise InputError(
            f"cannot write prepared data to {folder} ({error}); free some space there, or "
            "choose another config.dataset.cache_dir (--data_dir)"
        ) from error
    return builder


def _reopened(builder: tfds.core.DatasetBuilder) -> tfds.core.DatasetBuilder:
    """A builder reads the state of the disk only when it is created."""
    return type(builder)(data_dir=builder.data_dir_root, config=builder.builder_config)


@contextlib.contextmanager
def quiet_tfds() -> Iterator[None]:
    """Silences the log, the prints and the progress bars of TFDS."""
    verbosity = logging.get_verbosity()
    logging.set_verbosity(logging.ERROR)
    tfds.disable_progress_bar()
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            yield
    finally:
        logging.set_verbosity(verbosity)
