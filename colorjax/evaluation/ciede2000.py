"""The colour difference CIEDE2000 (CIE 142-2001).

Sharma, Wu and Dalal, "The CIEDE2000 color-difference formula: implementation notes, supplementary
test data, and mathematical observations" (2005); the tests check their 34 pairs. The factors k_L,
k_C and k_H are 1.
"""

import chex
import jax
import jax.numpy as jnp

_POW_25_7 = 25.0**7


def ciede2000(lab: jax.Array, lab_true: jax.Array) -> jax.Array:
    """ΔE00 of two colours.

    Args:
      lab: [..., 3] CIE Lab.
      lab_true: [..., 3] likewise, of the same shape.

    Returns:
      [...]; about 1 is just noticeable. 0 for equal colours only.
    """
    chex.assert_shape([lab, lab_true], (..., 3))
    chex.assert_equal_shape([lab, lab_true])
    l1, a1, b1 = lab[..., 0], lab[..., 1], lab[..., 2]
    l2, a2, b2 = lab_true[..., 0], lab_true[..., 1], lab_true[..., 2]

    g = 0.5 * (1.0 - _seventh(0.5 * (jnp.hypot(a1, b1) + jnp.hypot(a2, b2))))
    a1, a2 = (1.0 + g) * a1, (1.0 + g) * a2
    c1, c2 = jnp.hypot(a1, b1), jnp.hypot(a2, b2)
    h1, h2 = _hue(a1, b1), _hue(a2, b2)

    # A colour without chroma has no hue and takes the other's.
    grey = c1 * c2 == 0.0
    turn = h2 - h1
    turn = jnp.where(grey, 0.0, turn - 360.0 * jnp.sign(turn) * (jnp.abs(turn) > 180.0))
    delta_h = 2.0 * jnp.sqrt(c1 * c2) * jnp.sin(jnp.radians(0.5 * turn))

    sum_h = h1 + h2
    far = jnp.abs(h1 - h2) > 180.0
    mean_h = 0.5 * jnp.where(far, jnp.where(sum_h < 360.0, sum_h + 360.0, sum_h - 360.0), sum_h)
    mean_h = jnp.where(grey, sum_h, mean_h)
    mean_l, mean_c = 0.5 * (l1 + l2), 0.5 * (c1 + c2)

    t = (
        1.0
        - 0.17 * _cos(mean_h - 30.0)
        + 0.24 * _cos(2.0 * mean_h)
        + 0.32 * _cos(3.0 * mean_h + 6.0)
        - 0.20 * _cos(4.0 * mean_h - 63.0)
    )
    from_50 = (mean_l - 50.0) ** 2
    light = (l2 - l1) / (1.0 + 0.015 * from_50 / jnp.sqrt(20.0 + from_50))
    chroma = (c2 - c1) / (1.0 + 0.045 * mean_c)
    hue = delta_h / (1.0 + 0.015 * mean_c * t)
    rotation = 30.0 * jnp.exp(-(((mean_h - 275.0) / 25.0) ** 2))
    interaction = -2.0 * _seventh(mean_c) * jnp.sin(jnp.radians(2.0 * rotation)) * chroma * hue
    # Rounding may leave a tiny negative number.
    return jnp.sqrt(jnp.maximum(light**2 + chroma**2 + hue**2 + interaction, 0.0))


def _seventh(chroma: jax.Array) -> jax.Array:
    """√(C⁷ / (C⁷ + 25⁷))."""
    power = chroma**7
    return jnp.sqrt(power / (power + _POW_25_7))


def _hue(a: jax.Array, b: jax.Array) -> jax.Array:
    """In degrees, [0, 360)."""
    return jnp.degrees(jnp.arctan2(b, a)) % 360.0


def _cos(degrees: jax.Array) -> jax.Array:
    return jnp.cos(jnp.radians(degrees))
