import pytest
from albums import make_album, reddish_colorizer

from colorjax import cli
from colorjax.colorize.colorizer import Colorizer


@pytest.fixture
def album(tmp_path):
    return make_album(tmp_path / "album")


@pytest.fixture
def command(monkeypatch):
    """`colorjax colorize` with a constant model: returns the exit status."""
    colorizer = reddish_colorizer()
    monkeypatch.setattr(Colorizer, "load", lambda *_: colorizer)
    return lambda *arguments: cli.main(["colorize", *map(str, arguments)])
