import sys

import jax
import pytest

from colorjax.serve.service import forget_programs


@pytest.mark.skipif(sys.platform != "linux", reason="other systems have no such limit")
def test_programs_are_forgotten_when_they_are_too_many():
    traced = []

    @jax.jit
    def double(x):
        traced.append(x.shape)
        return 2 * x

    double(1.0)
    forget_programs()
    forget_programs(most=10**9)
    double(2.0)
    assert len(traced) == 1
    forget_programs(most=1)
    assert double(3.0) == 6.0
    assert len(traced) == 2
