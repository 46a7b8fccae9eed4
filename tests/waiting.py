"""Waiting for what another thread or process does. Machines may be slow."""

import random
import socket
import time


def wait(condition, seconds=120):
    """The first true value of a condition."""
    end = time.monotonic() + seconds
    while not (value := condition()):
        assert time.monotonic() < end, "nothing happened"
        time.sleep(0.05)
    return value


def free_port() -> int:
    """A free port that the system gives to no client, so that it stays free."""
    while True:
        port = random.randrange(10_000, 32_768)
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
