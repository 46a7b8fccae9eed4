"""Building blocks of the models: convolution, deconvolution, normalisation and the decoder."""

import functools
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import chex
import flax.linen as nn
import jax
import jax.numpy as jnp
from jax import lax

from colorjax.models import color_bins
from colorjax.models import kernels as cpu
from colorjax.models.color_bins import Distribution, block_means
from colorjax.models.hint_filter import HintFilter

Dtype = Any
ModuleDef = Callable[..., nn.Module]
Initializer = nn.initializers.Initializer
NHWC = ("NHWC", "HWIO", "NHWC")
# Names of the parts that a generator may or may not have.
HINTS, LOGITS, BIN_WEIGHTS = "hints", "logits", "bin_weights"
HINT_FILTER = "hint_filter"
# torchvision's.
BATCH_NORM_EPSILON = 1e-5
# Channels of the decoder's layers.
DECODER = (256, 128, 64, 32, 16)

# He initialisation, drawn uniformly: XLA takes seconds to compile a truncated normal.
kernel_init = nn.initializers.variance_scaling(2.0, "fan_in", "uniform")


def scale_width(channels: int, width: float) -> int:
    """The channel count of a layer, at least 1, in a model scaled by `width`."""
    return max(1, round(channels * width))


def convolve(x: jax.Array, kernel: jax.Array, strides: int, pad: int) -> jax.Array:
    """A convolution of [N, H, W, C] with the same padding on all sides."""
    padding = 2 * [(pad, pad)]
    return lax.conv_general_dilated(x, kernel, 2 * (strides,), padding, dimension_numbers=NHWC)


def deconvolve(x: jax.Array, kernel: jax.Array) -> jax.Array:
    """A deconvolution (transposed convolution) of [N, H, W, C] with stride 2."""
    return lax.conv_transpose(x, kernel, (2, 2), "SAME", dimension_numbers=NHWC)


def depthwise(x: jax.Array, kernel: jax.Array, strides: int) -> jax.Array:
    """A convolution of each channel of [N, H, W, C] with its own kernel, without padding."""
    return lax.conv_general_dilated(
        x, kernel, 2 * (strides,), "VALID", dimension_numbers=NHWC, feature_group_count=x.shape[-1]
    )


def max_pool(x: jax.Array) -> jax.Array:
    """3×3, stride 2, of [N, H, W, C]."""
    return nn.max_pool(x, (3, 3), (2, 2), ((1, 1), (1, 1)))


class Prediction(NamedTuple):
    """What a generator returns.

    Attributes:
      ab: [N, H, W, 2] float32, a*b* / 110.
      distribution: of a*b* at a quarter of the size; None without that head.
    """

    ab: jax.Array
    distribution: Distribution | None


class Forms(NamedTuple):
    """Equal functions that compute what the layers need."""

    convolve: Callable[[jax.Array, jax.Array, int, int], jax.Array]
    deconvolve: Callable[[jax.Array, jax.Array], jax.Array]
    depthwise: Callable[[jax.Array, jax.Array, int], jax.Array]
    max_pool: Callable[[jax.Array], jax.Array]


FORMS = {
    "plain": Forms(convolve, deconvolve, depthwise, max_pool),
    "cpu": Forms(cpu.convolve, cpu.deconvolve, cpu.depthwise, cpu.max_pool),
}


