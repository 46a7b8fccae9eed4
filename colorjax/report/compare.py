"""The one way to a report: models are compared on the same images.

`colorjax evaluate` opens runs and data and calls `compare`; training calls it at its end.
"""

import itertools
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import jax
import numpy as np

from colorjax import damage
from colorjax.data import pipeline
from colorjax.data.pipeline import Source
from colorjax.evaluation import evaluate
from colorjax.evaluation.baselines import BASELINES
from colorjax.evaluation.evaluate import Candidate
from colorjax.evaluation.scores import TRUTH, Scores
from colorjax.evaluation.steps import seen_step
from colorjax.parallel import processes
from colorjax.report import findings, grids, report
from colorjax.runs.trained_model import TrainedModel, run_names
from colorjax.runs.weights import open_path
from colorjax.terminal.errors import InputError
from colorjax.terminal.progress import counting

IMAGES_PER_DEVICE = 16
# In the folder of a GAN's run: its generator before the adversarial phase.
REGRESSION_FILE = "regression.safetensors"
# In 8-bit levels. If the channels of every pixel differ by less, the image has no colour; those of
# grey JPEGs differ a little.
MIN_RANGE = 16


def compare(
    models: Sequence[TrainedModel],
    images: Source,
    fitting: Source,
    *,
    data: str,
    fitted_on: str,
    batch_size: int,
    limit: int | None = None,
    damage_strength: float | None = None,
    commands: Sequence[str] = (),
    each: Callable[[Iterable[Any]], Iterable[Any]] = iter,
) -> tuple[findings.Findings, dict[str, bytes]]:
    """Compares models, their scaled forms and the baselines on the same images, in one pass.

    Each model sees the images at its own size; predictions are compared at the largest size. Models
    trained by regression alone (`TrainedModel.is_regression`) are also evaluated in a scaled form.

    With damage, models and baselines see the L of `damage.damage_evaluated`. The truth is not
    damaged: a*b* are compared at its L, and everything that is fitted is fitted undamaged. The same
    pass evaluates everything without damage too.

    All processes call this with the same arguments and get the same result.

    Args:
      models: with distinct names. Their rows and configs are shown in the report.
      images: to evaluate.
      fitting: the training split, on which the baselines are fitted.
      data: what the images are, in words.
      fitted_on: what the fitting images are, in words.
      batch_size: over all processes.
      limit: evaluate only the first images.
      damage_strength: the largest strength of each damage, in [0, 1]; None for undamaged inputs.
      commands: that made the models and the report, to be shown in it.
      each: wraps every iterator of batches, to show progress or to stop between batches.

    Returns:
      The findings, see `findings.find`, and the contents of the report's files by name.
    """
    read = {"batch_size": batch_size, **processes.process()}
    size = max(model.image_size for model in models)
    count = len(images) if limit is None else min(limit, len(images))

    def batches(source: Source, limit: int, image_size: int) -> Iterable[Any]:
        return each(pipeline.eval_batches(source, image_size=image_size, limit=limit, **read))

    candidates = [Candidate(m.name, m.predict, m.variables, m.image_size) for m in models]
    for i, model in enumerate(models):
        if model.is_regression:
            fit = batches(fitting, evaluate.FIT_PREDICTIONS, model.image_size)
            candidates[i] = evaluate.with_scaled(candidates[i], f"{model.name}, scaled", fit)
    scaled = [c.scaled for c in candidates if c.scaled]
    candidates += evaluate.constant_baselines(batches(fitting, evaluate.FIT_IMAGES, size), size)

    names = [model.name for model in models]
    table = [*names, *(s.name for s in scaled), *BASELINES]
    undamaged: dict[str, str] = {}
    if damage_strength is not None:
        undamaged = {name: f"{name}, undamaged" for name in table}
        plain = [_renamed(candidate, undamaged) for candidate in candidates]
        damaging = partial(damage.damage_evaluated, strength=damage_strength)
        see = partial(seen_step, damage=damaging)
        candidates = [candidate._replace(see=see) for candidate in candidates] + plain
    scores = evaluate.score(candidates, lambda side: batches(images, count, side), size)
    scores = scores.chosen([*table, *undamaged.values()])

    about = {
        "runs": ", ".join(f"{model.name} (step {model.step})" for model in models),
        "data": data,
        "images": count,
        "image size": size,
        **_notes(models, size, scores, damage_strength),
        "baselines": f"fitted on {min(len(fitting), evaluate.FIT_IMAGES)} images of {fitted_on}, "
        f"factors of scaled models on {min(len(fitting), evaluate.FIT_PREDICTIONS)}",
        **{f"factor of {s.name}": f"{s.factor:.2f}" for s in scaled},
    }
    if not scaled:
        about["scaled regression"] = "none, because no run was trained by regression alone"
    # A run without a curve has the scaled models to beat.
    rivals = [(m.name, s.name) for m in models if not m.is_regression for s in scaled]
    pairs = [*itertools.combinations(names, 2), *rivals]
    found = findings.find(scores, names, pairs, about, undamaged)
    rows = grids.colored_rows(
        grids.choose_rows(scores, names),
        candidates[: len(models)],
        partial(pipeline.eval_image, images),
        batch_size,
    )
    return found, report.build_report(found, scores, rows, models, commands)


