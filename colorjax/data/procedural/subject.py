"""Random draws: the identity of a subject, and what changes from image to image.

Lengths are in half heads: the head reaches from y = −1 (chin) to y = 1 (crown).
"""

import numpy as np

from colorjax.data.procedural import palette
from colorjax.data.procedural.textures import Rng

# The white scattering of the horny layer veils blood elsewhere; lips do not have that layer.
_MUCOSA = np.array([0.92, 0.68, 0.70], np.float32)
_STYLES = ("bald", "cropped", "short", "fringe", "bob", "long", "curly")
_FEMININE = (0.01, 0.05, 0.12, 0.19, 0.22, 0.31, 0.10)
_MASCULINE = (0.14, 0.25, 0.35, 0.11, 0.02, 0.04, 0.09)


class Subject:
    """What all images of one person share. Colours are linear sRGB albedos [3]."""

    def __init__(self, rng: Rng):
        pick = rng.uniform
        # Pale, olive, brown and dark skins in about equal parts.
        melanin = float(np.exp(pick(np.log(0.011), np.log(0.27))))
        blood = pick(0.035, 0.085) * (1 - 2 * melanin)
        self.skin = palette.skin_albedo(melanin, blood)
        self.flush = palette.skin_albedo(melanin * 1.05, blood * 2.0)  # cheeks, nose, ears
        self.lips = palette.skin_albedo(melanin * 0.6 + 0.010, pick(0.13, 0.26)) * _MUCOSA
        self.feminine = female = rng.random() < 0.5
        self.age = rng.beta(1.3, 1.6)  # 0 young, 1 old
        self.hair = _hair(rng, melanin, self.age)
        self.brows = self.hair * 0.55 + palette.hair_albedo(3.0, 0.1) * 0.45
        brown_eyed = rng.random() < 0.35 + 8 * melanin
        self.iris = palette.iris_albedo(pick(0.75, 1.0) if brown_eyed else pick(0.0, 0.65))
        self.width = pick(0.62, 0.71)  # half width of the head
        self.jaw = pick(0.24, 0.46) if female else pick(0.12, 0.40)  # how far it narrows
        self.eye_x = pick(0.26, 0.30)
        self.eye_height = pick(0.052, 0.080) if female else pick(0.044, 0.070)
        self.brow_y = pick(0.155, 0.205) if female else pick(0.13, 0.17)
        self.brow_weight = pick(0.018, 0.030) if female else pick(0.028, 0.045)
        self.nose_width = pick(0.105, 0.14) + 0.08 * melanin + (0.0 if female else 0.01)
        self.nose_length = pick(0.33, 0.42)
        self.mouth_y = pick(-0.62, -0.56)
        self.mouth_width = pick(0.185, 0.235)
        self.lip_fullness = pick(0.060, 0.105) + 0.05 * melanin - 0.015 * self.age
        beard = float(rng.choice([0, 0.3, 0.6, 1], p=[0.5, 0.25, 0.1, 0.15]))
        self.beard = 0.0 if female else beard  # 0.3 stubble, 1 full
        self.hairstyle = str(rng.choice(_STYLES, p=_FEMININE if female else _MASCULINE))
        self.hairline = pick(0.44, 0.60)
        self.volume = pick(0.07, 0.17)
        self.parting = pick(-0.35, 0.35)
        self.texture_seed = int(rng.integers(2**31))


def _hair(rng: Rng, melanin: float, age: float) -> np.ndarray:
    """Dark over dark skin, any colour over pale skin, grey with age."""
    darkest = rng.random() < 0.25 + 9 * max(melanin - 0.03, 0)
    eumelanin = np.exp(rng.normal(1.2, 0.3) if darkest else rng.normal(-0.7, 0.9))
    pheomelanin = rng.uniform(0.02, 0.18)
    if not darkest and rng.random() < 0.16:  # ginger
        eumelanin, pheomelanin = min(eumelanin, 0.25), rng.uniform(0.6, 1.2)
    grey = rng.uniform(0.3, 1.0) if rng.random() < 1.2 * (age - 0.5) else 0.0
    return palette.hair_albedo(float(np.clip(eumelanin, 0.09, 6)), pheomelanin, grey)


class View:
    """What changes from image to image. Angles in radians; the frame is 2 wide."""

    def __init__(self, rng: Rng, subject: Subject):
        def normal(mean: float, deviation: float, low: float, high: float) -> float:
            return min(max(rng.normal(mean, deviation), low), high)

        pick = rng.uniform
        self.yaw = normal(0, 0.27, -0.62, 0.62)
        self.pitch = normal(0, 0.12, -0.3, 0.3)
        self.roll = normal(0, 0.09, -0.3, 0.3)
        self.scale = pick(0.78, 0.98)  # half a head in the frame
        self.shift = rng.normal(0, 0.04), rng.normal(0.09, 0.04)
        self.smile = normal(0.5, 0.4, -0.25, 1)
        self.gape = normal(-0.015, 0.04, 0, 0.15)  # half height of the open mouth
        self.squint = normal(0.05, 0.18, -0.15, 0.8)
        self.gaze = rng.normal(0, 0.022), rng.normal(0, 0.008)
        # Unit vector to the lamp: x right, y up, z to the camera.
        azimuth, height = rng.normal(0, 0.75), pick(0.15, 0.95)
        light = np.array([np.sin(azimuth), height, max(np.cos(azimuth), 0.15)], np.float32)
        self.light = light / np.linalg.norm(light)
        halfway = self.light + np.array([0, 0, 1], np.float32)
        self.halfway = halfway / np.linalg.norm(halfway)  # unit vector between lamp and camera
        # Colours and strengths of lamp and sky, [3]; the sky is bluer where the lamp is warmer.
        kelvin, hardness = float(np.exp(rng.normal(np.log(5000), 0.16))), pick(0.45, 1.0)
        self.key = palette.light_colour(kelvin) * (0.35 + 0.6 * hardness)
        self.ambient = palette.light_colour(6600 - 0.2 * kelvin) * (0.62 - 0.36 * hardness)
        # A camera meters the face, but leaves a dark one darker and a pale one paler.
        luminance = float(subject.skin @ np.array([0.21, 0.72, 0.07], np.float32))
        self.exposure = float(np.exp(rng.normal(0.28, 0.18)) * (0.36 / luminance) ** 0.42)
        lipstick = palette.hsv(rng.normal(0.975, 0.012), pick(0.55, 0.8), pick(0.45, 0.75))
        self.lips = lipstick if subject.feminine and rng.random() < 0.35 else subject.lips
        self.noise = pick(0.001, 0.007)
