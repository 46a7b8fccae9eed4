"""What wrong input is, and how every command of colorjax ends."""

import errno
import sys
from collections.abc import Callable


class InputError(ValueError):
    """Wrong input. Its message is one line: what is wrong, and what to do."""


class EndedError(RuntimeError):
    """An end that is no mistake of the user's: one line, and an exit status of its own."""

    def __init__(self, message: str, status: int = 1) -> None:
        super().__init__(message)
        self.status = status


def exit_status(command: Callable[[], None], interrupted: str = "stopped") -> int:
    """Runs a command to its end, with one line instead of a traceback for what the user can mend.

    Args:
      command: raises InputError for wrong input, EndedError for what ends it before its end.
      interrupted: what Ctrl-C leaves, and how to go on.

    Returns:
      The exit status: 0; 1 for a full disk; 2 for wrong input; 130 for Ctrl-C; an EndedError's own.
    """
    try:
        command()
    except InputError as error:
        print(f"colorjax: {error}", file=sys.stderr)
        return 2
    except EndedError as error:
        print(f"colorjax: {error}", file=sys.stderr)
        return error.status
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        print(
            f"colorjax: the disk is full ({error}); make room and give the same command again",
            file=sys.stderr,
        )
        return 1
    except KeyboardInterrupt:
        print(f"colorjax: {interrupted}", file=sys.stderr)
        return 130
    return 0
