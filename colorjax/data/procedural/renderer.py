"""Portraits of people who do not exist, rendered with NumPy from a seed.

The scene is composed from back to front in linear light: background, hair behind the head, neck
and clothes, ears, head, hair. The head is a surface with normals, lit by a lamp and by the sky,
darker in hollows; its colours come from pigments. A camera exposes the scene, adds noise and
encodes it as sRGB. The same arguments give the same bytes with the same NumPy on the same kind of
processor; elsewhere the last bit of exp and sin may differ, which rarely changes a byte by one.
"""

import numpy as np

from colorjax.data.procedural import features, surface
from colorjax.data.procedural.hair import make_hair
from colorjax.data.procedural.materials import BACKGROUNDS, CLOTHES, draw
from colorjax.data.procedural.subject import Subject, View
from colorjax.data.procedural.surface import MATTE, SKIN, Hit, Rays, lambert
from colorjax.data.procedural.textures import Rng, blend, enlarge, frame, spot, step

MIN_SIZE = 16
# Cameras record a little more chroma than there is.
_CHROMA = 1.1
# uint8 sRGB for linear light in steps of 1/4095.
_LINEAR = np.arange(4096) / 4095
_CURVE = np.where(_LINEAR <= 0.0031308, 12.92 * _LINEAR, 1.055 * _LINEAR ** (1 / 2.4) - 0.055)
_SRGB = np.rint(_CURVE * 255).astype(np.uint8)


def render_face(seed: int, subject: int, index: int, size: int = 112) -> np.ndarray:
    """Renders image `index` of person `subject`.

    Args:
      seed: chooses the population; ≥ 0.
      subject: the person: shape, skin, hair and eyes are the same in all images; ≥ 0.
      index: the image: pose, expression, light, clothes and background change; ≥ 0.
      size: height and width in pixels, at least `MIN_SIZE`.

    Returns:
      [size, size, 3] uint8, sRGB.

    Raises:
      ValueError: a number is negative, or the size is too small to show a face.
    """
    if min(seed, subject, index) < 0:
        raise ValueError(f"{seed=}, {subject=} and {index=} must not be negative")
    if size < MIN_SIZE:
        raise ValueError(f"size must be at least {MIN_SIZE} pixels, but is {size}")
    person = Subject(np.random.default_rng([seed, subject]))
    rng = np.random.default_rng([seed, subject, index + 1])
    view = View(rng, person)
    rays = surface.make_rays(view, size)
    hair = make_hair(person, view, rays)
    image = blend(_background(view, rng, size), hair.colour * 0.45, hair.back)
    image = _body(person, view, rng, image)
    image = _ears(person, view, rays, image)
    head = surface.trace(rays, *surface.skull(person), surface.face_bumps(person, view))
    image = blend(image, _face(person, view, rays, head), head.alpha)
    return _develop(blend(image, hair.colour, hair.front), view, rng)


def _background(view: View, rng: Rng, size: int) -> np.ndarray:
    """The background in its own light, often out of focus."""
    focus = min(int(rng.choice([size, 60, 36, 24])), size)
    scene = draw(rng, BACKGROUNDS, *frame(focus))
    scene = enlarge(scene, size) if focus < size else scene
    # The exposure is set for the face; a background differs from it less than albedos do.
    lit = (0.55 * view.key + 0.8 * view.ambient) * (rng.uniform(0.75, 1.15) / view.exposure**0.6)
    return scene * lit[:, None, None]


def _face(subject: Subject, view: View, rays: Rays, head: Hit) -> np.ndarray:
    """The shaded head, planar."""
    skin = features.mouth(subject, view, head, rays.pixel, features.complexion(subject, head))
    reach = features.creases(subject, view, head)
    light = lambert(head.normal, view, SKIN) * reach
    oil = 0.05 + 0.05 * spot(head.x, head.y + 0.1, 0.35, 0.5)
    # Blinn-Phong.
    facing = np.maximum(np.einsum("i,i...", view.halfway, head.normal), 0) - 1
    shine = (oil * np.exp(26 * facing) + 0.025 * np.exp(7 * facing)) * reach
    face = skin * light + view.key[:, None, None] * shine
    return features.eyes(subject, view, head, rays.pixel, face, light)


