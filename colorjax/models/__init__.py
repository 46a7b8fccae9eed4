"""The models, and how each is built from its config."""

from typing import Any

import flax.linen as nn
import jax.numpy as jnp

from colorjax.models.discriminator import Discriminator
from colorjax.models.encoder_decoder import EncoderDecoder
from colorjax.models.resnet import ResNetGenerator
from colorjax.terminal.errors import InputError

GENERATORS = {"encoder_decoder": EncoderDecoder, "resnet": ResNetGenerator}
DTYPES = {"float32": jnp.float32, "bfloat16": jnp.bfloat16}
# All the encoders halve the image five times.
SIZE_MULTIPLE = 32


def build_generator(config: Any, axis_name: str | None = None) -> nn.Module:
    """The model that predicts a*b* from L.

    Args:
      config: `config.model` of a run: name, width, dtype, skip_connections.
      axis_name: the device axis over which BatchNorm is synchronised in training.

    Raises:
      InputError: a name or dtype that is not known.
    """
    if config.name not in GENERATORS:
        raise InputError(f"config.model.name={config.name!r}: known are {', '.join(GENERATORS)}")
    return GENERATORS[config.name](
        width=config.width,
        skip_connections=config.skip_connections,
        axis_name=axis_name,
        dtype=_dtype(config.dtype),
    )


def build_discriminator(config: Any, dtype: str) -> Discriminator:
    """The discriminator of a GAN from `config.gan`: width, spectral_norm."""
    return Discriminator(
        width=config.width, spectral_norm=config.spectral_norm, dtype=_dtype(dtype)
    )


def _dtype(name: str) -> Any:
    if name not in DTYPES:
        raise InputError(f"config.model.dtype={name!r}: known are {', '.join(DTYPES)}")
    return DTYPES[name]
