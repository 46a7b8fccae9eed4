"""One pass over the images for everything that is compared, and the baselines to beat.

Steps are compiled where they are used. JAX caches a compiled function by its identity, so a network
is compiled once however often it is evaluated.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from colorjax.evaluation import steps
from colorjax.evaluation.baselines import baseline_tables, by_lightness, saturation_factor
from colorjax.evaluation.scores import TRUTH, Scores, collect
from colorjax.parallel import devices, processes
from colorjax.parallel.devices import compile_eval_step

# Images of the training split on which the baselines, and the factors of scaled models, are fitted.
FIT_IMAGES = 1024
FIT_PREDICTIONS = 256

Batches = Iterable[Mapping[str, np.ndarray]]


class Scaled(NamedTuple):
    """The form of a regression model whose a*b* are multiplied by a factor.

    Attributes:
      name: in tables and plots.
      factor: makes the model as colourful as the truth.
      curve: other factors, for the curve of error against colourfulness; may be empty.
    """

    name: str
    factor: float
    curve: tuple[float, ...]


class Candidate(NamedTuple):
    """What is evaluated under one name.

    Attributes:
      name: in tables and plots.
      predict: (variables, L) -> a*b*.
      variables: arguments of `predict`, replicated.
      image_size: side of the images that it sees, in pixels.
      see: batch -> L as it sees it; see `steps.seen_step`.
      scaled: its scaled form, evaluated with it.
      annealed: (variables, L) -> annealed means [N, T, H, W, 2], see `distribution.annealed`.
    """

    name: str
    predict: Callable[[Any, jax.Array], jax.Array]
    variables: Any
    image_size: int
    see: Callable[[steps.Batch], jax.Array] = steps.seen_step
    scaled: Scaled | None = None
    annealed: Callable[[Any, jax.Array], jax.Array] | None = None


def score(
    candidates: Sequence[Candidate], batches_of: Callable[[int], Batches], image_size: int = 0
) -> Scores:
    """Evaluates candidates on the same images.

    Args:
      candidates: each predicts at its own size, once for each image.
      batches_of: (side in pixels) -> batches of the same images at that size: {"image": [N, H, W,
        3] uint8 sRGB, "mask": [N] bool, False where padded, "index": [N] image indices}.
      image_size: side in pixels at which predictions are compared; at least the largest of the
        candidates' sizes.
    """
    scores = collect(_scored(candidates, batches_of, image_size))
    # JAX sorts the keys of dicts.
    scaled = [c.scaled.name for c in candidates if c.scaled]
    scores = scores.chosen([*(c.name for c in candidates), *scaled])
    for c in candidates:
        if c.scaled and c.scaled.curve:
            scores.sums[c.name]["saturations"] = np.array(c.scaled.curve)
    return scores


def _scored(
    candidates: Sequence[Candidate], batches_of: Callable[[int], Batches], image_size: int
) -> Iterator[dict[str, Any]]:
    """Yields the values of each batch of images, by name."""
    size = max(image_size, *(c.image_size for c in candidates))
    sizes = sorted({size, *(c.image_size for c in candidates)})
    truth_step = compile_eval_step(steps.truth_step, in_axes=(0,))
    metrics_step = compile_eval_step(steps.metrics_step)
    saturation_step = compile_eval_step(steps.saturation_step)
    views = {c.see: compile_eval_step(c.see, in_axes=(0,)) for c in candidates}
    annealed_step = compile_eval_step(steps.annealed_step, in_axes=(0, 0))
    networks = [compile_eval_step(c.predict) for c in candidates]
    annealed = [compile_eval_step(c.annealed) if c.annealed else None for c in candidates]
    # Placed once, not for every batch.
    one = devices.replicate(jnp.float32(1.0))
    scaled: list[Any] = [
        c.scaled and devices.replicate((jnp.float32(c.scaled.factor), jnp.float32(c.scaled.curve)))
        for c in candidates
    ]
    for parts in zip(*map(batches_of, sizes), strict=True):
        images = {side: devices.shard(dict(part)) for side, part in zip(sizes, parts, strict=True)}
        truth = images[size]
        values: dict[str, Any] = {TRUTH: truth_step(truth)}
        seen: dict[Any, jax.Array] = {}
        for c, network, anneal, factors in zip(candidates, networks, annealed, scaled, strict=True):
            view = (c.image_size, c.see)
            if view not in seen:
                seen[view] = views[c.see](images[c.image_size])
            batch = {"image": truth["image"], "ab": network(c.variables, seen[view])}
            values[c.name] = metrics_step(one, batch)
            if c.scaled:
                values[c.scaled.name] = metrics_step(factors[0], batch)
            if c.scaled and c.scaled.curve:
                curve = saturation_step(factors[1], batch)
                values[c.name] |= {f"saturation_{key}": value for key, value in curve.items()}
            if anneal:
                points = annealed_step(anneal(c.variables, seen[view]), truth)
                values[c.name] |= {f"annealed_{key}": value for key, value in points.items()}
        yield _gather(values, truth["mask"])


def predictions(
    candidate: Candidate, images: np.ndarray, indices: Sequence[int], batch_size: int
) -> np.ndarray:
    """The a*b* of some images.

    Args:
      candidate: predicts.
      images: [N, H, W, 3] uint8 sRGB of the candidate's size.
      indices: N image indices.
      batch_size: images are padded to batches of this size, for which the network was compiled.

    Returns:
      [N, H, W, 2] in Lab units.
    """
    process = processes.process()
    own = slice(process["process_index"], None, process["process_count"])

    def batches() -> Iterator[Mapping[str, np.ndarray]]:
        for start in range(0, len(images), batch_size):
            part = images[start : start + batch_size]
            padding = (0, batch_size - len(part))
            batch = {
                "image": np.pad(part, (padding, (0, 0), (0, 0), (0, 0))),
                "mask": np.arange(batch_size) < len(part),
                "index": np.pad(np.array(indices[start : start + batch_size], np.int32), padding),
            }
            yield {key: value[own] for key, value in batch.items()}

    see = compile_eval_step(candidate.see, in_axes=(0,))
    network = compile_eval_step(candidate.predict)
    found = images_of(lambda batch: network(candidate.variables, see(batch)), batches())
    return np.concatenate(list(found))


def means(step: Callable[..., Any], variables: Any, batches: Batches) -> dict[str, float]:
    """The means over images of the values of a compiled step.

    Args:
      step: (variables, batch) -> values [N], by name.
      variables: its first argument, replicated.
      batches: see `score`.
    """
    parts = list(images_of(lambda batch: step(variables, batch), batches))
    return {key: float(np.concatenate([part[key] for part in parts]).mean()) for key in parts[0]}


def constant_baselines(batches: Batches, image_size: int) -> list[Candidate]:
    """Grey, the mean colour and the mean colour for each lightness, fitted on some batches.

    Args:
      batches: see `score`.
      image_size: side of the images on which they predict, in pixels.
    """
    step = compile_eval_step(steps.lightness_step, in_axes=(0,))
    tables = baseline_tables(images_of(step, batches))
    return [
        Candidate(name, by_lightness, devices.replicate(jnp.float32(table)), image_size)
        for name, table in tables.items()
    ]


def with_scaled(candidate: Candidate, name: str, batches: Batches) -> Candidate:
    """The candidate with a scaled form that is as colourful as the truth.

    Args:
      candidate: a regression model.
      name: of the scaled form.
      batches: images of its size on which the factor is fitted, see `score`.
    """
    see = compile_eval_step(candidate.see, in_axes=(0,))
    network = compile_eval_step(candidate.predict)
    true_colorfulness = compile_eval_step(steps.colorfulness_step, in_axes=(0,))

    def step(batch: steps.Batch) -> Any:
        l = see(batch)
        return l, network(candidate.variables, l), true_colorfulness(batch)

    parts = list(images_of(step, batches))
    l, ab, colorfulness = (np.concatenate(values) for values in zip(*parts, strict=True))
    factor = saturation_factor(l, ab, float(np.mean(colorfulness, dtype=np.float64)))
    # From grey to beyond the truth's colourfulness, densest between the model and its scaled form.
    between = np.linspace(1.0, factor, 4)
    curve = {0.0, 0.3, 0.6, 0.8, *between, *(max(1.0, factor) * np.array([1.15, 1.3]))}
    return candidate._replace(scaled=Scaled(name, factor, tuple(sorted(map(float, curve)))))


def images_of(step: Callable[[Any], Any], batches: Batches) -> Iterator[Any]:
    """Yields what a step gives for the images of each batch, without the padding.

    The step is not compiled itself, but may call several functions that are.
    """
    for batch in batches:
        placed = devices.shard(dict(batch))
        yield _gather(step(placed), placed["mask"])


def _gather(values: Any, mask: jax.Array) -> Any:
    """Values of all processes in the order of the images, without the padding, as numpy arrays."""
    values, kept = devices.gather((values, mask))
    count = jax.process_count()

    def in_order(x: np.ndarray) -> np.ndarray:
        # Image i is with process i % count; gathered values come process by process.
        return x.reshape(count, -1, *x.shape[1:]).swapaxes(0, 1).reshape(x.shape)

    kept = in_order(kept)
    return jax.tree.map(lambda x: in_order(x)[kept], values)
