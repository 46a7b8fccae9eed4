"""Simulated ageing of photographs, applied to L inside the compiled step.

Every damage is a function of a key, an image x = L / 100 [H, W] in [0, 1] and a strength in [0, 1].
A strength of 0 changes nothing. Lengths are fractions of the image's side, so that a strength looks
the same at every size, but for scratches and specks, about a pixel wide, and the blocks of JPEG.
"""

from collections.abc import Callable, Mapping
from functools import partial

import chex
import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

Damage = Callable[[jax.Array, jax.Array, jax.Array], jax.Array]

SCRATCHES, SPECKS = 6, 10
# Luminance quantisation of ITU-T T.81 (JPEG), table K.1.
_JPEG_TABLE = np.array(
    [
        [16, 11, 10, 16, 24, 40, 51, 61],
        [12, 12, 14, 19, 26, 58, 60, 55],
        [14, 13, 16, 24, 40, 57, 69, 56],
        [14, 17, 22, 29, 51, 87, 80, 62],
        [18, 22, 37, 56, 68, 109, 103, 77],
        [24, 35, 55, 64, 81, 104, 113, 92],
        [49, 64, 78, 87, 103, 121, 120, 101],
        [72, 92, 95, 98, 112, 100, 103, 99],
    ],
    np.float32,
)


def blur(rng: jax.Array, x: jax.Array, strength: jax.Array) -> jax.Array:
    """Gaussian blur with a standard deviation of up to 2.5 % of the side."""
    del rng
    return _gaussian(x, 0.025 * strength * x.shape[1])


def exposure(rng: jax.Array, x: jax.Array, strength: jax.Array) -> jax.Array:
    """Uneven exposure: up to 70 % darker towards one side and the corners."""
    angle_rng, share_rng = jax.random.split(rng)
    angle = jax.random.uniform(angle_rng, maxval=2 * jnp.pi)
    share = jax.random.uniform(share_rng, minval=0.3, maxval=1.0)
    rows, columns = _grid(x)
    slope = 0.5 + 0.5 * (columns * jnp.cos(angle) + rows * jnp.sin(angle)) / jnp.sqrt(2.0)
    corners = (rows**2 + columns**2) / 2.0
    return x * (1.0 - 0.7 * strength * (share * slope + (1.0 - share) * corners))


def contrast(rng: jax.Array, x: jax.Array, strength: jax.Array) -> jax.Array:
    """Hard paper: up to three times the contrast, with clipped blacks and whites."""
    pivot = jax.random.uniform(rng, minval=0.35, maxval=0.65)
    return jnp.clip(pivot + (x - pivot) * (1.0 + 2.0 * strength), 0.0, 1.0)


def grain(rng: jax.Array, x: jax.Array, strength: jax.Array) -> jax.Array:
    """Film grain: smoothed noise with a deviation of up to 0.1, strongest in mid-tones."""
    size_rng, noise_rng = jax.random.split(rng)
    sigma = jax.random.uniform(size_rng, minval=0.3, maxval=0.9) * x.shape[1] / 128
    noise = _gaussian(jax.random.normal(noise_rng, x.shape), sigma)
    noise = noise / (jnp.std(noise) + 1e-6)
    tone = 0.4 + 2.4 * x * (1.0 - x)
    return jnp.clip(x + 0.1 * strength * tone * noise, 0.0, 1.0)


def fade(rng: jax.Array, x: jax.Array, strength: jax.Array) -> jax.Array:
    """Fading: the range of tones shrinks by up to 70 %, mostly at the dark end."""
    low = jax.random.uniform(rng, minval=0.4) * 0.7 * strength
    return low + (1.0 - 0.7 * strength) * x


