"""Rate and time left, with a clock that the tests move."""

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


def test_the_rate_counts_the_steps_since_the_last_call(clock):
    progress = TrainingProgress(100, 16)
    clock.now += 8
    assert progress.show(1, {"loss": 1.0}) == pytest.approx(2)  # 1 step of 16 images in 8 s
    clock.now += 10
    assert progress.show(11, {"loss": 1.0}) == pytest.approx(16)
    clock.now += 2
    assert progress.show(12, {"loss": 1.0}) == pytest.approx(8)


def test_time_left_excludes_compilation_and_evaluations(clock, capsys):
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
    assert second.endswith("0:03:00 left")
    assert third.endswith("0:04:00 left")
    assert rate == pytest.approx(4)


def test_elapsed_time_is_since_the_clock_was_restarted_not_since_the_last_line(clock):
    progress = TrainingProgress(100, 10)
    clock.now += 30  # restoring
    progress.restart_clock(90)
    clock.now += 3
    progress.show(91, {"loss": 1.0})
    assert progress.elapsed() == 3
    clock.now += 1
    assert progress.elapsed() == 4


def test_a_resumed_run_counts_only_its_own_steps(clock, capsys):
    progress = TrainingProgress(100, 10)
    clock.now += 30
    progress.restart_clock(90)
    clock.now += 4
    assert progress.show(92, {"loss": 1.0}) == pytest.approx(5)
    assert "step 92/100" in (line := capsys.readouterr().out)
    assert line.endswith("0:00:16 left\n")


def test_without_a_terminal_each_call_prints_one_line(clock, capsys):
    # More metrics than fit in 80 columns.
    many = {f"metric_{i}": float(i) for i in range(20)}
    with TrainingProgress(1000, 16) as progress:
        for step in (2, 4):
            clock.now += 1
            progress.show(step, {"loss": 0.123456} | many)
        progress.note("step 4, [validation]: MSE 1.0")
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 3
    for line, step in zip(lines, (2, 4), strict=False):
        assert re.fullmatch(
            rf"step {step}/1000  loss 0\.1235  metric_0 0  .*  32 images/s  0:\d\d:\d\d left", line
        )
    assert lines[2] == "step 4, [validation]: MSE 1.0"
