"""Folders and zips of images as a TFDS data set, identified by their contents."""

import contextlib
import dataclasses
import hashlib
import sys
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np
import tensorflow_datasets as tfds

from colorjax.data.image_folder.layout import Layout
from colorjax.data.image_folder.manifest import ImageFile, Manifest, digest
from colorjax.data.image_folder.stored import MAX_PIXELS, as_stored
from colorjax.files import write_text
from colorjax.images.folders import (
    Folder,
    Root,
    name_bytes,
    open_root,
    printable,
    split_paths,
)
from colorjax.terminal.errors import InputError

# A file written to within this time may be written to again without a change of its times.
SETTLED_SECONDS = 3


@dataclasses.dataclass(eq=False)
class ImageFolderConfig(tfds.core.BuilderConfig):
    """Which folders and zips; `name` is the fingerprint of their contents.

    Attributes:
      roots: what is read.
      num_train_roots: the first roots are for training, the others for validation. If there are
        no others and no folder `val` or `test` (see `Layout`), people are held out.
      min_chroma: see `Manifest`.
    """

    roots: tuple[Root, ...] = ()
    num_train_roots: int = 0
    min_chroma: float = 0.0


class ImageFolder(tfds.core.GeneratorBasedBuilder):
    """Images as upright sRGB JPEGs and PNGs; nobody is in both splits."""

    VERSION = tfds.core.Version("4.0.0")
    RELEASE_NOTES: ClassVar = {
        "3.0.0": "libvips rounds 16 bits, converts profiles and CMYK.",
        "4.0.0": "Wrapping folders are looked through; train, val and test are splits.",
    }
    # TFDS downloads nothing; to look for checksums it would import a package it does not install.
    url_infos = None

    @classmethod
    def from_paths(
        cls, path: str, validation_path: str, data_dir: Path, *, min_chroma: float = 0.0
    ) -> Self:
        """The builder that prepares its data in `data_dir`.

        Args:
          path: folders and zips, comma-separated.
          validation_path: likewise; if empty, folders `val` or `test` in `path` are used, or a
            tenth of the people is held out.
          data_dir: where data are prepared.
          min_chroma: see `Manifest`.

        Raises:
          InputError: see `open_root`; or no path is given.
        """
        train, validation = split_paths(path), split_paths(validation_path)
        if not train:
            raise InputError(
                "image_folder needs images; set config.dataset.path to a folder or a zip"
            )
        roots = tuple(map(open_root, train + validation))
        known = data_dir / "image_folder" / "known"
        contents = hashlib.sha256(f"{min_chroma}".encode())
        for number, root in enumerate(roots):
            contents.update(f"{number < len(train)} {_fingerprint(root, known)}\0".encode())
        config = ImageFolderConfig(
            name=contents.hexdigest()[:16],
            roots=roots,
            num_train_roots=len(train),
            min_chroma=min_chroma,
        )
        return cls(data_dir=data_dir, config=config)

    def _info(self) -> tfds.core.DatasetInfo:
        features = {
            "image": tfds.features.Image(shape=(None, None, 3)),
            "subject": tfds.features.Text(),
            "index": np.int64,
        }
        return tfds.core.DatasetInfo(
            builder=self,
            description="Images from folders and zips; first-level folders are people.",
            features=tfds.features.FeaturesDict(features),
        )

    def _split_generators(self, dl_manager: Any) -> dict[str, Iterator[tuple[str, dict]]]:
        del dl_manager  # nothing is downloaded
        config = self.builder_config
        train = config.roots[: config.num_train_roots]
        validation = config.roots[config.num_train_roots :]
        # For evaluation on all images: they are not duplicates of themselves.
        same = [root.path for root in train] == [root.path for root in validation]
        roots, num_train_roots = (validation, 0) if same else (config.roots, len(train))
        layout = Layout(roots, num_train_roots)
        for remark in () if same else layout.remarks():
            print(remark, file=sys.stderr)
        manifest = Manifest(roots, layout, config.min_chroma)
        account = manifest.account()
        print(f"{account[0].upper()}{account[1:]}.", file=sys.stderr)
        if not same:
            _require(manifest, True, layout)
        held_out = not layout.count(False)
        if not held_out:
            _require(manifest, False, layout)
        elif manifest.people() < 2:
            raise InputError(
                f"all images of {layout.where(True)} are of one person, "
                f"{next(manifest.given(True)).person!r}, because first-level folders are people "
                f"({account}); give images of more people, or set config.dataset.validation_path"
            )

        def files(training: bool) -> Iterator[ImageFile]:
            if held_out:
                return manifest.split(training)
            return manifest.given(training and not same)

        train_count, count = (sum(1 for _ in files(training)) for training in (True, False))
        if not same and count > train_count:
            print(
                f"The validation split ({count} images) is larger than the training split "
                f"({train_count}); swap their paths if this is not meant.",
                file=sys.stderr,
            )
        return {
            "train": self._generate_examples(files(True)),
            "validation": self._generate_examples(files(False)),
        }

    def _generate_examples(self, files: Iterator[ImageFile]) -> Iterator[tuple[str, dict]]:
        roots = self.builder_config.roots
        with contextlib.ExitStack() as stack:
            readers = [stack.enter_context(root.reader()) for root in roots]
            for file in files:
                name = printable(file.name)
                try:
                    image = readers[file.root](file.name)
                    if digest(image) != file.digest:
                        raise ValueError("other contents")
                    if not file.is_stored_as_is:
                        image = as_stored(image).data
                except Exception as error:
                    raise InputError(
                        f"{name} in {roots[file.root].path} has changed while it was prepared "
                        f"({error}); run the command again"
                    ) from error
                example = {"image": image, "subject": file.person, "index": file.number}
                yield f"{file.root}/{name}", example


def _require(manifest: Manifest, training: bool, layout: Layout) -> None:
    if manifest.count(training):
        return
    where = layout.where(training)
    if not where:
        raise InputError(
            f"{layout.where(False)} is for validation, and no image is for training; add a folder "
            "train, or give the folder to train on itself"
        )
    if manifest.grey:
        raise InputError(
            f"no image in {where} has colours to learn from ({manifest.account()}); give "
            "coloured ones"
        )
    raise InputError(
        f"no image in {where} can be read; give image files of at most "
        f"{MAX_PIXELS // 10**6} megapixels that are not corrupt"
    )


def _fingerprint(root: Root, known: Path) -> str:
    """A hash of the names and contents of all images.

    Args:
      root: what is hashed.
      known: a folder that keeps the hashes of folders under a hash of names, sizes and times, so
        that a million unchanged images are not read again at every start.
    """
    if not isinstance(root, Folder):
        return _hash((name, root.digest(name)) for name in root.names)
    newest = 0

    def statuses() -> Iterator[tuple[str, str]]:
        nonlocal newest
        for name in root.names:
            status = root.status(name)
            newest = max(newest, *status[-2:])
            yield name, str(status)

    cached = known / _hash(statuses())
    with contextlib.suppress(OSError):
        return cached.read_text()
    fingerprint = _hash((name, root.digest(name)) for name in root.names)
    if time.time_ns() - newest > SETTLED_SECONDS * 10**9:
        with contextlib.suppress(OSError):  # preparing reports what is wrong with the folder
            write_text(cached, fingerprint)
    return fingerprint


def _hash(entries: Iterable[tuple[str, str]]) -> str:
    digest = hashlib.sha256()
    for name, contents in entries:
        digest.update(name_bytes(f"{name}\0{contents}\0"))
    return digest.hexdigest()
