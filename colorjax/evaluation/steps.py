"""The pure per-device functions of an evaluation: what models see, and the metrics of each image.

They are compiled separately: each network once, whatever its input and whatever is done with its
colours, and the metrics once for all networks and baselines. A batch is {"image": [N, H, W, 3]
uint8 sRGB} and, where L is damaged, "index": [N], the image indices in the data set. The first axis
of every result is the image.
"""

from collections.abc import Callable, Mapping

import jax
import jax.numpy as jnp
from jax import lax

from colorjax.display import displayed, to_float
from colorjax.evaluation import metrics, skin_tone
from colorjax.evaluation.baselines import lightness_sums
from colorjax.evaluation.ciede2000 import ciede2000
from colorjax.lab import rgb_to_lab

Batch = Mapping[str, jax.Array]
Metrics = dict[str, jax.Array]
# (L [N, H, W, 1] in [0, 100], image indices [N]) -> L with damage.
Damage = Callable[[jax.Array, jax.Array], jax.Array]

# Bin width of the plots of colour distributions, in Lab units.
FINE_WIDTH = 2


def seen_step(batch: Batch, damage: Damage | None = None) -> jax.Array:
    """L [N, H, W, 1] as a model sees it, optionally with damage."""
    l = rgb_to_lab(to_float(batch["image"]))[..., :1]
    return l if damage is None else damage(l, batch["index"])


def truth_step(batch: Batch) -> Metrics:
    """Properties of the true images.

    Returns:
      For each image: colorfulness; channel_range, the largest difference between the channels of
      a pixel; lightness, the mean L; skin_share, skin_l and skin_ab, see `evaluation.skin_tone`;
      histogram of a*b*, and the same in finer bins as colors.
    """
    rgb = to_float(batch["image"])
    lab = rgb_to_lab(rgb)
    skin, share = skin_tone.skin_mask(rgb)
    skin_lab = skin_tone.mean_over(skin, lab)
    return {
        "colorfulness": metrics.colorfulness(rgb),
        "channel_range": jnp.max(jnp.ptp(rgb, axis=-1), axis=(1, 2)),
        "lightness": jnp.mean(lab[..., 0], axis=(1, 2)),
        "skin_share": share,
        "skin_l": skin_lab[..., 0],
        "skin_ab": skin_lab[..., 1:],
        "histogram": metrics.ab_histogram(lab[..., 1:]),
        "colors": metrics.ab_histogram(lab[..., 1:], FINE_WIDTH),
    }


def lightness_step(batch: Batch) -> tuple[jax.Array, jax.Array]:
    """`baselines.lightness_sums` of the true images."""
    lab = rgb_to_lab(to_float(batch["image"]))
    return lightness_sums(lab[..., :1], lab[..., 1:])


def colorfulness_step(batch: Batch) -> jax.Array:
    """[N] colourfulness of the true images."""
    return metrics.colorfulness(to_float(batch["image"]))


def metrics_step(factor: jax.Array, batch: Batch) -> Metrics:
    """Metrics of each image, computed on the 8-bit image that a user gets.

    Args:
      factor: a scalar; a*b* are multiplied by it.
      batch: includes predictions "ab" [N, h, w, 2]. If their size is not that of the image, they
        are resized to it, as when a larger photo is coloured.

    Returns:
      For each image, see `evaluation.metrics`: mse, threshold_loss [N, 3] at 5, 10 and 20, auc,
      psnr, ssim, delta_e, colorfulness; skin_ab and skin_delta_e, means over the truth's skin;
      errors, counts by threshold; auc_by_color, sums by the truth's colour; histogram and colors.
    """
    rgb_true = to_float(batch["image"])
    lab_true = rgb_to_lab(rgb_true)
    rgb, lab = _shown(factor * batch["ab"], lab_true)
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
        "ssim": metrics.ssim(rgb, rgb_true),
        "colorfulness": metrics.colorfulness(rgb),
        "skin_ab": skin_tone.mean_over(skin, ab),
        "skin_delta_e": skin_tone.mean_over(skin, difference),
        "errors": metrics.error_counts(ab, ab_true),
        "histogram": metrics.ab_histogram(ab),
        "colors": metrics.ab_histogram(ab, FINE_WIDTH),
    }


def saturation_step(factors: jax.Array, batch: Batch) -> Metrics:
    """Metrics of a model whose a*b* are multiplied by each of the factors [K].

    Returns:
      For each image: threshold_loss_10 and colorfulness, both [N, K].
    """
    return _plane(factors, lambda factor: factor * batch["ab"], batch)


def annealed_step(answers: jax.Array, batch: Batch) -> Metrics:
    """The same metrics of several answers [N, K, h, w, 2] of one model."""
    return _plane(jnp.moveaxis(answers, 1, 0), lambda ab: ab, batch)


def quality_step(batch: Batch) -> Metrics:
    """delta_e and psnr of predictions "ab" for each image, as `metrics_step` has them."""
    rgb_true = to_float(batch["image"])
    lab_true = rgb_to_lab(rgb_true)
    rgb, lab = _shown(batch["ab"], lab_true)
    delta_e = jnp.mean(ciede2000(lab, lab_true), axis=(1, 2))
    return {"delta_e": delta_e, "psnr": metrics.psnr(rgb, rgb_true)}


def _plane(of: jax.Array, ab_of: Callable[[jax.Array], jax.Array], batch: Batch) -> Metrics:
    """threshold_loss_10 and colorfulness [N, K] of the a*b* that each of K values gives."""
    lab_true = rgb_to_lab(to_float(batch["image"]))

    def point(value: jax.Array) -> Metrics:
        rgb, lab = _shown(ab_of(value), lab_true)
        loss = metrics.threshold_loss(lab[..., 1:], lab_true[..., 1:], (10.0,))[:, 0]
        return {"threshold_loss_10": loss, "colorfulness": metrics.colorfulness(rgb)}

    return jax.tree.map(jnp.transpose, lax.map(point, of))


def _shown(ab: jax.Array, lab_true: jax.Array) -> tuple[jax.Array, jax.Array]:
    """The sRGB and the Lab of the image that a user gets."""
    if ab.shape[1:3] != lab_true.shape[1:3]:
        ab = jax.image.resize(ab, (*lab_true.shape[:-1], 2), "linear")
    return displayed(lab_true[..., :1], ab)
