"""Rate and time left, by a clock that the tests move."""

import re

import pytest

from colorjax.terminal.progress import TrainingProgress


class Clock:
    now = 1000.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock(monkeypatch):
    clock = Clock()
    monkeypatch.setattr("time.monotonic", clock)
    return clock


def test_the_rate_is_of_the_steps_since_the_last_call(clock):
    progress = TrainingProgress(100, 16)
    clock.now += 8
    assert progress.show(1, {"loss": 1.0}) == pytest.approx(2)  # 1 step of 16 images in 8 s
    clock.now += 10
    assert progress.show(11, {"loss": 1.0}) == pytest.approx(16)
    clock.now += 2
    assert progress.show(12, {"loss": 1.0}) == pytest.approx(8)


def test_time_left_leaves_out_the_compilation_and_what_was_no_step(clock, capsys):
    progress = TrainingProgress(101, 16)
    clock.now += 60  # compiling
    progress.show(1, {"loss": 1.0})
    clock.now += 20
    progress.show(11, {"loss": 1.0})  # 2 s a step, 90 steps left
    clock.now += 500  # an evaluation
    progress.restart_clock(11)
    clock.now += 40
    rate = progress.show(21, {"loss": 1.0})  # 3 s a step so far, 80 steps left
    first, second, third = capsys.readouterr().out.splitlines()
    assert first.endswith("? left")
    assert second.endswith("3:00 left")
    assert third.endswith("4:00 left")
    assert rate == pytest.approx(4)


def test_a_run_that_goes_on_counts_only_its_own_steps(clock, capsys):
    progress = TrainingProgress(100, 10)
    clock.now += 30  # restoring
    progress.restart_clock(90)
    clock.now += 3
    assert progress.seconds() == 3
    clock.now += 1
    assert progress.show(92, {"loss": 1.0}) == pytest.approx(5)
    assert "step 92/100" in (line := capsys.readouterr().out)
    assert line.endswith("0:16 left\n")


@pytest.mark.parametrize(
    ("seconds", "shown"), [(0, "0:00"), (59, "0:59"), (61, "1:01"), (3661, "1:01:01")]
)
def test_time_left_is_in_minutes_or_hours(clock, capsys, seconds, shown):
    progress = TrainingProgress(4, 8)
    clock.now += seconds
    progress.show(2, {"loss": 1.0})
    assert capsys.readouterr().out.endswith(f"  {shown} left\n")


def test_not_on_a_terminal_each_call_gives_one_line_with_step_losses_rate_and_time(clock, capsys):
    with TrainingProgress(1000, 16) as progress:
        for step in (2, 4):
            clock.now += 1
            progress.show(step, {"loss": 0.123456, "a_figure_with_a_long_name": 5.0} | LONG)
        progress.note("step 4, [validation]: MSE 1.0")
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 3
    for line, step in zip(lines, (2, 4), strict=False):
        assert re.fullmatch(
            rf"step {step}/1000  loss 0\.1235  a_figure_with_a_long_name 5  .*  "
            r"32 images/s  \d+:\d\d left",
            line,
        )
    assert lines[2] == "step 4, [validation]: MSE 1.0"


# More than fits in the 80 columns of a terminal that is none.
LONG = {f"figure_{i}": float(i) for i in range(20)}
