import subprocess
import sys

import numpy as np
import pytest
from skimage.color import rgb2lab

from colorjax.data.procedural.renderer import render_face


@pytest.fixture(scope="module")
def faces():
    """[24 people, 4 images, 112, 112, 3] uint8 sRGB."""
    return np.stack([[render_face(0, p, i) for i in range(4)] for p in range(24)])


@pytest.fixture(scope="module")
def lab(faces):
    """The same in CIE Lab."""
    return rgb2lab(faces / 255)


def test_a_fresh_process_renders_the_same_bytes(faces):
    code = (
        "from colorjax.data.procedural.renderer import render_face; import sys;"
        "sys.stdout.buffer.write(render_face(0, 5, 2).tobytes())"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True)
    assert done.stdout == faces[5, 2].tobytes()


@pytest.mark.parametrize("other", [(1, 0, 0), (0, 1, 0), (0, 0, 1)])
def test_another_seed_subject_or_index_gives_another_image(faces, other):
    assert np.abs(faces[0, 0].astype(int) - render_face(*other)).mean() > 5


@pytest.mark.parametrize("size", [16, 64, 129])
def test_image_is_contiguous_rgb_bytes_of_the_given_size(size):
    image = render_face(0, 0, 0, size)
    assert (image.dtype, image.shape) == (np.uint8, (size, size, 3))
    assert image.flags.c_contiguous


def test_a_smaller_image_shows_the_same_scene(faces):
    """Mean colours of a 4 × 4 grid agree between sizes; those of another image do not."""

    def blocks(image):
        side = len(image) // 4
        return image.astype(float).reshape(4, side, 4, side, 3).mean((1, 3))

    assert np.abs(blocks(faces[7, 0]) - blocks(render_face(0, 7, 0, size=64))).mean() < 6
    assert np.abs(blocks(faces[7, 0]) - blocks(faces[7, 1])).mean() > 12


def test_skin_colour_belongs_to_the_subject(lab):
    """In the cheeks, a* and b* vary more between people than between images of one person."""
    colour = np.median(lab[:, :, 56:72, [*range(36, 48), *range(64, 76)], 1:], axis=(2, 3))
    within = colour.var(axis=1, ddof=1).mean(0)
    between = colour.mean(1).var(axis=0, ddof=1) - within / 4
    assert between.sum() > within.sum()


def test_skin_lies_in_a_plausible_region(lab):
    """The centre of a face: reddish yellow, of moderate chroma, from dark to pale."""
    lightness, a, b = np.median(lab[:, :, 54:74, 38:74], axis=(2, 3)).reshape(-1, 3).T
    assert ((a > 3) & (a < 35) & (b > 3) & (b < 50)).all()
    assert lightness.min() < 45 < 65 < lightness.max()


def test_images_are_coloured_and_exposed_like_photographs(faces, lab):
    """On real faces grey has an MSE of 265, and the mean colour 128."""
    ab = lab[..., 1:]
    assert 200 < (ab**2).mean() < 450
    assert 100 < ((ab - ab.mean((0, 1, 2, 3))) ** 2).mean() < 280
    assert ((ab**2).mean((2, 3, 4)) > 30).all()
    assert (faces.max(-1) == 255).mean() + (faces.max(-1) == 0).mean() < 0.02
    assert 70 < faces.mean() < 160


def test_surroundings_vary_more_than_skin(lab):
    centre, top = lab[:, :, 54:74, 38:74, 1:], lab[:, :, :12, :, 1:]
    assert top.var(axis=(0, 1, 2, 3)).sum() > 2 * centre.var(axis=(0, 1, 2, 3)).sum()


def test_nothing_overflows_in_any_pose():
    with np.errstate(all="raise", under="ignore"):
        for number in range(60):
            render_face(9, number, number, size=48)


def test_wrong_arguments_are_named():
    with pytest.raises(ValueError, match="at least 16 pixels, but is 15"):
        render_face(0, 0, 0, size=15)
    with pytest.raises(ValueError, match="index=-1 must not be negative"):
        render_face(0, 0, -1)
