"""DigiFace-1M (Bae et al. 2023) as a TFDS data set, read from its zips."""

import dataclasses
import functools
import hashlib
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np
import tensorflow_datasets as tfds

from colorjax.data.digiface.zips import PARTS, SIZE, URL, Archive, Part
from colorjax.terminal.errors import InputError
from colorjax.terminal.progress import counting

HOMEPAGE = "https://github.com/microsoft/DigiFace1M"
LICENSE = (
    "DigiFace-1M is Microsoft's and licensed for non-commercial research only; its terms are at "
    f"{HOMEPAGE}"
)
# Of each 20 consecutive subjects one is for validation and one for test.
BLOCK = 20
MIN_SUBJECTS = BLOCK

_DESCRIPTION = """\
Rendered faces: 10,000 subjects with 72 images each and 100,000 with 5; 112×112 pixels. Split by
subject 90/5/5: of each 20 consecutive subjects, the one whose number hashes lowest is for
validation and the next for test, so that a subject is in the same split whatever is prepared.
"""


@dataclasses.dataclass(eq=False)
class DigiFace1MConfig(tfds.core.BuilderConfig):
    """Which of the zips, and how many of their subjects.

    Attributes:
      parts: in the order of their subjects.
      max_subjects: only the first subjects; 0 means all.
    """

    parts: tuple[Part, ...] = ()
    max_subjects: int = 0


def make_config(
    name: str, parts: Sequence[str] | None = None, max_subjects: int = 0
) -> DigiFace1MConfig:
    """The config of one of PARTS or of a selection from it; its name identifies the selection.

    Args:
      name: a key of PARTS: the number of images per subject, or all.
      parts: as "0-1999"; by default all that are needed.
      max_subjects: only the first subjects; 0 means all.

    Raises:
      InputError: an unknown name, or too few subjects for three splits.
    """
    if name not in PARTS:
        raise InputError(f"digiface1m has no config {name!r}; choose one of {', '.join(PARTS)}")
    known = {part.name: part for part in PARTS[name]}
    if unknown := [part for part in parts or () if part not in known]:
        raise InputError(
            f"config {name} of digiface1m has no part {unknown[0]!r}; choose from "
            f"{', '.join(known)}"
        )
    if max_subjects < 0 or 0 < max_subjects < MIN_SUBJECTS:
        raise InputError(
            f"max_subjects must be 0 (all) or at least {MIN_SUBJECTS}, not {max_subjects}"
        )
    chosen = tuple(part for part in PARTS[name] if not parts or part.name in parts)
    if max_subjects:
        # A part is not needed if those before it have enough subjects.
        before = [sum(part.subjects for part in chosen[:i]) for i in range(len(chosen))]
        chosen = tuple(p for p, n in zip(chosen, before, strict=True) if n < max_subjects)
        if max_subjects >= sum(part.subjects for part in chosen):
            max_subjects = 0
    if chosen != PARTS[name]:
        name = "_".join([name, *(part.name for part in chosen)])
    if max_subjects:
        name += f"_first_{max_subjects}"
    return DigiFace1MConfig(
        name=name,
        description=f"{', '.join(part.file for part in chosen)}"
        + (f", the first {max_subjects} subjects" if max_subjects else ""),
        parts=chosen,
        max_subjects=max_subjects,
    )


