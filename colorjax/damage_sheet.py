"""A sheet that shows each damage of L at three strengths."""

from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from PIL import Image, ImageDraw, ImageFont

from colorjax.damage import DAMAGES
from colorjax.data.face_renderer import MIN_SIZE, render_face
from colorjax.data.image_decoding import READ_ERRORS, decode_image
from colorjax.data.images import centre_square, resize
from colorjax.errors import InputError
from colorjax.files import replaced
from colorjax.lab import lab_to_rgb, rgb_to_lab

STRENGTHS = (1 / 3, 2 / 3, 1.0)
MAX_SIZE = 2048
HEADER, MARGIN, NAME = 18, 4, 72


def draw_sheet(output: Path, image: Path | None = None, size: int = 128) -> None:
    """Writes the sheet as a PNG: a row a damage, a column a strength; half of the rows beside.

    Args:
      output: the file.
      image: what is damaged; by default a rendered face.
      size: side of each picture, in pixels.

    Raises:
      InputError: a picture that cannot be read, a size that cannot be drawn, a file that cannot be
        written.
    """
    if not MIN_SIZE <= size <= MAX_SIZE:
        raise InputError(f"--size {size} cannot be drawn; it must be {MIN_SIZE} to {MAX_SIZE}")
    rgb = render_face(0, 11, 2, size) if image is None else _read(image, size)
    x = rgb_to_lab(jnp.asarray(rgb, jnp.float32) / 255)[..., 0] / 100
    strengths = jnp.array((0.0, *STRENGTHS))
    names = list(DAMAGES)
    half = -(-len(names) // 2)
    pitch, block = size + MARGIN, NAME + (size + MARGIN) * (1 + len(STRENGTHS))
    sheet = Image.new("L", (2 * block, HEADER + pitch * half), 255)
    draw, font = ImageDraw.Draw(sheet), ImageFont.load_default(size=12)
    for number, name in enumerate(names):
        left, top = block * (number // half), HEADER + pitch * (number % half)
        draw.text((left + MARGIN, top + size // 2), name, 0, font, anchor="lm")
        damaged = jax.jit(jax.vmap(DAMAGES[name], (None, None, 0)))(
            jax.random.key(number), x, strengths
        )
        for column, (strength, cell) in enumerate(zip(strengths, _grey(damaged), strict=True)):
            across = left + NAME + pitch * column
            draw.text(
                (across + size // 2, HEADER // 2), f"{float(strength):.2g}", 0, font, anchor="mm"
            )
            sheet.paste(Image.fromarray(cell), (across, top))
    try:
        with replaced(output) as beside:
            sheet.save(beside, format="PNG", optimize=True)
    except OSError as error:
        raise InputError(f"cannot write {output} ({error}); give another --output") from error


def _grey(x: jax.Array) -> np.ndarray:
    """L / 100 [..., H, W] as the grey levels that show it, uint8."""
    rgb = lab_to_rgb(jnp.stack([100 * x, jnp.zeros_like(x), jnp.zeros_like(x)], axis=-1))
    return np.asarray(jnp.round(255 * jnp.clip(rgb[..., 0], 0, 1))).astype(np.uint8)


def _read(path: Path, size: int) -> np.ndarray:
    try:
        rgb = decode_image(path.read_bytes()).rgb
    except READ_ERRORS as error:
        raise InputError(f"{path} cannot be read as an image ({error})") from error
    return resize(centre_square(rgb), size)
