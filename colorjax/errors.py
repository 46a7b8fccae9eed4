"""What wrong input is, and how every command of colorjax ends."""

import sys
from collections.abc import Callable


class InputError(ValueError):
    """Wrong input. Its message is one line: what is wrong, and what to do."""


def exit_status(command: Callable[[], None], interrupted: str = "stopped") -> int:
    """Runs a command to its end, with one line instead of a traceback for what the user can mend.

    Args:
      command: raises InputError for wrong input.
      interrupted: what Ctrl-C leaves, and how to go on.

    Returns:
      The exit status: 0; 2 for wrong input; 130 for Ctrl-C.
    """
    try:
        command()
    except InputError as error:
        print(f"colorjax: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print(f"colorjax: {interrupted}", file=sys.stderr)
        return 130
    return 0