class Digiface1m(tfds.core.GeneratorBasedBuilder):
    """DigiFace-1M, from zips in the manual directory."""

    VERSION = tfds.core.Version("1.0.0")
    BUILDER_CONFIGS: ClassVar = [make_config(name) for name in PARTS]
    MANUAL_DOWNLOAD_INSTRUCTIONS = f"""
    The zips of {URL}, named as there (subjects_0-1999_72_imgs.zip, …), which
    `colorjax prepare digiface1m` downloads and checks. {LICENSE}.
    """
    url_infos = None  # see ImageFolder

    @classmethod
    def from_paths(
        cls, path: str, validation_path: str, data_dir: Path, *, variant: str = ""
    ) -> Self:
        """The builder of what `colorjax prepare digiface1m` prepared in `data_dir`.

        Args:
          path: must be empty.
          validation_path: must be empty.
          data_dir: where data are prepared.
          variant: the name of its config; may be empty if only one is prepared.

        Raises:
          InputError: a path is set, this version is not prepared, or several configs are.
        """
        if path or validation_path:
            raise InputError(
                f"digiface1m reads prepared data, but the path {path or validation_path} is set; "
                "prepare zips with colorjax prepare digiface1m --manual_dir DIR, or choose "
                "image_folder"
            )
        found = sorted((data_dir / "digiface1m").glob("*/*/dataset_info.json"))
        names = [file.parts[-3] for file in found if file.parts[-2] == str(cls.VERSION)]
        if variant in names or (not variant and len(names) == 1):
            return cls(data_dir=data_dir, config=parse_config(variant or names[0]))
        if not variant and names:
            raise InputError(
                f"{data_dir} holds several digiface1m: {', '.join(names)}; set "
                "config.dataset.variant to one of them"
            )
        others = ", ".join(f"{file.parts[-3]} of version {file.parts[-2]}" for file in found)
        raise InputError(
            f"{data_dir} holds no digiface1m{variant and ' ' + variant} of version {cls.VERSION}"
            f"{others and ', only ' + others}; prepare it with: colorjax prepare digiface1m "
            f"--data_dir {data_dir}"
        )

    def _info(self) -> tfds.core.DatasetInfo:
        features = {
            "image": tfds.features.Image(shape=(SIZE, SIZE, 3), encoding_format="png"),
            "subject": np.int64,
            "index": np.int64,
        }
        return tfds.core.DatasetInfo(
            builder=self,
            description=_DESCRIPTION,
            features=tfds.features.FeaturesDict(features),
            homepage=HOMEPAGE,
            citation="Bae et al., DigiFace-1M: 1 Million Digital Face Images, WACV 2023",
            license=LICENSE,
        )

    def _split_generators(self, dl_manager: Any) -> dict[str, Iterator[tuple[str, dict]]]:
        archives = [Archive(Path(dl_manager.manual_dir), p) for p in self.builder_config.parts]
        subjects = sorted(subject for archive in archives for subject in archive.images)
        if self.builder_config.max_subjects:
            subjects = subjects[: self.builder_config.max_subjects]
        splits = {
            name: {subject for subject in subjects if split_of(subject) == name}
            for name in ("train", "validation", "test")
        }
        if not all(splits.values()):
            raise InputError(
                f"the zips hold {len(subjects)} subjects, too few for three splits; give complete "
                "ones"
            )
        return {
            name: self._generate_examples(name, archives, chosen) for name, chosen in splits.items()
        }

    def _generate_examples(
        self, split: str, archives: Sequence[Archive], subjects: set[int]
    ) -> Iterator[tuple[str, dict]]:
        total = sum(len(a.images.get(subject, ())) for a in archives for subject in subjects)
        skipped: list[str] = []
        with counting(f"Packing {split}", total) as advance:
            for archive in archives:
                for subject, index, name, image in archive.read(subjects):
                    if image is None:
                        skipped.append(name)
                    else:
                        example = {"image": image, "subject": subject, "index": index}
                        yield f"{subject}/{index}", example
                    advance()
        if skipped:
            print(
                f"Skipped {len(skipped)} of {total} files that are not PNGs of {SIZE}×{SIZE}: "
                f"{', '.join(skipped[:3])}{', …' if len(skipped) > 3 else ''}",
                file=sys.stderr,
            )


def split_of(subject: int) -> str:
    """Train, validation or test; depends on the subject's number only."""
    validation, test = _held_out(subject // BLOCK)
    return {validation: "validation", test: "test"}.get(subject, "train")


@functools.cache
def _held_out(block: int) -> tuple[int, int]:
    ranked = sorted(
        range(block * BLOCK, (block + 1) * BLOCK),
        key=lambda number: hashlib.sha256(f"digiface1m {number}".encode()).digest(),
    )
    return ranked[0], ranked[1]


def parse_config(name: str) -> DigiFace1MConfig:
    """The config to which `make_config` gives this name."""
    name, _, most = name.partition("_first_")
    base, *parts = name.split("_")
    return make_config(base, parts, int(most or 0))
