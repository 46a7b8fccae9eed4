"""Portraits of people who do not exist, rendered by numpy from a seed.

The scene is built from back to front in linear light: background, hair behind the head, neck and
clothes, ears, head, glasses, hair, hat. The head is a surface with normals, lit by a lamp, by the
sky and by soft shadows; its colours come from pigments. Then a camera exposes it, adds noise and
encodes it as sRGB. The same arguments give the same bytes with the same NumPy on the same kind of
processor; elsewhere the last bit of exp and sin may differ, and seldom a byte by one.
"""

import functools

import numpy as np

from colorjax.data.procedural.cloth import garment
from colorjax.data.procedural.features import (
    brows,
    complexion,
    creases,
    eyes,
    mouth,
    nose_shadow,
    spot,
)
from colorjax.data.procedural.hair import Hair, bun, draw_hat, make_hair
from colorjax.data.procedural.subject import Subject, View, make_subject, make_view
from colorjax.data.procedural.surface import (
    Hit,
    Rays,
    gloss,
    lambert,
    make_rays,
    nose,
    relief,
    skull,
    trace,
)
from colorjax.data.procedural.textures import background, blend, blur, frame, step

MIN_SIZE = 16
# Red light bleeds furthest under the skin.
_VIVID = 1.1
_BLEED = np.array([0.34, 0.16, 0.09], np.float32)


def render_face(seed: int, subject: int, index: int, size: int = 112) -> np.ndarray:
    """Draws image `index` of person `subject`.

    Args:
      seed: chooses the population; ≥ 0.
      subject: the person: shape, skin, hair and eyes stay the same over the images; ≥ 0.
      index: the image: pose, expression, light, clothes and background change; ≥ 0.
      size: height and width in pixels, at least 16.

    Returns:
      [size, size, 3] uint8, sRGB.

    Raises:
      ValueError: a number is negative, or the size is too small to show a face.
    """
    for name, value in (("seed", seed), ("subject", subject), ("index", index)):
        if value < 0:
            raise ValueError(f"{name} must be 0 or more, but is {value}")
    if size < MIN_SIZE:
        raise ValueError(f"size must be at least {MIN_SIZE} pixels, but is {size}")
    person = _person(seed, subject)
    rng = np.random.default_rng([seed, subject, index + 1])
    view = make_view(rng, person)
    return _develop(_scene(person, view, rng, size), view, rng)


@functools.lru_cache(maxsize=16)
def _person(seed: int, subject: int) -> Subject:
    return make_subject(np.random.default_rng([seed, subject]))


def _scene(subject: Subject, view: View, rng: np.random.Generator, size: int) -> np.ndarray:
    """The light that reaches the camera, planar [3, size, size]."""
    rays = make_rays(view, size)
    head = trace(rays, skull(subject), nose(subject), relief(subject, view))
    hair = make_hair(subject, view, rays)
    image = _surroundings(view, rng, size)
    if hair:
        if subject.hairstyle == "bun" and view.hat == "none":
            image = blend(image, *bun(subject, view, rays))
        back = hair.back if view.hat == "none" else hair.back * step(-0.5, 0.03, -hair.hit.y)
        image = blend(image, hair.colour * 0.45, back)
    image = _body(subject, view, rays, rng, image)
    image = _ears(subject, view, rays, image)
    image = blend(image, _face(subject, view, rays, head, hair), head.alpha)
    image = _glasses(subject, view, rays, head, image)
    if hair:
        # A hat presses the hair down.
        front = hair.front if view.hat == "none" else hair.front * step(-0.5, 0.03, -hair.hit.y)
        image = blend(image, hair.colour, front)
    return image if view.hat == "none" else draw_hat(view, rays, subject.width, image)


def _surroundings(view: View, rng: np.random.Generator, size: int) -> np.ndarray:
    """The background, often out of focus, in its own light."""
    scene = background(rng, size)
    if rng.random() < 0.6:
        scene = blur(scene, float(rng.uniform(0.006, 0.035)) * size)
    lit = 0.55 * view.key + 0.8 * view.ambient
    # The camera is set for the face; a background differs from it less than albedos do.
    return scene * (lit * rng.uniform(0.75, 1.15) / view.exposure**0.6)[:, None, None]