def _renamed(candidate: Candidate, names: Mapping[str, str]) -> Candidate:
    """The same candidate under other names, and without a curve."""
    scaled = candidate.scaled
    if scaled:
        scaled = scaled._replace(name=names[scaled.name], curve=())
    return candidate._replace(name=names[candidate.name], scaled=scaled)


def _notes(
    models: Sequence[TrainedModel], size: int, scores: Scores, damage_strength: float | None
) -> dict[str, str]:
    """What is special about an evaluation."""
    notes = {}
    smaller = [f"{m.name} at {m.image_size}" for m in models if m.image_size != size]
    if smaller:
        notes["seen in other sizes"] = (
            f"{', '.join(smaller)}; their colours were enlarged to {size}"
        )
    if damage_strength is not None:
        notes["inputs"] = (
            f"damaged, and compared at the L of the undamaged truth: {', '.join(damage.EVALUATED)},"
            f" each with probability {damage.EVALUATED_PROBABILITY} at a random strength up to "
            f"{damage_strength:g}; an image has the same damage in every evaluation"
        )
    grey = int(np.sum(scores.images[TRUTH]["channel_range"] < MIN_RANGE / 255))
    if grey:
        notes["images without colour"] = f"{grey}, evaluated like the others"
    return notes


def evaluate_runs(
    paths: Sequence[Path],
    output: Path,
    *,
    dataset: str | None = None,
    overwrite: bool = False,
    limit: int | None = None,
    damage_strength: float | None = None,
    command: str = "",
) -> findings.Findings:
    """Opens runs and data, compares the runs and writes the report.

    If no run was trained by regression alone, the regressions that GANs keep in REGRESSION_FILE are
    evaluated too.

    Args:
      paths: folders of runs, or weights files.
      output: the folder of the report.
      dataset: the name of a data set, whose validation split is used, or a path, all of whose
        images are used; by default the validation images of the first run.
      overwrite: whether an existing report may be replaced.
      limit: see `compare`.
      damage_strength: see `compare`.
      command: the command line, to be shown in the report.

    Returns:
      The findings, see `findings.find`.

    Raises:
      InputError: a run or the data cannot be used, no image has colour, or the output exists.
    """
    report.check_output(output, overwrite)
    names = run_names(paths, (TRUTH, *BASELINES))
    runs = [open_path(path, name) for path, name in zip(paths, names, strict=True)]
    if not any(run.is_regression for run in runs):
        folders = {run.path: f"{run.name} before its adversarial phase" for run in reversed(runs)}
        kept = {path / REGRESSION_FILE: name for path, name in folders.items()}
        runs += [open_path(path, name) for path, name in kept.items() if path.exists()]
    images, data, fitting, fitted_on = _images(dataset, runs[0])
    count = len(images) if limit is None else min(limit, len(images))
    # Stops at the first image with colour.
    if not any(_has_color(pipeline.decode(images[i]["image"])) for i in range(count)):
        raise InputError(
            f"{dataset or data} holds no image with colour, so there is no truth to compare with; "
            "give colour images"
        )
    sizes = {run.image_size for run in runs}
    fits = sum(run.is_regression for run in runs) * [evaluate.FIT_PREDICTIONS]
    fits.append(evaluate.FIT_IMAGES)
    total = len(sizes) * count + sum(min(len(fitting), fit) for fit in fits)
    commands = [run.config["command"] for run in runs if run.config.get("command")]
    with counting("Evaluating", total) as advance:

        def counted(batches: Iterable[Any]) -> Iterator[Any]:
            for batch in batches:
                yield batch
                for _ in range(int(batch["mask"].sum())):
                    advance()

        found, files = compare(
            runs,
            images,
            fitting,
            data=data,
            fitted_on=fitted_on,
            batch_size=IMAGES_PER_DEVICE * jax.device_count(),
            limit=limit,
            damage_strength=damage_strength,
            # Checkpoints of one run have the same command.
            commands=list(dict.fromkeys([*commands, *([command] if command else [])])),
            each=counted,
        )
    report.write_report(output, files)
    return found


