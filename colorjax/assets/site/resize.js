/** Pictures resized as OpenCV does it: the mean of the area, or bicubic when they are enlarged. */

/** For each of `to` places the sources and their weights: [[index, weight], …]. */
function taps(from, to) {
  const step = from / to;
  return Array.from({ length: to }, (_, place) => {
    if (step >= 1) {
      const [start, end] = [place * step, (place + 1) * step];
      const found = [];
      for (let index = Math.floor(start); index < Math.min(from, Math.ceil(end)); index++) {
        const overlap = Math.min(end, index + 1) - Math.max(start, index);
        if (overlap > 1e-6) found.push([index, overlap / step]);
      }
      return found;
    }
    const centre = (place + 0.5) * step - 0.5;
    const first = Math.floor(centre) - 1;
    return [0, 1, 2, 3].map((offset) => {
      const index = Math.min(from - 1, Math.max(0, first + offset));
      return [index, cubic(Math.abs(centre - first - offset))];
    });
  });
}

/** The cubic convolution of OpenCV, with a = -0.75. */
function cubic(distance) {
  const a = -0.75;
  if (distance <= 1) return ((a + 2) * distance - (a + 3)) * distance * distance + 1;
  return ((a * distance - 5 * a) * distance + 8 * a) * distance - 4 * a;
}

/**
 * Resizes a picture that is read a band of rows at a time.
 *
 * @param {(top: number, rows: number) => Uint8ClampedArray} read RGBA of some rows
 * @param {{width, height}} size of the picture
 * @param {{width, height}} to size of the result
 * @returns {Uint8ClampedArray} RGB, three bytes a pixel
 */
export function resize(read, size, to, band = 256) {
  const columns = taps(size.width, to.width);
  const rows = Array.from({ length: size.height }, () => []); // [row of the result, weight]
  taps(size.height, to.height).forEach((sources, row) => {
    for (const [index, weight] of sources) rows[index].push([row, weight]);
  });
  const stride = 3 * to.width;
  const sums = new Float32Array(stride * to.height);
  const narrow = new Float32Array(stride);
  for (let top = 0; top < size.height; top += band) {
    const count = Math.min(band, size.height - top);
    const pixels = read(top, count);
    for (let row = 0; row < count; row++) {
      if (!rows[top + row].length) continue;
      narrow.fill(0);
      const start = 4 * row * size.width;
      for (let column = 0; column < to.width; column++) {
        for (const [index, weight] of columns[column]) {
          const at = start + 4 * index;
          for (let i = 0; i < 3; i++) narrow[3 * column + i] += weight * pixels[at + i];
        }
      }
      for (const [target, weight] of rows[top + row]) {
        const at = stride * target;
        for (let i = 0; i < stride; i++) sums[at + i] += weight * narrow[i];
      }
    }
  }
  return Uint8ClampedArray.from(sums);
}
