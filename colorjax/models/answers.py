"""What is made of a prediction: one answer, several, how sure they are, and what else is likely."""

import math

import jax
import jax.numpy as jnp
import numpy as np

from colorjax.lab import AB_SCALE
from colorjax.models.color_bins import WIDTH, Distribution, centers, mean_color
from colorjax.models.layers import Prediction, enlarge

# A candidate moves a colour with a standard deviation of TILT Lab units by about as much. Of the
# packaged model, the best of 8 has ΔE00 5.69, 5.32, 5.21, 5.22, 5.53 at 12, 16, 22, 24, 48 (128
# validation faces; 6.33 for one).
TILT = 22.0
GOLDEN_ANGLE = math.pi * (3 - math.sqrt(5))


def answer(prediction: Prediction, temperature: float | jax.Array | None) -> jax.Array:
    """The a*b* [N, H, W, 2] that a model answers with, in Lab units.

    Args:
      prediction: of a generator.
      temperature: of the annealed mean of its distribution; 0 or None for the regression's answer.
    """
    if temperature is None or (isinstance(temperature, (int, float)) and not temperature):
        return AB_SCALE * prediction.ab
    return _full_size(prediction, distribution(prediction).annealed_mean(temperature))


def candidates(
    prediction: Prediction, count: int, temperature: float | jax.Array | None = 0.0
) -> jax.Array:
    """Different answers, each of which is one choice for the image as a whole.

    A candidate prefers one direction of the a*b* plane: the probability of each colour c is
    multiplied by exp(⟨c, direction⟩ / TILT), everywhere alike, and the model's answer moves as the
    mean colour does. Where the model is sure, it hardly moves, and elsewhere to what is likely in
    this direction. The first candidate is the answer itself; the others' directions are a golden
    angle apart, so that more candidates only add to fewer.

    Args:
      prediction: of a generator with a distribution.
      count: at least 1.
      temperature: see `answer`.

    Returns:
      [count, N, H, W, 2] a*b*.
    """
    log_probabilities = distribution(prediction).log_probabilities()
    mean = mean_color(jnp.exp(log_probabilities))
    base = answer(prediction, temperature)

    def moved(direction: jax.Array) -> jax.Array:
        tilt = jnp.matmul(centers(), direction, precision="highest") / TILT
        logits = log_probabilities + tilt.reshape(1, 1, 1, -1)
        return base + _full_size(prediction, mean_color(jax.nn.softmax(logits)) - mean)

    others = jax.lax.map(moved, jnp.asarray(directions(count)[1:]))
    return jnp.concatenate([base[None], others])


def directions(count: int) -> np.ndarray:
    """[count, 2] float32: none, then unit vectors that are a golden angle apart."""
    angles = GOLDEN_ANGLE * np.arange(count)
    vectors = np.stack([np.cos(angles), np.sin(angles)], axis=-1)
    return (vectors * (angles[:, None] > 0)).astype(np.float32)


def uncertainty(prediction: Prediction) -> jax.Array:
    """[N, H/4, W/4]: the standard deviation of the colour in Lab units, sqrt(E ‖c - E c‖²)."""
    probabilities = jnp.exp(distribution(prediction).log_probabilities())
    mean = AB_SCALE * mean_color(probabilities)
    squares = jnp.matmul(probabilities, (centers() ** 2).sum(-1), precision="highest")
    # A colour is anywhere in its bin, not at its centre: WIDTH² / 12 for each axis.
    return jnp.sqrt(jnp.maximum(squares - jnp.sum(mean**2, -1), 0) + WIDTH**2 / 6)


def likeliest(log_probabilities: np.ndarray, count: int) -> list[tuple[np.ndarray, float]]:
    """The likeliest colours of a pixel, and their probabilities.

    They are the modes of its distribution: bins likelier than all their neighbours, each with the
    probability and the mean colour of the bins from which a climb to likelier neighbours ends
    there. The probabilities of all modes add up to 1.

    Args:
      log_probabilities: [Q], of one pixel.
      count: at most as many colours are returned.

    Returns:
      Pairs of a*b* [2] and a probability, the likeliest first.
    """
    bins, probabilities = centers(), np.exp(log_probabilities)
    apart = np.abs(bins[:, None] - bins[None, :]).max(-1)
    uphill = np.where(apart <= WIDTH, probabilities[None, :], -1.0).argmax(1)
    while not np.array_equal(uphill[uphill], uphill):
        uphill = uphill[uphill]
    modes = []
    for top in np.unique(uphill):
        share = probabilities * (uphill == top)
        if total := float(share.sum()):  # 0 where float32 holds no smaller number
            modes.append((share @ bins / total, total))
    return sorted(modes, key=lambda mode: -mode[1])[:count]


def _full_size(prediction: Prediction, ab: jax.Array) -> jax.Array:
    """a*b* [N, H, W, 2] in Lab units from a*b* / 110 of a smaller size."""
    return AB_SCALE * enlarge(ab, prediction.ab.shape[1] // ab.shape[1])


def distribution(prediction: Prediction) -> Distribution:
    """Of a prediction. Raises ValueError if it has none."""
    if prediction.distribution is None:
        raise ValueError("this model predicts no distribution")
    return prediction.distribution