def _face(subject: Subject, view: View, rays: Rays, head: Hit, hair: Hair | None) -> np.ndarray:
    """The shaded head, planar."""
    skin = complexion(subject, view, head)
    skin = brows(subject, view, head, skin)
    rows = _band(head, subject.mouth_y - 0.35, subject.mouth_y + 0.3)
    skin[:, rows] = mouth(subject, view, _crop(head, rows), rays.pixel, skin[:, rows])
    key = view.key[:, None, None]
    light = lambert(head.normal, view, _BLEED)
    shadow = nose_shadow(subject, view, head, rays.turn)
    light = light - 0.45 * shadow * np.minimum(light, 0.6 * key)
    reach = creases(subject, view, head)
    light = light * reach
    if hair:
        light = light * (1 - 0.5 * _cast(hair.front, view, rays))
    bearded = subject.beard * step(0, 0.1, subject.mouth_y + 0.1 - head.y)
    oil = 0.05 + 0.05 * spot(head.x, head.y + 0.1, 0.35, 0.5)
    shine = gloss(head.normal, view, 26) * oil + gloss(head.normal, view, 7) * 0.025
    shine = shine * (1 - 0.85 * bearded)
    face = skin * light + key * (shine * reach * (1 - 0.6 * shadow))
    rows = _band(head, -0.2, 0.25)
    face[:, rows] = eyes(
        subject, view, _crop(head, rows), rays.pixel, face[:, rows], light[:, rows]
    )
    return face


def _band(head: Hit, low: float, high: float) -> slice:
    """The rows that show the head between two heights: only these need its small features."""
    shown = np.any((head.y > low) & (head.y < high) & (head.alpha > 0), axis=1).tolist()
    if True not in shown:
        return slice(0, 0)
    return slice(shown.index(True), len(shown) - shown[::-1].index(True))


def _crop(head: Hit, rows: slice) -> Hit:
    return Hit(*(part[..., rows, :] for part in head))


def _cast(cover: np.ndarray, view: View, rays: Rays) -> np.ndarray:
    """The soft shadow of what covers the head a little above the skin."""
    size = cover.shape[0]
    reach = 0.055 * view.scale * size / 2
    down, left = round(reach * (0.6 + view.light[1])), round(-reach * view.light[0])
    return blur(np.roll(cover, (down, left), (0, 1))[None], 0.018 * size)[0]


def _body(
    subject: Subject, view: View, rays: Rays, rng: np.random.Generator, image: np.ndarray
) -> np.ndarray:
    """Neck, shoulders and clothes; they stay upright when the head turns and tilts."""
    x, y = frame(image.shape[-1])
    # The neck bends less than the head rolls, and its top follows the face.
    follow = 0.75 * view.roll + 0.10 * float(np.sin(view.yaw))
    x, y = (x - view.shift[0]) / view.scale + follow, (y - view.shift[1]) / view.scale
    base = (0.40 if subject.feminine else 0.47) * subject.width / 0.70
    half = base + 0.16 * np.clip(-1.0 - y, 0, 1) ** 1.5
    across = x / half
    fall = np.maximum(np.abs(x) - half * 0.8, 0) / (1.05 if subject.feminine else 1.25)
    shoulder = -1.02 - 0.34 * fall - 0.35 * fall**3
    neck = step(0, rays.pixel, (1 - np.abs(across)) * half) * step(0.3, 0.1, -y)
    chest = step(0, rays.pixel, shoulder - y)
    image = blend(image, _neck_colour(subject, view, x, y, across), np.maximum(neck, chest))
    cloth, collar = garment(rng, x, y + 1.1)
    return _dress(subject, view, rays, image, cloth, collar, (x, y, shoulder, fall))


def _neck_colour(
    subject: Subject, view: View, x: np.ndarray, y: np.ndarray, across: np.ndarray
) -> np.ndarray:
    """A lit cylinder in the shadow of the chin."""
    depth = np.sqrt(np.clip(1 - across * across * 0.96, 0.04, 1))
    normal = np.stack([across * 0.98, np.full_like(x, 0.1), depth])
    chin = -0.97 + 0.22 * np.minimum((x / subject.width) ** 2, 2) - 0.25 * view.pitch
    lit = step(0, 0.16, chin - 0.10 - 0.22 * float(view.light[1]) - y)
    return subject.skin[:, None, None] * lambert(normal, view, _BLEED) * (0.36 + 0.64 * lit)


def _dress(
    subject: Subject,
    view: View,
    rays: Rays,
    image: np.ndarray,
    cloth: np.ndarray,
    collar: bool,
    body: tuple[np.ndarray, ...],
) -> np.ndarray:
    """Lays the cloth over the body, given as x, y, the shoulders' line and how far it fell."""
    x, y, shoulder, fall = body
    if collar:  # open in a V, and standing up around the neck
        edge = np.abs(x) * 0.8 - y - 1.30
        shoulder = shoulder + 0.10 * step(-0.15, 0.02, -fall)
    else:
        round_ = 0.50 if subject.feminine else 0.40
        edge = np.sqrt(x * x + (0.9 * (y + 1.02)) ** 2) - round_
    flat = np.ones_like(x)
    normal = np.stack([np.clip(x * 0.55, -0.8, 0.8), 0.45 * flat, 0.8 * flat])
    folds = 1 + 0.16 * np.sin(7 * x + 5 * y + 3 * np.sin(2.3 * y + x)) * np.clip(-y - 1, 0, 1)
    hem = 1 - 0.35 * np.exp(-((edge / 0.05) ** 2))
    lit = cloth * lambert(normal, view, 0.15) * (folds * hem)
    return blend(image, lit, step(0, rays.pixel, np.minimum(shoulder + 1.5 * rays.pixel - y, edge)))


