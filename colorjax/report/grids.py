"""Images side by side: sample grids while training, and the rows that a report shows."""

import io
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from PIL import Image, ImageDraw, ImageFont

from colorjax.display import displayed, paint, paint_grey, to_float
from colorjax.evaluation.ciede2000 import ciede2000
from colorjax.evaluation.evaluate import Candidate, predictions
from colorjax.evaluation.scores import Scores
from colorjax.evaluation.steps import Damage, seen_step
from colorjax.files import replaced
from colorjax.lab import (
    lightness,
    rgb_to_lab,
)
from colorjax.models.variables import Predictor, Variables

MARGIN = 4
HEADER = 22
NOTE = 18
# Room for the captions of rows.
SIDE = 66
# Grids are shown at least this large, in pixels an image.
CELL = 128
# Rows of each kind: best, median, worst, random.
ROWS_OF_A_KIND = 2


class Rows(NamedTuple):
    """Some images as a report shows them.

    Attributes:
      captions: why each was chosen.
      columns: by caption, [R, H, W, 3] uint8 sRGB: what the runs see, each run, truth.
      maps: ΔE00 at each pixel, [R, H, W], of each run.
    """

    captions: list[str]
    columns: dict[str, np.ndarray]
    maps: dict[str, np.ndarray]


def image_grid(
    columns: Mapping[str, Sequence[np.ndarray]],
    captions: Sequence[str] = (),
    notes: Mapping[str, Sequence[str]] | None = None,
    font_file: str | None = None,
) -> Image.Image:
    """A grid with one captioned column of images for each entry.

    Args:
      columns: by caption, equally many images [H, W, 3] uint8 sRGB of one size.
      captions: of the rows, to their left.
      notes: what stands below each image, of the columns that have any.
      font_file: by default Pillow's own, which has Latin letters only.
    """
    rows = len(next(iter(columns.values())))
    size = next(iter(columns.values()))[0].shape[0]
    cell = size * -(-CELL // size)
    left, below = SIDE if captions else 0, NOTE if notes else 0
    pitch, step = cell + MARGIN, cell + MARGIN + below
    width, height = left + pitch * len(columns) + MARGIN, step * rows + MARGIN + HEADER
    grid = Image.new("RGB", (width, height), "white")
    draw = ImageDraw.Draw(grid)
    font, small = (
        ImageFont.truetype(font_file, points) if font_file else ImageFont.load_default(points)
        for points in (14, 12)
    )
    for y, caption in enumerate(captions):
        middle = HEADER + MARGIN + y * step + cell // 2
        draw.text((left // 2, middle), caption, "black", font, anchor="mm")
    for x, (caption, images) in enumerate(columns.items()):
        start = left + MARGIN + x * pitch
        shown = _cut(caption, lambda text: draw.textlength(text, font) <= cell)
        draw.text((start + cell // 2, HEADER // 2), shown, "black", font, anchor="mm")
        for y, pixels in enumerate(images):
            top = HEADER + MARGIN + y * step
            image = Image.fromarray(pixels).resize((cell, cell), Image.Resampling.BICUBIC)
            grid.paste(image, (start, top))
            if notes and caption in notes:
                at = start + cell // 2, top + cell + NOTE // 2
                draw.text(at, notes[caption][y], "#444", small, anchor="mm")
    return grid


def _cut(text: str, fits: Callable[[str], bool]) -> str:
    """The text, or as much of its end as fits: that is where paths differ."""
    cuts = (text if start == 0 else "…" + text[start:] for start in range(len(text)))
    return next(filter(fits, cuts), "…") if text else text


def sample_grid(
    predictors: Mapping[str, Predictor], variables: Variables, images: np.ndarray
) -> Image.Image:
    """Columns grey, each prediction, truth of some images [N, H, W, 3] uint8 sRGB."""
    columns: dict[str, Sequence[np.ndarray]] = {}
    for name, predict in predictors.items():
        grey, prediction = jax.device_get(colorize(predict, variables, images))
        columns |= {"grey": grey, name: prediction}
    return image_grid(columns | {"truth": list(images)})


def choose_rows(scores: Scores, names: Sequence[str], seed: int = 0) -> list[tuple[str, int]]:
    """Picks images by their ΔE00, averaged over the runs: best, median, worst, and random ones.

    Args:
      scores: of N images.
      names: of the runs.
      seed: of the random ones.

    Returns:
      (what it is, the image's number), no image twice; fewer where there are fewer images.
    """
    error = np.mean([scores.images[name]["delta_e"] for name in names], axis=0)
    order = [int(i) for i in np.argsort(error, kind="stable")]
    middle = len(order) // 2
    candidates = {
        "best": order,
        "median": [
            order[rank] for rank in sorted(range(len(order)), key=lambda rank: abs(rank - middle))
        ],
        "worst": order[::-1],
        "random": [int(i) for i in np.random.default_rng(seed).permutation(len(order))],
    }
    chosen: list[tuple[str, int]] = []
    for kind, indices in candidates.items():
        taken = {index for _, index in chosen}
        free = [index for index in indices if index not in taken]
        chosen += [(kind, index) for index in free[:ROWS_OF_A_KIND]]
    return chosen


def colored_rows(
    chosen: Sequence[tuple[str, int]],
    runs: Sequence[Candidate],
    image: Callable[[int, int], np.ndarray],
    batch_size: int,
) -> Rows:
    """Colours images with each run, at the largest of the runs' sizes.

    Damage is shown in what the runs see, and done to their colours; the lightness beneath these is
    the truth's, as where metrics are computed.

    Args:
      chosen: as `choose_rows` gives them.
      runs: by which they are coloured; they see the same damage, if any.
      image: (number, side in pixels) -> [side, side, 3] uint8 sRGB.
      batch_size: see `evaluate.predictions`.
    """
    size = max(run.image_size for run in runs)
    captions, indices = zip(*chosen, strict=True)
    truth = np.stack([image(number, size) for number in indices])
    columns = {"damaged" if runs[0].damage else "grey": _seen(truth, indices, runs[0].damage)}
    maps = {}
    for run in runs:
        seen = np.stack([image(number, run.image_size) for number in indices])
        ab = predictions(run, seen, indices, batch_size)
        columns[run.name] = jax.device_get(paint(truth, ab)[1])
        maps[run.name] = jax.device_get(_error_maps(truth, ab))
    return Rows(list(captions), {**columns, "truth": truth}, maps)


def _seen(images: np.ndarray, indices: Sequence[int], damage: Damage | None) -> np.ndarray:
    """What models see of images, in grey."""
    batch = {"image": images, "index": np.array(indices, np.int32)}
    return jax.device_get(jax.jit(lambda batch: paint_grey(seen_step(batch, damage)))(batch))


@jax.jit
def _error_maps(images: jax.Array, ab: jax.Array) -> jax.Array:
    """ΔE00 [N, H, W] of what a user gets, as the metrics are computed."""
    truth = rgb_to_lab(to_float(images))
    if ab.shape[1:3] != truth.shape[1:3]:
        ab = jax.image.resize(ab, (*truth.shape[:-1], 2), "linear")
    return ciede2000(displayed(truth[..., :1], jnp.asarray(ab))[1], truth)


def rows_grid(rows: Rows) -> Image.Image:
    """The rows with their captions, and the mean ΔE00 below each coloured image."""
    import matplotlib  # here, because it takes its time and only reports need it

    notes = {
        name: [f"ΔE00 {error:.1f}" for error in errors.mean(axis=(1, 2))]
        for name, errors in rows.maps.items()
    }
    columns: dict[str, Any] = {name: list(images) for name, images in rows.columns.items()}
    font_file = Path(matplotlib.get_data_path()) / "fonts/ttf/DejaVuSans.ttf"
    return image_grid(columns, rows.captions, notes, str(font_file))


def png(image: Image.Image) -> bytes:
    """An image as the bytes of a PNG."""
    data = io.BytesIO()
    image.save(data, format="PNG", optimize=True)
    return data.getvalue()


def save_image(image: Image.Image, path: Path) -> None:
    """Writes a PNG."""
    with replaced(path) as beside:
        image.save(beside, format="PNG")


@partial(jax.jit, static_argnums=0)
def colorize(
    predict: Predictor, variables: Variables, images: jax.Array
) -> tuple[jax.Array, jax.Array]:
    """Images of the model's own size in grey, and coloured by a predictor.

    Colours that sRGB cannot show lose chroma until they fit; the lightness stays.

    Args:
      predict: see `steps.Predictor`.
      variables: the predictor's.
      images: [N, H, W, 3] uint8 sRGB, of which only the lightness is used.

    Returns:
      Two [N, H, W, 3] uint8 sRGB.
    """
    return paint(images, predict(variables, lightness(images)))
