/** Guided upsampling, as in colorjax/colorize/full_size.py: from a small a*b* to every pixel. */

import { lightness, writeRgb } from "./lab.js";

const EPSILON = 16; // regularises the slope where L hardly varies, in squared units of L

/** Means over 3×3 pixels; at the edges the outermost pixels are repeated. */
function mean(values, width, height) {
  const found = new Float32Array(values.length);
  const inside = (index, length) => Math.min(length - 1, Math.max(0, index));
  for (let y = 0; y < height; y++) {
    for (let x = 0; x < width; x++) {
      let sum = 0;
      for (let dy = -1; dy <= 1; dy++) {
        const row = width * inside(y + dy, height);
        for (let dx = -1; dx <= 1; dx++) sum += values[row + inside(x + dx, width)];
      }
      found[width * y + x] = sum / 9;
    }
  }
  return found;
}

/**
 * Local linear models a*b* = slope · L + intercept.
 *
 * @param {Float32Array} l lightness, width × height
 * @param {Float32Array[]} ab a* and b*
 * @returns {{width, height, maps: Float32Array[]}} slopes of a* and b*, intercepts of a* and b*
 */
export function fitCoefficients(l, ab, width, height) {
  const meanL = mean(l, width, height);
  const squares = mean(l.map((value) => value * value), width, height);
  const variance = squares.map((value, i) => Math.max(value - meanL[i] * meanL[i], 0));
  const slopes = ab.map((channel) => {
    const products = mean(channel.map((value, i) => value * l[i]), width, height);
    const means = mean(channel, width, height);
    const slope = products.map((value, i) => (value - meanL[i] * means[i]) / (variance[i] + EPSILON));
    return mean(slope, width, height);
  });
  const intercepts = ab.map((channel, k) => channel.map((value, i) => value - slopes[k][i] * l[i]));
  return { width, height, maps: [...slopes, ...intercepts] };
}

/** Where each of `to` places lies between two of `from`: the lower one, the upper one, the share. */
function between(from, to) {
  const lower = new Int32Array(to);
  const upper = new Int32Array(to);
  const share = new Float32Array(to);
  for (let place = 0; place < to; place++) {
    const at = Math.min(from - 1, Math.max(0, ((place + 0.5) * from) / to - 0.5));
    lower[place] = Math.floor(at);
    upper[place] = Math.min(from - 1, lower[place] + 1);
    share[place] = at - lower[place];
  }
  return { lower, upper, share };
}

/**
 * Returns a function that colours rows of a picture in place. The lightness stays; black and
 * white remain black and white.
 *
 * @param {{width, height, maps}} coefficients see `fitCoefficients`
 * @param {{width, height}} size of the picture
 * @param {number} saturation factor of a*b*
 * @returns {(pixels: Uint8ClampedArray, top: number) => void} takes RGBA of rows from `top` on
 */
export function colorizer(coefficients, size, saturation) {
  const { width, maps } = coefficients;
  const across = between(width, size.width);
  const down = between(coefficients.height, size.height);
  const local = maps.map(() => new Float32Array(width)); // of the row

  return (pixels, top) => {
    const rows = pixels.length / 4 / size.width;
    for (let row = 0; row < rows; row++) {
      const share = down.share[top + row];
      const [above, below] = [width * down.lower[top + row], width * down.upper[top + row]];
      maps.forEach((map, k) => {
        for (let x = 0; x < width; x++) {
          local[k][x] = (1 - share) * map[above + x] + share * map[below + x];
        }
      });
      for (let x = 0; x < size.width; x++) {
        const at = 4 * (row * size.width + x);
        const [red, green, blue] = [pixels[at], pixels[at + 1], pixels[at + 2]];
        const sum = red + green + blue;
        if (sum === 0 || sum === 765) continue;
        const l = lightness(red, green, blue);
        const [left, right] = [across.lower[x], across.upper[x]];
        const part = across.share[x];
        const value = (map) => (1 - part) * map[left] + part * map[right];
        const a = saturation * (value(local[0]) * l + value(local[2]));
        const b = saturation * (value(local[1]) * l + value(local[3]));
        writeRgb(l, a, b, pixels, at);
      }
    }
  };
}
