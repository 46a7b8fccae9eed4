"""One pass over the images for everything that is compared, and the baselines to beat."""

import functools
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from colorjax.display import to_float
from colorjax.evaluation import steps as eval_steps
from colorjax.evaluation.baselines import (
    baseline_tables,
    by_lightness,
    saturation_factor,
    total_sums,
)
from colorjax.evaluation.metrics import colorfulness
from colorjax.evaluation.scores import TRUTH, Scores, collect
from colorjax.lab import rgb_to_lab
from colorjax.models.variables import Predictor
from colorjax.parallel import devices, processes

# The baselines are fitted on so many images of the training split, the saturation of a model, which
# has to be run on them, on so many.
FIT_IMAGES = 1024
FIT_PREDICTIONS = 256

Batches = Iterable[Mapping[str, np.ndarray]]
# Of a side in pixels: the same images, square, of that size.
BatchesOf = Callable[[int], Batches]


class Candidate(NamedTuple):
    """What is evaluated under one name.

    Attributes:
      name: in tables and pictures.
      predict: see `steps.Predictor`.
      variables: its own, replicated.
      image_size: side of the images that it sees, in pixels.
      damage: done to the L that it sees.
      factor: by which its a*b* are multiplied.
      saturations: other factors, for the curve that it draws when it is scaled by them.
    """

    name: str
    predict: Predictor
    variables: Any
    image_size: int
    damage: eval_steps.Damage | None = None
    factor: float = 1.0
    saturations: tuple[float, ...] = ()


def score(
    candidates: Sequence[Candidate],
    batches_of: BatchesOf,
    advance: Callable[[int], None] = lambda images: None,
    image_size: int = 0,
) -> Scores:
    """Evaluates candidates on the same images.

    Args:
      candidates: each predicts at its own size. One network under several names runs once.
      batches_of: {"image": [N, H, W, 3] uint8 sRGB, "mask": [N] bool, False where padded}, and
        "index": [N], of the images in their data set, for those that see damaged L.
      advance: told how many images are done.
      image_size: at which they are compared, in pixels; at least the largest of theirs.
    """
    # JAX sorts the keys of dicts.
    scores = collect(_scored(candidates, batches_of, advance, image_size))
    scores = scores.chosen(c.name for c in candidates)
    for c in candidates:
        if c.saturations:
            scores.sums[c.name]["saturations"] = np.array(c.saturations)
    return scores


def _scored(
    candidates: Sequence[Candidate],
    batches_of: BatchesOf,
    advance: Callable[[int], None],
    image_size: int,
) -> Iterator[dict[str, Any]]:
    sizes = sorted({candidate.image_size for candidate in candidates})
    if image_size > sizes[-1]:
        sizes.append(image_size)
    metrics, saturation = _compiled(eval_steps.metrics_step), _compiled(eval_steps.saturation_step)
    # Placed once: each of these would be sent to the devices for every batch.
    factors = {
        c.name: devices.replicate((jnp.float32(c.factor), jnp.asarray(c.saturations, jnp.float32)))
        for c in candidates
    }
    # jax 0.10's pmap misreads its in_axes where an argument has no arrays.
    nothing = devices.replicate(jnp.zeros(()))
    for parts in zip(*map(batches_of, sizes), strict=True):
        images = {size: devices.shard(dict(part)) for size, part in zip(sizes, parts, strict=True)}
        truth = images[sizes[-1]]
        values: dict[str, Any] = {TRUTH: _compiled(_truth_step)(nothing, truth)}
        l: dict[Any, jax.Array] = {}
        predicted: dict[Any, jax.Array] = {}
        for c in candidates:
            view = (c.image_size, c.damage)
            if view not in l:
                l[view] = _compiled_view(c.damage)(nothing, images[c.image_size])
            network = (c.predict, id(c.variables), view)
            if network not in predicted:
                predicted[network] = _compiled(c.predict)(c.variables, l[view])
            batch = {"image": truth["image"], "ab": predicted[network]}
            values[c.name] = metrics(factors[c.name][0], batch)
            if c.saturations:
                curve = saturation(factors[c.name][1], batch)
                values[c.name] |= {f"saturation_{key}": value for key, value in curve.items()}
        values, mask = devices.gather((values, truth["mask"]))
        kept = _in_order(mask)
        advance(int(kept.sum()))
        yield jax.tree.map(lambda x, kept=kept: _in_order(x)[kept], values)


def _in_order(x: np.ndarray) -> np.ndarray:
    """From process after process, as they are gathered, to the order of the images."""
    count = jax.process_count()
    return x.reshape(count, -1, *x.shape[1:]).swapaxes(0, 1).reshape(x.shape)


