"""Colours grey faces: a CNN, a ResNet-50 and a GAN that predict a*b* from L."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from colorjax.colorize.colorizer import Colorizer

__all__ = ["Colorizer"]
__version__ = "0.1.0"


def __getattr__(name: str) -> Any:
    if name == "Colorizer":  # imported on first use, because importing JAX takes a second
        from colorjax.colorize.colorizer import Colorizer

        return Colorizer
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
