"""The plots of a report, each as the bytes of a PNG.

matplotlib is imported where it is needed, because that takes half a second.
"""

import io
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from colorjax.evaluation.hints import BASELINE
from colorjax.evaluation.metrics import MAX_TAU
from colorjax.evaluation.scores import TRUTH, Scores
from colorjax.report.grids import Rows

Row = Mapping[str, Any]
DPI = 110
# Longer names are shortened in legends and titles.
MAX_NAME = 34


def render(figure: Any) -> bytes:
    """A matplotlib figure as the bytes of a PNG. Every plot goes through this function."""
    data = io.BytesIO()
    figure.savefig(data, dpi=DPI, format="png")
    return data.getvalue()


def threshold_curve(scores: Scores, names: Sequence[str], runs: Sequence[str]) -> bytes:
    """The threshold loss of some names, of which some are runs, at every τ up to 60."""
    figure = _figure(7, 4.4)
    axes = figure.subplots()
    for name, style in _styles(names, runs).items():
        counts = scores.sums[name]["errors"]
        loss = 1.0 - np.cumsum(counts[: MAX_TAU + 1]) / counts.sum()
        axes.plot(np.arange(MAX_TAU + 1), loss, label=_short(name), **style)
    for tau in (5, 10, 20):
        axes.axvline(tau, color="0.8", linewidth=0.8, zorder=0)
    axes.set(xlabel="threshold τ (Lab units)", xlim=(0, 60), ylim=(0, 1))
    axes.set_ylabel("share of pixels with a colour error above τ")
    axes.grid(alpha=0.3)
    axes.legend(fontsize=8)
    return render(figure)


