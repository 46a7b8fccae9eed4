"""Grids, tables and curves; nothing half written."""

import json

import numpy as np
import pytest
from PIL import Image

from colorjax import report

FIGURES = {
    "mse": 123.46,
    "threshold_loss_5": 0.5,
    "threshold_loss_10": 0.25,
    "threshold_loss_20": 0.125,
    "delta_cf": 3.21,
    "delta_cf_image": 4.32,
    "colorfulness": 30.0,
    "histogram_distance": 0.4567,
}


def _flat(color, size):
    return np.broadcast_to(np.array(color, np.uint8), (size, size, 3)).copy()


@pytest.mark.parametrize(("size", "cell"), [(32, 128), (64, 128), (96, 192), (128, 128)])
def test_a_grid_shows_every_image_in_its_row_and_column_enlarged_by_a_whole_factor(size, cell):
    colors = {"grey": [(90, 90, 90)] * 2, "truth": [(250, 10, 10), (10, 10, 250)]}
    grid = report.image_grid(
        {name: [_flat(color, size) for color in column] for name, column in colors.items()}
    )
    pitch = cell + report.MARGIN
    assert grid.size == (2 * pitch + report.MARGIN, 2 * pitch + report.MARGIN + report.HEADER)
    pixels = np.asarray(grid)
    for x, column in enumerate(colors.values()):
        for y, color in enumerate(column):
            top, left = report.HEADER + report.MARGIN + y * pitch, report.MARGIN + x * pitch
            shown = pixels[top : top + cell, left : left + cell]
            np.testing.assert_array_equal(shown, _flat(color, cell))
            assert (pixels[top - 1, left : left + cell] == 255).all()
            assert (pixels[top : top + cell, left - 1] == 255).all()


def test_every_column_has_a_caption_of_its_own_centred_above_it():
    def captions(*names):
        grid = np.asarray(report.image_grid({name: [_flat((0, 0, 0), 128)] for name in names}))
        pitch = 128 + report.MARGIN
        return [
            grid[: report.HEADER, i * pitch + report.MARGIN :][:, :128] for i in range(len(names))
        ]

    first, second, third = captions("grey", "CNN", "grey ")
    for caption in (first, second):
        assert (caption < 128).any()
        (ink,) = np.nonzero((caption < 128).any((0, 2)))
        assert abs(ink.mean() - 64) < 6
    assert not np.array_equal(first, second)
    assert (third < 128).any()


def test_the_table_has_a_row_for_every_entry_and_a_cell_for_every_figure():
    results = {"gan": FIGURES, "grey": FIGURES | {"mse": 99.0}, "mean colour": FIGURES}
    header, rule, *rows = report.results_table(results).splitlines()
    cells = [[cell.strip() for cell in row.strip("|").split("|")] for row in rows]
    assert [row[0] for row in cells] == ["gan", "grey", "mean colour"]
    assert cells[0][1:] == ["123.5", "0.500", "0.250", "0.125", "3.2", "4.3", "0.457"]
    assert cells[1][1] == "99.0"
    assert {line.count("|") for line in (header, rule, *rows)} == {9}


@pytest.mark.parametrize("exists", [False, True])
def test_text_that_cannot_be_written_leaves_what_was_there(tmp_path, monkeypatch, exists):
    path = tmp_path / "new" / "results.json"
    if exists:
        report.write_text(path, "old")

    def fail(source, target):
        assert path.exists() == exists  # nothing half written stands in its place
        raise OSError("disk full")

    monkeypatch.setattr("os.replace", fail)
    with pytest.raises(OSError, match="disk full"):
        report.write_text(path, "new")
    assert path.exists() == exists
    assert not exists or path.read_text() == "old"


def test_text_and_images_are_replaced_and_nothing_lies_beside(tmp_path):
    for text in ("old and longer", "new"):
        report.write_text(tmp_path / "deep" / "a.md", text)
    assert (tmp_path / "deep" / "a.md").read_text() == "new"
    for value in (1, 2):
        image = Image.fromarray(np.full((2, 2, 3), value, np.uint8))
        report.save_image(image, tmp_path / "deep" / "a.png")
    with Image.open(tmp_path / "deep" / "a.png") as image:
        np.testing.assert_array_equal(np.asarray(image), 2)
    assert sorted(file.name for file in (tmp_path / "deep").iterdir()) == ["a.md", "a.png"]


def _write(directory, rows):
    grid = report.image_grid({"truth": [_flat((1, 2, 3), 32)]})
    about = {"run": "gan", "step": 6}
    report.write_report(directory, {"gan": FIGURES, "grey": FIGURES}, about, rows, grid)


def test_a_report_is_four_whole_files(tmp_path):
    rows = [
        {"step": 1, "split": "train", "loss": 1.0},
        {"step": 2, "split": "train", "loss": 0.5, "accuracy_real": 0.5, "accuracy_fake": 0.5},
        {"step": 2, "split": "validation", **FIGURES},
        {"step": 2, "split": "validation, scaled regression", **FIGURES},
    ]
    _write(tmp_path / "report", rows)
    assert sorted(file.name for file in (tmp_path / "report").iterdir()) == [
        "curves.png",
        "grid.png",
        "results.json",
        "results.md",
    ]
    results = json.loads((tmp_path / "report" / "results.json").read_text())
    assert results == {
        "about": {"run": "gan", "step": 6},
        "results": {"gan": FIGURES, "grey": FIGURES},
    }
    text = (tmp_path / "report" / "results.md").read_text()
    assert "- run: gan\n- step: 6\n\n| |" in text
    assert report.results_table(results["results"]) in text
    for name in ("grid.png", "curves.png"):
        with Image.open(tmp_path / "report" / name) as image:
            image.load()


def test_curves_have_a_panel_for_each_kind_of_figure_that_there_is(tmp_path):
    train = [{"step": 1, "split": "train", "loss": 1.0}]
    _write(tmp_path / "a", train)
    _write(tmp_path / "b", [*train, {"step": 1, "split": "validation", **FIGURES}])
    with Image.open(tmp_path / "a/curves.png") as a, Image.open(tmp_path / "b/curves.png") as b:
        assert b.width == 3 * a.width