class Conv(nn.Module):
    """A convolution with symmetric padding, as PyTorch's with padding (kernel_size - 1) // 2.

    Attributes:
      features: number of output channels.
      kernel_size: side of the kernel.
      strides: of both axes.
      dtype: of the computation; parameters are float32.
      kernels: a key of FORMS: "plain" for `lax` operations, which work on every platform and with
        symbolic shapes, or "cpu" for those in kernels.py. The parameters are the same.
      use_bias: whether a bias is added.
      kernel_init: draws the kernel.
    """

    features: int
    kernel_size: int = 3
    strides: int = 1
    dtype: Dtype = jnp.float32
    kernels: str = "plain"
    use_bias: bool = False
    kernel_init: Initializer = kernel_init

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """Args: x: [N, H, W, C]. Returns [N, ceil(H / strides), ceil(W / strides), features]."""
        size = self.kernel_size
        kernel = self.param("kernel", self.kernel_init, (size, size, x.shape[-1], self.features))
        x, kernel = x.astype(self.dtype), kernel.astype(self.dtype)
        x = FORMS[self.kernels].convolve(x, kernel, self.strides, (size - 1) // 2)
        if self.use_bias:
            bias = self.param("bias", nn.initializers.zeros, (self.features,))
            x = x + bias.astype(self.dtype).reshape(1, 1, 1, -1)
        return x


class Deconv(nn.Module):
    """A 4×4, stride 2 deconvolution without bias. `kernels` is that of `Conv`."""

    features: int
    dtype: Dtype = jnp.float32
    kernels: str = "plain"

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """Args: x: [N, H, W, C]. Returns [N, 2H, 2W, features]."""
        # An output pixel depends on 4 of the 16 taps: its fan-in is a quarter of the kernel's.
        init = nn.initializers.variance_scaling(8.0, "fan_in", "uniform")
        kernel = self.param("kernel", init, (4, 4, x.shape[-1], self.features))
        x, kernel = x.astype(self.dtype), kernel.astype(self.dtype)
        return FORMS[self.kernels].deconvolve(x, kernel)


def enlarge(x: jax.Array, factor: int) -> jax.Array:
    """Bilinear enlargement of [N, H, W, C], as PyTorch's with align_corners=False."""
    batch, height, width, channels = x.shape
    shape = batch, factor * height, factor * width, channels
    return x if factor == 1 else jax.image.resize(x, shape, "bilinear")


def batch_norm(train: bool, axis_name: str | None, dtype: Dtype) -> ModuleDef:
    """BatchNorm with torchvision's constants, synchronised over the devices of `axis_name`."""
    return functools.partial(
        nn.BatchNorm,
        use_running_average=not train,
        momentum=0.9,
        epsilon=BATCH_NORM_EPSILON,
        axis_name=axis_name,
        dtype=dtype,
    )


def given_hints(module: nn.Module, hints: jax.Array | None, l: jax.Array) -> jax.Array | None:
    """The hints that a generator is to use: None without any, for which nothing is computed.

    Args:
      module: the generator; its attribute `hints` says whether it takes any. During initialisation
        zeros stand for missing hints, so that the parameters exist.
      hints: [N, H, W, 3], a*b* / 110 where they are known, and 1 there; 0 elsewhere. Or None.
      l: [N, H, W, 1].
    """
    if hints is None:
        initializing = module.hints and module.is_initializing()
        return jnp.zeros((*l.shape[:3], 3)) if initializing else None
    chex.assert_shape(hints, (*l.shape[:3], 3))
    return hints


class Decoder(nn.Module):
    """Deconvolutions from the encoder's last feature maps to a*b*.

    Each layer doubles the size. With skip connections its output is concatenated with the encoder's
    feature maps of that size; a 1×1 convolution first reduces them to as many channels, if they
    have more. The last layers start at zero, so that training starts from grey, and from all
    colours being equally likely.

    Attributes:
      features: channel counts of the deconvolutions, of which an `output_stride` of 4 takes all but
        the last two.
      norm: see `batch_norm`.
      dtype: of the computation.
      kernels: see `Conv`.
      output_stride: 1, or 4 to predict at a quarter of the size and enlarge bilinearly, as Zhang et
        al. 2016 do.
      distribution: whether a second head predicts the distribution of a*b* at a quarter of the
        size. The weights of the colours are in the collection `batch_stats`.
      normalize_skips: whether BatchNorm comes before the concatenation, for encoders whose feature
        maps are large.
    """

    features: Sequence[int]
    norm: ModuleDef
    dtype: Dtype = jnp.float32
    kernels: str = "plain"
    output_stride: int = 1
    distribution: bool = False
    normalize_skips: bool = False

    @nn.compact
    def __call__(
        self, x: jax.Array, skips: Sequence[jax.Array] | None, hints: jax.Array | None = None
    ) -> Prediction:
        """Decodes.

        Args:
          x: [N, h, w, C], the encoder's last feature maps.
          skips: for each layer the encoder's feature maps at its output size; or None.
          hints: see `given_hints`.

        Returns:
          a*b* of size [h * 2**len(features), w * 2**len(features)], and their distribution.
        """
        conv = functools.partial(Conv, dtype=self.dtype, kernels=self.kernels)
        deconv = functools.partial(Deconv, dtype=self.dtype, kernels=self.kernels)
        head = functools.partial(conv, use_bias=True, kernel_init=nn.initializers.zeros)
        at_quarter = len(self.features) - 3
        for i, features in enumerate(self.features[: {1: None, 4: -2}[self.output_stride]]):
            x = deconv(features, name=f"deconv{i}")(x)
            x = nn.relu(self.norm(name=f"bn{i}")(x))
            if skips is not None:
                skip = skips[i]
                if skip.shape[-1] > features:
                    skip = conv(features, 1, name=f"skip{i}")(skip)
                if self.normalize_skips:
                    skip = self.norm(name=f"skip_bn{i}")(skip)
                x = jnp.concatenate([x, skip.astype(self.dtype)], axis=-1)
            if i == at_quarter:
                quarter = x
        ab = enlarge(head(2, name="ab")(x).astype(jnp.float32), self.output_stride)
        distribution = None
        if self.distribution:
            bins = len(color_bins.centers())
            logits = head(bins, 1, name=LOGITS)(quarter).astype(jnp.float32)
            weights = self.variable("batch_stats", BIN_WEIGHTS, jnp.ones, bins)
            distribution = Distribution(logits, weights.value)
        if hints is None:
            return Prediction(ab, distribution)
        small = block_means(ab, 4)
        change, weight = HintFilter(conv, name=HINT_FILTER)(quarter, hints, small)
        if distribution is not None:
            distribution = distribution.mixed(small + change, weight)
        return Prediction(ab + enlarge(change, 4), distribution)


class Generator(nn.Module):
    """L to a*b*: what all generators have in common.

    They are called as (l, hints=None, train=False), and return a `Prediction`:
      l: [N, H, W, 1], L / 50 - 1.
      hints: [N, H, W, 3], a*b* / 110 where they are known, and a mask that is 1 there; 0
        elsewhere. None for no hints.
      train: whether BatchNorm uses the batch's statistics and updates its own.

    Attributes:
      width: multiplies every channel count.
      skip_connections: whether the decoder's layers also see the encoder's maps of their size.
      axis_name: device axis over which BatchNorm is synchronised in training.
      dtype: of the computation; parameters and statistics are float32.
      kernels: see `Conv`.
      output_stride: see `Decoder`.
      distribution: see `Decoder`.
      hints: whether it takes hints.
    """

    width: float = 1.0
    skip_connections: bool = True
    axis_name: str | None = None
    dtype: Dtype = jnp.float32
    kernels: str = "plain"
    output_stride: int = 1
    distribution: bool = False
    hints: bool = False

    def decode(
        self,
        x: jax.Array,
        skips: Sequence[jax.Array],
        hints: jax.Array | None,
        train: bool,
        normalize_skips: bool = False,
    ) -> Prediction:
        """The submodule "decoder"; called within `__call__`. See `Decoder`."""
        return Decoder(
            [scale_width(features, self.width) for features in DECODER],
            batch_norm(train, self.axis_name, self.dtype),
            self.dtype,
            self.kernels,
            self.output_stride,
            self.distribution,
            normalize_skips,
            name="decoder",
        )(x, skips if self.skip_connections else None, hints)