def scratches(rng: jax.Array, x: jax.Array, strength: jax.Array) -> jax.Array:
    """Up to six scratches along the film, light or dark, and ten specks of dust."""
    line_rng, speck_rng = jax.random.split(rng)
    rows, columns = _grid(x)
    pixel = 2.0 / x.shape[1]

    place, slope, bend, width, start, length, tone = jax.random.uniform(
        line_rng, (7, SCRATCHES, 1, 1)
    )
    rows_, columns_ = rows[None], columns[None]
    centre = 2 * place - 1 + 0.2 * (slope - 0.5) * rows_ + 0.03 * jnp.sin(3 * rows_ + 6 * bend)
    reach = jnp.abs(rows_ - (2 * start - 1)) < 0.3 + 1.5 * length
    lines = jnp.exp(-(((columns_ - centre) / (pixel * (0.5 + width))) ** 2)) * reach
    x = _blend(x, lines, tone, strength)

    across, down, size, tone = jax.random.uniform(speck_rng, (4, SPECKS, 1, 1))
    far = (columns_ - 2 * across + 1) ** 2 + (rows_ - 2 * down + 1) ** 2
    specks = jnp.exp(-far / (pixel * (0.7 + 1.5 * size)) ** 2)
    return _blend(x, specks, tone, strength)


def halftone(rng: jax.Array, x: jax.Array, strength: jax.Array) -> jax.Array:
    """A print: dots on a slanted screen, 3 to 5 pixels apart at a side of 128, blended in."""
    period_rng, angle_rng, phase_rng = jax.random.split(rng, 3)
    period = jax.random.uniform(period_rng, minval=3.0, maxval=5.0) * 2 / 128
    angle = jax.random.uniform(angle_rng, minval=0.5, maxval=1.0)
    rows, columns = _grid(x)
    phase = jax.random.uniform(phase_rng, (2,), maxval=2 * jnp.pi)
    along = (columns * jnp.cos(angle) + rows * jnp.sin(angle)) * 2 * jnp.pi / period + phase[0]
    across = (rows * jnp.cos(angle) - columns * jnp.sin(angle)) * 2 * jnp.pi / period + phase[1]
    screen = 0.5 + 0.25 * (jnp.cos(along) + jnp.cos(across))
    return x + strength * (jax.nn.sigmoid((x - screen) / 0.08) - x)


def jpeg(rng: jax.Array, x: jax.Array, strength: jax.Array) -> jax.Array:
    """Artefacts of a JPEG of quality 75 down to 4."""
    del rng
    return jnp.where(strength > 0, jpeg_luminance(x, 75.0 * (4.0 / 75.0) ** strength), x)


# In the order in which they happen: lens, film, print, ageing, press, scan.
DAMAGES: dict[str, Damage] = {
    "blur": blur,
    "exposure": exposure,
    "contrast": contrast,
    "grain": grain,
    "fade": fade,
    "scratches": scratches,
    "halftone": halftone,
    "jpeg": jpeg,
}
# Evaluation leaves out halftone: it belongs to prints, and a small image cannot show its dots.
EVALUATED = tuple(name for name in DAMAGES if name != "halftone")
EVALUATED_PROBABILITY = 0.5


def damage(
    rngs: jax.Array, l: jax.Array, strengths: Mapping[str, float], probability: float
) -> jax.Array:
    """Damages each image of a batch independently.

    Args:
      rngs: [N] keys, one for each image.
      l: [N, H, W, 1] L in [0, 100].
      strengths: largest strength in [0, 1] by name in DAMAGES; a damage that is missing or 0 is not
        compiled.
      probability: of each damage for each image; its strength is uniform in [0, the largest].

    Returns:
      [N, H, W, 1] in [0, 100].
    """
    chosen = {name: strengths[name] for name in DAMAGES if strengths.get(name)}
    if not chosen:
        return l

    def draw(rng: jax.Array, largest: float) -> jax.Array:
        happens, strength = jax.random.uniform(rng, (2,))
        return jnp.where(happens < probability, strength * largest, 0.0)

    def one(rng: jax.Array, l: jax.Array) -> jax.Array:
        x = l[..., 0] / 100.0
        for name, largest in chosen.items():
            # By its index in the table, so that its draws do not depend on the other damages.
            key = jax.random.fold_in(rng, list(DAMAGES).index(name))
            strength_rng, damage_rng = jax.random.split(key)
            x = DAMAGES[name](damage_rng, x, draw(strength_rng, largest))
        return 100.0 * x[..., None]

    chex.assert_shape(l, (None, None, None, 1))
    return jax.vmap(one)(rngs, l)


