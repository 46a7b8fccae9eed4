"""The training steps that are running, and the metrics of those that have finished."""

import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np

from colorjax.files import replaced
from colorjax.terminal.errors import EndedError


class NonFiniteError(EndedError):
    """A loss or a gradient is not finite. Neither that step nor any later one updated the state.

    Attributes:
      step: the step, counted from 1.
      batch: its batch, on the devices.
      resume_point: where the run stood before that step.
    """

    def __init__(
        self, step: int, scalars: Mapping[str, float], batch: Any, resume_point: Any
    ) -> None:
        name = next(name for name, value in scalars.items() if not math.isfinite(value))
        listed = ", ".join(f"{key} {value:.6g}" for key, value in scalars.items())
        super().__init__(
            f"training stopped at step {step}: {name} is {scalars[name]} ({listed}). The workdir "
            f"keeps the state of step {step - 1}, and the batch in nonfinite/; use a smaller "
            "config.optimizer.learning_rate in another --workdir"
        )
        self.step, self.batch, self.resume_point = step, batch, resume_point

    def write_batch(self, directory: Path, note: Callable[[str], None]) -> None:
        """Writes this process's part of the batch as an .npz with arrays [N, ...]."""
        path = directory / f"step-{self.step:07d}-process-{jax.process_index()}.npz"
        arrays: Any = {key: np.asarray(x) for key, x in self.batch.items()}
        arrays = {key: x.reshape(-1, *x.shape[2:]) for key, x in arrays.items()}
        try:
            with replaced(path) as part, part.open("wb") as file:
                np.savez_compressed(file, **arrays)
        except OSError as error:
            note(f"Cannot write the batch of step {self.step} ({error}).")


class InFlight:
    """Dispatched steps, at most two at a time: more can deadlock the collectives of XLA's CPU.

    While the newest step runs, the host reads the metrics of the one before.
    """

    def __init__(self) -> None:
        self._running: list[tuple[int, Any, Any, Any]] = []
        self._finished: list[dict[str, float]] = []

    def add(self, step: int, metrics: Any, batch: Any, resume_point: Any) -> None:
        """Adds a step that was just dispatched, and waits for the one before it.

        Raises:
          NonFiniteError: the metrics of that one are not finite.
        """
        self._running.append((step, metrics, batch, resume_point))
        while len(self._running) > 1:
            self._wait_for_oldest()

    def settle(self) -> None:
        """Waits for all steps. Raises NonFiniteError as `add` does."""
        while self._running:
            self._wait_for_oldest()

    def means(self) -> dict[str, float]:
        """Waits for all steps; returns the mean metrics since the last call. Raises as `add`."""
        self.settle()
        finished, self._finished = self._finished, []
        return {name: float(np.mean([one[name] for one in finished])) for name in finished[0]}

    def _wait_for_oldest(self) -> None:
        step, metrics, batch, resume_point = self._running.pop(0)
        scalars = {name: float(value) for name, value in jax.device_get(metrics).items()}
        if not all(map(math.isfinite, scalars.values())):
            raise NonFiniteError(step, scalars, batch, resume_point)
        self._finished.append(scalars)
