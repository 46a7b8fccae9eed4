"""The steps that were dispatched and are not done, and what came of those that are."""

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np

from colorjax.files import replaced
from colorjax.terminal.errors import EndedError


class NonFiniteError(EndedError):
    """A loss or a gradient is not finite. Nothing was updated by that step, nor after it.

    Attributes:
      step: the step, counted from 1.
      batch: what it was given, on the devices.
      position: where the run stood before it.
    """

    def __init__(self, step: int, scalars: Mapping[str, float], batch: Any, position: Any) -> None:
        name = next(name for name, value in scalars.items() if not math.isfinite(value))
        all_of_them = ", ".join(f"{key} {value:.6g}" for key, value in scalars.items())
        super().__init__(
            f"training stopped at step {step}: {name} is {scalars[name]} ({all_of_them}). What "
            f"came before it is saved as step {step - 1}, the batch that did it in the workdir's "
            "nonfinite/; try a smaller config.optimizer.learning_rate in another --workdir"
        )
        self.step, self.batch, self.position = step, batch, position

    def write_batch(self, directory: Path) -> None:
        """Writes this process's part of the batch, an array [N, ...] for each of its entries."""
        path = directory / f"step-{self.step:07d}-process-{jax.process_index()}.npz"
        arrays: Any = {key: np.asarray(x) for key, x in self.batch.items()}
        arrays = {key: x.reshape(-1, *x.shape[2:]) for key, x in arrays.items()}
        with replaced(path) as beside, beside.open("wb") as file:
            np.savez_compressed(file, **arrays)


class InFlight:
    """At most two steps on their way: XLA's CPU collectives deadlock behind many.

    While the newest runs, the host looks at what came of the one before.
    """

    def __init__(self) -> None:
        self._flying: list[tuple[int, Any, Any, Any]] = []
        self._done: list[dict[str, float]] = []

    def add(self, step: int, metrics: Any, batch: Any, position: Any) -> None:
        """Takes a step that was just dispatched, and awaits the one before.

        Raises:
          NonFiniteError: that one's metrics are not finite.
        """
        self._flying.append((step, metrics, batch, position))
        while len(self._flying) > 1:
            self._land()

    def settle(self) -> None:
        """Awaits all. Raises NonFiniteError as `add` does."""
        while self._flying:
            self._land()

    def means(self) -> dict[str, float]:
        """Awaits all; the means since the last call. Raises NonFiniteError as `add` does."""
        self.settle()
        done, self._done = self._done, []
        return {name: float(np.mean([one[name] for one in done])) for name in done[0]}

    def __bool__(self) -> bool:
        """Whether there are steps since the last call of `means`."""
        return bool(self._flying or self._done)

    def _land(self) -> None:
        step, metrics, batch, position = self._flying.pop(0)
        scalars = {name: float(value) for name, value in jax.device_get(metrics).items()}
        if not all(map(math.isfinite, scalars.values())):
            raise NonFiniteError(step, scalars, batch, position)
        self._done.append(scalars)
