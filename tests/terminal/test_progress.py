"""Rate and time left, with a clock that the tests move."""

import re
import types

import pytest

from colorjax.terminal.progress import TrainingProgress


@pytest.fixture
def clock(monkeypatch):
    clock = types.SimpleNamespace(now=1000.0)
    monkeypatch.setattr("time.monotonic", lambda: clock.now)
    return clock


def test_the_rate_is_since_the_last_call_and_time_left_excludes_compilation_and_evaluations(
    clock, capsys
):
    progress = TrainingProgress(101, 16)
    clock.now += 60  # compiling
    rates = [progress.show(1, {"loss": 1.0})]
    clock.now += 20
    rates.append(progress.show(11, {"loss": 1.0}))  # 2 s a step, 90 steps left
    clock.now += 500  # an evaluation
    progress.restart_clock(11)
    clock.now += 40
    rates.append(progress.show(21, {"loss": 1.0}))  # 3 s a step so far, 80 steps left
    first, second, third = capsys.readouterr().out.splitlines()
    assert first.endswith("? left")
    assert second.endswith("0:03:00 left")
    assert third.endswith("0:04:00 left")
    assert rates == pytest.approx([16 / 60, 8, 4])


def test_a_resumed_run_counts_only_its_own_steps(clock, capsys):
    progress = TrainingProgress(100, 10)
    clock.now += 30  # restoring
    progress.restart_clock(90)
    clock.now += 4
    assert progress.show(92, {"loss": 1.0}) == pytest.approx(5)
    assert "step 92/100" in (line := capsys.readouterr().out)
    assert line.endswith("0:00:16 left\n")
    clock.now += 1
    assert progress.elapsed() == 5  # since the clock was restarted, not since the last line


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
