"""Trained models of any architecture, with random weights instead of trained ones."""

import functools
from pathlib import Path

import jax
import numpy as np

from colorjax.runs.trained_model import TrainedModel, describe_model

IMAGE_SIZE = 64


def config(
    name="encoder_decoder",
    width=1 / 16,
    skip_connections=True,
    output_stride=1,
    distribution=0.0,
    hints=0.0,
    temperature=0.0,
):
    model = {
        "name": name, "width": width, "dtype": "float32",
        "skip_connections": skip_connections, "output_stride": output_stride,
    }  # fmt: skip
    return {
        "model": model, "image_size": IMAGE_SIZE, "command": "--path=/home/ann",
        "distribution": distribution, "hints": hints, "temperature": temperature,
    }  # fmt: skip


@functools.cache
def random_run(**keys):
    """No parameter or statistic has its initial value. Predictions are about 20 Lab units."""
    rng = np.random.default_rng(0)

    def draw(path, like):
        layer, name = path[-2].key, path[-1].key
        noise = rng.normal(size=like.shape).astype(np.float32)
        if name != "kernel":  # variances, scales and the weights of bins are positive
            positive = np.exp(0.2 * noise)
            if (layer, name) == ("bn3", "scale"):  # a ResNet's maps would grow with every block
                positive *= 0.3
            return 0.2 * noise if name in ("bias", "mean") else positive
        scale = {"ab": 0.1, "logits": 3.0}.get(layer, 1.4)
        return noise * np.float32(scale / np.sqrt(np.prod(like.shape[:-1])))

    generator, _, shapes = describe_model(config(**keys))
    return TrainedModel(
        name="random",
        path=Path("random"),
        config=config(**keys),
        image_size=IMAGE_SIZE,
        generator=generator,
        temperature=keys.get("temperature", 0.0),
        variables=jax.tree_util.tree_map_with_path(draw, shapes),
        step=7,
        rows=[],
    )


def lightness(*shape, seed=0):
    """Random L [n, 1, h, w]."""
    return np.random.default_rng(seed).uniform(0, 100, shape).astype(np.float32)
