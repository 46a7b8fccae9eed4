/**
 * The stage: a picture in grey and in colour, one beside the other along a divider, which zooms
 * and pans. Moving the divider moves a clip; nothing is drawn anew.
 */

const MARGIN = 0.04; // of the shorter side of the stage, around a picture that is not zoomed
const GRIP = 24; // pixels at either side of the divider that move it
const DOUBLE_TAP = 350; // milliseconds
const NUDGE = 40; // pixels that an arrow key pans

const clamp = (value, low, high) => Math.min(high, Math.max(low, value));

/**
 * @param {HTMLElement} root has .picture with .before and .after, .divider, and the input .divide
 * @param {{start, move, end, cancel}} painter is told where strokes go, in pixels of the picture
 */
export function createStage(root, painter) {
  const frame = root.querySelector(".picture");
  const after = root.querySelector(".after");
  const divider = root.querySelector(".divider");
  const divide = root.querySelector(".divide");
  const size = { width: 1, height: 1 }; // of the picture, full
  const view = { zoom: 1, x: 0.5, y: 0.5 }; // x, y: what is in the middle, as shares of the picture
  const pointers = new Map();
  const listeners = [];
  let share = 0.5; // where the divider is in what is seen of the picture
  let tool = "look";
  let gesture = null; // what the pointer that is down does: divide, pan, paint or pinch
  let spaceIsDown = false;
  let lastTap = { time: 0, x: 0, y: 0 };

  /** Pixels of the stage for a pixel of the picture, not zoomed. */
  function fit() {
    const { clientWidth: width, clientHeight: height } = root;
    const margin = 2 * MARGIN * Math.min(width, height);
    return Math.max(1e-4, Math.min((width - margin) / size.width, (height - margin) / size.height));
  }

  const mostZoom = () => Math.max(8, 4 / fit());

  /** Where the picture lies on the stage, after `view` has been brought within its bounds. */
  function box() {
    view.zoom = clamp(view.zoom, 1, mostZoom());
    const scale = fit() * view.zoom;
    const width = size.width * scale;
    const height = size.height * scale;
    const bounded = (middle, length, room) => {
      const half = room / 2 / length;
      return half >= 0.5 ? 0.5 : clamp(middle, half, 1 - half);
    };
    view.x = bounded(view.x, width, root.clientWidth);
    view.y = bounded(view.y, height, root.clientHeight);
    const left = root.clientWidth / 2 - view.x * width;
    const top = root.clientHeight / 2 - view.y * height;
    return { left, top, width, height, scale };
  }

  function draw() {
    const { left, top, width, height, scale } = box();
    frame.style.transform = `translate(${left}px, ${top}px)`;
    frame.style.width = `${width}px`;
    frame.style.height = `${height}px`;
    // The divider crosses what is seen of the picture, so that it can always be reached.
    const first = Math.max(0, left);
    const last = Math.min(root.clientWidth, left + width);
    const at = first + share * (last - first);
    divider.style.transform = `translateX(${at}px)`;
    divider.style.top = `${Math.max(0, top)}px`;
    divider.style.height = `${Math.min(root.clientHeight, top + height) - Math.max(0, top)}px`;
    after.style.clipPath = `inset(0 0 0 ${(100 * clamp(at - left, 0, width)) / width}%)`;
    divide.value = Math.round(100 * share);
    divide.setAttribute("aria-valuetext", `${Math.round(100 * (1 - share))}% in colour`);
    for (const listener of listeners) listener({ zoom: view.zoom, scale });
  }

  /** Coordinates on the stage of a pointer. */
  function onStage({ clientX, clientY }) {
    const { left, top } = root.getBoundingClientRect();
    return [clientX - left - root.clientLeft, clientY - top - root.clientTop];
  }

  /** Coordinates on the stage as pixels of the full-size picture. */
  function toPicture([x, y]) {
    const { left, top, scale } = box();
    return [(x - left) / scale, (y - top) / scale];
  }

  function zoomBy(factor, [x, y] = [root.clientWidth / 2, root.clientHeight / 2]) {
    const [pictureX, pictureY] = toPicture([x, y]);
    view.zoom = clamp(view.zoom * factor, 1, mostZoom());
    const scale = fit() * view.zoom;
    view.x = (pictureX - (x - root.clientWidth / 2) / scale) / size.width;
    view.y = (pictureY - (y - root.clientHeight / 2) / scale) / size.height;
    draw();
  }

  function pan(x, y) {
    const scale = fit() * view.zoom;
    view.x -= x / scale / size.width;
    view.y -= y / scale / size.height;
    draw();
  }

  function moveDivider(x) {
    const { left, width } = box();
    const first = Math.max(0, left);
    const last = Math.min(root.clientWidth, left + width);
    share = clamp((x - first) / (last - first), 0, 1);
    draw();
  }

  const dividerAt = () => divider.getBoundingClientRect().left - root.getBoundingClientRect().left;

  function gestureFor(event, [x]) {
    if (event.button === 1 || spaceIsDown) return "pan";
    const isGrip = Boolean(event.target.closest(".grip"));
    if (tool !== "look") return isGrip ? "divide" : "paint";
    return isGrip || view.zoom === 1 || Math.abs(x - dividerAt()) < GRIP ? "divide" : "pan";
  }

  const pinch = () => {
    const [[x, y], [otherX, otherY]] = [...pointers.values()];
    return { x: (x + otherX) / 2, y: (y + otherY) / 2, gap: Math.hypot(x - otherX, y - otherY) };
  };

  root.addEventListener("pointerdown", (event) => {
    if (event.target.closest("button, input, .over") || event.button === 2) return;
    root.setPointerCapture(event.pointerId);
    const at = onStage(event);
    pointers.set(event.pointerId, at);
    if (pointers.size === 2) {
      if (gesture === "paint") painter.cancel();
      gesture = "pinch";
    } else if (pointers.size === 1) {
      gesture = gestureFor(event, at);
      if (gesture === "paint") painter.start(toPicture(at), at);
      if (gesture === "divide") moveDivider(at[0]);
    }
    root.dataset.gesture = gesture;
  });

  root.addEventListener("pointermove", (event) => {
    const last = pointers.get(event.pointerId);
    const at = onStage(event);
    painter.hover(gesture && gesture !== "paint" ? null : at);
    if (!last) return;
    const before = gesture === "pinch" && pointers.size === 2 ? pinch() : null;
    pointers.set(event.pointerId, at);
    if (gesture === "divide") moveDivider(at[0]);
    if (gesture === "pan") pan(at[0] - last[0], at[1] - last[1]);
    if (gesture === "paint") {
      // A fast mouse is read more often than it is told.
      const all = event.getCoalescedEvents?.() ?? [];
      for (const one of all.length ? all : [event]) painter.move(toPicture(onStage(one)));
    }
    if (before) {
      const now = pinch();
      zoomBy(now.gap / Math.max(1, before.gap), [before.x, before.y]);
      pan(now.x - before.x, now.y - before.y);
    }
  });

  function up(event) {
    if (!pointers.delete(event.pointerId)) return;
    if (gesture === "paint") painter[event.type === "pointerup" ? "end" : "cancel"]();
    else if (event.type === "pointerup" && gesture !== "pinch") tap(event);
    if (!pointers.size) gesture = null;
    root.dataset.gesture = gesture ?? "";
  }
  root.addEventListener("pointerup", up);
  root.addEventListener("pointercancel", up);
  root.addEventListener("pointerleave", () => painter.hover(null));

  /** Two taps at one place show the whole picture again. */
  function tap({ timeStamp, clientX, clientY }) {
    const near = Math.hypot(clientX - lastTap.x, clientY - lastTap.y) < 12;
    const isDouble = near && timeStamp - lastTap.time < DOUBLE_TAP;
    lastTap = { time: isDouble ? 0 : timeStamp, x: clientX, y: clientY };
    if (isDouble) reset();
  }

  root.addEventListener(
    "wheel",
    (event) => {
      if (event.target.closest(".over")) return;
      event.preventDefault();
      const lines = event.deltaMode === 1 ? 18 : 1;
      const speed = event.ctrlKey ? 0.01 : 0.0016; // a pinch on a touchpad comes with ctrlKey
      zoomBy(Math.exp(-event.deltaY * lines * speed), onStage(event));
    },
    { passive: false },
  );

  root.addEventListener("keydown", (event) => {
    if (event.target !== root) return;
    const arrow = { ArrowLeft: [1, 0], ArrowRight: [-1, 0], ArrowUp: [0, 1], ArrowDown: [0, -1] };
    const to = arrow[event.key];
    if (event.key === " ") spaceIsDown = true;
    else if (event.key === "Enter" && tool !== "look") painter.press(toPicture);
    else if (to && tool !== "look") painter.nudge(to, event.shiftKey);
    else if (to) pan(NUDGE * to[0], NUDGE * to[1]);
    else return;
    event.preventDefault();
  });
  addEventListener("keyup", (event) => event.key === " " && (spaceIsDown = false));
  addEventListener("blur", () => (spaceIsDown = false));

  divide.addEventListener("input", () => {
    share = divide.valueAsNumber / 100;
    draw();
  });
  new ResizeObserver(draw).observe(root);

  function reset() {
    Object.assign(view, { zoom: 1, x: 0.5, y: 0.5 });
    draw();
  }

  return {
    reset,
    zoomBy: (factor) => zoomBy(factor),
    toStage: ([x, y]) => {
      const { left, top, scale } = box();
      return [left + x * scale, top + y * scale];
    },
    toPicture,
    ondraw: (listener) => listeners.push(listener),
    get share() {
      return share;
    },
    set share(value) {
      share = value;
      draw();
    },
    set tool(value) {
      tool = value;
      root.dataset.tool = value;
    },
    /** Another picture: its full size, upright. */
    set size({ width, height }) {
      Object.assign(size, { width, height });
      reset();
    },
  };
}
