/**
 * Colour hints of a picture: strokes, and their history. Nothing here touches the page.
 *
 * A stroke is {color: "#rrggbb", points: [[x, y], …]} in pixels of the upright full-size picture.
 * Strokes are never changed, only replaced, so that every state of the history stays as it was.
 */

/** Strokes are sampled at this share of the shorter side: a hint covers 1/32 of it. */
const SPACING = 1 / 48;
/** Radius within which the eraser removes points, as a share of the shorter side. */
export const ERASER = 1 / 32;
const MAX_STATES = 200;

/** The pixel at a place of the picture; places outside belong to the nearest pixel. */
export function pixel([x, y], { width, height }) {
  const inside = (value, length) => Math.min(length - 1, Math.max(0, Math.floor(value)));
  return [inside(x, width), inside(y, height)];
}

/** The points of a stroke that has come to `place`: the new ones lie on the line to it. */
export function extended(points, place, size) {
  const step = Math.max(1, SPACING * Math.min(size.width, size.height));
  const [toX, toY] = pixel(place, size);
  const found = [...points];
  for (;;) {
    const [x, y] = found.at(-1);
    const distance = Math.hypot(toX - x, toY - y);
    if (distance < step) return found;
    const share = step / distance;
    found.push([Math.round(x + share * (toX - x)), Math.round(y + share * (toY - y))]);
  }
}

/** How far a place is from the line between two others. */
function distance([x, y], [fromX, fromY], [toX, toY]) {
  const [alongX, alongY] = [toX - fromX, toY - fromY];
  const length = alongX ** 2 + alongY ** 2;
  const share = length ? ((x - fromX) * alongX + (y - fromY) * alongY) / length : 0;
  const nearest = Math.min(1, Math.max(0, share));
  return Math.hypot(x - fromX - nearest * alongX, y - fromY - nearest * alongY);
}

/** The strokes without the points near the line between two places; one may fall into several. */
export function erased(strokes, from, to, size) {
  const radius = ERASER * Math.min(size.width, size.height);
  const isNear = ([x, y]) => distance([x + 0.5, y + 0.5], from, to) <= radius;
  if (!strokes.some((stroke) => stroke.points.some(isNear))) return strokes;
  return strokes.flatMap(({ color, points }) => {
    const runs = [[]];
    for (const point of points) {
      if (isNear(point)) runs.push([]);
      else runs.at(-1).push(point);
    }
    return runs.filter((run) => run.length).map((run) => ({ color, points: run }));
  });
}

/** What the server takes: [[x, y, "#rrggbb"], …]. */
export const toHints = (strokes) =>
  strokes.flatMap(({ color, points }) => points.map(([x, y]) => [x, y, color]));

/** States that can be undone and redone. */
export class History {
  #states = [[]];
  #at = 0;

  get strokes() {
    return this.#states[this.#at];
  }

  get canUndo() {
    return this.#at > 0;
  }

  get canRedo() {
    return this.#at < this.#states.length - 1;
  }

  push(strokes) {
    this.#states = [...this.#states.slice(0, this.#at + 1), strokes].slice(-MAX_STATES);
    this.#at = this.#states.length - 1;
  }

  undo() {
    this.#at = Math.max(0, this.#at - 1);
  }

  redo() {
    this.#at = Math.min(this.#states.length - 1, this.#at + 1);
  }
}
