"""How every test runs. JAX reads its settings from the environment, so that the processes which
tests start have them too.
"""

import os
import tempfile

import pytest

os.environ.setdefault("JAX_PLATFORMS", "cpu")
os.environ.setdefault("JAX_NUM_CPU_DEVICES", "8")
os.environ["JAX_NUMPY_RANK_PROMOTION"] = "raise"
# Commands do not restart; tests of that remove it.
os.environ.setdefault("GLIBC_TUNABLES", "")


def pytest_addoption(parser):
    parser.addoption("--slow", action="store_true", help="run the tests marked slow too")


def pytest_configure(config):
    """Gives the session a cache folder of its own: the user's is neither read nor written."""
    cache = tempfile.TemporaryDirectory(prefix="colorjax-tests-", ignore_cleanup_errors=True)
    config.add_cleanup(cache.cleanup)
    os.environ["XDG_CACHE_HOME"] = cache.name


def pytest_collection_modifyitems(config, items):
    if config.getoption("slow"):
        return
    slow = [item for item in items if item.get_closest_marker("slow")]
    if slow:
        config.hook.pytest_deselected(items=slow)
        items[:] = [item for item in items if not item.get_closest_marker("slow")]


@pytest.fixture(autouse=True, scope="module")
def _forget_compiled():
    """Frees what a module compiled.

    XLA maps memory for every compiled function, and a process that reaches the kernel's number of
    maps (vm.max_map_count, 65,530) crashes while it compiles the next one.
    """
    import jax  # not before the settings above

    yield
    jax.clear_caches()


@pytest.fixture
def checkout(tmp_path):
    """See scripts.py."""
    from scripts import make_checkout

    return make_checkout(tmp_path)