def _body(subject: Subject, view: View, rng: Rng, image: np.ndarray) -> np.ndarray:
    """Neck, shoulders and clothes, which stay upright when the head turns."""
    x, y = frame(image.shape[-1])
    pixel = 2 / len(x) / view.scale
    # The neck bends less than the head rolls, and its top follows the face.
    follow = np.float32(0.75 * view.roll + 0.10 * np.sin(view.yaw))
    x, y = (x - view.shift[0]) / view.scale + follow, (y - view.shift[1]) / view.scale
    away, narrow = np.abs(x), 0.85 if subject.feminine else 1.0
    half = 0.67 * narrow * subject.width + 0.16 * np.clip(-1 - y, 0, 1) ** 1.5
    fall = np.maximum(away - half * 0.8, 0) / (1.25 * narrow)
    shoulder = -1.02 - 0.34 * fall - 0.35 * fall**3
    # A lit cylinder in the shadow of the chin.
    depth = np.sqrt(np.clip(1 - 0.96 * (x / half) ** 2, 0.04, 1))
    normal = np.stack([0.98 * x / half, np.full_like(x, 0.1), depth])
    chin = -1.07 + 0.22 * np.minimum((x / subject.width) ** 2, 2) - 0.25 * view.pitch
    lit = 0.36 + 0.64 * step(0, 0.16, chin - 0.22 * float(view.light[1]) - y)
    skin = subject.skin[:, None, None] * (lambert(normal, view, SKIN) * lit)
    neck = step(0, pixel, half - away) * step(0.3, 0.1, -y)
    image = blend(image, skin, np.maximum(neck, step(0, pixel, shoulder - y)))
    if rng.random() < 0.4:  # a collar, open in a V
        neckline = away * 0.8 - y - 1.30
        shoulder = shoulder + 0.10 * step(-0.15, 0.02, -fall)
    else:
        neckline = np.hypot(x, 0.9 * (y + 1.02)) - 0.45
    flat = np.ones_like(x)
    normal = np.stack([np.clip(x * 0.55, -0.8, 0.8), 0.45 * flat, 0.8 * flat])
    folds = 1 + 0.16 * np.sin(7 * x + 5 * y + 3 * np.sin(2.3 * y + x)) * np.clip(-y - 1, 0, 1)
    cloth = draw(rng, CLOTHES, x, y) * (lambert(normal, view, MATTE) * folds)
    return blend(image, cloth, step(0, pixel, np.minimum(shoulder + 1.5 * pixel - y, neckline)))


def _ears(subject: Subject, view: View, rays: Rays, image: np.ndarray) -> np.ndarray:
    skin = (0.5 * subject.skin + 0.5 * subject.flush)[:, None, None]
    for side in (-1, 1):
        u, v, _ = rays.rotation @ np.array([side * subject.width, -0.10, -0.08], np.float32)
        x, y = (rays.u - u - side * 0.18 * (rays.v - v)) / 0.095, (rays.v - v) / 0.20
        away = np.hypot(x, y)
        normal = np.stack([0.6 * x + 0.3 * side, 0.4 * y, np.sqrt(np.clip(1 - away**2, 0.05, 1))])
        bowl = 1 - 0.45 * spot(x + side * 0.15, y - 0.1, 0.42, 0.55)
        light = lambert(normal, view, SKIN) * bowl
        image = blend(image, skin * light, step(0, rays.pixel * 8, 1 - away))
    return image


def _develop(image: np.ndarray, view: View, rng: Rng) -> np.ndarray:
    """Exposure, a tone curve that keeps highlights from clipping, sensor noise, sRGB."""
    grey = (image[0] * 0.21 + image[1] * 0.72 + image[2] * 0.07) * (1 - _CHROMA)
    exposed = np.maximum(image * _CHROMA + grey, 0) * (view.exposure * 1.25)
    # Reinhard et al. 2002, equation 4, with white at 3.5 times the middle of the scale.
    toned = exposed * (1 + exposed / 3.5**2) / (1 + 0.5 * exposed)
    grain = rng.standard_normal(toned.shape[1:], dtype=np.float32)
    toned = toned + grain * (view.noise * np.sqrt(np.clip(toned, 0.01, 1)))
    codes = (np.clip(toned, 0, 1) * 4095 + 0.5).astype(np.int32)
    return np.ascontiguousarray(_SRGB[codes].transpose(1, 2, 0))
