"""What people choose where grey alone does not tell the colours. Imports no JAX."""

import hashlib
from pathlib import Path
from typing import Any, NamedTuple

from colorjax.colorize.hints import Hints, read_hints
from colorjax.colorize.plan import Plan
from colorjax.images.photo import open_photo
from colorjax.runs.model_paths import DISTRIBUTION, HINTS, abilities, model_name
from colorjax.terminal.errors import InputError

_LACKING = {DISTRIBUTION: "predicts no distribution of colours", HINTS: "takes no hints"}


class Choices(NamedTuple):
    """The flags of `colorjax colorize` of the same names; None if they are not given."""

    candidates: int | None = None
    uncertainty: bool = False
    temperature: float | None = None
    hints: Path | None = None

    def checked(self, model: Path) -> Hints | None:
        """The hints.

        Args:
          model: what `find_model` returns.

        Raises:
          InputError: the model cannot follow one of the flags, or the hints cannot be read.
        """
        for flag, given in self._asdict().items():
            needed = HINTS if flag == "hints" else DISTRIBUTION
            if given and needed not in abilities(model):
                raise InputError(
                    f"--{flag}: the model {model_name(model)} {_LACKING[needed]}; give a --model "
                    f"that was trained with config.{needed} above 0"
                )
        return None if self.hints is None else read_hints(self.hints)

    def settings(self) -> dict[str, Any]:
        """What the pixels of a result depend on, for the record: only what is given."""
        settings: dict[str, Any] = {}
        if self.candidates:  # how many there are changes none of them
            settings["candidates"] = True
        if self.temperature is not None:
            settings["temperature"] = self.temperature
        if self.hints is not None:
            settings["hints"] = hashlib.sha256(self.hints.read_bytes()).hexdigest()[:16]
        return settings


def check_size(hints: Hints, planned: Plan) -> None:
    """Raises InputError if hints are not for the picture that is to be coloured, or if several are.

    A picture that cannot be read is reported when it is coloured.
    """
    if len(planned.jobs) + planned.current + len(planned.failures) > 1:
        raise InputError("--hints are for one photograph; give one input")
    for job in planned.jobs:
        try:
            image = next(open_photo(job.source)).image
        except (OSError, ValueError):
            continue
        hints.of((image.width, image.height))
