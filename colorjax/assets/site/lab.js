/** sRGB and CIE Lab (D65, 2° observer) as in colorjax/lab.py, for 8 bits a channel. */

const LINEAR = Float64Array.from({ length: 256 }, (_, level) => {
  const value = level / 255;
  return value > 0.04045 ? ((value + 0.055) / 1.055) ** 2.4 : value / 12.92;
});
// Linear red, green and blue from X, Y and Z relative to white.
const FROM_XYZ = [
  [3.24048134, -1.53715152, -0.49853633],
  [-0.96925495, 1.87599, 0.04155593],
  [0.05564664, -0.20404134, 1.05731107],
].map(([x, y, z]) => [0.95047 * x, y, 1.08883 * z]);
const [RED, GREEN, BLUE] = FROM_XYZ;
// Levels of linear values in [0, 1]; fine enough to be rounded as the curve itself.
const STEPS = 1 << 16;
const LEVELS = Uint8Array.from({ length: STEPS + 1 }, (_, index) => {
  const value = index / STEPS;
  return Math.round(255 * (value > 0.0031308 ? 1.055 * value ** (1 / 2.4) - 0.055 : 12.92 * value));
});
// A colour fits into sRGB if it is within half a level of it.
const LEAST = -0.5 / 255 / 12.92;
const MOST = ((1 + 0.5 / 255 + 0.055) / 1.055) ** 2.4;
const HALVINGS = 12;

/** L in [0, 100] of levels in 0…255. */
export function lightness(red, green, blue) {
  const y = 0.212671 * LINEAR[red] + 0.71516 * LINEAR[green] + 0.072169 * LINEAR[blue];
  return 116 * (y > 0.008856 ? Math.cbrt(y) : 7.787 * y + 16 / 116) - 16;
}

const linear = new Float64Array(3);

function toLinear(l, a, b) {
  const cube = (f) => (f > 0.2068966 ? f * f * f : (f - 16 / 116) / 7.787);
  const middle = (l + 16) / 116;
  const x = cube(middle + a / 500);
  const y = cube(middle);
  const z = cube(Math.max(middle - b / 200, 0));
  linear[0] = RED[0] * x + RED[1] * y + RED[2] * z;
  linear[1] = GREEN[0] * x + GREEN[1] * y + GREEN[2] * z;
  linear[2] = BLUE[0] * x + BLUE[1] * y + BLUE[2] * z;
}

const fits = () =>
  Math.min(linear[0], linear[1], linear[2]) > LEAST &&
  Math.max(linear[0], linear[1], linear[2]) < MOST;

/**
 * Writes red, green and blue of a colour to out[at], out[at + 1], out[at + 2]. One outside sRGB
 * loses chroma, at constant lightness and hue, until it fits.
 */
export function writeRgb(l, a, b, out, at) {
  toLinear(l, a, b);
  if (!fits()) {
    let low = 0;
    let high = 1;
    for (let i = 0; i < HALVINGS; i++) {
      const middle = (low + high) / 2;
      toLinear(l, middle * a, middle * b);
      if (fits()) low = middle;
      else high = middle;
    }
    toLinear(l, low * a, low * b);
  }
  for (let i = 0; i < 3; i++) {
    out[at + i] = LEVELS[Math.round(STEPS * Math.min(1, Math.max(0, linear[i])))];
  }
}
