"""The models that are served, one of them in memory."""

from pathlib import Path
from typing import Any

from colorjax.colorize.colorizer import Colorizer
from colorjax.export.site import terms, title
from colorjax.runs.model_paths import (
    DEFAULT_MODEL,
    DISTRIBUTION,
    HINTS,
    abilities,
    find_model,
    is_weights,
    model_name,
    packaged,
    read_metadata,
    read_model_config,
)
from colorjax.serve.limits import Refusal


class Models:
    """The packaged models and the one that was asked for, by name.

    Args:
      given: see `find_model`; the default of requests that name no model.
      device: see `Colorizer.load`.

    Raises:
      InputError: there is no such model.
    """

    def __init__(self, given: str = DEFAULT_MODEL, device: str | None = None) -> None:
        path = find_model(given)
        self.default = model_name(path)
        self._device = device
        # What was asked for takes precedence over a packaged model of the same name.
        self._given = {**{name: name for name in packaged()}, self.default: given}
        self.described = {name: _described(name, find_model(x)) for name, x in self._given.items()}
        self._loaded: tuple[str, Colorizer] | None = None

    def named(self, name: str | None) -> str:
        """A name that exists; None means the default. Raises Refusal."""
        if name is None or name == "":
            return self.default
        if name not in self._given:
            known = ", ".join(self._given)
            raise Refusal(404, f"there is no model {name!r:.60}; choose {known}")
        return name

    def colorizer(self, name: str) -> Colorizer:
        """A model; another one that was loaded is dropped. Called from one thread."""
        if self._loaded is None or self._loaded[0] != name:
            self._loaded = None
            self._loaded = name, Colorizer.load(self._given[name], device=self._device)
        return self._loaded[1]


def _described(name: str, path: Path) -> dict[str, Any]:
    card = read_metadata(path)["card"] if is_weights(path) else ""
    able = abilities(path)
    return {
        "name": name,
        "title": title(card) or str(read_model_config(path).get("data", name)),
        "terms": terms(card),
        HINTS: HINTS in able,
        DISTRIBUTION: DISTRIBUTION in able,
    }