def color_histograms(scores: Scores, runs: Sequence[str]) -> bytes:
    """Histograms of the truth and of each run in the a*b* plane."""
    from matplotlib.colors import LogNorm

    names = [TRUTH, *runs]
    shares = {name: scores.sums[name]["colors"] for name in names}
    shares = {name: counts / counts.sum() for name, counts in shares.items()}
    columns = min(4, len(names))
    lines = -(-len(names) // columns)
    figure = _figure(3.1 * columns + 0.6, 3.1 * lines + 0.3)
    panels = figure.subplots(lines, columns, squeeze=False, sharex=True, sharey=True)
    edges = np.linspace(-110, 110, len(shares[TRUTH]) + 1)
    centres = 0.5 * (edges[1:] + edges[:-1])
    total = np.sum(list(shares.values()), axis=0)
    a, b = (np.flatnonzero(total.sum(axis=axis)) for axis in (1, 0))
    for axes in panels.flat[len(names) :]:
        axes.set_visible(False)
    for axes, name in zip(panels.flat, names, strict=False):
        values = np.ma.masked_less(shares[name].T, 1e-7)
        mesh = axes.pcolormesh(edges, edges, values, cmap="viridis", norm=LogNorm(1e-6, 1e-1))
        # Smoothed: the outline would follow single pixels.
        axes.contour(centres, centres, _smooth(shares[TRUTH]).T, [2e-5], colors="crimson")
        axes.axhline(0, color="0.7", linewidth=0.6)
        axes.axvline(0, color="0.7", linewidth=0.6)
        axes.set_title(_short(name), fontsize=10)
        axes.set_aspect("equal")
        axes.set(xlim=(edges[a[0]] - 6, edges[a[-1]] + 8), ylim=(edges[b[0]] - 6, edges[b[-1]] + 8))
    figure.supxlabel("a* (green to red)", fontsize=9)
    figure.supylabel("b* (blue to yellow)", fontsize=9)
    figure.colorbar(mesh, ax=panels, label="share of pixels", shrink=0.8)
    return render(figure)


def _smooth(shares: np.ndarray) -> np.ndarray:
    """Means over 3 × 3 bins."""
    padded = np.pad(shares, 1)
    return np.lib.stride_tricks.sliding_window_view(padded, (3, 3)).mean(axis=(2, 3))


def saturation_plane(found: Mapping[str, Any], runs: Sequence[str]) -> bytes:
    """Threshold loss against colourfulness: runs and baselines are points, scaled models curves.

    Annealed means are points with their temperatures.

    Args:
      found: see `findings.find`.
      runs: the names of models as they were trained.
    """
    figure = _figure(7, 4.8)
    axes = figure.subplots()
    styles = _styles(list(found["results"]), runs)
    for name, curve in found["saturation_curves"].items():
        label = f"{_short(name)} with a*b* × 0 … {curve['factors'][-1]:.1f}"
        color = styles[name]["color"]
        axes.plot(
            curve["bias_cf"], curve["threshold_loss_10"], color=color, linewidth=1.2, label=label
        )
    for name, metrics in found["results"].items():
        is_run = name in runs
        axes.plot(
            metrics["colorfulness"] - found["truth"]["colorfulness"],
            metrics["threshold_loss_10"],
            marker="o" if is_run else "s",
            markersize=9 if is_run else 5,
            color=styles[name]["color"],
            linestyle="",
            label=_short(name),
            zorder=3,
        )
    for name, points in found.get("annealed", {}).items():
        x, y, texts = (
            [point[key] for point in points]
            for key in ("bias_cf", "threshold_loss_10", "temperature")
        )
        label = f"{_short(name)}, annealed means"
        style = {"color": styles[name]["color"], "linewidth": 0.8, "linestyle": ":"}
        axes.plot(x, y, marker="^", markersize=5, label=label, zorder=3, **style)
        for text, *at in zip(texts, x, y, strict=True):
            axes.annotate(f"{text:g}", at, xytext=(3, 3), textcoords="offset points", fontsize=6)
    axes.axvline(0, color="0.6", linewidth=0.8, zorder=0)
    axes.annotate("colourfulness of the truth", (0, 0.02), xycoords=("data", "axes fraction"),
                  rotation=90, fontsize=7, color="0.4", ha="right", va="bottom")  # fmt: skip
    axes.set(xlabel="mean colourfulness minus that of the truth", ylabel="threshold loss at 10")
    axes.grid(alpha=0.3)
    axes.legend(fontsize=7, loc="center left", bbox_to_anchor=(1.0, 0.5))
    return render(figure)


def answers(found: Mapping[str, Any]) -> bytes:
    """Calibration, errors by uncertainty, and the best of several answers.

    Args:
      found: `distribution.judge` by name.
    """
    figure = _figure(13, 4.2)
    reliability, errors, best = figure.subplots(1, 3)
    for (name, of), color in zip(found.items(), _colors(len(found)), strict=True):
        style = {"label": _short(name), "color": color}
        calibration, best_of = of["calibration"], of["best_of"]
        reliability.plot(calibration["probability"], calibration["coverage"], ".-", **style)
        points = [(g["uncertainty"], g["error"]) for g in calibration["by_uncertainty"]]
        errors.plot(*zip(*points, strict=True), ".-", **style)
        best.plot(best_of["counts"], best_of["candidates"], ".-", **style)
        style["label"] += ", its regression moved"
        best.plot(best_of["counts"], best_of["jitter"], ".--", **style)
    reliability.axline((0, 0), slope=1, color="0.6", linewidth=0.8)
    errors.axline((0, 0), slope=1, color="0.6", linewidth=0.8)
    reliability.set(xlabel="probability of the sets", ylabel="coverage", xlim=(0, 1), ylim=(0, 1))
    errors.set(xlabel="uncertainty (Lab units)", ylabel="root mean square error (Lab units)")
    best.set(xlabel="number of answers", ylabel="lowest ΔE00", xscale="log")
    best.set_xticks(best_of["counts"], [str(count) for count in best_of["counts"]], minor=False)
    best.set_xticks([], minor=True)
    for axes in (reliability, errors, best):
        axes.grid(alpha=0.3)
    best.legend(fontsize=8)
    return render(figure)


def hints(found: Mapping[str, Any]) -> bytes:
    """ΔE00 and PSNR against the number of hints. Args: found: see `heads.judge`."""
    figure = _figure(10, 4.2)
    baselines = [name for name in found["of"] if name.startswith(BASELINE)]
    runs = [name for name in found["of"] if name not in baselines]
    at = range(len(found["counts"]))
    for axes, (key, label) in zip(
        figure.subplots(1, 2), (("delta_e", "ΔE00"), ("psnr", "PSNR (dB)")), strict=True
    ):
        for name, style in _styles([*runs, *baselines], runs).items():
            axes.plot(at, found["of"][name][key], marker=".", label=_short(name), **style)
        axes.set_xticks(at, [str(count) for count in found["counts"]])
        axes.set(xlabel="hints", ylabel=label)
        axes.grid(alpha=0.3)
    axes.legend(fontsize=8)
    return render(figure)


def error_maps(rows: Rows) -> bytes:
    """ΔE00 at each pixel of the chosen images, for each run, on one scale."""
    names, count = list(rows.maps), len(rows.captions)
    top = float(np.percentile(np.stack(list(rows.maps.values())), 99))
    top = float(min(60.0, max(10.0, 5.0 * np.ceil(top / 5.0))))
    figure = _figure(1.5 * (len(names) + 1) + 1.1, 1.5 * count + 0.4)
    panels = figure.subplots(count, len(names) + 1, squeeze=False)
    for index, line in enumerate(panels):
        line[0].imshow(rows.columns["truth"][index])
        line[0].set_ylabel(rows.captions[index], fontsize=9)
        for axes, name in zip(line[1:], names, strict=True):
            shown = axes.imshow(rows.maps[name][index], cmap="magma", vmin=0, vmax=top)
        for axes in line:
            axes.set(xticks=[], yticks=[])
    for axes, name in zip(panels[0], ["truth", *names], strict=True):
        axes.set_title(_short(name), fontsize=9)
    figure.colorbar(shown, ax=panels, label=f"ΔE00 (clipped at {top:.0f})", shrink=0.5)
    return render(figure)


def training_curves(rows: Mapping[str, Sequence[Row]]) -> bytes | None:
    """Losses, the discriminator's accuracy, and validation metrics; None without rows.

    Args:
      rows: of each run's metrics.jsonl, by the run's name.
    """
    # For each series (split, key), its name in the legend and its style.
    losses = {"loss": "-", "adversarial_loss": "--", "discriminator_loss": ":"}
    dashes = {"real": "-", "fake": "--"}
    panels: dict[str, dict[tuple[str, str], tuple[str, dict[str, Any]]]] = {
        "training losses": {
            ("train", key): (key, {"linestyle": dash}) for key, dash in losses.items()
        },
        # A gap between training and validation means that the discriminator overfits.
        "discriminator accuracy": {
            (split, f"accuracy_{what}"): (f"{what}, {split}", {"linestyle": dash, **style})
            for split, style in (("train", {"alpha": 0.5}), ("validation", {"linewidth": 2.2}))
            for what, dash in dashes.items()
        },
        "validation MSE (Lab units²)": {("validation", "mse"): ("", {})},
        "validation threshold loss at 10": {("validation", "threshold_loss_10"): ("", {})},
    }
    if len(rows) > 1:
        # Losses of different runs are not comparable: each has its own weights.
        panels = {title: series for title, series in panels.items() if len(series) == 1}
    logged = {(row["split"], key) for of in rows.values() for row in of for key in row}
    shown = {title: series for title, series in panels.items() if series.keys() & logged}
    if not shown:
        return None
    figure = _figure(4.6 * len(shown), 3.8)
    for axes, (title, series) in zip(
        figure.subplots(1, len(shown), squeeze=False)[0], shown.items(), strict=True
    ):
        for (name, of), color in zip(rows.items(), _colors(len(rows)), strict=True):
            for (split, key), (label, style) in series.items():
                points = [(r["step"], r[key]) for r in of if r["split"] == split and key in r]
                if points:
                    marker = "." if len(points) < 30 else ""
                    label = label or _short(name)
                    steps, values = zip(*points, strict=True)
                    axes.plot(steps, values, label=label, color=color, marker=marker, **style)
        axes.set(xlabel="step", title=title)
        axes.grid(alpha=0.3)
        if len(series) > 1 or len(rows) > 1:
            axes.legend(fontsize=8)
    return render(figure)


def _styles(names: Sequence[str], runs: Sequence[str]) -> dict[str, dict[str, Any]]:
    """Styles of some names: runs in colours, everything else in dashed greys."""
    others = [name for name in names if name not in runs]
    styles = {
        name: {"color": color, "linewidth": 2.0}
        for name, color in zip(runs, _colors(len(runs)), strict=True)
    }
    patterns = ("--", ":", "-.", (0, (1, 3)), (0, (5, 1)), (0, (3, 1, 1, 1)))
    for i, name in enumerate(others):
        shade = str(round(0.1 + 0.6 * i / max(1, len(others) - 1), 2))
        pattern = patterns[i % len(patterns)]
        styles[name] = {"color": shade, "linestyle": pattern, "linewidth": 1.3}
    return {name: styles[name] for name in names}


def _colors(count: int) -> list[Any]:
    from matplotlib import colormaps

    palette = colormaps["tab10"].colors  # type: ignore[attr-defined]
    return [palette[i % len(palette)] for i in range(count)]


def _short(name: str) -> str:
    if len(name) <= MAX_NAME:
        return name
    # Paths differ at the end.
    return "…" + name[1 - MAX_NAME :] if "/" in name else name[: MAX_NAME - 1] + "…"


def _figure(width: float, height: float) -> Any:
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), layout="constrained")
