"""Errors that are reported in one line, and the exit statuses of all commands."""

import errno
import os
import sys
from collections.abc import Callable


class InputError(ValueError):
    """Wrong input. The message is one line: what is wrong, and what to do."""


class EndedError(RuntimeError):
    """The command ends early, not because of wrong input. The message is one line."""

    def __init__(self, message: str, status: int = 1) -> None:
        super().__init__(message)
        self.status = status


def installing(extra: str) -> str:
    """How an extra of this package is installed."""
    return f"pip install 'colorjax[{extra}]' (from a checkout: pip install '.[{extra}]')"


def exit_status(command: Callable[[], None], interrupted: str = "stopped") -> int:
    """Runs a command and reports expected errors on stderr, one line each, without a traceback.

    Args:
      command: raises InputError for wrong input, and EndedError if it ends early.
      interrupted: message after Ctrl-C.

    Returns:
      The exit status: 0, 1 for a full disk or a closed pipe, 2 for wrong input, 130 for Ctrl-C,
      an EndedError's own.
    """
    _prepare_streams()
    try:
        command()
        sys.stdout.flush()
    except InputError as error:
        message, status = str(error), 2
    except EndedError as error:
        message, status = str(error), error.status
    except BrokenPipeError:
        # Python would write what is buffered once more, at its end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        message, status = "the reader of the output has closed it", 1
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        message, status = f"the disk is full ({error}); free space and run the command again", 1
    except KeyboardInterrupt:
        message, status = interrupted, 130
    else:
        return 0
    print(f"colorjax: {message}", file=sys.stderr)
    return status


def _prepare_streams() -> None:
    """What is closed swallows all; what a stream cannot encode is written with escapes."""
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None:
            setattr(sys, name, open(os.devnull, "w"))  # noqa: SIM115  # until the end
        elif hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")
