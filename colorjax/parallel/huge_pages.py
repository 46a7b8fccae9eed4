"""Large pages for what XLA allocates on a CPU. Imports no JAX."""

import os
import sys

SETTING = "GLIBC_TUNABLES"


def restart() -> None:
    """Starts the command of this process anew with huge pages for malloc, on Linux.

    XLA frees its temporary memory after each step, and Linux clears it again, page by page: with
    pages of 4 KiB that was a quarter of the CPU time of the CNN's step (128×128, batch 16: 1034 ms,
    and 800 with huge pages). glibc reads the setting only when a process starts. Call it before
    anything else is imported or read. Who sets the variable has chosen; without glibc, or if the
    system forbids huge pages, it changes nothing.
    """
    if sys.platform == "linux" and SETTING not in os.environ:
        os.environ[SETTING] = "glibc.malloc.hugetlb=1"
        os.execv(sys.executable, sys.orig_argv)
