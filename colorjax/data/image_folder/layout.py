"""Which folders of image folders and zips are people, and which are splits."""

import itertools
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

from colorjax.images.folders import Root, printable

# The names of folders that are splits, in any case.
SPLITS = {
    "train": "train",
    "training": "train",
    "val": "val",
    "valid": "val",
    "validation": "val",
    "test": "test",
    "testing": "test",
}
# A folder with more images is not of one person: VGGFace2 has at most 843 of each.
MAX_OF_PERSON = 1000


class _Folder(NamedTuple):
    """A split, or all that is in none (the name "").

    Attributes:
      wrapping: what the paths below it start with.
      images: their number.
      training: whether it is for training or for validation; None if it is not used.
    """

    wrapping: str
    images: int
    training: bool | None = None


class Layout:
    """Who the images of some roots show, and which are for training and for validation.

    A folder that wraps all others is looked through, also several in each other. The folders
    below are people, or splits by their names (SPLITS) with people in them. Of a root for
    training the images in no split count as `train`; `val` is for validation unless there are
    roots for that, `test` only if no root has a `val`. Of a root for validation only `val` is used
    if it has one, else `test`, else all.

    Args:
      roots: folders and zips.
      num_train_roots: the first roots are for training, the others for validation. If all are for
        validation, all images are used.
    """

    def __init__(self, roots: Sequence[Root], num_train_roots: int):
        self._roots = roots
        self._wrappings: list[str] = []
        self._folders: list[dict[str, _Folder]] = []
        for root in roots:
            wrapping, _ = _wrapping(root.names)
            folders = {"": _Folder("", 0)}
            below = (name.removeprefix(wrapping) for name in root.names)
            for split, names in itertools.groupby(below, _split):
                inner, count = _wrapping(name.removeprefix(f"{split}/") for name in names)
                total = count + (0 if split else folders[""].images)
                folders[split] = _Folder(inner if split else "", total)
            self._wrappings.append(wrapping)
            self._folders.append({split: f for split, f in folders.items() if f.images})
        found = [{_kind(split) for split in folders} for folders in self._folders]
        given = found[:num_train_roots]
        train_uses: dict[str, bool | None] = {"": True, "train": True, "val": False, "test": False}
        if num_train_roots < len(roots):
            train_uses |= {"val": None, "test": None}
        elif any("val" in kinds for kinds in given):
            train_uses["test"] = None
        for index, (kinds, folders) in enumerate(zip(found, self._folders, strict=True)):
            uses = train_uses
            if index >= num_train_roots:
                held_out = {"val"} & kinds or {"test"} & kinds or kinds
                held_out = held_out if num_train_roots else kinds
                uses = {kind: False if kind in held_out else None for kind in kinds}
            for split, folder in folders.items():
                folders[split] = folder._replace(training=uses[_kind(split)])

    def count(self, training: bool) -> int:
        """The number of images for training, or for validation."""
        all_folders = (f for folders in self._folders for f in folders.values())
        return sum(folder.images for folder in all_folders if folder.training is training)

    def files(self, root: int, training: bool) -> Iterator[tuple[str, str]]:
        """The names and the people of a root's images for training, or for validation."""
        folders = self._folders[root]
        if all(folder.training is not training for folder in folders.values()):
            return
        for name in self._roots[root].names:
            below = name.removeprefix(self._wrappings[root])
            folder = folders.get(split := _split(below))
            if folder and folder.training is training:
                if split:
                    below = below.removeprefix(f"{split}/").removeprefix(folder.wrapping)
                # An image outside of any folder counts as a person of its own.
                yield name, below.split("/", 1)[0]

    def where(self, training: bool) -> str:
        """The roots, or their splits, that are for training or for validation."""
        return ", ".join(
            f"{root.path}{'/' if split else ''}{printable(wrapping + split) if split else ''}"
            for root, wrapping, folders in zip(
                self._roots, self._wrappings, self._folders, strict=True
            )
            for split, folder in folders.items()
            if folder.training is training
        )

    def remarks(self) -> Iterator[str]:
        """One line for each root with splits: what they are used for."""
        words = {True: "for training", False: "for validation", None: "not used"}
        for root, folders in zip(self._roots, self._folders, strict=True):
            if any(folders):
                uses = (
                    f"{printable(split) if split else 'the other images'} "
                    f"{words[folder.training]} ({folder.images} images)"
                    for split, folder in folders.items()
                )
                yield f"{root.path}: {', '.join(uses)}."


def _split(name: str) -> str:
    """The first folder of a path if it is a split, else ""."""
    folder, slash, _ = name.partition("/")
    return folder if slash and folder.lower() in SPLITS else ""


def _kind(split: str) -> str:
    return SPLITS.get(split.lower(), "")


def _wrapping(names: Iterable[str]) -> tuple[str, int]:
    """What the paths of all images start with before the folders of people, and their number."""
    common: list[str] | None = None
    count = directly = 0  # of all images, and of those directly in the common folder
    for name in names:
        folders = name.split("/")[:-1]
        if common is None:
            common = folders
        pairs = zip(common, folders, strict=False)
        shared = sum(1 for _ in itertools.takewhile(lambda pair: pair[0] == pair[1], pairs))
        if shared < len(common):
            common, directly = common[:shared], 0
        directly += len(folders) == len(common)
        count += 1
    common = common or []
    if common and directly == count <= MAX_OF_PERSON and not _kind(common[-1]):
        common = common[:-1]  # a person
    return "".join(f"{folder}/" for folder in common), count
