import numpy as np
import pytest
from skimage.color import rgb2lab

from colorjax.data.procedural.palette import hair_albedo, iris_albedo, light_colour, skin_albedo

BLOOD = (0.01, 0.03, 0.06, 0.1, 0.26)


def test_skin_is_darker_with_melanin_and_redder_and_darker_with_blood():
    """Albedos [melanin, blood, 3]."""
    skin = np.array([[skin_albedo(m, b) for b in BLOOD] for m in (0.01, 0.02, 0.1, 0.3, 0.43)])
    assert (np.diff(skin[..., :2], axis=0) < 0).all()
    # The darkest skins differ least in blue, where sRGB's primary has negative lobes.
    assert (np.diff(skin[..., 2], axis=0) < 2e-3).all()
    redness = skin[..., 0] / skin[..., 1]
    assert ((np.diff(redness, axis=1) > 0) & (np.diff(skin[..., 1], axis=1) < 0)).all()


def test_albedos_lie_in_srgb():
    skin = [skin_albedo(m, b) for m in (0.01, 0.1, 0.43) for b in BLOOD]
    hair = [hair_albedo(e, p, g) for e in (0.08, 1, 6) for p in (0, 1.2) for g in (0, 1)]
    albedos = np.stack([*skin, *hair, *map(iris_albedo, np.linspace(0, 1, 9))])
    assert albedos.dtype == np.float32
    assert ((albedos > 0) & (albedos < 1)).all()


@pytest.mark.parametrize(("melanin", "lightness"), [(0.012, 76), (0.1, 53), (0.34, 32)])
def test_skin_has_the_measured_lightness_and_hue(melanin, lightness):
    """CIE Lab of human skin: Xiao et al. 2017, Skin Research and Technology."""
    linear = skin_albedo(melanin, 0.03)
    srgb = np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)
    assert (np.abs(rgb2lab(srgb) - [lightness, 12.5, 17.5]) < [8, 7.5, 12.5]).all()


def test_warm_light_is_redder_than_cold_light():
    warm, cold = light_colour(3200), light_colour(8000)
    assert warm[0] / warm[2] > 1 > cold[0] / cold[2]
    np.testing.assert_allclose(light_colour(5500), 1, rtol=1e-6)
