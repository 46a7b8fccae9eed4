"""The models, built from their configs."""

from collections.abc import Mapping
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from colorjax.models.discriminator import Discriminator
from colorjax.models.efficientnet import EfficientNetGenerator
from colorjax.models.encoder_decoder import EncoderDecoder
from colorjax.models.resnet import ResNetGenerator
from colorjax.terminal.errors import InputError

GENERATORS = {
    "encoder_decoder": EncoderDecoder,
    "resnet": ResNetGenerator,
    "efficientnet_lite": EfficientNetGenerator,
}
DTYPES = {"float32": jnp.float32, "bfloat16": jnp.bfloat16}
# The encoders halve the image five times.
SIZE_MULTIPLE = 32


def build_generator(
    config: Any,
    axis_name: str | None = None,
    kernels: str | None = None,
    dtype: str | None = None,
) -> nn.Module:
    """The model that predicts a*b* from L.

    Args:
      config: of a run: model, distribution, hints.
      axis_name: device axis over which BatchNorm is synchronised in training.
      kernels: see `layers.Conv`; by default those of the backend. Exports take "plain".
      dtype: of the computation; by default that of the config. Trained models are used in float32.

    Raises:
      InputError: an unknown name or dtype.
    """
    model = config.model
    return _chosen("name", model.name, GENERATORS)(
        width=model.width,
        skip_connections=model.skip_connections,
        axis_name=axis_name,
        dtype=_chosen("dtype", dtype or model.dtype, DTYPES),
        kernels=kernels or backend_kernels(),
        # Older weights have none of these keys.
        output_stride=model.get("output_stride", 1),
        distribution=config.get("distribution", 0) > 0,
        hints=config.get("hints", 0) > 0,
    )


def build_discriminator(config: Any, dtype: str) -> Discriminator:
    """The discriminator of a GAN from `config.gan`: width, spectral_norm."""
    return Discriminator(
        config.width, config.spectral_norm, _chosen("dtype", dtype, DTYPES), backend_kernels()
    )


def backend_kernels() -> str:
    """The form of the layers that is fastest on JAX's default backend, see `layers.Conv`."""
    return "cpu" if jax.default_backend() == "cpu" else "plain"


def _chosen(key: str, name: str, known: Mapping[str, Any]) -> Any:
    if name not in known:
        raise InputError(
            f"config.model.{key}={name!r} is not valid; it must be one of {', '.join(known)}"
        )
    return known[name]