def predictions(
    candidate: Candidate, images: np.ndarray, indices: Sequence[int], batch_size: int
) -> np.ndarray:
    """The a*b* of some images.

    Args:
      candidate: what predicts.
      images: [N, H, W, 3] uint8 sRGB of the candidate's size.
      indices: N, of the images in their data set.
      batch_size: of the batches that it was compiled for: they are padded to it.

    Returns:
      [N, H, W, 2] in Lab units, times the candidate's factor.
    """
    process = processes.process()
    own = slice(process["process_index"], None, process["process_count"])
    nothing = devices.replicate(jnp.zeros(()))
    found = []
    for start in range(0, len(images), batch_size):
        part = images[start : start + batch_size]
        padding = batch_size - len(part)
        whole = {
            "image": np.pad(part, ((0, padding), (0, 0), (0, 0), (0, 0))),
            "mask": np.arange(batch_size) < len(part),
            "index": np.pad(np.array(indices[start : start + batch_size], np.int32), (0, padding)),
        }
        batch = devices.shard({key: value[own] for key, value in whole.items()})
        l = _compiled_view(candidate.damage)(nothing, batch)
        ab = devices.gather(_compiled(candidate.predict)(candidate.variables, l))
        found.append(_in_order(ab)[: len(part)])
    return candidate.factor * np.concatenate(found)


def means(step: Callable[..., Any], variables: Any, batches: Batches) -> dict[str, float]:
    """The means over the images of what a compiled step gives for each.

    Args:
      step: (variables, batch) -> values [N], by name.
      variables: its own.
      batches: see `score`.
    """
    parts = list(_images(step, variables, batches))
    return {key: float(np.concatenate([part[key] for part in parts]).mean()) for key in parts[0]}


def constant_baselines(batches: Batches, image_size: int) -> list[Candidate]:
    """Grey, the mean colour and the mean colour for each lightness, fitted on some batches.

    Args:
      batches: see `score`.
      image_size: at which they predict.
    """
    step = _compiled(_lab_step)
    nothing = devices.replicate(jnp.zeros(()))
    sums = total_sums((lab[..., :1], lab[..., 1:]) for lab in _images(step, nothing, batches))
    tables = baseline_tables(*sums)
    return [
        Candidate(name, _look_up, devices.replicate(jnp.asarray(table, jnp.float32)), image_size)
        for name, table in tables.items()
    ]


def scaled(candidate: Candidate, name: str, batches: Batches) -> tuple[Candidate, Candidate]:
    """A regression model with a*b* times the factor that makes it as colourful as the truth.

    Args:
      candidate: the model.
      name: of what it becomes.
      batches: images of its size on which the factor is fitted, see `score`.

    Returns:
      The model, with the curve that it draws when it is scaled; and the scaled model.
    """

    def step(variables: Any, batch: eval_steps.Batch) -> Any:
        l, colorfulness = _compiled(_fit_step)(nothing, batch)
        return l, colorfulness, _compiled(candidate.predict)(variables, l)

    nothing = devices.replicate(jnp.zeros(()))
    parts = list(_images(step, candidate.variables, batches))
    l, colorfulness_true, ab = (np.concatenate(values) for values in zip(*parts, strict=True))
    factor = saturation_factor(l, ab, float(np.mean(colorfulness_true, dtype=np.float64)))
    # From grey to past the truth's colourfulness, densest between the model and its scaled form.
    between = np.linspace(1.0, factor, 4)
    saturations = {0.0, 0.3, 0.6, 0.8, *between, *(max(1.0, factor) * np.array([1.15, 1.3]))}
    curve = candidate._replace(saturations=tuple(sorted(map(float, saturations))))
    return curve, candidate._replace(name=name, factor=factor, saturations=())


def _images(step: Callable[..., Any], variables: Any, batches: Batches) -> Iterator[Any]:
    """What a compiled step gives for the images of batches, without the padding."""
    for batch in batches:
        batch = devices.shard(dict(batch))
        values, mask = devices.gather((step(variables, batch), batch["mask"]))
        yield jax.tree.map(lambda x, mask=mask: x[mask], values)


@functools.cache
def _compiled(step: Callable[..., Any]) -> Callable[..., Any]:
    """Compiled once for the whole process."""
    return devices.compile_eval_step(step)


@functools.cache
def _compiled_view(damage: eval_steps.Damage | None) -> Callable[..., Any]:
    return devices.compile_eval_step(lambda _, batch: eval_steps.seen_step(batch, damage))


def _truth_step(_: jax.Array, batch: eval_steps.Batch) -> Any:
    return eval_steps.truth_step(batch)


def _lab_step(_: jax.Array, batch: eval_steps.Batch) -> jax.Array:
    return rgb_to_lab(to_float(batch["image"]))


def _fit_step(_: jax.Array, batch: eval_steps.Batch) -> tuple[jax.Array, jax.Array]:
    rgb = to_float(batch["image"])
    return rgb_to_lab(rgb)[..., :1], colorfulness(rgb)


def _look_up(table: Any, l: jax.Array) -> jax.Array:
    return by_lightness(table)(l)
