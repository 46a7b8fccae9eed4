"""What `colorjax prepare digiface1m` does: the licence, the zips, the prepared data."""

import os
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import urljoin

import tensorflow_datasets as tfds

from colorjax.data.digiface.builder import LICENSE, Digiface1m, make_config
from colorjax.data.digiface.download import fetch_zip
from colorjax.data.digiface.zips import URL, Part
from colorjax.data.preparing import is_prepared, prepare, quiet_tfds
from colorjax.files import locked
from colorjax.terminal.errors import InputError
from colorjax.terminal.progress import shown


def prepare_digiface(
    data_dir: Path,
    *,
    config: str = "72",
    parts: Sequence[str] | None = None,
    max_subjects: int = 0,
    manual_dir: Path | None = None,
    mirror: str = URL,
    accept_license: bool = False,
) -> tfds.core.DatasetBuilder:
    """Prepares DigiFace-1M; downloads the zips that are missing.

    Args:
      data_dir: where prepared data are kept, and the zips in its folder `downloads`.
      config: see `make_config`.
      parts: see `make_config`.
      max_subjects: see `make_config`.
      manual_dir: a folder with zips of the user's, which are only read.
      mirror: where the zips are downloaded from.
      accept_license: whether the user has accepted the licence.

    Returns:
      The builder of the prepared data.

    Raises:
      InputError: the licence is not accepted, a choice does not exist, a folder cannot be written,
        or a zip is corrupt or cannot be downloaded.
    """
    builder_config = make_config(config, parts, max_subjects)
    if not accept_license:
        raise InputError(f"{LICENSE}. Read them, and add --accept_license if you accept them")
    if manual_dir is not None and not manual_dir.is_dir():
        raise InputError(f"--manual_dir {manual_dir} is not a folder; give the one with the zips")
    _check_writable(data_dir)
    with quiet_tfds():
        builder = Digiface1m(data_dir=data_dir, config=builder_config)
        if is_prepared(builder):
            return builder
        with locked(data_dir / "downloads"), tempfile.TemporaryDirectory(dir=data_dir) as zips:
            for part in builder_config.parts:
                file = _find(part, manual_dir, data_dir / "downloads", mirror)
                # TFDS reads from one folder.
                os.symlink(file.absolute(), Path(zips) / part.file)
            return prepare(builder, manual_dir=Path(zips))


def _find(part: Part, manual_dir: Path | None, downloads: Path, mirror: str) -> Path:
    for folder in (manual_dir, downloads):
        if folder is not None and (folder / part.file).exists():
            return folder / part.file
    if manual_dir is not None:
        print(f"{part.file} is not in {manual_dir}: downloading it.", file=sys.stderr)
    with shown() as report:
        base = mirror if mirror.endswith("/") else mirror + "/"
        fetch_zip(urljoin(base, part.file), downloads / part.file, report)
    return downloads / part.file


def _check_writable(folder: Path) -> None:
    """Raises InputError before anything is downloaded that could not be stored."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise InputError(f"cannot write to {folder} ({error}); give another --data_dir") from error
