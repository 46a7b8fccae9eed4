"""`colorjax evaluate`: any number of runs on the same images, and a report of it."""

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import jax
import numpy as np

from colorjax import damage
from colorjax.data import pipeline
from colorjax.data.pipeline import Source
from colorjax.evaluation import evaluate
from colorjax.evaluation.evaluate import Candidate
from colorjax.evaluation.scores import TRUTH, Scores, load
from colorjax.parallel import processes
from colorjax.report import report
from colorjax.runs.trained_model import BEFORE, TrainedModel, run_names
from colorjax.runs.weights import open_path
from colorjax.terminal.errors import InputError
from colorjax.terminal.progress import counting

IMAGES_PER_DEVICE = 16
BASELINES = ("grey", "mean colour", "mean colour for each lightness")
# An image whose channels differ by less than this everywhere has no colour: JPEGs of grey ones do.
MIN_COLOR = 16


def evaluate_runs(
    paths: Sequence[Path],
    output: Path,
    *,
    dataset: str | None = None,
    overwrite: bool = False,
    limit: int | None = None,
    damage_strength: float | None = None,
    command: str = "",
) -> dict[str, Any]:
    """Evaluates runs and writes the report.

    Damage is done to the L that models and baselines see, see `damage.damage_evaluated`. The truth
    stays as it is: a*b* are compared at its L; and so does all that is fitted. What damage costs
    stands in the report too, so the images are gone through twice.

    Args:
      paths: the folders of the runs, or files of weights.
      output: the folder of the report.
      dataset: the name of a data set, whose validation split is used, or a path, all of whose
        images are; by default what the first run was validated on.
      overwrite: whether a report that is there may be replaced.
      limit: only that many images, from the first on.
      damage_strength: the largest of each damage, in [0, 1]; None for undamaged inputs.
      command: by which this was asked for.

    Returns:
      The findings, see `findings.find`.

    Raises:
      InputError: a run or the data cannot be used, or the output is to be kept.
    """
    report.check_output(output, overwrite)
    names = run_names(paths, (TRUTH, *BASELINES))
    runs = [open_path(path, name) for path, name in zip(paths, names, strict=True)]
    images, data = _images(dataset, runs[0])
    count = len(images) if limit is None else min(limit, len(images))
    size = max(run.config["image_size"] for run in runs)
    grey = _count_grey(images, count, dataset or data)
    fitting, fitted_on = _fitting(runs[0], images, data)
    batch_size = IMAGES_PER_DEVICE * jax.device_count()
    read = {"batch_size": batch_size, **processes.process()}

    def batches(source: Source, limit: int, image_size: int) -> Iterator[dict[str, np.ndarray]]:
        return pipeline.eval_batches(source, image_size=image_size, limit=limit, **read)

    models = [Candidate(r.name, r.predict, r.variables, r.image_size) for r in runs]
    scaled = []
    for i, run in enumerate(runs):
        if run.is_regression:
            fit = batches(fitting, evaluate.FIT_PREDICTIONS, models[i].image_size)
            models[i], faster = evaluate.scaled(models[i], f"{run.name}, scaled", fit)
            scaled.append(faster)
    constants = evaluate.constant_baselines(batches(fitting, evaluate.FIT_IMAGES, size), size)

    def score(what: str) -> Scores:
        with counting(what, count) as advance:
            return evaluate.score(
                [*models, *scaled, *constants],
                lambda image_size: batches(images, count, image_size),
                lambda done: _repeat(advance, done),
                size,
            )

    scores, undamaged = score("Evaluating"), None
    if damage_strength is not None:
        damaging = partial(damage.damage_evaluated, strength=damage_strength)
        models, scaled, constants = (
            [candidate._replace(damage=damaging) for candidate in candidates]
            for candidates in (models, scaled, constants)
        )
        scores, undamaged = score("Evaluating on damaged inputs"), scores
    sizes = {run.name: run.image_size for run in runs}
    about: dict[str, Any] = {
        "runs": ", ".join(f"{run.name} (step {run.step})" for run in runs),
        "data": data,
        "images": count,
        "image size": size,
        **_at_own_sizes(sizes, size),
        **({} if damage_strength is None else {"inputs": _inputs(damage_strength)}),
        **({"images without colour": f"{grey}, evaluated as they are"} if grey else {}),
        "baselines": f"fitted on {min(len(fitting), evaluate.FIT_IMAGES)} images of {fitted_on}, "
        f"factors of scaled models on {min(len(fitting), evaluate.FIT_PREDICTIONS)}",
        **{f"factor of {c.name}": f"{c.factor:.2f}" for c in scaled},
    }
    pairs = report.pairs_of(models, scaled)
    if not scaled:
        # Of all images, undamaged, and nothing else.
        before = _before(runs[0], data, scores) if limit is None and not undamaged else None
        if before is None:
            about["scaled regression"] = "none, because no run here was trained by regression alone"
        else:
            about["scaled regression"] = f"as it was when {runs[0].name} was trained"
            pairs += [(run.name, rival) for run in runs for rival in before.names]
            order = [model.name for model in models] + before.names + [c.name for c in constants]
            scores = scores.merged(before).chosen(order)
    found, files = report.build_report(
        report.Material(
            scores=scores,
            runs=models,
            pairs=pairs,
            image=partial(pipeline.eval_image, images),
            batch_size=batch_size,
            about=about,
            rows={run.name: run.rows for run in runs},
            configs={run.name: run.config for run in runs},
            commands=[*_commands(runs), *([command] if command else [])],
            undamaged=undamaged,
        )
    )
    report.write_report(output, files)
    return found


