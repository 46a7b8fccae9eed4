/** Painting colour hints: strokes under the pointer, and marks where hints are. */

import { ERASER, erased, extended, pixel } from "./hints.js";
import { Palette } from "./palette.js";

const SVG = "http://www.w3.org/2000/svg";
const HINT = 1 / 32; // side of a hint, as a share of the picture's shorter side
const STEP = 8; // pixels that an arrow key moves the cursor
const LONG_STEP = 40;

const isInside = ([x, y], { width, height }) => x >= 0 && y >= 0 && x < width && y < height;

/** A path in the picture's pixels. */
function path(points, kind) {
  const line = document.createElementNS(SVG, "path");
  const places = points.map(([x, y]) => `${x + 0.5} ${y + 0.5}`);
  // A line without length is a dot, since its ends are round.
  line.setAttribute("d", `M${places.join("L")}${points.length > 1 ? "" : "h0"}`);
  line.setAttribute("class", points.length > 1 ? kind : `${kind} dot`);
  return line;
}

/** Paints on the photograph that is shown. Its methods are called by `Gestures`. */
export class Brush {
  #stage;
  #page;
  #palette;
  #marks;
  #cursor;
  #tool = "look";
  #stroke = null; // points while a stroke is painted
  #kept = null; // strokes while the eraser moves
  #last = [0, 0]; // where the pointer was
  #at = null; // where the keyboard's cursor is, on the stage

  /**
   * @param {Stage} stage its element has .marks, .cursor and .palette
   * @param {object} page
   * @param {() => object} page.photo the photograph that is shown: {size, history}
   * @param {(photo: object) => void} page.changed its strokes are others
   * @param {(photo, [x, y], strokes, signal) => Promise<Array>} page.suggest the likeliest colours
   *   there, given these strokes
   * @param {() => string} page.color of the brush
   * @param {() => boolean} page.isChosen whether a person has chosen that colour
   * @param {(color: string) => void} page.choose another colour for the brush
   * @param {(line: string) => void} page.say for screen readers
   */
  constructor(stage, page) {
    this.#stage = stage;
    this.#page = page;
    this.#marks = stage.root.querySelector(".marks");
    this.#cursor = stage.root.querySelector(".cursor");
    this.#palette = new Palette(stage, (color, place) => this.#recolor(color, place));
  }

  set tool(value) {
    this.#tool = value;
    this.#at = null;
    this.hover(null);
    this.refresh();
  }

  /** Another photograph, or other strokes. */
  refresh() {
    this.#palette.close();
    this.cancel();
  }

  /** A stroke starts at a place in pixels of the picture, */
  start(place) {
    const { history, size } = this.#page.photo();
    if (!size) return; // it is not known yet
    this.#palette.close();
    this.#last = place;
    if (this.#tool === "erase") this.#kept = erased(history.strokes, place, place, size);
    else if (isInside(place, size)) this.#stroke = [pixel(place, size)];
    this.#draw();
  }

  /** comes to another, */
  move(place) {
    const { size } = this.#page.photo();
    if (this.#kept) this.#kept = erased(this.#kept, this.#last, place, size);
    else if (this.#stroke) this.#stroke = extended(this.#stroke, place, size);
    this.#last = place;
    this.#draw();
  }

  /** ends, */
  end() {
    const { strokes } = this.#page.photo().history;
    const points = this.#stroke;
    const kept = this.#kept;
    this.cancel();
    if (kept) this.#commit(kept);
    if (!points) return;
    // Whoever has chosen no colour yet is asked for one first, so that no wrong one appears.
    const isQuestion = points.length === 1 && !this.#page.isChosen();
    if (!isQuestion) this.#commit([...strokes, { color: this.#page.color(), points }]);
    this.#ask(points.at(-1), strokes);
  }

  /** or counts for nothing. */
  cancel() {
    this.#stroke = this.#kept = null;
    this.#draw();
  }

  /** The cursor is at a place of the stage, or nowhere. */
  hover(place) {
    const size = this.#page.photo()?.size;
    this.#cursor.hidden = !place || !size || this.#tool === "look";
    if (this.#cursor.hidden) return;
    const isEraser = this.#tool === "erase";
    const [left] = this.#stage.toStage([0, 0]);
    const [right] = this.#stage.toStage([Math.min(size.width, size.height), 0]);
    const side = Math.max(8, (isEraser ? 2 * ERASER : HINT) * (right - left));
    const { style } = this.#cursor;
    style.transform = `translate(${place[0] - side / 2}px, ${place[1] - side / 2}px)`;
    style.width = style.height = `${side}px`;
    style.setProperty("--color", isEraser ? "transparent" : this.#page.color());
  }

  /** The keyboard moves the cursor, */
  nudge([x, y], isFar) {
    const { clientWidth, clientHeight } = this.#stage.root;
    const [atX, atY] = this.#at ?? [clientWidth / 2, clientHeight / 2];
    const step = isFar ? LONG_STEP : STEP;
    const inside = (value, length) => Math.min(length, Math.max(0, value));
    this.#at = [inside(atX + step * x, clientWidth), inside(atY + step * y, clientHeight)];
    this.hover(this.#at);
  }

  /** and presses. */
  press() {
    this.nudge([0, 0]);
    this.start(this.#stage.toPicture(this.#at));
    this.end();
  }

  #commit(strokes) {
    const photo = this.#page.photo();
    if (strokes !== photo.history.strokes) {
      photo.history.push(strokes);
      this.#page.changed(photo);
    }
    this.#draw();
  }

  /** What the model would choose there, if it had not been told. */
  async #ask(place, strokes) {
    const photo = this.#page.photo();
    const suggest = (signal) => this.#page.suggest(photo, place, strokes, signal);
    const middle = [place[0] + 0.5, place[1] + 0.5];
    const count = await this.#palette.open(middle, this.#page.color(), suggest);
    if (count) this.#page.say(`${count} likely colours for this place`);
  }

  /** Gives the last stroke, or else the place that was asked for, another colour. */
  #recolor(color, place) {
    const { history, size } = this.#page.photo();
    const point = pixel(place, size);
    const last = history.strokes.at(-1);
    const isLast = last?.points.some(([x, y]) => x === point[0] && y === point[1]);
    this.#page.choose(color);
    const others = isLast ? history.strokes.slice(0, -1) : history.strokes;
    this.#commit([...others, { color, points: isLast ? last.points : [point] }]);
  }

  #draw() {
    const photo = this.#page.photo();
    this.#marks.replaceChildren();
    if (!photo?.size || this.#tool === "look") return;
    const { width, height } = photo.size;
    this.#marks.setAttribute("viewBox", `0 0 ${width} ${height}`);
    const strokes = [...(this.#kept ?? photo.history.strokes)];
    if (this.#stroke) strokes.push({ color: this.#page.color(), points: this.#stroke });
    for (const { color, points } of strokes) {
      const mark = path(points, "mark");
      mark.setAttribute("stroke", color);
      this.#marks.append(path(points, "halo"), mark);
    }
  }
}