def _images(dataset: str | None, run: TrainedModel) -> tuple[Source, str, Source, str]:
    """The images to evaluate and those to fit baselines on, each with a description."""
    own_name = run.config.get("dataset", {}).get("name")
    own: pipeline.Sources | None = None
    try:
        own = _own_data(run)
    except InputError:
        if dataset in (None, own_name):
            raise
    if own is not None and dataset in (None, own_name):
        images, data = own.validation, f"{own.key}, validation split"
    elif dataset in pipeline.DATASETS and dataset != "image_folder":
        sources = pipeline.load_sources(str(dataset))
        images, data = sources.validation, f"{sources.key}, validation split"
    else:
        path = str(dataset)
        if not any(os.path.exists(part) for part in (path, *path.split(","))):
            known = ", ".join(sorted(set(pipeline.DATASETS) - {"image_folder"}))
            raise InputError(f"--dataset {path} is neither a path nor a data set ({known})")
        # As the validation split, so that no image is held out.
        sources = pipeline.load_sources("image_folder", path=path, validation_path=path)
        images, data = sources.validation, f"{sources.key}, all images"
    if own is None:
        return images, data, images, f"{data}: the evaluated images, which favours the baselines"
    return images, data, own.train, f"the training split of {run.name}"


def _own_data(run: TrainedModel) -> pipeline.Sources:
    """The data that a run was trained and validated on. Raises InputError if they are gone."""
    config = run.config.get("dataset", {})
    cache_dir = config.get("cache_dir") or None
    prepared = pipeline.open_prepared(run.config.get("data", ""), cache_dir)
    if prepared is not None:
        return prepared
    try:
        sources = pipeline.load_sources(
            config.get("name", ""),
            path=config.get("path"),
            validation_path=config.get("validation_path"),
            cache_dir=cache_dir,
            **{key: config[key] for key in ("variant", "min_chroma") if key in config},
        )
    except InputError as error:
        raise InputError(
            f"the data of {run.name} were not found ({error}); give --dataset PATH"
        ) from error
    if sources.key != run.config.get("data"):
        # People in its training split might be in today's validation split.
        raise InputError(
            f"the data of {run.name} have changed since it was trained; give --dataset PATH"
        )
    return sources


def _has_color(image: np.ndarray) -> bool:
    return int(np.ptp(image.astype(np.int16), axis=-1).max()) >= MIN_RANGE
