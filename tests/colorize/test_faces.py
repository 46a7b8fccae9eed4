import itertools

import cv2
import numpy as np
import pytest
import support
from skimage import color, data

from colorjax.colorize.colorizer import Colorizer
from colorjax.colorize.faces import Crop, face_crops, nearness, zoom


@pytest.mark.parametrize("scale", [0.5, 1.0, 3.0])
def test_a_face_is_found_at_any_size_of_the_picture(scale):
    """The astronaut's, at about (225, 115) and 100 pixels high."""
    picture = cv2.resize(data.astronaut(), None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    (crop,) = face_crops(picture)
    centre = crop.x + crop.side / 2, crop.y + crop.side / 2
    assert np.hypot(centre[0] / scale - 225, centre[1] / scale - 115) < 30
    assert 100 < crop.side / scale < 250


def test_a_face_crop_is_found_and_hardly_zoomed():
    (crop,) = face_crops(np.ascontiguousarray(data.astronaut()[25:205, 135:315]))
    assert crop.weight == 1
    assert 1 <= zoom([crop], (180, 180)) < 1.4


def test_cropping_by_a_few_pixels_moves_the_crop_by_as_many():
    picture = data.astronaut()
    crops = []
    for y, x in ((0, 0), (1, 0), (0, 1), (3, 5), (8, 8)):
        (crop,) = face_crops(np.ascontiguousarray(picture[y : y + 504, x : x + 504]))
        crops.append((crop.x + x, crop.y + y, crop.side, crop.weight))
    x, y, side, weight = np.ptp(crops, axis=0)
    assert max(x, y) < 5
    assert side < 8
    assert weight == 0


def test_cropping_by_up_to_four_pixels_hardly_changes_the_colours():
    """Of the astronaut, with the packaged model: 0.68 on average."""
    picture, shifts = data.astronaut(), list(itertools.product((0, 2, 4), repeat=2))
    crops = [np.ascontiguousarray(picture[y : y + 504, x : x + 504]) for y, x in shifts]
    with support.quick_compilation():
        pictures = Colorizer.load()(crops)
    coloured = [
        color.rgb2lab(rgb)[4 - y : 504 - y, 4 - x : 504 - x, 1:]
        for rgb, (y, x) in zip(pictures, shifts, strict=True)
    ]
    assert np.mean([abs(ab - coloured[0]).mean() for ab in coloured[1:]]) < 0.75


@pytest.mark.parametrize("picture", [data.coffee(), data.chelsea(), data.rocket()])
def test_no_face_is_found_where_none_is(picture):
    """A cup, a cat and a rocket."""
    assert not face_crops(picture)


@pytest.mark.parametrize("shape", [(1, 1), (1, 500), (500, 1), (23, 500), (300, 200)])
def test_no_face_is_found_in_a_flat_picture(shape):
    assert face_crops(np.full((*shape, 3), 128, np.uint8)) == []


def test_zoom_gives_the_mean_face_the_size_of_a_face_crop():
    assert zoom([], (100, 300)) == 1
    assert zoom([Crop(0, 0, 50)], (100, 300)) == pytest.approx(2)
    sides = [Crop(0, 0, side) for side in (10, 40)]
    assert zoom(sides, (200, 100)) == pytest.approx(5)
    assert zoom([sides[0], Crop(0, 0, 40, weight=1e-6)], (200, 100)) == pytest.approx(10, abs=1e-3)
    assert zoom([Crop(0, 0, 200)], (100, 300)) == 1


def test_nearness_is_one_at_faces_and_falls_to_zero():
    near = nearness([Crop(10, 40, 20), Crop(150, 40, 20)], (100, 200))
    assert near.shape == (100, 200)
    assert near[50, 20] == near[50, 11] == near[50, 160] == 1
    assert near[50, 90] == near[99, 100] == 0
    # At 1.25 sides from the centre, half way between 0.5 and 2.
    assert near[50, 45] == pytest.approx(0.5, abs=0.03)
    assert nearness([], (3, 4)).sum() == 0
    assert nearness([Crop(10, 40, 20, weight=0.25)], (100, 200)).max() == 0.25
    # Half as much where the zoom is half way to 1.25.
    assert nearness([Crop(0, 0, 80)], (90, 90)).max() == pytest.approx(0.5)
