"""The report as one HTML page, which needs no other files: images, style and script are inside."""

import base64
import io
import json
from collections.abc import Mapping, Sequence
from typing import Any

import jinja2
from PIL import Image

from colorjax.report import grids, heads, tables
from colorjax.report.findings import MIN_IMAGES
from colorjax.report.output import PLOTS


def build_page(
    found: Mapping[str, Any],
    runs: Sequence[str],
    rows: grids.Rows,
    images: Mapping[str, bytes],
    configs: Mapping[str, Any],
    commands: Sequence[str],
) -> str:
    """Renders the page.

    Args:
      found: see `findings.find`.
      runs: the names of the models as they were trained.
      rows: images for the slider.
      images: PNGs by the names of PLOTS, some of which may be missing.
      configs: by run.
      commands: that made the runs and the report.
    """
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("colorjax", "assets"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    pictures = {
        name: [_data_uri(grids.png(Image.fromarray(pixels))) for pixels in of]
        for name, of in rows.columns.items()
    }
    models = [*runs, tables.RIVAL]
    return environment.get_template("report.html").render(
        found=found,
        runs=runs,
        sentences=tables.sentences(found, runs),
        slider={
            "rows": [f"{i}: {caption}" for i, caption in enumerate(rows.captions, 1)],
            "columns": pictures,
            "order": list(pictures),
        },
        results=_results(found),
        meanings=[(tables.heading(key), of.meaning) for key, of in tables.COLUMNS.items()],
        comparisons=tables.comparison_cells(found["comparisons"]),
        damage=_damage(found),
        plots={name: (_data_uri(images[name]), _size(images[name])) for name in images},
        texts=PLOTS,
        details=heads.tables_by_plot(found),
        min_images=MIN_IMAGES,
        tones=tables.group_cells(found["skin_tone"], models),
        skin=tables.skin_cells(found["skin_tone"], runs),
        variety=tables.variety_cells(found),
        lightness=tables.group_cells(found["lightness"], models),
        configs={name: json.dumps(config, indent=2) for name, config in configs.items()},
        commands="\n".join(commands),
    )


def _results(found: Mapping[str, Any]) -> tuple[list[str], list[list[Any]]]:
    """The main table. Its cells have a value, an interval, and whether it is the column's best."""
    results, intervals = found["results"], found["intervals"]
    best = {
        key: min(results, key=lambda name: -column.better * results[name][key])
        for key, column in tables.COLUMNS.items()
        if column.better
    }
    rows = [
        [
            name,
            *(
                {
                    "value": f"{metrics[key]:{column.form}}",
                    "bounds": tables.interval(intervals[name][key], column.form),
                    "best": best.get(key) == name,
                }
                for key, column in tables.COLUMNS.items()
            ),
        ]
        for name, metrics in results.items()
    ]
    return ["", *(tables.heading(key) for key in tables.COLUMNS)], rows


def _damage(found: Mapping[str, Any]) -> dict[str, tuple[list[str], tables.Cells]] | None:
    """Tables of what damage costs, in reports on damaged inputs."""
    if "undamaged" not in found:
        return None
    header = ["", *(tables.heading(key) for key in tables.NARROW)]
    return {
        "losses": tables.comparison_cells(found["undamaged"]["losses"]),
        "without": (header, tables.metric_cells(found["undamaged"]["results"], tables.NARROW)),
    }


def _size(png: bytes) -> tuple[int, int]:
    with Image.open(io.BytesIO(png)) as image:
        return image.size


def _data_uri(png: bytes) -> str:
    return "data:image/png;base64," + base64.b64encode(png).decode()
