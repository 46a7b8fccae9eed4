"""The report as one HTML page, which opens anywhere: pictures, style and script lie within it."""

import base64
import html
import importlib.resources
import io
import json
import string
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from PIL import Image

from colorjax.report import tables
from colorjax.report.findings import MIN_IMAGES
from colorjax.report.grids import Rows

# By file: heading, alternative text, caption.
PLOTS = {
    "grid.png": (
        "Side by side",
        "A grid of faces: in grey, as each run colours them, and the originals.",
        "Best, median, worst and random images, by ΔE00 averaged over the runs.",
    ),
    "errors.png": (
        "Where the errors are",
        "Maps of the colour difference at each pixel, for each run and image of the grid.",
        "ΔE00 at each pixel of the same images.",
    ),
    "threshold.png": (
        "Threshold curve",
        "Curves of the share of pixels that are off by more than a threshold, which fall from 1.",
        "The threshold loss at every threshold, with the baselines. Lower is better.",
    ),
    "colors.png": (
        "Colours that are painted",
        "Histograms in the a*b* plane: one of the truth, and one of each run.",
        "How often each colour occurs in all images together. The red line goes round the colours "
        "of the truth: what a run leaves empty within it, it never paints.",
    ),
    "saturation.png": (
        "Is it worth its trouble?",
        "Runs and baselines as points by colourfulness and threshold loss; scaled models, curves.",
        "A regression model is made as colourful as one likes by scaling its a*b*, along its "
        "curve. A GAN is worth its trouble where it lies below that curve.",
    ),
    "curves.png": (
        "Training",
        "Losses and validation figures against the number of steps.",
        "Training losses, and figures on validation images as they were computed while training.",
    ),
}


def build_page(
    found: Mapping[str, Any],
    runs: Sequence[str],
    rows: Rows,
    images: Mapping[str, bytes],
    configs: Mapping[str, Any],
    commands: Sequence[str],
) -> str:
    """The page.

    Args:
      found: see `findings.find`.
      runs: whose colours are shown.
      rows: images to compare, for the slider.
      images: PNGs by the names of PLOTS; those that are not there are left out.
      configs: by run.
      commands: that made the runs and the report.
    """
    models = [*runs, tables.RIVAL]
    about = "".join(
        f"<div><dt>{_text(key)}</dt><dd>{_text(value)}</dd></div>"
        for key, value in found["about"].items()
    )
    template = importlib.resources.files("colorjax").joinpath("assets/report.html")
    return string.Template(template.read_text(encoding="utf-8")).substitute(
        title=_text(
            f"Colouring {'damaged' if 'undamaged' in found else 'grey'} faces: {', '.join(runs)}"
        ),
        about=about,
        sentences="".join(f"<li>{_text(line)}</li>" for line in tables.sentences(found, runs)),
        slider=_slider(rows),
        over=_png(next(iter(rows.columns.values()))[0]),
        under=_png(rows.columns[runs[-1]][0]),
        results=_results(found),
        meanings="".join(
            f"<div><dt>{_text(tables.heading(key))}</dt><dd>{_text(column.meaning)}</dd></div>"
            for key, column in tables.COLUMNS.items()
        ),
        comparisons=_comparisons(found),
        damage=_damage(found),
        figures="".join(_figure(name, images[name]) for name in PLOTS if name in images),
        min_images=MIN_IMAGES,
        skin_images=found["skin_variety"]["images"],
        tones=_table(*tables.group_cells(found["skin_tone"], models), "by skin tone"),
        skin=_table(*tables.skin_cells(found["skin_tone"], runs), "colours of skin"),
        variety=_variety(found),
        lightness=_table(*tables.group_cells(found["lightness"], models), "by lightness"),
        configs="".join(
            f"<details><summary>{_text(name)}</summary><pre tabindex='0'>"
            f"{_text(json.dumps(config, indent=2))}</pre></details>"
            for name, config in configs.items()
        ),
        commands=_text("\n".join(commands)),
    )


def _text(value: Any) -> str:
    return html.escape(str(value))


def _data_uri(data: bytes) -> str:
    return "data:image/png;base64," + base64.b64encode(data).decode()


def _png(pixels: np.ndarray) -> str:
    data = io.BytesIO()
    Image.fromarray(pixels).save(data, format="PNG", optimize=True)
    return _data_uri(data.getvalue())


