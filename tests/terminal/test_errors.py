"""Exit statuses and their messages, and the types of arguments."""

import errno

import pytest

from colorjax.terminal import arguments
from colorjax.terminal.errors import EndedError, InputError, exit_status


@pytest.mark.parametrize(
    ("error", "status", "words"),
    [
        (InputError("no such run"), 2, "no such run"),
        (EndedError("2 of 3 failed"), 1, "2 of 3 failed"),
        (EndedError("stopped by SIGTERM", 75), 75, "stopped by SIGTERM"),
        (OSError(errno.ENOSPC, "No space left"), 1, "the disk is full"),
        (KeyboardInterrupt(), 130, "stopped; run it again"),
    ],
)
def test_expected_errors_give_one_line_and_a_status(capsys, error, status, words):
    def command():
        raise error

    assert exit_status(command, "stopped; run it again") == status
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"colorjax: {words}")


@pytest.mark.parametrize(
    ("kind", "text", "words"),
    [
        ("saturation", "much", "'much' is not a number"),
        ("saturation", "-1", "'-1' is not in [0, 10]"),
        ("share", "nan", "'nan' is not in [0, 1]"),
        ("strength", "runs/gan", "'runs/gan' is not a strength in [0, 1]; for the default"),
        ("positive", "0", "0 is less than 1"),
        ("positive", "2.5", "'2.5' is not an integer"),
    ],
)
def test_wrong_numbers_are_named(kind, text, words):
    parser = arguments.Parser(prog="colorjax")
    parser.add_argument(f"--{kind}", type=getattr(arguments, kind))
    with pytest.raises(InputError) as caught:
        parser.parse_args([f"--{kind}={text}"])
    assert words in str(caught.value)
    assert str(caught.value).endswith("(see colorjax --help)")


def test_underscores_stay_behind_two_dashes():
    parser = arguments.Parser(prog="colorjax")
    parser.add_argument("--batch-size")
    parser.add_argument("inputs", nargs="*")
    found = parser.parse_args(["--batch_size", "2", "--", "--a_b.jpg", "--batch_size"])
    assert (found.batch_size, found.inputs) == ("2", ["--a_b.jpg", "--batch_size"])
