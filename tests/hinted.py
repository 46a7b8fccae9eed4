"""A tiny model with random weights that predicts a distribution and takes hints."""

import functools
from pathlib import Path

import jax
import numpy as np

from colorjax.colorize.colorizer import Colorizer
from colorjax.models import color_bins
from colorjax.runs.trained_model import TrainedModel, describe_model
from colorjax.runs.weights import export_weights

IMAGE_SIZE = 32


def config(distribution=1.0, hints=0.5, temperature=0.0):
    model = {
        "name": "encoder_decoder", "width": 1 / 16, "dtype": "float32",
        "skip_connections": True, "output_stride": 4,
    }  # fmt: skip
    return {
        "model": model, "image_size": IMAGE_SIZE,
        "distribution": distribution, "hints": hints, "temperature": temperature,
    }  # fmt: skip


@functools.cache
def model(distribution=1.0, hints=0.5, temperature=0.0):
    """Models with and without a part have the same weights otherwise."""
    _, _, shapes = describe_model(config())
    rng = np.random.default_rng(0)

    def random(path, like):
        name, noise = path[-1].key, rng.normal(0, 1, like.shape).astype(np.float32)
        if name in ("sharpness", "offset"):  # a hint of one pixel counts, near its place
            return np.float32({"sharpness": 5, "offset": 6}[name])
        of_logits = path[-2].key == "logits"
        if of_logits and name == "bias":  # dull colours are likelier
            return noise - np.float32((color_bins.centers() ** 2).sum(-1) / (2 * 20**2))
        if len(like.shape) == 4:
            scale = 10 if of_logits else 1
            return noise * np.float32(scale * np.prod(like.shape[:3]) ** -0.5)
        # Variances, scales and the weights of bins are positive.
        return 0.2 * noise if name in ("bias", "mean") else np.exp(0.2 * noise)

    variables = jax.tree_util.tree_map_with_path(random, shapes)
    generator, _, shapes = describe_model(config(distribution, hints))
    return TrainedModel(
        name="tiny",
        path=Path("tiny"),
        config=config(distribution, hints, temperature),
        image_size=IMAGE_SIZE,
        generator=generator,
        temperature=temperature,
        variables=_only(variables, shapes),
        step=1,
        rows=[],
    )


def _only(variables, shapes):
    if not isinstance(shapes, dict):
        return variables
    return {key: _only(variables[key], shapes[key]) for key in shapes}


def colorizer(**options):
    run = model(**options)
    return Colorizer(run.predict, run.variables, IMAGE_SIZE, generator=run.generator)


def exported(folder, **options):
    path = folder / "tiny.safetensors"
    export_weights(model(**options), path, "# tiny: a card\n", "float32")
    return path
