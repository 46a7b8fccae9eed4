"""The pure per-device functions of an evaluation: what models see, and the metrics of each image.

They are compiled apart, so that a network is compiled once whatever is done with what it sees and
with its colours, and the metrics once for all networks and baselines. `parallel.py` compiles them
over the devices. A batch is {"image": [N, H, W, 3] uint8 sRGB}, and where L is damaged "index":
[N], the images' in their data set; every result has the image as its leading axis.
"""

from collections.abc import Callable, Mapping

import jax
import jax.numpy as jnp
from jax import lax

from colorjax.display import displayed, to_float
from colorjax.evaluation import metrics, skin_tone
from colorjax.evaluation.ciede2000 import ciede2000
from colorjax.evaluation.metrics import ssim
from colorjax.lab import rgb_to_lab

Batch = Mapping[str, jax.Array]
Metrics = dict[str, jax.Array]
# (L [N, H, W, 1] in [0, 100], the images' indices [N]) -> what a model sees of L.
Damage = Callable[[jax.Array, jax.Array], jax.Array]

# Of the pictures of colour distributions, in Lab units.
FINE_WIDTH = 2


def seen_step(batch: Batch, damage: Damage | None) -> jax.Array:
    """What a model sees: L [N, H, W, 1], damaged if so wanted."""
    l = rgb_to_lab(to_float(batch["image"]))[..., :1]
    return l if damage is None else damage(l, batch["index"])


def truth_step(batch: Batch) -> Metrics:
    """What is to be known of the truths.

    Returns:
      For each image: colorfulness; lightness, its mean L; skin_share, skin_l and skin_ab, see
      `evaluation.skin_tone`; histogram of a*b*, and the same in finer bins as `colors`.
    """
    rgb = to_float(batch["image"])
    lab = rgb_to_lab(rgb)
    skin, share = skin_tone.skin_mask(rgb)
    skin_lab = skin_tone.mean_over(skin, lab)
    return {
        "colorfulness": metrics.colorfulness(rgb),
        "lightness": jnp.mean(lab[..., 0], axis=(1, 2)),
        "skin_share": share,
        "skin_l": skin_lab[..., 0],
        "skin_ab": skin_lab[..., 1:],
        "histogram": metrics.ab_histogram(lab[..., 1:]),
        "colors": metrics.ab_histogram(lab[..., 1:], FINE_WIDTH),
    }


def metrics_step(factor: jax.Array, batch: Batch) -> Metrics:
    """Metrics of each image, on what a user gets.

    Args:
      factor: by which a*b* are multiplied, a scalar.
      batch: with predictions "ab" [N, h, w, 2]; of another size than the image, they are brought
        to its size, as they are when a larger photo is coloured.

    Returns:
      For each image, see `evaluation.metrics`: mse, threshold_loss [N, 3] at 5, 10 and 20, auc,
      psnr, ssim, delta_e, colorfulness; skin_ab and skin_delta_e, means over the truth's skin;
      errors and auc_by_color, counted by threshold and by the truth's colour; histogram and colors.
    """
    rgb_true = to_float(batch["image"])
    lab_true = rgb_to_lab(rgb_true)
    rgb, lab = _shown(factor, batch["ab"], lab_true)
    ab, ab_true = lab[..., 1:], lab_true[..., 1:]
    difference = ciede2000(lab, lab_true)
    skin, _ = skin_tone.skin_mask(rgb_true)
    within = metrics.pixel_auc(ab, ab_true)
    return {
        "mse": metrics.mse(ab, ab_true),
        "threshold_loss": metrics.threshold_loss(ab, ab_true),
        "auc": 100.0 * jnp.mean(within, axis=(1, 2)),
        "auc_by_color": metrics.sums_by_color(within, ab_true),
        "delta_e": jnp.mean(difference, axis=(1, 2)),
        "psnr": metrics.psnr(rgb, rgb_true),
        "ssim": ssim(rgb, rgb_true),
        "colorfulness": metrics.colorfulness(rgb),
        "skin_ab": skin_tone.mean_over(skin, ab),
        "skin_delta_e": skin_tone.mean_over(skin, difference),
        "errors": metrics.error_counts(ab, ab_true),
        "histogram": metrics.ab_histogram(ab),
        "colors": metrics.ab_histogram(ab, FINE_WIDTH),
    }


def saturation_step(factors: jax.Array, batch: Batch) -> Metrics:
    """What becomes of a model when its a*b* are multiplied by each of some factors [K].

    Returns:
      For each image: threshold_loss_10 and colorfulness, [N, K].
    """
    lab_true = rgb_to_lab(to_float(batch["image"]))

    def scaled(factor: jax.Array) -> Metrics:
        rgb, lab = _shown(factor, batch["ab"], lab_true)
        loss = metrics.threshold_loss(lab[..., 1:], lab_true[..., 1:], (10.0,))[:, 0]
        return {"threshold_loss_10": loss, "colorfulness": metrics.colorfulness(rgb)}

    return jax.tree.map(jnp.transpose, lax.map(scaled, factors))


def _shown(factor: jax.Array, ab: jax.Array, lab_true: jax.Array) -> tuple[jax.Array, jax.Array]:
    """The sRGB and the Lab that a user gets of predicted a*b*."""
    if ab.shape[1:3] != lab_true.shape[1:3]:
        ab = jax.image.resize(ab, (*lab_true.shape[:-1], 2), "linear")
    return displayed(lab_true[..., :1], factor * ab)
