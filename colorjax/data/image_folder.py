"""People's own images, in folders and zips, as a TFDS data set that is keyed by contents."""

import contextlib
import dataclasses
import hashlib
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple, Self

import numpy as np
import tensorflow_datasets as tfds

from colorjax.data.image_files import (
    MAX_PIXELS,
    READ_ERRORS,
    Root,
    is_decodable,
    open_root,
    split_paths,
)
from colorjax.data.preparing import held_out, progress
from colorjax.errors import InputError


class ImageFile(NamedTuple):
    """The root (by number) that a candidate is in, and its name there."""

    root: int
    name: str

    @property
    def person(self) -> str:
        """The first-level folder; an image outside of any folder is a person of its own."""
        return self.name.split("/", 1)[0]


@dataclasses.dataclass(eq=False)
class ImageFolderConfig(tfds.core.BuilderConfig):
    """Which folders and zips; `name` is the fingerprint of what they hold.

    Attributes:
      roots: what is read.
      num_train_roots: the roots before this are for training, the others for validation;
        without any of the latter, people are held out.
    """

    roots: tuple[Root, ...] = ()
    num_train_roots: int = 0


class ImageFolder(tfds.core.GeneratorBasedBuilder):
    """JPEG and PNG files, stored as they are; whoever is in one split is not in the other."""

    VERSION = tfds.core.Version("1.0.0")
    # Nothing is downloaded; looking for checksums, TFDS would import a package it does not install.
    url_infos = None

    @classmethod
    def from_paths(cls, path: str, validation_path: str, data_dir: str) -> Self:
        """The builder whose data lie in `data_dir`.

        Args:
          path: folders and zips, comma-separated.
          validation_path: likewise; if empty, a tenth of the people in `path` is held out.
          data_dir: where data are prepared.

        Raises:
          InputError: see `open_root`; or no path is given.
        """
        train, validation = split_paths(path), split_paths(validation_path)
        if not train:
            raise InputError(
                "image_folder needs images; set config.dataset.path to a folder or a zip"
            )
        roots = tuple(map(open_root, train + validation))
        config = ImageFolderConfig(
            name=_fingerprint(roots, len(train)), roots=roots, num_train_roots=len(train)
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
        files = _decodable_files(config.roots)
        if config.num_train_roots < len(config.roots):
            train = [file for file in files if file.root < config.num_train_roots]
            validation = files[len(train) :]
            _require(train, config.roots[: config.num_train_roots])
            _require(validation, config.roots[config.num_train_roots :])
        else:
            _require(files, config.roots)
            people = {file.person for file in files}
            if len(people) < 2:
                raise InputError(
                    f"all images of {_names(config.roots)} are of one person, {people.pop()!r}, "
                    "because first-level folders are people; give images of more people, or set "
                    "config.dataset.validation_path"
                )
            kept = held_out(people)
            train = [file for file in files if file.person not in kept]
            validation = [file for file in files if file.person in kept]
        return {
            "train": self._generate_examples(train),
            "validation": self._generate_examples(validation),
        }

    def _generate_examples(self, files: Sequence[ImageFile]) -> Iterator[tuple[str, dict]]:
        index: Counter[str] = Counter()
        with contextlib.ExitStack() as stack:
            readers = [stack.enter_context(r.reader()) for r in self.builder_config.roots]
            for file in files:
                name, subject = _text(file.name), _text(file.person)
                image = readers[file.root](file.name)
                yield (
                    f"{file.root}/{name}",
                    {"image": image, "subject": subject, "index": index[subject]},
                )
                index[subject] += 1


def _decodable_files(roots: Sequence[Root]) -> list[ImageFile]:
    """Decodes every candidate once, so that no image can fail in the middle of a training."""
    files: list[ImageFile] = []
    unreadable: list[ImageFile] = []
    total = sum(len(root.names) for root in roots)
    with progress("Checking images", total) as advance:
        for number, root in enumerate(roots):
            with root.reader() as read:
                for name in root.names:
                    try:
                        good = is_decodable(read(name))
                    except READ_ERRORS:
                        good = False
                    (files if good else unreadable).append(ImageFile(number, name))
                    advance()
    if unreadable:
        first = ", ".join(_text(file.name) for file in unreadable[:3])
        more = ", …" if len(unreadable) > 3 else ""
        print(
            f"Skipped {len(unreadable)} of {total} files that are not whole JPEG or PNG images: "
            f"{first}{more}",
            file=sys.stderr,
        )
    return files


def _require(files: Sequence[ImageFile], roots: Sequence[Root]) -> None:
    if not files:
        raise InputError(
            f"no image in {_names(roots)} can be read; give whole JPEG or PNG files of at most "
            f"{MAX_PIXELS // 10**6} megapixels"
        )


def _names(roots: Sequence[Root]) -> str:
    return ", ".join(str(root.path) for root in roots)


def _text(name: str) -> str:
    """A name that need not be UTF-8, as text that can be printed and stored."""
    return name.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")


def _fingerprint(roots: Sequence[Root], num_train_roots: int) -> str:
    """A hash of every candidate's name and contents, and of the split that it is given for."""
    digest = hashlib.sha256()
    for number, root in enumerate(roots):
        digest.update(f"root {number} {number < num_train_roots}\0".encode())
        for name in root.names:
            digest.update(f"{name}\0{root.digest(name)}\0".encode("utf-8", "surrogateescape"))
    return digest.hexdigest()[:16]
