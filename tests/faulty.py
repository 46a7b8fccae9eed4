"""A check of image files with faults, for worker processes to import."""

import os
import signal
import time

from colorjax.data.image_folder import stored


def check(data, min_chroma):
    """`stored.check`, but for some contents."""
    match data:
        case b"endless":
            time.sleep(600)
        case b"crash":
            os.kill(os.getpid(), signal.SIGKILL)
        case b"memory":
            raise MemoryError
        case b"recursion":
            raise RecursionError
        case b"not a kind that is expected":
            raise ZeroDivisionError("x")
    return stored.check(data, min_chroma)
