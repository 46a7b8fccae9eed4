"""The API's description."""

from typing import Any


def description() -> dict[str, Any]:
    return {}
