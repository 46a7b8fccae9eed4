"""Where skin is found, the bounds of skin tones, and that they follow melanin."""

import numpy as np
import pytest

from colorjax.data.procedural.renderer import render_face
from colorjax.evaluation import skin_tone


@pytest.fixture(scope="module")
def faces():
    """[24, 48, 48, 3] float sRGB."""
    images = np.stack([render_face(1, person, 0, 48) for person in range(24)])
    return images.astype(np.float32) / 255


def test_skin_is_found_in_faces_and_only_within_the_ellipse(faces):
    mask, share = map(np.asarray, skin_tone.skin_mask(faces))
    assert np.mean(share >= skin_tone.MIN_SHARE) > 0.9
    assert np.median(share) > 0.4
    assert not mask[:, :5].any()
    assert not mask[:, :, :8].any()


@pytest.mark.parametrize(
    "color", [(0.5, 0.5, 0.5), (0.1, 0.3, 0.9), (0.1, 0.7, 0.2), (0, 0, 0), (1, 1, 1), (1, 0, 0)]
)
def test_other_colours_are_not_skin(color):
    image = np.zeros((1, 32, 32, 3), np.float32) + np.float32(color)
    mask, share = skin_tone.skin_mask(image)
    assert not np.any(mask)
    assert share[0] == 0


def test_the_share_refers_to_the_ellipse():
    image = np.zeros((1, 64, 64, 3), np.float32) + np.float32([0.8, 0.6, 0.5])
    mask, share = skin_tone.skin_mask(image)
    assert share[0] == 1
    area = np.pi * skin_tone.HALF_HEIGHT * skin_tone.HALF_WIDTH
    assert np.mean(mask) == pytest.approx(area, rel=0.02)


@pytest.mark.parametrize(
    ("angle", "tone"),
    [
        (55.1, "very light"),
        (54.9, "light"),
        (40.9, "intermediate"),
        (27.9, "tan"),
        (9.9, "brown"),
        (-29.9, "brown"),
        (-30.1, "dark"),
    ],
)
def test_tones_have_the_bounds_of_the_literature(angle, tone):
    assert skin_tone.tone_of(np.array([angle]), np.array([0.5])) == [tone]
    assert skin_tone.tone_of(np.array([angle]), np.array([0.05])) == [skin_tone.NO_SKIN]


def test_the_typology_angle_is_that_of_chardon():
    assert skin_tone.typology_angle(np.array([70.0]), np.array([20.0])) == pytest.approx([45])
    assert skin_tone.typology_angle(np.array([50.0]), np.array([15.0])) == pytest.approx([0])
    assert skin_tone.typology_angle(np.array([30.0]), np.array([20.0])) == pytest.approx([-45])
