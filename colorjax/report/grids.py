"""Images side by side: the sample grids of training, and the rows of a report."""

import io
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from PIL import Image, ImageDraw, ImageFont

from colorjax.display import as_grey, colorized, displayed, to_float
from colorjax.evaluation.ciede2000 import ciede2000
from colorjax.evaluation.evaluate import Candidate, predictions
from colorjax.evaluation.scores import Scores
from colorjax.evaluation.steps import seen_step
from colorjax.files import replaced
from colorjax.lab import lightness, rgb_to_lab
from colorjax.models.variables import Predictor, Variables

MARGIN = 4
HEADER = 22
NOTE = 18
# The width of row captions.
SIDE = 66
# The smallest side of an image in a grid, in pixels.
CELL = 128
# The number of best, median, worst and random images.
ROWS_OF_A_KIND = 2


class Rows(NamedTuple):
    """The R images that a report shows.

    Attributes:
      captions: why each was chosen.
      columns: by caption, [R, H, W, 3] uint8 sRGB: the input of the runs, each run, the truth.
      maps: by run, ΔE00 at each pixel, [R, H, W].
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
    """A grid with captioned columns of images.

    Args:
      columns: by caption, equally many images [H, W, 3] uint8 sRGB of one size.
      captions: of the rows, shown to their left.
      notes: by column, text below each image.
      font_file: by default Pillow's own font, which has Latin letters only.
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
    """The text, or as much of its end as fits: paths differ at the end."""
    cuts = (text if start == 0 else "…" + text[start:] for start in range(len(text)))
    return next(filter(fits, cuts), "…") if text else text


def sample_grid(
    name: str, predict: Predictor, variables: Variables, images: np.ndarray
) -> Image.Image:
    """Columns of images [N, H, W, 3] uint8 sRGB: grey, the prediction of a model, truth."""
    grey, prediction = jax.device_get(_colorize(predict, variables, images))
    return image_grid({"grey": grey, name: prediction, "truth": list(images)})


@partial(jax.jit, static_argnums=0)
def _colorize(predict: Predictor, variables: Variables, images: jax.Array) -> Any:
    return colorized(images, predict(variables, lightness(images)))


def choose_rows(scores: Scores, names: Sequence[str], seed: int = 0) -> list[tuple[str, int]]:
    """Picks the best, median and worst images by ΔE00, averaged over the runs, and random ones.

    Args:
      scores: of N images.
      names: of the runs.
      seed: of the random images.

    Returns:
      Pairs of "best", "median", "worst" or "random" and an image index; no image occurs twice.
    """
    error = np.mean([scores.images[name]["delta_e"] for name in names], axis=0)
    order = np.argsort(error, kind="stable").tolist()
    middle = len(order) // 2
    kinds = {
        "best": order,
        "median": [order[k] for k in sorted(range(len(order)), key=lambda k: abs(k - middle))],
        "worst": order[::-1],
        "random": np.random.default_rng(seed).permutation(len(order)).tolist(),
    }
    chosen: list[tuple[str, int]] = []
    for kind, indices in kinds.items():
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

    The predicted colours are shown at the truth's lightness, as in the computation of metrics.

    Args:
      chosen: see `choose_rows`.
      runs: which all see the same damage, if any.
      image: (index, side in pixels) -> [side, side, 3] uint8 sRGB.
      batch_size: see `evaluate.predictions`.
    """
    size = max(run.image_size for run in runs)
    captions, indices = zip(*chosen, strict=True)
    truth = np.stack([image(index, size) for index in indices])
    see = runs[0].see
    batch = {"image": truth, "index": np.array(indices, np.int32)}
    seen = jax.jit(lambda batch: as_grey(see(batch)))(batch)
    columns = {"grey" if see is seen_step else "damaged": jax.device_get(seen)}
    maps = {}
    for run in runs:
        own = np.stack([image(index, run.image_size) for index in indices])
        ab = predictions(run, own, indices, batch_size)
        columns[run.name] = jax.device_get(colorized(truth, ab)[1])
        maps[run.name] = jax.device_get(_error_maps(truth, ab))
    return Rows(list(captions), {**columns, "truth": truth}, maps)


@jax.jit
def _error_maps(images: jax.Array, ab: jax.Array) -> jax.Array:
    """ΔE00 [N, H, W] on the 8-bit images that a user gets."""
    truth = rgb_to_lab(to_float(images))
    if ab.shape[1:3] != truth.shape[1:3]:
        ab = jax.image.resize(ab, (*truth.shape[:-1], 2), "linear")
    return ciede2000(displayed(truth[..., :1], jnp.asarray(ab))[1], truth)


def rows_grid(rows: Rows) -> Image.Image:
    """A grid of the rows, with the mean ΔE00 below each coloured image."""
    import matplotlib  # takes half a second

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
    """Writes a PNG atomically."""
    with replaced(path) as part:
        part.write_bytes(png(image))
