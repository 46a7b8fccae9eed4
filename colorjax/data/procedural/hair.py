"""Hair: a shell around the skull, cut off at a hairline, with strands or curls on it."""

from typing import NamedTuple

import numpy as np

from colorjax.data.procedural.subject import Subject, View
from colorjax.data.procedural.surface import MATTE, Hit, Rays, hair_shell, lambert, trace
from colorjax.data.procedural.textures import Rng, noise, step

# The lower edge of the hair at these places around the head (Hit.around): 0 is the middle of the
# forehead, 1 the ear, 2 the back. Numbers above 1 are offsets from the subject's hairline, plus 2.
_AROUND = np.array([0, 0.45, 0.68, 0.84, 0.95, 1.1, 1.4, 2], np.float32)
_EDGES = {
    "bald": [9.0] * 8,
    "cropped": [2.03, 1.99, 1.92, 0.35, 0.06, 0.05, -0.1, -0.15],
    "short": [2.02, 1.96, 1.84, 0.30, 0.00, 0.0, -0.1, -0.15],
    "fringe": [0.26, 0.24, 0.18, 0.05, -0.1, -0.15, -0.2, -0.25],
    "bob": [2.02, 1.92, 1.70, 0.15, -0.70, -0.80, -0.85, -0.9],
    "long": [2.04, 1.94, 1.74, 0.20, -0.90, -1.8, -1.9, -1.9],
    "curly": [2.00, 1.92, 1.72, 0.20, -0.25, -0.40, -0.5, -0.5],
}
_LENGTH = {"bob": 0.9, "long": 2.0}
_THICKNESS = {"cropped": 0.45, "short": 1.3, "curly": 2.0}


class Hair(NamedTuple):
    colour: np.ndarray  # [3, size, size], shaded
    front: np.ndarray  # [size, size], the fraction that hides the face
    back: np.ndarray  # [size, size], the fraction that lies behind the head


def make_hair(subject: Subject, view: View, rays: Rays) -> Hair:
    """The hair over and behind the head."""
    style, size = subject.hairstyle, len(rays.u)
    rng = np.random.default_rng(subject.texture_seed + 2)
    ragged = noise(rng, size, 22) + noise(rng, size, 12)
    swell = 1 + ragged * (0.022 if style == "curly" else 0.006)
    volume = subject.volume * _THICKNESS.get(style, 1.0)
    shell = hair_shell(subject.width, volume, _LENGTH.get(style, 0.6))
    hit = trace(rays._replace(u=rays.u * swell, v=rays.v * swell), *shell)
    edges = np.array(_EDGES[style], np.float32)
    edges = np.where(edges > 1, edges - 2 + subject.hairline, edges)
    # A parting shifts the front of the hairline to one side.
    shifted = np.clip(hit.around + subject.parting * 0.25 * hit.x, 0, 2)
    edge = np.interp(shifted, _AROUND, edges).astype(np.float32)
    locks = _locks(subject, hit, rng)
    front = step(0, 0.05, hit.y - edge + 0.04 * locks + 0.012 * ragged) * hit.alpha
    back = step(float(edges[-1]), 0.06, hit.y + 0.03 * ragged) * hit.alpha
    return Hair(_shade(subject, view, hit, locks), front, back)


def _locks(subject: Subject, hit: Hit, rng: Rng) -> np.ndarray:
    """Lightness of locks that curl or fan out from the parting, about zero mean."""
    size, warp = len(hit.x), 0.6 * noise(rng, len(hit.x), 5)
    if subject.hairstyle == "curly":
        rings = np.sin(hit.x * 34 + 2.4 * noise(rng, size, 9)) * np.sin(hit.y * 34 + 4 * warp)
        return 0.55 * rings + 0.3 * noise(rng, size, 44)
    fan = (hit.x - subject.parting) / (1.55 - np.minimum(hit.y, 1.2))
    angle = fan * 22 + warp * 1.1 + 0.5 * np.sin(hit.y * 9 + 2 * warp)
    locks = 0.7 * np.sin(angle) + 0.7 * np.sin(2.63 * angle + 1.3 + warp)
    locks += 0.8 * np.sin(6.1 * angle + 2.0 * noise(rng, size, 9))
    return 0.30 * locks + 0.12 * noise(rng, size, 30, 56)


def _shade(subject: Subject, view: View, hit: Hit, locks: np.ndarray) -> np.ndarray:
    """Matte light and the band of gloss across the fibres (Kajiya & Kay 1989)."""
    # Tips are bleached; roots lie in the shade.
    tone = np.clip(1.1 + 0.5 * locks, 0.35, 2.0) * np.clip(0.95 - 0.125 * hit.y, 0.7, 1.2)
    half, lamp = (np.einsum("i,i...", v, hit.normal) for v in (view.halfway, view.light))
    along = hit.normal[1] * half - view.halfway[1] + 0.12 * locks
    band = np.exp(-14 * along * along) * np.clip(lamp, 0, 1)
    band = band * np.clip(0.7 + 0.6 * locks, 0, 2) * (0.3 if subject.hairstyle == "curly" else 1.0)
    gloss = ((0.02 + 0.35 * subject.hair) * view.key)[:, None, None] * band
    return subject.hair[:, None, None] * tone * lambert(hit.normal, view, MATTE) + gloss
