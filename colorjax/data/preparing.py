"""What every builder needs to prepare its data: a split by person, progress, all or nothing."""

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


def held_out(people: Iterable[str], share: float = 0.1) -> set[str]:
    """Chooses who is kept for validation: those whose names hash lowest.

    The choice depends on the names alone, neither on their order nor on a random state, and at
    least one person is on each side.

    Args:
      people: names; at least two different ones.
      share: the share of the people to hold out, in (0, 1).
    """
    ranked = sorted(set(people), key=rank)
    if len(ranked) < 2:
        raise ValueError(f"{len(ranked)} people cannot be split in two")
    return set(ranked[: num_held_out(len(ranked), share)])


def num_held_out(count: int, share: float = 0.1) -> int:
    """How many of `count` people, at least two, are kept for validation."""
    return min(max(1, round(share * count)), count - 1)


def rank(name: str) -> bytes:
    """Those who rank lowest are held out."""
    return hashlib.sha256(name_bytes(name)).digest()


def is_prepared(builder: tfds.core.DatasetBuilder) -> bool:
    """Whether everything that the builder's own record of its files promises is on disk."""
    if not builder.is_prepared():
        return False
    try:
        return all(
            sum(ArrayRecordReader(os.fspath(file)).num_records() for file in split.filepaths)
            == split.num_examples
            for split in builder.info.splits.values()
        )
    except (OSError, RuntimeError, ValueError):  # a file is missing or cut short
        return False


def prepare(
    builder: tfds.core.DatasetBuilder, manual_dir: Path | None = None
) -> tfds.core.DatasetBuilder:
    """Makes sure that a builder's data are on disk and complete.

    TFDS writes into a folder beside and renames it at the end, so a killed process leaves nothing
    that looks prepared. A lock makes other processes of this host wait instead of repeating.

    Args:
      builder: of any data set of this package.
      manual_dir: where it finds what has been downloaded, if it reads any of that.

    Returns:
      A builder of the same data whose `as_data_source` can be called.

    Raises:
      InputError: the folder cannot be written, or the disk is full.
    """
    if is_prepared(builder):
        return builder
    folder = Path(builder.data_dir)
    try:
        with locked(folder.parent):
            builder = _again(builder)  # another process may have been faster
            if not is_prepared(builder):
                # Cut off or damaged, and nobody is writing it: the lock is ours.
                for leftover in folder.parent.glob(f"*{folder.name}"):
                    shutil.rmtree(leftover)
                builder = _again(builder)
                config = tfds.download.DownloadConfig(try_download_gcs=False, manual_dir=manual_dir)
                builder.download_and_prepare(download_config=config, file_format="array_record")
    except OSError as error:
        raise InputError(
            f"cannot write prepared data to {folder} ({error}); make room there, or set "
            "XDG_CACHE_HOME to another folder"
        ) from error
    return builder


def _again(builder: tfds.core.DatasetBuilder) -> tfds.core.DatasetBuilder:
    """A builder looks at the disk only when it is made."""
    return type(builder)(data_dir=builder.data_dir_root, config=builder.builder_config)


@contextlib.contextmanager
def quiet_tfds() -> Iterator[None]:
    """Silences TFDS: its remarks on builders of one's own, its prints and its progress bars."""
    verbosity = logging.get_verbosity()
    logging.set_verbosity(logging.ERROR)
    tfds.disable_progress_bar()
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            yield
    finally:
        logging.set_verbosity(verbosity)
