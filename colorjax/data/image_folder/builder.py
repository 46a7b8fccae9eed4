"""People's own images, in folders and zips, as a TFDS data set that is keyed by contents."""

import contextlib
import dataclasses
import hashlib
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np
import tensorflow_datasets as tfds

from colorjax.data.image_folder.manifest import ImageFile, Manifest, text
from colorjax.files import write_text
from colorjax.images.folders import Folder, Root, open_root, split_paths
from colorjax.images.training import MAX_PIXELS, READ_ERRORS, as_stored
from colorjax.terminal.errors import InputError

# What was written to a moment ago may be written to again without its times showing it.
SETTLED_SECONDS = 3


@dataclasses.dataclass(eq=False)
class ImageFolderConfig(tfds.core.BuilderConfig):
    """Which folders and zips; `name` is the fingerprint of what they hold.

    Attributes:
      roots: what is read.
      num_train_roots: the roots before this are for training, the others for validation;
        without any of the latter, people are held out.
      min_chroma: see `Manifest`.
    """

    roots: tuple[Root, ...] = ()
    num_train_roots: int = 0
    min_chroma: float = 0.0


class ImageFolder(tfds.core.GeneratorBasedBuilder):
    """Images as upright sRGB JPEGs and PNGs; whoever is in one split is not in the other."""

    VERSION = tfds.core.Version("2.0.0")
    RELEASE_NOTES: ClassVar = {
        "2.0.0": "More formats, depths and profiles; no grey pictures, no duplicates.",
        "1.0.0": "JPEG and PNG files as they are.",
    }
    # Nothing is downloaded; looking for checksums, TFDS would import a package it does not install.
    url_infos = None

    @classmethod
    def from_paths(
        cls, path: str, validation_path: str, data_dir: Path, *, min_chroma: float = 0.0
    ) -> Self:
        """The builder whose data lie in `data_dir`.

        Args:
          path: folders and zips, comma-separated.
          validation_path: likewise; if empty, a tenth of the people in `path` is held out.
          data_dir: where data are prepared.
          min_chroma: pictures that have this chroma (Lab units) in less than a twentieth of their
            pixels are left out; 0 keeps all.

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
        digest = hashlib.sha256(f"{min_chroma}".encode())
        for number, root in enumerate(roots):
            digest.update(f"{number < len(train)} {_fingerprint(root, known)}\0".encode())
        config = ImageFolderConfig(
            name=digest.hexdigest()[:16],
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
        train, validation = (
            config.roots[: config.num_train_roots],
            config.roots[config.num_train_roots :],
        )
        same = [root.path for root in train] == [root.path for root in validation]
        if same:  # an evaluation of all there is: nothing is a duplicate of itself
            manifest = Manifest(validation, 0, config.min_chroma)
        else:
            manifest = Manifest(config.roots, config.num_train_roots, config.min_chroma)
        account = manifest.account()
        print(f"{account[0].upper()}{account[1:]}.", file=sys.stderr)
        if same:
            _require(manifest, False, validation)
            select = lambda training: manifest.given(False)  # noqa: E731
        elif validation:
            _require(manifest, True, train)
            _require(manifest, False, validation)
            select = manifest.given
        else:
            _require(manifest, True, config.roots)
            if manifest.people() < 2:
                person = next(manifest.given(True)).person
                raise InputError(
                    f"all images of {_names(config.roots)} are of one person, {person!r}, "
                    f"because first-level folders are people ({manifest.account()}); give images "
                    "of more people, or set config.dataset.validation_path"
                )
            select = manifest.split
        return {
            "train": self._generate_examples(select(True)),
            "validation": self._generate_examples(select(False)),
        }

    def _generate_examples(self, files: Iterator[ImageFile]) -> Iterator[tuple[str, dict]]:
        with contextlib.ExitStack() as stack:
            readers = [stack.enter_context(r.reader()) for r in self.builder_config.roots]
            for file in files:
                try:
                    image = as_stored(readers[file.root](file.name))
                except READ_ERRORS as error:
                    raise InputError(
                        f"{text(file.name)} in {self.builder_config.roots[file.root].path} has "
                        f"changed while it was prepared ({error}); run the command again"
                    ) from error
                yield (
                    f"{file.root}/{text(file.name)}",
                    {"image": image, "subject": file.person, "index": file.number},
                )


def _require(manifest: Manifest, training: bool, roots: Sequence[Root]) -> None:
    if manifest.count(training):
        return
    if manifest.grey:
        raise InputError(
            f"no image in {_names(roots)} has colours to learn from ({manifest.account()}); give "
            "coloured ones"
        )
    raise InputError(
        f"no image in {_names(roots)} can be read; give whole image files of at most "
        f"{MAX_PIXELS // 10**6} megapixels"
    )


def _names(roots: Sequence[Root]) -> str:
    return ", ".join(str(root.path) for root in roots)


def _fingerprint(root: Root, known: Path) -> str:
    """A hash of every candidate's name and contents.

    Args:
      root: what is hashed.
      known: a folder that keeps the hashes of folders by what their files look like (names,
        sizes, times), so that a million unchanged images are not read again at every start.
    """
    if not isinstance(root, Folder):
        return _digest((name, root.digest(name)) for name in root.names)
    newest = 0

    def looks() -> Iterator[tuple[str, str]]:
        nonlocal newest
        for name in root.names:
            look = root.looks(name)
            newest = max(newest, *look[-2:])
            yield name, str(look)

    by_look = known / _digest(looks())
    with contextlib.suppress(OSError):
        return by_look.read_text()
    fingerprint = _digest((name, root.digest(name)) for name in root.names)
    if time.time_ns() - newest > SETTLED_SECONDS * 10**9:
        with contextlib.suppress(OSError):  # preparing will say what is wrong with the folder
            write_text(by_look, fingerprint)
    return fingerprint


def _digest(entries: Iterator[tuple[str, str]]) -> str:
    digest = hashlib.sha256()
    for name, contents in entries:
        digest.update(f"{name}\0{contents}\0".encode("utf-8", "surrogateescape"))
    return digest.hexdigest()