def damage_evaluated(l: jax.Array, indices: jax.Array, strength: float, seed: int = 0) -> jax.Array:
    """Damages the images of an evaluation with EVALUATED; an image is the same in any batch.

    Args:
      l: [N, H, W, 1] L in [0, 100].
      indices: [N] integers, the index of each image in the data set.
      strength: largest strength of each damage, in [0, 1].
      seed: of the random draws; at other image sizes all but the noise of grain are the same.

    Returns:
      [N, H, W, 1] in [0, 100].
    """
    rngs = jax.vmap(partial(jax.random.fold_in, jax.random.key(seed)))(indices)
    return damage(rngs, l, dict.fromkeys(EVALUATED, strength), EVALUATED_PROBABILITY)


def _grid(x: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Coordinates of the pixels' centres in (-1, 1): rows [H, 1] and columns [1, W]."""
    rows, columns = ((2 * jnp.arange(n, dtype=jnp.float32) + 1) / n - 1 for n in x.shape)
    return rows[:, None], columns[None, :]


def _gaussian(x: jax.Array, sigma: jax.Array) -> jax.Array:
    """Smooths [H, W]. As matrix products, so that sigma, in pixels, may differ between images."""

    def matrix(n: int) -> jax.Array:
        distance = jnp.arange(n)[:, None] - jnp.arange(n)[None, :]
        weights = jnp.exp(-0.5 * (distance / jnp.maximum(sigma, 1e-3)) ** 2)
        return weights / jnp.sum(weights, axis=1, keepdims=True)

    rows, columns = (matrix(n) for n in x.shape)
    return jnp.einsum("ij,jk,lk->il", rows, x, columns, precision=lax.Precision.HIGHEST)


def _blend(x: jax.Array, masks: jax.Array, tones: jax.Array, strength: jax.Array) -> jax.Array:
    """Blends in the first masks [K, H, W], as many as the strength says: light ones, then dark."""
    count = len(masks)
    masks = masks * jnp.clip(strength * count - jnp.arange(count), 0.0, 1.0)[:, None, None]
    light = tones < 0.6
    for chosen, colour in ((light, 0.95), (~light, 0.05)):
        x = x + (1.0 - jnp.prod(1.0 - masks * chosen, axis=0)) * (colour - x)
    return x


def jpeg_luminance(x: jax.Array, quality: jax.Array) -> jax.Array:
    """[H, W] after compression as a grey baseline JPEG of libjpeg's quality 1 to 100."""
    height, width = x.shape
    scale = jnp.where(quality < 50, 50.0 / quality, 2.0 - quality / 50.0)
    table = jnp.clip(jnp.floor(_JPEG_TABLE * scale + 0.5), 1.0, 255.0)
    k = np.arange(8)
    cosines = np.cos((2 * k[None, :] + 1) * k[:, None] * np.pi / 16)
    basis = jnp.asarray(np.sqrt(np.where(k == 0, 1, 2) / 8)[:, None] * cosines, jnp.float32)

    padded = jnp.pad(x, ((0, -height % 8), (0, -width % 8)), mode="edge")
    blocks = jnp.round(255.0 * padded).reshape(padded.shape[0] // 8, 8, -1, 8) - 128.0
    highest = lax.Precision.HIGHEST
    waves = jnp.einsum("ui,aibj,vj->aubv", basis, blocks, basis, precision=highest)
    table = table[None, :, None, :]
    # libjpeg rounds halves away from zero.
    waves = jnp.sign(waves) * jnp.floor(jnp.abs(waves) / table + 0.5) * table
    blocks = jnp.einsum("ui,aubv,vj->aibj", basis, waves, basis, precision=highest)
    pixels = jnp.clip(jnp.round(blocks.reshape(padded.shape) + 128.0), 0.0, 255.0) / 255.0
    return pixels[:height, :width]
