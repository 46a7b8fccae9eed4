"""The one way to a report: models are compared on the same images.

`colorjax evaluate` opens runs and data and calls `compare`; training calls it at its end.
"""

import itertools
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import jax
import numpy as np

from colorjax import damage
from colorjax.data import pipeline
from colorjax.data.names import DATASETS, check_paths
from colorjax.data.pipeline import Source
from colorjax.evaluation import evaluate
from colorjax.evaluation.baselines import BASELINES
from colorjax.evaluation.evaluate import Candidate, Scaled
from colorjax.evaluation.scores import TRUTH, Scores
from colorjax.evaluation.steps import seen_step
from colorjax.models.variables import model_predictor
from colorjax.parallel import processes
from colorjax.report import findings, grids, heads, report
from colorjax.report.output import check_output
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
    trained by regression alone (`TrainedModel.is_regression`) also have a scaled form. With damage,
    models and baselines see the L of `damage.damage_evaluated`, and are evaluated without damage
    too. The truth, and everything that is fitted, stays undamaged.

    All processes call this with the same arguments and get the same result.

    Args:
      models: with distinct names. Their rows and configs are shown in the report.
      images: to evaluate.
      fitting: the training split, on which baselines and factors are fitted.
      data: a description of the images.
      fitted_on: a description of the fitting images.
      batch_size: over all processes.
      limit: evaluate only the first images.
      damage_strength: the largest strength of each damage, in [0, 1]; None for no damage.
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

    candidates = _candidates(models, size, partial(batches, fitting))
    names = [model.name for model in models]
    scaled = [c.scaled for c in candidates if c.scaled]
    table = [*(c.name for c in candidates if c.name not in BASELINES), *(s.name for s in scaled)]
    table += BASELINES
    undamaged: dict[str, str] = {}
    if damage_strength is not None:
        undamaged = {name: f"{name}, undamaged" for name in table}
        candidates = _damaged(candidates, undamaged, damage_strength)
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
    found = findings.find(scores, names, _pairs(models, scaled), about, undamaged)
    if damage_strength is None:
        found |= _judged(models, scaled, lambda n, side: batches(images, min(n, count), side))
    rows = grids.colored_rows(
        grids.choose_rows(scores, names),
        candidates[: len(models)],
        partial(pipeline.eval_image, images),
        batch_size,
    )
    return found, report.build_report(found, scores, rows, models, commands)


def _pairs(models: Sequence[TrainedModel], scaled: Sequence[Scaled]) -> list[tuple[str, str]]:
    """What is compared in pairs. A run without a curve has the scaled models to beat."""
    rivals = [(m.name, s.name) for m in models if not m.is_regression for s in scaled]
    return [*itertools.combinations([model.name for model in models], 2), *rivals]


def _judged(
    models: Sequence[TrainedModel],
    scaled: Sequence[Scaled],
    batches_of: Callable[[int, int], Iterable[Any]],
) -> dict[str, Any]:
    """`heads.judge` with the factors of the scaled forms."""
    factors = {s.name: s.factor for s in scaled}
    of_models = [factors.get(scaled_name(model), 1.0) for model in models]
    return heads.judge(models, of_models, batches_of)


def _candidates(
    models: Sequence[TrainedModel], size: int, fit: Callable[[int, int], Iterable[Any]]
) -> list[Candidate]:
    """The models and the constant baselines, fitted on batches `fit(limit, image_size)`.

    What is scaled is a regression. If a model answers with an annealed mean, its regression is
    another candidate.
    """
    candidates, regressions = [], []
    for model in models:
        candidate = Candidate(model.name, model.predict, model.variables, model.image_size)
        regression = candidate._replace(predict=model_predictor(model.generator))
        if model.is_regression:
            batches = fit(evaluate.FIT_PREDICTIONS, model.image_size)
            regression = evaluate.with_scaled(regression, scaled_name(model), batches)
        if model.temperature:
            regressions.append(regression._replace(name=f"{model.name}, regression"))
        else:
            candidate = regression
        candidates.append(heads.with_annealed(candidate, model))
    baselines = evaluate.constant_baselines(fit(evaluate.FIT_IMAGES, size), size)
    return [*candidates, *regressions, *baselines]


def scaled_name(model: TrainedModel) -> str:
    """The name of the scaled form of a model's regression."""
    return f"{model.name}, scaled"


def _damaged(
    candidates: Sequence[Candidate], undamaged: Mapping[str, str], strength: float
) -> list[Candidate]:
    """The candidates with damaged inputs; then, under other names, without damage and curves."""
    see = partial(seen_step, damage=partial(damage.damage_evaluated, strength=strength))
    plain = []
    for candidate in candidates:
        scaled = candidate.scaled
        scaled = scaled and scaled._replace(name=undamaged[scaled.name], curve=())
        name = undamaged[candidate.name]
        plain.append(candidate._replace(name=name, scaled=scaled, annealed=None))
    return [candidate._replace(see=see) for candidate in candidates] + plain


def _notes(
    models: Sequence[TrainedModel], size: int, scores: Scores, damage_strength: float | None
) -> dict[str, str]:
    """What is special about an evaluation."""
    notes = {}
    smaller = ", ".join(f"{m.name} at {m.image_size}" for m in models if m.image_size != size)
    if smaller:
        notes["seen in other sizes"] = f"{smaller}; their colours were enlarged to {size}"
    if damage_strength is not None:
        notes["inputs"] = (
            f"damaged, and compared at the L of the undamaged truth: {', '.join(damage.EVALUATED)},"
            f" each with probability {damage.EVALUATED_PROBABILITY} at a random strength up to "
            f"{damage_strength:g}; an image has the same damage in every evaluation at this size"
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
      The findings.

    Raises:
      InputError: a run or the data cannot be used, no image has colour, or the output exists.
    """
    check_output(output, overwrite)
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
    fits = [evaluate.FIT_IMAGES, *(evaluate.FIT_PREDICTIONS for r in runs if r.is_regression)]
    total = count * len({run.image_size for run in runs}) + heads.num_images(runs, count)
    total += sum(min(len(fitting), n) for n in fits)
    # Checkpoints of one run have the same command.
    commands = dict.fromkeys([*(run.config.get("command", "") for run in runs), command])
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
            commands=[text for text in commands if text],
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
    split = "validation split"
    if own is not None and dataset in (None, own_name):
        sources = own
    elif dataset in DATASETS and dataset != "image_folder":
        sources = pipeline.load_sources(str(dataset))
    else:
        path, split = str(dataset), "all images"
        check_paths(path)
        # As the validation split, so that no image is held out.
        sources = pipeline.load_sources("image_folder", path=path, validation_path=path)
    images, data = sources.validation, f"{sources.key}, {split}"
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
    levels = image.astype(np.int16)
    return bool(np.any(levels.max(axis=-1) - levels.min(axis=-1) >= MIN_RANGE))
