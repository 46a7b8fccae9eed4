"""Grids, and which images a report shows."""

import numpy as np
import pytest
from PIL import Image
from scipy import sparse

from colorjax.evaluation.scores import TRUTH, Scores
from colorjax.report import grids


def _flat(color, size):
    return np.broadcast_to(np.array(color, np.uint8), (size, size, 3)).copy()


@pytest.mark.parametrize(("size", "cell"), [(32, 128), (64, 128), (96, 192), (128, 128)])
def test_a_grid_shows_every_image_in_its_row_and_column_enlarged_by_an_integer(size, cell):
    colors = {"grey": [(90, 90, 90)] * 2, "truth": [(250, 10, 10), (10, 10, 250)]}
    grid = grids.image_grid(
        {name: [_flat(color, size) for color in column] for name, column in colors.items()}
    )
    pitch = cell + grids.MARGIN
    assert grid.size == (2 * pitch + grids.MARGIN, 2 * pitch + grids.MARGIN + grids.HEADER)
    pixels = np.asarray(grid)
    for x, column in enumerate(colors.values()):
        for y, color in enumerate(column):
            top, left = grids.HEADER + grids.MARGIN + y * pitch, grids.MARGIN + x * pitch
            shown = pixels[top : top + cell, left : left + cell]
            np.testing.assert_array_equal(shown, _flat(color, cell))
            assert (pixels[top - 1, left : left + cell] == 255).all()
            assert (pixels[top : top + cell, left - 1] == 255).all()


def test_every_column_has_its_own_centred_caption():
    def captions(*names):
        grid = np.asarray(grids.image_grid({name: [_flat((0, 0, 0), 128)] for name in names}))
        pitch = 128 + grids.MARGIN
        return [
            grid[: grids.HEADER, i * pitch + grids.MARGIN :][:, :128] for i in range(len(names))
        ]

    first, second, third = captions("grey", "CNN", "grey ")
    for caption in (first, second):
        assert (caption < 128).any()
        (ink,) = np.nonzero((caption < 128).any((0, 2)))
        assert abs(ink.mean() - 64) < 6
    assert not np.array_equal(first, second)
    assert (third < 128).any()


def test_long_captions_are_cut_to_their_end_and_do_not_reach_the_next_column():
    images, end = [_flat((0, 0, 0), 128)], "very/long/path/to/many/runs/gan"
    grid, same = (
        np.asarray(grids.image_grid({start + end: images, "": images})) for start in ("a/", "b/c/")
    )
    assert (grid[: grids.HEADER, :132] < 128).any()
    assert (grid[: grids.HEADER, 134:] == 255).all()
    np.testing.assert_array_equal(same, grid)


def test_captions_of_rows_and_notes_do_not_change_the_images():
    columns = {"grey": [_flat((90, 90, 90), 128)] * 2, "run": [_flat((9, 99, 200), 128)] * 2}
    notes = {"run": ["ΔE00 1.5", "ΔE00 22.0"]}
    grid = np.asarray(grids.image_grid(columns, ["best", "worst"], notes))
    step, pitch = 128 + grids.MARGIN + grids.NOTE, 128 + grids.MARGIN
    for x, column in enumerate(columns.values()):
        for y, image in enumerate(column):
            top = grids.HEADER + grids.MARGIN + y * step
            left = grids.SIDE + grids.MARGIN + x * pitch
            np.testing.assert_array_equal(grid[top : top + 128, left : left + 128], image)
            below = grid[top + 128 : top + 128 + grids.NOTE, left : left + 128]
            assert (below < 128).any() == (x == 1)
    assert (grid[:, : grids.SIDE] < 128).any()


def _scores(**delta_e):
    count = len(next(iter(delta_e.values())))
    truth = {"colorfulness": np.ones(count), "histogram": sparse.csr_array((count, 484))}
    images = {name: {"delta_e": np.asarray(values, float)} for name, values in delta_e.items()}
    return Scores({TRUTH: truth} | images, {})


def test_rows_are_the_best_median_worst_and_random_images_by_the_mean_of_the_runs():
    rng = np.random.default_rng(0)
    values = rng.permutation(100).astype(float)
    scores = _scores(a=values + 5, b=values - 5)
    chosen = grids.choose_rows(scores, ["a", "b"])
    ranks = [(kind, int(values[index])) for kind, index in chosen]
    assert ranks[:6] == [
        ("best", 0),
        ("best", 1),
        ("median", 50),
        ("median", 49),
        ("worst", 99),
        ("worst", 98),
    ]
    assert [kind for kind, _ in chosen[6:]] == ["random", "random"]
    assert len({index for _, index in chosen}) == 8
    assert grids.choose_rows(scores, ["a", "b"]) == chosen


def test_saving_an_image_replaces_the_file_and_leaves_no_other(tmp_path):
    for value in (1, 2):
        image = Image.fromarray(np.full((2, 2, 3), value, np.uint8))
        grids.save_image(image, tmp_path / "deep" / "a.png")
    with Image.open(tmp_path / "deep" / "a.png") as image:
        np.testing.assert_array_equal(np.asarray(image), 2)
    assert [file.name for file in (tmp_path / "deep").iterdir()] == ["a.png"]