def _slider(rows: Rows) -> str:
    """What the script needs: names of rows and columns, and the pictures."""
    content = {
        "rows": [f"{i + 1}: {caption}" for i, caption in enumerate(rows.captions)],
        "columns": {name: [_png(image) for image in of] for name, of in rows.columns.items()},
        "order": list(rows.columns),
    }
    # Without this sign nothing within a script element can end it.
    return json.dumps(content, ensure_ascii=True).replace("<", "\\u003c")


def _results(found: Mapping[str, Any]) -> str:
    """The main table: values with their intervals; the best of each column stands out."""
    results, intervals = found["results"], found["intervals"]
    best = {
        key: min(results, key=lambda name: -column.better * results[name][key])
        for key, column in tables.COLUMNS.items()
        if column.better
    }
    lines = []
    for name, figures in results.items():
        cells = []
        for key, column in tables.COLUMNS.items():
            bounds = tables.interval(intervals[name][key], column.form)
            mark = " class='best'" if best.get(key) == name else ""
            cells.append(f"<td{mark}>{figures[key]:{column.form}}<small>{bounds}</small></td>")
        lines.append(f"<tr><th scope='row'>{_text(name)}</th>{''.join(cells)}</tr>")
    head = "".join(f"<th scope='col'>{_text(tables.heading(key))}</th>" for key in tables.COLUMNS)
    return _scrolling(f"<tr><td></td>{head}</tr>", "".join(lines), "results")


def _table(header: Sequence[str], rows: tables.Cells, label: str) -> str:
    head = "".join(
        f"<th scope='col'>{_text(cell)}</th>" if cell else "<td></td>" for cell in header
    )
    lines = "".join(
        f"<tr><th scope='row'>{_text(row[0])}</th>"
        + "".join(f"<td>{_text(cell)}</td>" for cell in row[1:])
        + "</tr>"
        for row in rows
    )
    return _scrolling(f"<tr>{head}</tr>", lines, label)


def _scrolling(head: str, body: str, label: str) -> str:
    """A table that scrolls by itself where it is wider than the screen, by keyboard too."""
    return (
        f"<div class='scroll' role='region' tabindex='0' aria-label='Table: {_text(label)}'>"
        f"<table><thead>{head}</thead><tbody>{body}</tbody></table></div>"
    )


def _comparisons(found: Mapping[str, Any]) -> str:
    if not found["comparisons"]:
        return "<p>There is nothing to compare: one model was evaluated.</p>"
    return _table(*tables.comparison_cells(found["comparisons"]), "differences")


def _damage(found: Mapping[str, Any]) -> str:
    """The section on what damage costs, in reports on damaged inputs."""
    if "undamaged" not in found:
        return ""
    losses = _table(*tables.comparison_cells(found["undamaged"]["losses"]), "losses by damage")
    header = ["", *(tables.heading(key) for key in tables.NARROW)]
    without = _table(
        header, tables.figure_cells(found["undamaged"]["results"], tables.NARROW), "undamaged"
    )
    return (
        "<section><h2>What damage costs</h2><p>Figures on damaged inputs less those on the same "
        "images undamaged, with 95% intervals of the paired bootstrap. A star stands where the "
        f"interval excludes 0.</p>{losses}<h3>The figures without damage</h3>{without}</section>"
    )


def _variety(found: Mapping[str, Any]) -> str:
    of = found["skin_variety"]["of"]
    if not of:
        return "<p>Too little skin was found to tell.</p>"
    rows = [
        [name, f"{tables.number(row['value'], '.2f')}", tables.interval(row["interval"], ".2f")]
        for name, row in of.items()
    ]
    return _table(["", "variety", "95%"], rows, "variety of skin colours")


def _figure(name: str, data: bytes) -> str:
    title, alternative, caption = PLOTS[name]
    width, height = _size(data)
    return (
        f"<section><h2>{_text(title)}</h2><figure><img src='{_data_uri(data)}' width='{width}' "
        f"height='{height}' alt='{_text(alternative)}'>"
        f"<figcaption>{_text(caption)}</figcaption></figure></section>"
    )


def _size(data: bytes) -> tuple[int, int]:
    with Image.open(io.BytesIO(data)) as image:
        return image.size
