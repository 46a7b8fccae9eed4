"""Who is drawn and how: the identity of a subject, and what changes from image to image.

Lengths are in half heads: the head reaches from y = −1 (chin) to y = 1 (crown).
"""

from dataclasses import dataclass

import numpy as np

from colorjax.data.procedural.palette import (
    hair_albedo,
    hsv,
    iris_albedo,
    light_colour,
    skin_albedo,
)

Rng = np.random.Generator

# Lips have no horny layer, whose white scattering veils the blood elsewhere.
_MUCOSA = np.array([0.92, 0.68, 0.70], np.float32)
HAIRSTYLES = ("bald", "receding", "cropped", "short", "fringe", "bob", "long", "bun", "curly")


@dataclass(frozen=True)
class Subject:
    """What stays the same over all images of one person. Colours are linear sRGB albedos [3]."""

    skin: np.ndarray
    flush: np.ndarray  # the skin where more blood flows: cheeks, nose, ears
    lips: np.ndarray
    hair: np.ndarray
    brows: np.ndarray
    iris: np.ndarray
    feminine: bool
    age: float  # 0 young, 1 old
    width: float  # half width of the head
    jaw: float  # how far the jaw narrows, 0 to 1
    chin: float  # squareness of the chin: the exponent of a superellipse
    eye_x: float
    eye_width: float
    eye_height: float
    eye_tilt: float
    brow_height: float
    brow_weight: float
    nose_width: float
    nose_length: float
    nose_height: float
    mouth_y: float
    mouth_width: float
    lip_fullness: float
    cheekbones: float
    freckles: float
    beard: float  # 0 none, 0.3 stubble, 1 full
    hairstyle: str
    hairline: float
    volume: float
    curl: float
    parting: float
    texture_seed: int


@dataclass(frozen=True)
class View:
    """What changes from image to image. Angles in radians, the frame is 2 wide."""

    yaw: float
    pitch: float
    roll: float
    scale: float  # half heads to the frame's unit
    shift: tuple[float, float]
    smile: float
    gape: float  # half height of the open mouth
    squint: float
    gaze: tuple[float, float]
    light: np.ndarray  # unit vector to the lamp: x right, y up, z to the camera
    key: np.ndarray  # colour and strength of the lamp, [3]
    ambient: np.ndarray
    exposure: float
    lipstick: np.ndarray | None
    glasses: str  # "none", "thin", "thick", "sun"
    glasses_colour: np.ndarray
    hat: str  # "none", "cap", "beanie", "straw"
    hat_colour: np.ndarray
    noise: float


def _skin(rng: Rng) -> tuple[float, float]:
    """Melanin and blood: pale, olive, brown and dark skins in about equal parts."""
    melanin = float(np.exp(rng.uniform(np.log(0.011), np.log(0.27))))
    return melanin, float(rng.uniform(0.035, 0.085) * (1 - 2 * melanin))


def _hair(rng: Rng, melanin: float, age: float) -> np.ndarray:
    """Hair is black over dark skin and anything over pale skin; grey comes with age."""
    darkest = rng.random() < 0.25 + 9 * max(melanin - 0.03, 0)
    eumelanin = np.exp(rng.normal(1.2, 0.3) if darkest else rng.normal(-0.7, 0.9))
    ginger = not darkest and rng.random() < 0.16
    pheomelanin = rng.uniform(0.6, 1.2) if ginger else rng.uniform(0.02, 0.18)
    eumelanin = min(eumelanin, 0.25) if ginger else eumelanin
    grey = rng.uniform(0.3, 1.0) if rng.random() < 1.2 * (age - 0.5) else 0.0
    return hair_albedo(float(np.clip(eumelanin, 0.09, 6)), float(pheomelanin), float(grey))


def _iris(rng: Rng, melanin: float) -> np.ndarray:
    if rng.random() < 0.35 + 8 * melanin:
        return iris_albedo(float(rng.uniform(0.75, 1.0)))
    return iris_albedo(float(rng.uniform(0.0, 0.65)))


def _hairstyle(rng: Rng, feminine: bool, age: float, melanin: float) -> str:
    if feminine:
        shares = [0.01, 0.0, 0.04, 0.10, 0.17, 0.20, 0.28, 0.10, 0.10]
    else:
        shares = [0.06 + 0.1 * age, 0.08 + 0.16 * age, 0.22, 0.30, 0.10, 0.02, 0.03, 0.01, 0.08]
    shares[-1] += 1.2 * max(melanin - 0.12, 0)
    return HAIRSTYLES[rng.choice(len(shares), p=np.array(shares) / sum(shares))]


