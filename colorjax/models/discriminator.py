"""The discriminator: a CNN that scores patches of (L, a*, b*)."""

import functools

import chex
import flax.linen as nn
import jax
import jax.numpy as jnp

from colorjax.models.layers import Conv, Dtype, scale_width

FEATURES = (64, 128, 256, 512)


class Discriminator(nn.Module):
    """A PatchGAN discriminator (Isola et al. 2017): every logit depends on one patch of the image.

    It has no BatchNorm, which would make an image's score depend on the rest of the batch.

    Attributes:
      width: multiplies every channel count.
      spectral_norm: divides every kernel by its largest singular value (Miyato et al. 2018); the
        power iteration's vectors are in the collection `batch_stats`.
      dtype: of the computation; parameters are float32.
      kernels: see `layers.Conv`.
    """

    width: float = 1.0
    spectral_norm: bool = True
    dtype: Dtype = jnp.float32
    kernels: str = "plain"

    @nn.compact
    def __call__(self, l: jax.Array, ab: jax.Array, train: bool = False) -> jax.Array:
        """Scores patches.

        Args:
          l: [N, H, W, 1], L / 50 - 1.
          ab: [N, H, W, 2], a*b* / 110.
          train: whether to update the power iteration of spectral normalisation.

        Returns:
          [N, H/16, W/16, 1] float32 logits: positive for real.
        """
        chex.assert_shape([l, ab], [(None, None, None, 1), (*l.shape[:3], 2)])

        def layer(module: nn.Module, x: jax.Array) -> jax.Array:
            if not self.spectral_norm:
                return module(x)
            return nn.SpectralNorm(module, name=f"{module.name}_norm")(x, update_stats=train)

        conv = functools.partial(Conv, dtype=self.dtype, kernels=self.kernels, use_bias=True)
        x = jnp.concatenate([l, ab], axis=-1)
        for i, features in enumerate(FEATURES):
            features = scale_width(features, self.width)
            x = nn.leaky_relu(layer(conv(features, 4, 2, name=f"conv{i}"), x), 0.2)
        # Smaller than He's: no activation follows.
        logits = conv(1, kernel_init=nn.initializers.lecun_normal(), name="logits")
        return layer(logits, x).astype(jnp.float32)
