"""What is said about a model's distribution and about hints; nothing about models without them."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from colorjax.evaluation import distribution, hints
from colorjax.evaluation.evaluate import Batches, Candidate
from colorjax.report.tables import Cells, interval, markdown
from colorjax.runs.trained_model import TrainedModel

# Enough for both: they cost many predictions for each image.
MAX_IMAGES = 256
# A title, a heading and rows.
Table = tuple[str, tuple[list[str], Cells]]


def has_distribution(model: TrainedModel) -> bool:
    return bool(model.config.get("distribution", 0) > 0)


def has_hints(model: TrainedModel) -> bool:
    return bool(model.config.get("hints", 0) > 0)


def with_annealed(candidate: Candidate, model: TrainedModel) -> Candidate:
    """The candidate of a model, with the annealed means of its distribution if it has one."""
    if not has_distribution(model):
        return candidate
    return candidate._replace(annealed=distribution.annealed(model.generator))


def num_images(models: Sequence[TrainedModel], count: int) -> int:
    """How many images `judge` reads, of `count`."""
    passes = sum(map(has_distribution, models)) + len(_hinted_sizes(models))
    return passes * min(count, MAX_IMAGES)


def judge(
    models: Sequence[TrainedModel],
    factors: Sequence[float],
    batches_of: Callable[[int, int], Batches],
) -> dict[str, Any]:
    """Judges distributions and hints, each model at its own size.

    Args:
      models: some of which have them.
      factors: of the scaled forms of the models' regressions; 1 without one.
      batches_of: (limit, side in pixels) -> batches, see `evaluate.score`.

    Returns:
      A tree for JSON: answers, `distribution.judge` by name; hints, {"counts", "of":
      `hints.judge`}. Both only where a model has them.
    """
    found: dict[str, Any] = {}
    answers = {
        model.name: distribution.judge(
            model.generator,
            model.temperature,
            factor,
            model.variables,
            batches_of(MAX_IMAGES, model.image_size),
        )
        for model, factor in zip(models, factors, strict=True)
        if has_distribution(model)
    }
    if answers:
        found["answers"] = answers
    sizes, of = _hinted_sizes(models), dict[str, Any]()
    for size in sizes:
        hinted = {
            model.name: (model.predict, model.variables)
            for model in models
            if has_hints(model) and model.image_size == size
        }
        values = hints.judge(hinted, batches_of(MAX_IMAGES, size))
        if len(sizes) > 1:
            values[f"{hints.BASELINE}, at {size}"] = values.pop(hints.BASELINE)
        of |= values
    if of:
        found["hints"] = {"counts": list(hints.COUNTS), "of": of}
    return found


def tables_by_plot(found: Mapping[str, Any]) -> dict[str, list[Table]]:
    """The tables that belong to each plot, by its file."""
    tables: dict[str, list[Table]] = {}
    if "annealed" in found:
        title = (
            "Annealed means of distributions, against the threshold loss of the scaled regression "
            "that is as colourful, with 95% intervals; * means that the interval excludes 0"
        )
        tables["saturation.png"] = [(title, _annealed_cells(found))]
    if "answers" in found:
        on = f"on the first {_images(found)} images"
        tables["answers.png"] = [
            (
                "Coverage: the share of pixels whose true colour is in the smallest set of colours "
                f"with at least this probability, {on}; a calibrated model's equals the "
                "probability of the sets, which is more, because bins are not divided",
                _calibration_cells(found["answers"]),
            ),
            (
                f"Lowest ΔE00 among the first N answers, {on}; the baseline moves the regression's "
                "colours, everywhere alike, by as many Lab units as is best",
                _best_of_cells(found["answers"]),
            ),
        ]
    if "hints" in found:
        title = (
            f"ΔE00 (and PSNR in dB) with hints, the true colours of squares of {hints.SIDE} pixels "
            f"at {hints.OF}, on the first {_images(found)} images"
        )
        tables["hints.png"] = [(title, _hint_cells(found["hints"]))]
    return tables


def results_markdown(found: Mapping[str, Any]) -> list[str]:
    """The same as text."""
    return [
        part
        for of in tables_by_plot(found).values()
        for title, cells in of
        for part in (f"{title}:\n", markdown(*cells))
    ]


def _annealed_cells(found: Mapping[str, Any]) -> tuple[list[str], Cells]:
    curves = list(found["saturation_curves"])
    rows = []
    for name, points in found["annealed"].items():
        for point in points:
            cells = [f"{point['threshold_loss_10']:.3f}", f"{point['bias_cf']:+.1f}"]
            for curve in curves:
                cells.append(_verdict_cell(point["verdicts"].get(curve)))
            rows.append([f"{name}, temperature {point['temperature']:g}", *cells])
    heading = ["", "threshold loss 10", "colourfulness − truth's"]
    return [*heading, *(f"against scaled {curve}" for curve in curves)], rows


def _verdict_cell(verdict: Mapping[str, Any] | None) -> str:
    if verdict is None:
        return "beyond the curve"
    side = "below" if verdict["margin"] > 0 else "above"
    mark = "*" if verdict["real"] else ""
    low, high = verdict["interval"]
    bounds = (low, high) if verdict["margin"] > 0 else (-high, -low)
    return f"{side}{mark} {verdict['curve_loss']:.3f} by {interval(bounds, '.3f')}"


def _calibration_cells(answers: Mapping[str, Any]) -> tuple[list[str], Cells]:
    heading, rows = [""], []
    for level in distribution.SHOWN_LEVELS:
        heading += [f"coverage of {level:.0%} sets", "their probability"]
    for name, of in answers.items():
        calibration, cells = of["calibration"], []
        for level in distribution.SHOWN_LEVELS:
            i = calibration["levels"].index(level)
            cells += [f"{calibration[key][i]:.1%}" for key in ("coverage", "probability")]
        rows.append([name, *cells])
    return heading, rows


def _best_of_cells(answers: Mapping[str, Any]) -> tuple[list[str], Cells]:
    rows = []
    for name, of in answers.items():
        factor, move = of["best_of"]["jitter_factor"], of["best_of"]["jitter_move"]
        times = "" if factor == 1 else f" × {factor:.2f}"
        for label, key in (
            (f"{name}, candidates", "candidates"),
            (f"{name}, its regression{times} moved by {move:g}", "jitter"),
        ):
            rows.append([label, *(f"{value:.2f}" for value in of["best_of"][key])])
    return ["", *(f"N = {count}" for count in distribution.COUNTS)], rows


def _hint_cells(found: Mapping[str, Any]) -> tuple[list[str], Cells]:
    rows = [
        [name, *(f"{e:.2f} ({p:.1f})" for e, p in zip(of["delta_e"], of["psnr"], strict=True))]
        for name, of in found["of"].items()
    ]
    return ["", *(f"{n} hint" + "s" * (n != 1) for n in found["counts"])], rows


def _images(found: Mapping[str, Any]) -> int:
    return min(MAX_IMAGES, found["about"]["images"])


def _hinted_sizes(models: Sequence[TrainedModel]) -> list[int]:
    return sorted({model.image_size for model in models if has_hints(model)})
