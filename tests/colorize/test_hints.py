"""Hints: what is read, what is refused, and where the model sees them."""

import json

import cv2
import numpy as np
import pytest
from PIL import Image
from skimage import color

from colorjax.colorize.hints import Hints, fitting, parse, raster, read_hints
from colorjax.terminal.errors import InputError

BROWN, BLUE, GREY = "#c08060", "#4060c0", "#808080"


def ab_of(text):
    return color.rgb2lab(np.array([[list(bytes.fromhex(text[1:]))]]) / 255)[0, 0, 1:]


def seen(points, size, shape=None, training_size=128):
    """The raster in a view of this shape, (height, width); by default that of the picture."""
    return raster(parse(points).of(size), shape or size[::-1], training_size)


def test_a_hint_is_a_square_of_its_colour_around_its_pixel():
    found = seen([(60, 40, BROWN)], (128, 96))
    expected = np.zeros((96, 128), bool)
    expected[38:43, 58:63] = True
    np.testing.assert_array_equal(found[..., 2], expected)
    np.testing.assert_allclose(found[expected][:, :2], np.tile(ab_of(BROWN), (25, 1)), atol=0.02)
    assert not found[~expected].any()
    assert found.dtype == np.float32


@pytest.mark.parametrize(("training_size", "side"), [(32, 1), (64, 3), (96, 3), (128, 5), (256, 9)])
def test_its_side_is_a_32nd_of_the_training_size_whatever_the_picture_s(training_size, side):
    for size in ((4000, 3000), (320, 240), (64, 48)):
        mask = seen([(size[0] // 2, size[1] // 2, BROWN)], size, (240, 320), training_size)[..., 2]
        of_pixel = 2 * (-(-320 // size[0]) // 2) + 1
        assert mask.sum() == max(side, of_pixel) ** 2


def test_every_pixel_of_a_small_picture_is_covered_by_its_hint():
    (x, y), (width, height) = (2, 1), (5, 4)
    mask = seen([(x, y, BLUE)], (width, height), (64, 80), 32)[..., 2]
    assert mask[16 * y : 16 * (y + 1), 16 * x : 16 * (x + 1)].all()


@pytest.mark.parametrize("corner", [(0, 0), (127, 0), (0, 95), (127, 95)])
def test_at_the_edges_it_is_clipped(corner):
    mask = seen([(*corner, BROWN)], (128, 96))[..., 2]
    assert mask.sum() == 9
    assert mask[corner[1], corner[0]] == 1


def test_fractions_belong_to_the_pixel_that_they_lie_in():
    whole = seen([(10, 20, BROWN)], (64, 64))
    for point in ((10.0, 20.99), (np.float32(10.5), np.int64(20))):
        np.testing.assert_array_equal(seen([(*point, BROWN)], (64, 64)), whole)


def test_hints_that_contradict_each_other_are_averaged_at_their_pixel_and_between():
    both = (ab_of(BROWN) + ab_of(BLUE)) / 2
    found = seen([(50, 50, BROWN), (50, 50, BLUE)], (128, 96))
    np.testing.assert_allclose(found[50, 50, :2], both, atol=0.02)
    apart = seen([(50, 50, BROWN), (52, 50, BLUE)], (128, 96))
    for x, expected in ((49, ab_of(BROWN)), (50, ab_of(BROWN)), (51, both), (52, ab_of(BLUE))):
        np.testing.assert_allclose(apart[50, x, :2], expected, atol=0.02)
    assert set(np.unique(apart[..., 2])) == {0, 1}


def test_a_grey_hint_is_a_hint():
    found = seen([(50, 50, GREY)], (128, 96))
    assert found[50, 50, 2] == 1
    np.testing.assert_allclose(found[50, 50, :2], 0, atol=0.02)


def strokes(size, seed=0):
    """An image with strokes, and the same pixels as triples."""
    rng = np.random.default_rng(seed)
    rgba = np.zeros((size[1], size[0], 4), np.uint8)
    rgba[..., :3] = rng.integers(0, 256, 3)  # of transparent pixels
    rgba[10:14, 5:40, :3], rgba[10:14, 5:40, 3] = (192, 128, 96), 255
    rgba[12:30, 38:41] = rng.integers(0, 256, (18, 3, 4))
    rows, columns = np.nonzero(rgba[..., 3] >= 128)
    triples = [
        [int(x), int(y), "#" + bytes(rgba[y, x, :3].tolist()).hex()]
        for x, y in zip(columns, rows, strict=True)
    ]
    return Image.fromarray(rgba), triples


def test_png_and_json_give_the_same_for_the_same_pixels(tmp_path):
    image, triples = strokes((60, 50))
    image.save(tmp_path / "a.PNG")
    (tmp_path / "a.json").write_text(json.dumps(triples))
    painted, listed = (read_hints(tmp_path / name).of((60, 50)) for name in ("a.PNG", "a.json"))
    for shape in ((50, 60), (32, 38), (125, 150), (7, 9)):
        for size in (32, 128):
            np.testing.assert_array_equal(raster(painted, shape, size), raster(listed, shape, size))


def test_a_pixel_of_the_view_has_the_mean_colour_of_the_strokes_in_it(tmp_path):
    image, _ = strokes((64, 64))
    image.save(tmp_path / "a.png")
    rgba = np.asarray(image)
    counts = rgba[..., 3] >= 128
    lab = color.rgb2lab(rgba[..., :3] / 255)[..., 1:]
    found = raster(read_hints(tmp_path / "a.png").of((64, 64)), (16, 16), 32)
    for row, column in np.ndindex(16, 16):
        block = np.s_[4 * row : 4 * row + 4, 4 * column : 4 * column + 4]
        inside = lab[block][counts[block]]
        assert found[row, column, 2] == (len(inside) > 0)
        if len(inside):
            np.testing.assert_allclose(found[row, column, :2], inside.mean(0), atol=0.02)


def test_strokes_of_sixteen_bits_of_a_palette_and_of_grey_are_read(tmp_path):
    rgba = np.zeros((8, 8, 4), np.uint8)
    rgba[2, 3] = 128, 128, 128, 255
    kinds = {
        "palette": Image.fromarray(rgba).quantize(8),
        "grey": Image.fromarray(rgba).convert("LA"),
    }
    for name, image in kinds.items():
        image.save(tmp_path / f"{name}.png")
    cv2.imwrite(str(tmp_path / "deep.png"), rgba.astype(np.uint16) * 257)
    for name in (*kinds, "deep"):
        hints = read_hints(tmp_path / f"{name}.png")
        assert hints.pixels.tolist() == [[3, 2]]
        np.testing.assert_array_equal(hints.rgb, [[128, 128, 128]])


@pytest.mark.parametrize(
    "points",
    [
        "#c08060", 7, {"a": 1}, [7], [[1, 2]], [[1, 2, 3]], [[1, 2, "red"]], [[1, 2, "#c0806"]],
        [["1", 2, BROWN]], [[1, float("nan"), BROWN]], [[float("inf"), 1, BROWN]],
        [[10**400, 1, BROWN]], [[True, 1, BROWN]], [[1, 2, BROWN, 4]], [[1, 2, BROWN + "\n"]],
        [[1, 2, BROWN], None],
    ],
)  # fmt: skip
def test_what_is_not_a_list_of_hints_is_refused_in_one_line(points):
    with pytest.raises(InputError, match=r"hints are a list of|a hint is") as caught:
        parse(points)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("point", [(-1, 0), (64, 0), (0, 48), (-0.1, 3)])
def test_a_hint_outside_the_picture_is_named(point):
    with pytest.raises(InputError, match=r"the hint #4060c0 at \(.*\) is outside .* 64×48 pixels"):
        fitting([[(1, 1, BROWN), (*point, BLUE)]], [(64, 48)])


def test_hints_for_several_pictures_are_as_many_lists():
    assert fitting([None, []], [(9, 9), (9, 9)]) == [None, None]
    for hints in ([], [None], [(1, 1, BROWN)], "ab"):
        with pytest.raises(InputError, match="as many lists or None"):
            fitting(hints, 3 * [(9, 9)])


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("none.png", None, "does not exist"),
        ("a.txt", b"", "must end in .png or .json"),
        ("a.json", b"[[1, 2", "is not JSON"),
        ("a.json", b"\xff", "a.json: "),
        ("a.json", b"[" * 100_000, "a.json: "),
        ("a.json", b"[]", "has no hints; give"),
        ("a.json", b'[[1, 2, "brown"]]', "a hint is"),
        ("a.json", b"[[NaN, 2, \"#c08060\"]]", "a hint is"),
        ("a.png", b"no image", "a.png: "),
        ("a.png", Image.new("RGBA", (4, 4)), "has no hints; paint"),
        ("a.png", Image.new("RGBA", (4, 4), (1, 2, 3, 127)), "has no hints; paint"),
        ("a.png", Image.new("RGB", (4, 4)), "has no transparency"),
        ("a.png", Image.new("L", (4, 4)), "has no transparency"),
    ],
)  # fmt: skip
def test_a_file_without_hints_is_refused_in_one_line(tmp_path, name, content, words):
    if isinstance(content, Image.Image):
        content.save(tmp_path / name)
    elif content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(InputError) as caught:
        read_hints(tmp_path / name)
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)
    assert str(tmp_path / name) in str(caught.value)


def test_a_jpeg_called_png_and_a_folder_are_refused(tmp_path):
    Image.new("RGB", (4, 4)).save(tmp_path / "a.png", "JPEG")
    (tmp_path / "b.json").mkdir()
    for name, words in (("a.png", "is not a PNG"), ("b.json", "cannot be read")):
        with pytest.raises(InputError, match=words):
            read_hints(tmp_path / name)


def test_strokes_of_another_size_are_refused_with_both_sizes():
    hints = Hints(np.array([[1, 1]]), np.zeros((1, 3), np.uint8), (40, 30))
    with pytest.raises(InputError, match=r"40×30 pixels .* 30×40"):
        hints.of((30, 40))
