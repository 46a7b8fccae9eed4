"""What is shown while something long goes on: how far it is, its rate and the time left."""

import contextlib
import sys
import time
from collections.abc import Callable, Iterator, Mapping

from rich.console import Console
from rich.progress import (
    BarColumn,
    DownloadColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    Task,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
)
from rich.text import Text


class _RateColumn(ProgressColumn):
    def render(self, task: Task) -> Text:
        # Over all the time: what is done in batches counts in bursts.
        seconds = task.finished_time or task.elapsed
        return Text(f"{task.completed / seconds:.3g}/s" if seconds else "")


@contextlib.contextmanager
def counting(description: str, total: int) -> Iterator[Callable[[], None]]:
    """Shows a bar with count, rate and time left on stderr; gives the function that counts one."""
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        _RateColumn(),
        TimeRemainingColumn(elapsed_when_finished=True),
    )
    with Progress(*columns, console=Console(stderr=True)) as bar:
        task = bar.add_task(description, total=total)
        yield lambda: bar.advance(task)


class TrainingProgress:
    """One line that is renewed on a terminal; elsewhere a line each time.

    Args:
      num_steps: where it ends.
      batch_size: images a step, over all devices.
    """

    def __init__(self, num_steps: int, batch_size: int) -> None:
        self._batch_size, self._num_steps = batch_size, num_steps
        import jax  # what counts data files needs none

        self._step, self._time = 0, time.monotonic()
        self._counted = 0.0  # seconds in steps, without what a compilation or evaluation takes
        self._counted_steps = 0
        self._console = Console(file=sys.stdout, quiet=jax.process_index() > 0, highlight=False)
        self._bar = Progress(
            TextColumn("{task.description}", markup=False),
            BarColumn(bar_width=20),
            TimeElapsedColumn(),
            console=self._console,
            disable=not self._console.is_terminal,
        )
        self._task: TaskID = self._bar.add_task("compiling", total=num_steps)

    def __enter__(self) -> "TrainingProgress":
        self._bar.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._bar.stop()

    def restart_clock(self, step: int) -> None:
        """Leaves out of the rate what was done since the last call: it was not only steps."""
        self._time, self._step = time.monotonic(), step

    def elapsed(self) -> float:
        """Seconds since the last call of `show` or `restart_clock`."""
        return time.monotonic() - self._time

    def show(self, step: int, metrics: Mapping[str, float]) -> float:
        """Shows how far training is; returns images/s since the last call."""
        now = time.monotonic()
        seconds, steps = now - self._time, step - self._step
        self._time, self._step = now, step
        rate = steps * self._batch_size / max(seconds, 1e-9)
        if steps > 1 or self._counted_steps:  # the first step is mostly compilation
            self._counted += seconds
            self._counted_steps += steps
        left = "?"
        if self._counted_steps:
            left = _clock((self._num_steps - step) * self._counted / self._counted_steps)
        scalars = "  ".join(f"{name} {value:.4g}" for name, value in metrics.items())
        line = f"step {step}/{self._num_steps}  {scalars}  {rate:.3g} images/s  {left} left"
        self._bar.update(self._task, completed=step, description=line)
        if not self._console.is_terminal:
            self.note(line)
        return rate

    def note(self, text: str) -> None:
        """A line that stays."""
        self._console.print(text, soft_wrap=True, markup=False)


def _clock(seconds: float) -> str:
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{seconds:02}" if hours else f"{minutes}:{seconds:02}"


# (what is being done, bytes done, bytes in all or None).
Report = Callable[[str, int, int | None], None]


@contextlib.contextmanager
def shown() -> Iterator[Report]:
    """Shows on stderr what is being done, with rate and time left."""
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        DownloadColumn(binary_units=True),
        TransferSpeedColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=Console(stderr=True)) as bar:
        tasks: dict[str, object] = {}

        def report(what: str, done: int, total: int | None) -> None:
            if what not in tasks:
                # Its rate is of this run alone.
                tasks[what] = bar.add_task(what, total=total, completed=done)
            bar.update(tasks[what], completed=done, total=total)  # type: ignore[arg-type]

        yield report
