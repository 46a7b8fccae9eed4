"""Colours of skin, hair and eyes from their pigments, and of light from its temperature.

Colours are albedos in linear sRGB, [3] float32. Light crosses the epidermis (melanin) twice and
is scattered back by the dermis (blood); skin is computed at 14 wavelengths:

- absorption of melanins and of tissue, scattering of the dermis: Donner & Jensen 2006, "A Spectral
  BSSRDF for Shading Human Skin", section 3 (after Jacques 1998, "Skin Optics");
- extinction of haemoglobin: Prahl 1999, "Optical Absorption of Hemoglobin";
- reflectance of a deep scattering layer: Kubelka & Munk 1931;
- colour: CIE 1931 2° observer under D65.

Hair follows Chiang et al. 2016, "A Practical and Controllable Hair and Fur Model": absorption of
eumelanin and pheomelanin to the colour of many fibres.
"""

import numpy as np

# nm; each row: x̄, ȳ, z̄, D65, molar extinction of HbO2 and of Hb in cm⁻¹/(mol/l).
_SPECTRA = np.array(
    [
        [420, 0.1344, 0.0040, 0.6456, 93.43, 480360, 407560],
        [440, 0.3483, 0.0230, 1.7471, 104.87, 102580, 413280],
        [460, 0.2908, 0.0600, 1.6692, 117.81, 44480, 23389],
        [480, 0.0956, 0.1390, 0.8130, 115.92, 26629, 14550],
        [500, 0.0049, 0.3230, 0.2720, 109.35, 20933, 20862],
        [520, 0.0633, 0.7100, 0.0782, 104.79, 24202, 31590],
        [540, 0.2904, 0.9540, 0.0203, 104.41, 53236, 46592],
        [560, 0.5945, 0.9950, 0.0039, 100.00, 32613, 53788],
        [580, 0.9163, 0.8700, 0.0017, 95.79, 50104, 37020],
        [600, 1.0622, 0.6310, 0.0008, 90.01, 3200, 14677],
        [620, 0.8544, 0.3810, 0.0002, 87.70, 942, 6510],
        [640, 0.4479, 0.1750, 0.0000, 83.70, 442, 4345],
        [660, 0.1649, 0.0610, 0.0000, 80.21, 320, 3227],
        [680, 0.0468, 0.0170, 0.0000, 78.28, 278, 2408],
    ]
)
_XYZ_TO_SRGB = np.array(
    [[3.2406, -1.5372, -0.4986], [-0.9689, 1.8758, 0.0415], [0.0557, -0.2040, 1.0570]]
)
# From reflectance at the wavelengths to linear sRGB, [3, 14]; white gives 1, 1, 1.
_TO_SRGB = _XYZ_TO_SRGB @ (_SPECTRA[:, 1:4] * _SPECTRA[:, 4:5]).T
_TO_SRGB /= _TO_SRGB.sum(axis=1, keepdims=True)
# Diffuse light crosses the epidermis (0.06 mm) obliquely: its mean path is twice the thickness.
_PATH_MM = 0.12
# Some light passes between the grains of melanin (the sieve effect, Duysens 1956).
_SIEVE = 0.06
# The rough surface reflects a little white light, whatever lies below it.
_SURFACE = 0.03


def skin_albedo(melanin: float, blood: float) -> np.ndarray:
    """The diffuse colour of skin, from the volume fractions of its pigments (Jacques 1998).

    Melanosomes in the epidermis: 0.01 (very pale) to 0.43 (very dark). Blood in the dermis: 0.005
    to 0.1; lips have the most.
    """
    nm, oxy, deoxy = _SPECTRA[:, 0], _SPECTRA[:, 5], _SPECTRA[:, 6]
    baseline = 0.0244 + 8.53 * np.exp(-(nm - 154) / 66.2)
    pigment = 0.9 * 6.6e10 * nm**-3.33 + 0.1 * 2.9e14 * nm**-4.75  # eumelanin and pheomelanin
    epidermis = melanin * pigment + (1 - melanin) * baseline
    # 150 g/l of haemoglobin of 64,500 g/mol, three quarters of it oxygenated; per mm.
    whole_blood = 0.1 * np.log(10) * 150 / 64500 * (0.75 * oxy + 0.25 * deoxy)
    dermis = blood * whole_blood + (1 - blood) * baseline
    scattering = 14.74 * nm**-0.22 + 2.2e11 * nm**-4
    ratio = 2 * dermis / (0.75 * scattering)
    reflected = 1 + ratio - np.sqrt(ratio**2 + 2 * ratio)
    passed = _SIEVE + (1 - _SIEVE) * np.exp(-2 * _PATH_MM * epidermis)
    albedo = _TO_SRGB @ (passed * reflected)
    return (_SURFACE + (1 - _SURFACE) * np.clip(albedo, 0, 1)).astype(np.float32)


def hair_albedo(eumelanin: float, pheomelanin: float, grey: float = 0.0) -> np.ndarray:
    """The colour of a mass of hair, from the concentrations of its pigments.

    Eumelanin: 0.08 (light blond), 0.5 (light brown), 1.3 (brown) to 5 (black). Pheomelanin: 0 to 1
    (red). Grey is the fraction of fibres without pigment.
    """
    absorption = eumelanin * np.array([0.419, 0.697, 1.37])
    absorption = absorption + pheomelanin * np.array([0.187, 0.4, 1.05])
    # 5.97 in Chiang et al., for smooth fibres; weathered ones scatter more.
    coloured = np.array([0.011, 0.008, 0.0065]) + np.exp(-4.6 * np.sqrt(absorption))
    return ((1 - grey) * coloured + grey * np.array([0.52, 0.51, 0.48])).astype(np.float32)


def iris_albedo(melanin: float) -> np.ndarray:
    """The colour of an iris, [3] linear sRGB: 0 is blue, 0.3 green, 0.5 hazel, 1 dark brown."""
    stops = [0.0, 0.3, 0.5, 1.0]
    channels = [0.13, 0.15, 0.21, 0.035], [0.23, 0.22, 0.15, 0.014], [0.38, 0.15, 0.06, 0.007]
    return np.array([np.interp(melanin, stops, values) for values in channels], np.float32)


def light_colour(kelvin: float) -> np.ndarray:
    """The colour of black-body light for a camera balanced for 5500 K, [3], mean 1.

    Planck's law at 610, 550 and 465 nm. White balance leaves half of the cast (in logarithm).
    """
    exponent = 1.4388e-2 / np.array([610e-9, 550e-9, 465e-9])
    colour = np.sqrt(np.expm1(exponent / 5500) / np.expm1(exponent / kelvin))
    return (colour / colour.mean()).astype(np.float32)


def hsv(hue: float, saturation: float, value: float) -> np.ndarray:
    """Hue in turns, saturation and value of sRGB (IEC 61966-2-1) as linear light, [3]."""
    wheel = np.clip(np.abs((hue * 6 + np.array([0.0, 4.0, 2.0])) % 6 - 3) - 1, 0, 1)
    srgb = value * (1 - saturation * (1 - wheel))
    linear = np.where(srgb <= 0.04045, srgb / 12.92, ((srgb + 0.055) / 1.055) ** 2.4)
    return linear.astype(np.float32)
