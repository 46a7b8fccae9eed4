import os
import subprocess
import sys

import pytest

SCRIPT = """
import os, sys
from colorjax.parallel import huge_pages
print(os.getpid(), file=sys.stderr)
huge_pages.restart()
print(os.environ["GLIBC_TUNABLES"], *sys.argv[1:])
"""


def run(tunables=None):
    env = {name: value for name, value in os.environ.items() if name != "GLIBC_TUNABLES"}
    env |= {"GLIBC_TUNABLES": tunables} if tunables is not None else {}
    command = [sys.executable, "-c", SCRIPT, "an argument", "--flag="]
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=env)
    return done.stdout, done.stderr.split()


@pytest.mark.skipif(sys.platform != "linux", reason="of glibc")
def test_the_command_is_started_anew_once_as_the_same_process():
    output, pids = run()
    assert output == "glibc.malloc.hugetlb=1 an argument --flag=\n"
    assert len(pids) == 2
    assert pids[0] == pids[1]


def test_who_sets_the_variable_has_chosen():
    output, pids = run("glibc.malloc.check=0")
    assert output == "glibc.malloc.check=0 an argument --flag=\n"
    assert len(pids) == 1