def _images(dataset: str | None, run: TrainedModel) -> tuple[Source, str]:
    """The images to evaluate, and what they are called."""
    config = run.config.get("dataset", {})
    own = config.get("name")
    if dataset is None or dataset == own:
        sources = _own_data(run)
        return sources.validation, f"{sources.key}, validation split"
    if dataset in pipeline.DATASETS and dataset != "image_folder":
        sources = pipeline.load_sources(dataset)
        return sources.validation, f"{sources.key}, validation split"
    if not any(os.path.exists(path) for path in (dataset, *dataset.split(","))):
        known = ", ".join(sorted(set(pipeline.DATASETS) - {"image_folder"}))
        raise InputError(f"--dataset {dataset} is neither a path nor a data set ({known})")
    # As a split of its own, so that no image is held out.
    sources = pipeline.load_sources("image_folder", path=dataset, validation_path=dataset)
    return sources.validation, f"{sources.key}, all images"


def _own_data(run: TrainedModel) -> pipeline.Sources:
    """What a run was trained and validated on. Raises InputError if it is no longer there."""
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
            f"the data of {run.name} are not here: {error}; give --dataset PATH"
        ) from error
    if sources.key != run.config.get("data"):
        # People that it was trained on might be among those held out now.
        raise InputError(
            f"the data of {run.name} are not those that it was trained on; give --dataset PATH"
        )
    return sources


def _before(run: TrainedModel, data: str, scores: Scores) -> Scores | None:
    """The scores of a GAN's generator before its adversarial phase, if they are of these images."""
    before = None if run.is_regression else load(run.path / BEFORE)
    if before is None or not data.startswith(f"{run.config.get('data')}, validation"):
        return None
    theirs, ours = (of.images[TRUTH]["colorfulness"] for of in (before, scores))
    # Their size must be the same too, or these metrics would not be.
    same = theirs.shape == ours.shape and np.allclose(theirs, ours, rtol=1e-4)
    return before if same else None


def _fitting(run: TrainedModel, images: Source, data: str) -> tuple[Source, str]:
    """The images on which baselines are fitted: a run's training split, if it is there."""
    try:
        sources = _own_data(run)
    except InputError:
        return images, f"{data}: the evaluated images themselves, which flatters the baselines"
    return sources.train, f"the training split of {run.name}"


def _count_grey(images: Source, count: int, name: str) -> int:
    """How many images have no colour. Raises InputError if none has any."""
    grey = sum(_is_grey(pipeline.decode(images[i]["image"])) for i in range(count))
    if grey == count:
        raise InputError(
            f"{name} holds no image with colour, so there is no truth to compare with; give colour "
            "images"
        )
    return grey


def _is_grey(image: np.ndarray) -> bool:
    return int(np.ptp(image.astype(np.int16), axis=-1).max()) < MIN_COLOR


def _inputs(strength: float) -> str:
    return (
        f"damaged, and compared at the undamaged truth's L: {', '.join(damage.EVALUATED)}, each "
        f"with a chance of {damage.EVALUATED_PROBABILITY} at a random strength up to {strength:g}, "
        "the same for the same image in every evaluation"
    )


def _at_own_sizes(sizes: Mapping[str, int], size: int) -> dict[str, str]:
    smaller = ", ".join(f"{name} at {own}" for name, own in sizes.items() if own != size)
    if not smaller:
        return {}
    return {"seen in other sizes": f"{smaller}; their colours were enlarged to {size}"}


def _commands(runs: Sequence[TrainedModel]) -> list[str]:
    commands = [run.config["command"] for run in runs if run.config.get("command")]
    return list(dict.fromkeys(commands))  # checkpoints of a run have one


def _repeat(function: Callable[[], None], times: int) -> None:
    for _ in range(times):
        function()
