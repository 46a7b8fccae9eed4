"""How often colours are, so that the loss of a distribution weights rare ones more."""

import jax
import numpy as np

from colorjax.data import pipeline
from colorjax.data.records import Source
from colorjax.display import to_float
from colorjax.lab import rgb_to_lab
from colorjax.models import color_bins
from colorjax.parallel import processes

IMAGES, BATCH_SIZE = 2_048, 32
# Side of the squares whose mean colours count, as for the distribution that is predicted.
BLOCK = 4


def bin_weights(source: Source, image_size: int) -> np.ndarray:
    """The weight of each bin of `color_bins` in training, from IMAGES images spread over a source.

    The first process reads them, in a few seconds on a CPU.
    """
    return processes.read_by_first(
        lambda: color_bins.rebalancing(_counts(source, image_size)),
        np.zeros(len(color_bins.centers()), np.float32),
    )


def _counts(source: Source, image_size: int) -> np.ndarray:
    """[Q], sums of `color_bins.histogram`."""

    @jax.jit
    def count(images: jax.Array) -> jax.Array:
        ab = rgb_to_lab(to_float(images))[..., 1:]
        return color_bins.histogram(color_bins.block_means(ab, BLOCK))

    indices = np.unique(np.linspace(0, len(source) - 1, IMAGES).astype(int))
    counts = np.zeros(len(color_bins.centers()))
    for chunk in np.array_split(indices, -(-len(indices) // BATCH_SIZE)):
        images = [pipeline.eval_image(source, int(index), image_size) for index in chunk]
        counts += np.asarray(count(np.stack(images)))
    return counts
