"""Rendered faces as a TFDS data set: built on first use, no download, no TensorFlow."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Self

import cv2
import numpy as np
import tensorflow_datasets as tfds

from colorjax.data.preparing import held_out
from colorjax.data.procedural.renderer import render_face
from colorjax.terminal.errors import InputError
from colorjax.terminal.progress import counting

SEED = 0
SUBJECTS = 256
IMAGES_PER_SUBJECT = 8
SIZE = 112


class ProceduralFaces(tfds.core.GeneratorBasedBuilder):
    """256 rendered subjects with 8 images each, 112×112, split by subject 90/10."""

    # Part of the data set's key: increase it when the renderer draws other faces.
    VERSION = tfds.core.Version("3.0.0")
    # Nothing is downloaded; without this, TFDS imports a package that may not be installed.
    url_infos = None

    @classmethod
    def from_paths(cls, path: str, validation_path: str, data_dir: Path) -> Self:
        """The builder that prepares its data in `data_dir`; raises InputError if given a path."""
        if path or validation_path:
            raise InputError(
                f"procedural_faces reads no files, but the path {path or validation_path} is set; "
                "remove it, or choose the data set image_folder"
            )
        return cls(data_dir=data_dir)

    def _info(self) -> tfds.core.DatasetInfo:
        image = tfds.features.Image(shape=(SIZE, SIZE, 3), encoding_format="png")
        features = {"image": image, "subject": np.int64, "index": np.int64}
        return tfds.core.DatasetInfo(
            builder=self,
            description="Faces rendered with NumPy from a seed, in DigiFace-1M's layout.",
            features=tfds.features.FeaturesDict(features),
        )

    def _split_generators(self, dl_manager: Any) -> dict[str, Iterator[tuple[str, dict]]]:
        validation = {int(name) for name in held_out(map(str, range(SUBJECTS)))}
        return {
            "train": self._generate_examples("train", sorted(set(range(SUBJECTS)) - validation)),
            "validation": self._generate_examples("validation", sorted(validation)),
        }

    def _generate_examples(self, split: str, subjects: list[int]) -> Iterator[tuple[str, dict]]:
        with counting(f"Rendering faces, {split}", len(subjects) * IMAGES_PER_SUBJECT) as advance:
            for subject in subjects:
                for index in range(IMAGES_PER_SUBJECT):
                    rgb = render_face(SEED, subject, index, SIZE)
                    # TFDS encodes arrays with TensorFlow, but stores bytes as they are.
                    png = cv2.imencode(".png", cv2.cvtColor(rgb, cv2.COLOR_RGB2BGR))[1].tobytes()
                    yield f"{subject}/{index}", {"image": png, "subject": subject, "index": index}
                    advance()
