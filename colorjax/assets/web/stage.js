/**
 * The stage: a picture in grey and in colour on the two sides of a divider, with zoom and pan. The
 * divider changes a clip path only, which does not render the pictures again.
 */

const MARGIN = 0.04; // of the shorter side of the stage, around a picture that is not zoomed

const clamp = (value, low, high) => Math.min(high, Math.max(low, value));

/** Coordinates are pixels of the stage, or pixels of the full-size picture where it says so. */
export class Stage {
  #frame;
  #after;
  #divider;
  #range;
  #size = { width: 1, height: 1 }; // of the picture
  #zoom = 1;
  #middle = { x: 0.5, y: 0.5 }; // what is in the middle of the stage, as shares of the picture
  #share = 0.5; // where the divider is in what is seen of the picture
  #tool = "look";
  #listeners = [];

  /** @param {HTMLElement} root has .picture with .after, and .divider and the input .divide */
  constructor(root) {
    this.root = root;
    this.#frame = root.querySelector(".picture");
    this.#after = root.querySelector(".after");
    this.#divider = root.querySelector(".divider");
    this.#range = root.querySelector(".divide");
    this.#range.addEventListener("input", () => {
      this.share = this.#range.valueAsNumber / 100;
    });
    new ResizeObserver(() => this.#draw()).observe(root);
  }

  /** Another picture, by its full size, upright. */
  set size({ width, height }) {
    this.#size = { width, height };
    this.reset();
  }

  get tool() {
    return this.#tool;
  }

  set tool(value) {
    this.#tool = value;
    this.root.dataset.tool = value;
  }

  get zoom() {
    return this.#zoom;
  }

  get share() {
    return this.#share;
  }

  set share(value) {
    this.#share = clamp(value, 0, 1);
    this.#draw();
  }

  /** Where the divider is. */
  get dividerAt() {
    const [first, last] = this.#seen();
    return first + this.#share * (last - first);
  }

  set dividerAt(x) {
    const [first, last] = this.#seen();
    this.share = (x - first) / (last - first);
  }

  /** `listener` is called with the zoom whenever something has moved. */
  ondraw(listener) {
    this.#listeners.push(listener);
  }

  /** Shows the whole picture. */
  reset() {
    this.#zoom = 1;
    this.#draw();
  }

  /** Zooms; what is at `place` stays there. */
  zoomBy(factor, place = [this.root.clientWidth / 2, this.root.clientHeight / 2]) {
    const [x, y] = this.toPicture(place);
    this.#zoom = clamp(this.#zoom * factor, 1, this.#mostZoom());
    const scale = this.#fit() * this.#zoom;
    this.#middle = {
      x: (x - (place[0] - this.root.clientWidth / 2) / scale) / this.#size.width,
      y: (y - (place[1] - this.root.clientHeight / 2) / scale) / this.#size.height,
    };
    this.#draw();
  }

  pan(x, y) {
    const scale = this.#fit() * this.#zoom;
    this.#middle.x -= x / scale / this.#size.width;
    this.#middle.y -= y / scale / this.#size.height;
    this.#draw();
  }

  /** A place on the stage as pixels of the picture. */
  toPicture([x, y]) {
    const { left, top, scale } = this.#box();
    return [(x - left) / scale, (y - top) / scale];
  }

  /** The inverse of `toPicture`. */
  toStage([x, y]) {
    const { left, top, scale } = this.#box();
    return [left + x * scale, top + y * scale];
  }

  /** Pixels of the stage for a pixel of the picture, not zoomed. */
  #fit() {
    const { clientWidth, clientHeight } = this.root;
    const margin = 2 * MARGIN * Math.min(clientWidth, clientHeight);
    const { width, height } = this.#size;
    return Math.max(1e-4, Math.min((clientWidth - margin) / width, (clientHeight - margin) / height));
  }

  #mostZoom() {
    return Math.max(8, 4 / this.#fit());
  }

  /** Where the picture lies, after the view has been brought within its bounds. */
  #box() {
    this.#zoom = clamp(this.#zoom, 1, this.#mostZoom());
    const scale = this.#fit() * this.#zoom;
    const [width, height] = [this.#size.width * scale, this.#size.height * scale];
    const bounded = (middle, length, room) => {
      const half = room / 2 / length;
      return half >= 0.5 ? 0.5 : clamp(middle, half, 1 - half);
    };
    this.#middle.x = bounded(this.#middle.x, width, this.root.clientWidth);
    this.#middle.y = bounded(this.#middle.y, height, this.root.clientHeight);
    const left = this.root.clientWidth / 2 - this.#middle.x * width;
    const top = this.root.clientHeight / 2 - this.#middle.y * height;
    return { left, top, width, height, scale };
  }

  /** From where to where the picture is seen. The divider crosses this, so it can be reached. */
  #seen() {
    const { left, width } = this.#box();
    return [Math.max(0, left), Math.min(this.root.clientWidth, left + width)];
  }

  #draw() {
    const { left, top, width, height } = this.#box();
    this.#frame.style.transform = `translate(${left}px, ${top}px)`;
    this.#frame.style.width = `${width}px`;
    this.#frame.style.height = `${height}px`;
    const at = this.dividerAt;
    const first = Math.max(0, top);
    this.#divider.style.transform = `translate(${at}px, ${first}px)`;
    this.#divider.style.height = `${Math.min(this.root.clientHeight, top + height) - first}px`;
    this.#after.style.clipPath = `inset(0 0 0 ${(100 * clamp(at - left, 0, width)) / width}%)`;
    this.#range.value = Math.round(100 * this.#share);
    const colored = Math.round(100 * (1 - this.#share));
    this.#range.setAttribute("aria-valuetext", `${colored}% in colour`);
    for (const listener of this.#listeners) listener(this.#zoom);
  }
}
