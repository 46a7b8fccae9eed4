/** What pointers, wheels and keys do on the stage: divide, pan, zoom, and paint. */

const GRIP = 24; // pixels at either side of the divider that move it
const DOUBLE_TAP = 350; // milliseconds
const NUDGE = 40; // pixels that an arrow key pans
const ARROWS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };

export class Gestures {
  #stage;
  #painter;
  #root;
  #pointers = new Map(); // places of those that are down
  #gesture = null; // what they do: divide, pan, paint or pinch
  #spaceIsDown = false;
  #lastTap = { time: 0, x: 0, y: 0 };

  /**
   * @param {Stage} stage
   * @param {{start, move, end, cancel, hover, nudge, press}} painter see `Brush`
   */
  constructor(stage, painter) {
    this.#stage = stage;
    this.#painter = painter;
    this.#root = stage.root;
    const on = (kind, act, options) => this.#root.addEventListener(kind, act.bind(this), options);
    on("pointerdown", this.#down);
    on("pointermove", this.#move);
    on("pointerup", this.#up);
    on("pointercancel", this.#up);
    on("pointerleave", () => painter.hover(null));
    on("wheel", this.#wheel, { passive: false });
    on("keydown", this.#key);
    addEventListener("keyup", ({ key }) => key === " " && (this.#spaceIsDown = false));
    addEventListener("blur", () => (this.#spaceIsDown = false));
  }

  /** The place of an event on the stage. */
  #place({ clientX, clientY }) {
    const { left, top } = this.#root.getBoundingClientRect();
    return [clientX - left, clientY - top];
  }

  #begin(gesture) {
    this.#gesture = gesture;
    this.#root.dataset.gesture = gesture ?? "";
  }

  #down(event) {
    if (event.target.closest("button, input, .over") || event.button === 2) return;
    this.#root.setPointerCapture(event.pointerId);
    const place = this.#place(event);
    this.#pointers.set(event.pointerId, place);
    if (this.#pointers.size === 2) {
      if (this.#gesture === "paint") this.#painter.cancel();
      this.#begin("pinch");
    } else if (this.#pointers.size === 1) {
      this.#begin(this.#gestureOf(event, place));
      if (this.#gesture === "paint") this.#painter.start(this.#stage.toPicture(place));
      if (this.#gesture === "divide") this.#stage.dividerAt = place[0];
    }
  }

  #gestureOf(event, [x]) {
    if (event.button === 1 || this.#spaceIsDown) return "pan";
    const isGrip = Boolean(event.target.closest(".grip"));
    if (this.#stage.tool !== "look") return isGrip ? "divide" : "paint";
    const isNear = Math.abs(x - this.#stage.dividerAt) < GRIP;
    return isGrip || isNear || this.#stage.zoom === 1 ? "divide" : "pan";
  }

  #move(event) {
    const last = this.#pointers.get(event.pointerId);
    const place = this.#place(event);
    this.#painter.hover(!this.#gesture || this.#gesture === "paint" ? place : null);
    if (!last) return;
    if (this.#gesture === "pinch") return this.#pinch(event.pointerId, place);
    this.#pointers.set(event.pointerId, place);
    if (this.#gesture === "divide") this.#stage.dividerAt = place[0];
    if (this.#gesture === "pan") this.#stage.pan(place[0] - last[0], place[1] - last[1]);
    if (this.#gesture === "paint") {
      // A fast mouse is read more often than events are sent.
      const all = event.getCoalescedEvents?.() ?? [];
      for (const one of all.length ? all : [event]) {
        this.#painter.move(this.#stage.toPicture(this.#place(one)));
      }
    }
  }

  /** Two fingers: the picture stays under them. */
  #pinch(pointer, place) {
    const state = () => {
      const [[x, y], [otherX, otherY]] = [...this.#pointers.values()];
      const gap = Math.hypot(x - otherX, y - otherY);
      return { x: (x + otherX) / 2, y: (y + otherY) / 2, gap: Math.max(1, gap) };
    };
    const before = this.#pointers.size === 2 && state();
    this.#pointers.set(pointer, place);
    if (!before) return;
    const now = state();
    this.#stage.zoomBy(now.gap / before.gap, [before.x, before.y]);
    this.#stage.pan(now.x - before.x, now.y - before.y);
  }

  #up(event) {
    if (!this.#pointers.delete(event.pointerId)) return;
    const isUp = event.type === "pointerup";
    if (this.#gesture === "paint") this.#painter[isUp ? "end" : "cancel"]();
    else if (isUp && this.#gesture !== "pinch") this.#tap(event);
    if (!this.#pointers.size) this.#begin(null);
  }

  /** Two taps at one place show the whole picture again. */
  #tap({ timeStamp: time, clientX: x, clientY: y }) {
    const isNear = Math.hypot(x - this.#lastTap.x, y - this.#lastTap.y) < 12;
    const isDouble = isNear && time - this.#lastTap.time < DOUBLE_TAP;
    this.#lastTap = { time: isDouble ? 0 : time, x, y };
    if (isDouble) this.#stage.reset();
  }

  #wheel(event) {
    if (event.target.closest(".over")) return;
    event.preventDefault();
    const pixels = event.deltaMode === 1 ? 18 : 1; // of a line
    const speed = event.ctrlKey ? 0.01 : 0.0016; // a pinch on a touchpad comes with ctrlKey
    this.#stage.zoomBy(Math.exp(-event.deltaY * pixels * speed), this.#place(event));
  }

  #key(event) {
    if (event.target !== this.#root) return;
    const isPainting = this.#stage.tool !== "look";
    const arrow = ARROWS[event.key];
    if (event.key === " ") this.#spaceIsDown = true;
    else if (event.key === "Enter" && isPainting) this.#painter.press();
    else if (arrow && isPainting) this.#painter.nudge(arrow, event.shiftKey);
    else if (arrow) this.#stage.pan(-NUDGE * arrow[0], -NUDGE * arrow[1]);
    else return;
    event.preventDefault();
  }
}
