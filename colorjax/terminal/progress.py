"""Progress of long tasks: how much is done, the rate, and the time left."""

import contextlib
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from datetime import timedelta

from rich import progress
from rich.console import Console
from rich.text import Text


class _RateColumn(progress.ProgressColumn):
    def render(self, task: progress.Task) -> Text:
        # Over the complete time, because batches finish in bursts.
        seconds = task.finished_time or task.elapsed
        return Text(f"{task.completed / seconds:.3g}/s" if seconds else "")


def _bar(*columns: progress.ProgressColumn) -> progress.Progress:
    description = progress.TextColumn("{task.description}")
    return progress.Progress(
        description, progress.BarColumn(), *columns, console=Console(stderr=True)
    )


@contextlib.contextmanager
def counting(description: str, total: int) -> Iterator[Callable[[], None]]:
    """Shows a bar with count, rate and time left on stderr; gives the function that counts one."""
    left = progress.TimeRemainingColumn(elapsed_when_finished=True)
    with _bar(progress.MofNCompleteColumn(), _RateColumn(), left) as bar:
        task = bar.add_task(description, total=total)
        yield lambda: bar.advance(task)


# Called with a description, the bytes done, and the total number of bytes or None.
Report = Callable[[str, int, int | None], None]


@contextlib.contextmanager
def shown() -> Iterator[Report]:
    """Shows a bar per description on stderr, with bytes, rate and time left."""
    size = progress.DownloadColumn(binary_units=True)
    with _bar(size, progress.TransferSpeedColumn(), progress.TimeRemainingColumn()) as bar:
        tasks: dict[str, progress.TaskID] = {}

        def report(description: str, done: int, total: int | None) -> None:
            if description not in tasks:
                # What an earlier process has done does not count for the rate.
                tasks[description] = bar.add_task(description, total=total, completed=done)
            bar.update(tasks[description], completed=done, total=total)

        yield report


class TrainingProgress:
    """Shows a line that is updated in place on a terminal, and one line per call elsewhere.

    Args:
      num_steps: last step of the run.
      batch_size: images per step, over all devices.
    """

    def __init__(self, num_steps: int, batch_size: int) -> None:
        import jax  # not at the top: preparing data sets does not need it

        self._num_steps, self._batch_size = num_steps, batch_size
        self.restart_clock(0)
        # Without compilations and evaluations, for the time left.
        self._training_seconds, self._training_steps = 0.0, 0
        self._console = Console(file=sys.stdout, quiet=jax.process_index() > 0, highlight=False)
        self._bar = progress.Progress(
            progress.TextColumn("{task.description}", markup=False),
            progress.BarColumn(bar_width=20),
            progress.TimeElapsedColumn(),
            console=self._console,
            disable=not self._console.is_terminal,
        )
        self._task = self._bar.add_task("compiling", total=num_steps)

    def __enter__(self) -> "TrainingProgress":
        self._bar.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._bar.stop()

    def restart_clock(self, step: int) -> None:
        """Excludes the time since the last call from the rate, as after an evaluation."""
        self._started = self._shown = time.monotonic()
        self._step = step

    def elapsed(self) -> float:
        """Seconds since `restart_clock`, however often `show` was called in between."""
        return time.monotonic() - self._started

    def show(self, step: int, metrics: Mapping[str, float]) -> float:
        """Shows step, metrics, rate and time left; returns images/s since the last call."""
        now = time.monotonic()
        seconds, steps = now - self._shown, step - self._step
        self._shown, self._step = now, step
        rate = steps * self._batch_size / max(seconds, 1e-9)
        if steps > 1 or self._training_steps:  # the first step is mostly compilation
            self._training_seconds += seconds
            self._training_steps += steps
        left = "?"
        if self._training_steps:
            seconds_a_step = self._training_seconds / self._training_steps
            left = str(timedelta(seconds=round((self._num_steps - step) * seconds_a_step)))
        scalars = "  ".join(f"{name} {value:.4g}" for name, value in metrics.items())
        line = f"step {step}/{self._num_steps}  {scalars}  {rate:.3g} images/s  {left} left"
        self._bar.update(self._task, completed=step, description=line)
        if not self._console.is_terminal:
            self.note(line)
        return rate

    def note(self, text: str) -> None:
        """Prints a line that stays."""
        self._console.print(text, soft_wrap=True, markup=False)