def make_subject(rng: Rng) -> Subject:
    """Draws a person."""
    melanin, blood = _skin(rng)
    feminine, age = bool(rng.random() < 0.5), float(rng.beta(1.3, 1.6))
    hair = _hair(rng, melanin, age)
    pick = rng.uniform
    beard = 0.0 if feminine else float(rng.choice([0, 0.3, 0.6, 1.0], p=[0.5, 0.25, 0.1, 0.15]))
    return Subject(
        skin=skin_albedo(melanin, blood),
        flush=skin_albedo(melanin * 1.05, blood * 2.0),
        lips=skin_albedo(melanin * 0.6 + 0.010, float(pick(0.13, 0.26))) * _MUCOSA,
        hair=hair,
        brows=hair * 0.55 + hair_albedo(3.0, 0.1) * 0.45,
        iris=_iris(rng, melanin),
        feminine=feminine,
        age=age,
        width=float(pick(0.62, 0.71)),
        jaw=float(pick(0.24, 0.46) if feminine else pick(0.12, 0.40)),
        chin=float(pick(2.2, 2.7) if feminine else pick(2.4, 3.4)),
        eye_x=float(pick(0.26, 0.30)),
        eye_width=float(pick(0.12, 0.145)),
        eye_height=float(pick(0.052, 0.080) if feminine else pick(0.044, 0.070)),
        eye_tilt=float(pick(-0.08, 0.22)),
        brow_height=float(pick(0.155, 0.205) if feminine else pick(0.13, 0.17)),
        brow_weight=float(pick(0.018, 0.030) if feminine else pick(0.028, 0.045)),
        nose_width=float(pick(0.105, 0.14) + 0.08 * min(melanin, 0.3) + 0.01 * (not feminine)),
        nose_length=float(pick(0.33, 0.42)),
        nose_height=float(pick(0.17, 0.26)),
        mouth_y=float(pick(-0.62, -0.56)),
        mouth_width=float(pick(0.185, 0.235)),
        lip_fullness=float(pick(0.060, 0.105) + 0.05 * min(melanin, 0.3) - 0.015 * age),
        cheekbones=float(pick(0.0, 0.06)),
        freckles=float(pick(0.3, 1.0)) if melanin < 0.03 and rng.random() < 0.4 else 0.0,
        beard=beard,
        hairstyle=_hairstyle(rng, feminine, age, melanin),
        hairline=float(pick(0.44, 0.60)),
        volume=float(pick(0.07, 0.17)),
        curl=float(rng.choice([0.15, 0.5, 1.0])),
        parting=float(pick(-0.35, 0.35)),
        texture_seed=int(rng.integers(2**31)),
    )


def _light(rng: Rng) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Direction, colour of the key and colour of the ambient light: the sky if the lamp is warm."""
    azimuth, height = rng.normal(0, 0.75), rng.uniform(0.15, 0.95)
    direction = np.array([np.sin(azimuth), height, max(np.cos(azimuth), 0.15)], np.float32)
    kelvin = float(np.exp(rng.normal(np.log(5000), 0.16)))
    hardness = rng.uniform(0.45, 1.0)
    ambient = light_colour(5500 + 0.2 * (5500 - kelvin)) * (0.62 - 0.36 * hardness)
    key = light_colour(kelvin) * (0.35 + 0.6 * hardness)
    return direction / np.linalg.norm(direction), key, ambient


def _hat(rng: Rng) -> tuple[str, np.ndarray]:
    hat = str(rng.choice(["none", "cap", "beanie", "straw"], p=[0.86, 0.06, 0.05, 0.03]))
    if hat == "straw":
        return hat, hsv(0.115, 0.42, 0.80)
    dyes = [(0.62, 0.5, 0.25), (0.99, 0.7, 0.45), (0.6, 0.1, 0.16), (0.1, 0.25, 0.7)]
    return hat, hsv(*dyes[rng.choice(4)])


def _glasses(rng: Rng) -> tuple[str, np.ndarray]:
    glasses = str(rng.choice(["none", "thin", "thick", "sun"], p=[0.78, 0.10, 0.09, 0.03]))
    metal = hsv(0.12, 0.35, 0.55) if rng.random() < 0.5 else hsv(0.6, 0.05, 0.35)
    plastic = hsv(0.06, 0.6, 0.22) if rng.random() < 0.35 else hsv(0.6, 0.1, 0.07)
    return glasses, metal if glasses == "thin" else plastic


def make_view(rng: Rng, subject: Subject) -> View:
    """Draws what is particular to one image of the subject."""
    light, key, ambient = _light(rng)
    hat, hat_colour = _hat(rng)
    glasses, glasses_colour = _glasses(rng)
    painted = subject.feminine and rng.random() < 0.35
    lipstick = hsv(rng.normal(0.975, 0.012), rng.uniform(0.55, 0.8), rng.uniform(0.45, 0.75))
    # A camera meters the face, but leaves a dark one darker and a pale one paler.
    luminance = float(subject.skin @ np.array([0.21, 0.72, 0.07], np.float32))
    return View(
        yaw=float(np.clip(rng.normal(0, 0.27), -0.62, 0.62)),
        pitch=float(np.clip(rng.normal(0.0, 0.12), -0.3, 0.3)),
        roll=float(np.clip(rng.normal(0, 0.09), -0.3, 0.3)),
        scale=float(rng.uniform(0.78, 0.98)),
        shift=(float(rng.normal(0, 0.04)), float(rng.normal(0.09, 0.04))),
        smile=float(np.clip(rng.normal(0.5, 0.4), -0.25, 1)),
        gape=float(max(rng.normal(-0.015, 0.04), 0.0)),
        squint=float(np.clip(rng.normal(0.05, 0.18), -0.15, 0.8)),
        gaze=(float(rng.normal(0, 0.022)), float(rng.normal(0, 0.008))),
        light=light,
        key=key,
        ambient=ambient,
        exposure=float(np.exp(rng.normal(0.28, 0.18)) * (0.36 / luminance) ** 0.42),
        lipstick=lipstick if painted else None,
        glasses=glasses,
        glasses_colour=glasses_colour,
        hat=hat,
        hat_colour=hat_colour,
        noise=float(rng.uniform(0.001, 0.007)),
    )