def _ears(subject: Subject, view: View, rays: Rays, image: np.ndarray) -> np.ndarray:
    for side in (-1, 1):
        place = np.array([side * subject.width * 1.0, -0.10, -0.08], np.float32)
        centre = rays.turn @ place
        lean = rays.u - centre[0] - side * 0.18 * (rays.v - centre[1])
        x, y = lean / 0.095, (rays.v - centre[1]) / 0.20
        away = np.sqrt(x * x + y * y)
        z = np.sqrt(np.clip(1 - away * away, 0.05, 1))
        light = lambert(np.stack([x * 0.6 + side * 0.3, y * 0.4, z]), view, _BLEED)
        bowl = 1 - 0.45 * spot(x + side * 0.15, y - 0.1, 0.42, 0.55)
        ear = (0.5 * subject.skin + 0.5 * subject.flush)[:, None, None] * light * bowl
        image = blend(image, ear, step(0, rays.pixel * 8, 1 - away))
    return image


def _glasses(subject: Subject, view: View, rays: Rays, head: Hit, image: np.ndarray) -> np.ndarray:
    """Frames a little in front of the eyes, their bridge and arms, tint and reflections."""
    if view.glasses == "none":
        return image
    m = rays.turn
    centre = m @ np.array([0.0, -0.02, 0.80], np.float32)
    # Coordinates in the plane of the glasses, as the head turns.
    x = (rays.u - centre[0]) / m[0, 0]
    y = rays.v - centre[1] - m[1, 0] * x
    side = np.abs(x)
    box = 2.6 if view.glasses == "thin" else 3.6
    across = np.abs((side - subject.eye_x - 0.005) / 0.225)
    tall = np.abs(y / (0.165 if view.glasses != "sun" else 0.19))
    away = (across**box + tall**box) ** (1 / box) - 1
    away = away * 0.18
    thick = 0.012 if view.glasses == "thin" else 0.026
    rim = step(0, rays.pixel, thick - np.abs(away))
    bridge = (side < subject.eye_x - 0.2) * step(0, rays.pixel, thick - np.abs(y - 0.05))
    arm = (side > subject.eye_x + 0.22) * step(0, rays.pixel, thick - np.abs(y - 0.06))
    arm = arm * head.alpha * (head.around < 1.02)
    lens = step(0, rays.pixel, -away)
    glare = lens * step(0.55, 0.3, np.sin(3.5 * (x + y) + 9 * view.yaw)) * 0.10
    if view.glasses == "sun":
        image = image * (1 - lens * np.array([0.88, 0.90, 0.92], np.float32)[:, None, None])
    image = image + glare * view.ambient[:, None, None]
    light = (0.6 * view.key + view.ambient)[:, None, None]
    plastic = view.glasses_colour[:, None, None] * light * (1 + 0.4 * np.clip(y * 6, -1, 1))
    return blend(image, plastic, np.clip(rim + bridge + arm, 0, 1))


@functools.cache
def _gamma_table() -> np.ndarray:
    """uint8 sRGB for linear light in steps of 1/4095."""
    linear = np.arange(4096) / 4095
    curve = np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)
    return np.rint(curve * 255).astype(np.uint8)


def _develop(image: np.ndarray, view: View, rng: np.random.Generator) -> np.ndarray:
    """Exposure, a shoulder that keeps highlights from clipping, sensor noise, sRGB."""
    # Cameras paint a little more colourful than life.
    grey = (image[0] * 0.21 + image[1] * 0.72 + image[2] * 0.07) * (1 - _VIVID)
    exposed = np.maximum(image * _VIVID + grey, 0) * (view.exposure * 1.25)
    # Reinhard et al. 2002, equation 4, with white at 3.5 times the middle of the scale.
    toned = exposed * (1 + exposed / 3.5**2) / (1 + 0.5 * exposed)
    grain = rng.standard_normal(toned.shape[1:], dtype=np.float32)
    toned = toned + grain * (view.noise * np.sqrt(np.clip(toned, 0.01, 1)))
    code = (np.clip(toned, 0, 1) * 4095 + 0.5).astype(np.int32)
    return np.ascontiguousarray(_gamma_table()[code].transpose(1, 2, 0))
