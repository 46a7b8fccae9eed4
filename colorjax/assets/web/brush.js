/** Painting colour hints: strokes under the pointer, marks, and the colours that the model finds. */

import { ERASER, erased, extended, pixel } from "./hints.js";

const SVG = "http://www.w3.org/2000/svg";
const HINT = 1 / 32; // side of a hint, as a share of the picture's shorter side

/**
 * @param {HTMLElement} root the stage's element, with .marks, .cursor and .palette
 * @param {object} page
 * @param {() => object} page.photo the photograph that is shown: {size, history}
 * @param {(photo: object) => void} page.changed its strokes are others
 * @param {(photo, [x, y], signal) => Promise<Array>} page.suggest the likeliest colours there
 * @param {() => string} page.color of the brush
 * @param {() => boolean} page.isChosen whether a person has chosen that colour
 * @param {(color: string) => void} page.choose another colour for the brush
 * @param {(line: string) => void} page.say for screen readers
 */
export function createBrush(root, page) {
  const marks = root.querySelector(".marks");
  const cursor = root.querySelector(".cursor");
  const palette = root.querySelector(".palette");
  let stage = null;
  let tool = "look";
  let stroke = null; // points while a stroke is painted
  let kept = null; // strokes while the eraser moves
  let place = null; // where the palette is, in pixels of the picture
  let key = null; // where the keyboard's cursor is, on the stage
  let asked = new AbortController();

  function drawMarks() {
    const photo = page.photo();
    marks.replaceChildren();
    if (!photo?.size || tool === "look") return;
    marks.setAttribute("viewBox", `0 0 ${photo.size.width} ${photo.size.height}`);
    const strokes = kept ?? photo.history.strokes;
    for (const one of stroke ? [...strokes, { color: page.color(), points: stroke }] : strokes) {
      for (const kind of ["halo", "mark"]) {
        const line = document.createElementNS(SVG, "path");
        // A line without length is a dot, since its ends are round.
        const points = one.points.map(([x, y]) => `${x + 0.5} ${y + 0.5}`);
        line.setAttribute("d", `M${points.join("L")}${points.length > 1 ? "" : "h0"}`);
        line.setAttribute("class", points.length > 1 ? kind : `${kind} dot`);
        if (kind === "mark") line.setAttribute("stroke", one.color);
        marks.append(line);
      }
    }
  }

  function commit(strokes) {
    const photo = page.photo();
    if (strokes !== photo.history.strokes) {
      photo.history.push(strokes);
      page.changed(photo);
    }
    drawMarks();
  }

  function moveCursor(at) {
    const photo = page.photo();
    cursor.hidden = !at || !photo?.size || tool === "look";
    if (cursor.hidden) return;
    const [left] = stage.toStage([0, 0]);
    const [right] = stage.toStage([photo.size.width, 0]);
    const shorter = Math.min(photo.size.width, photo.size.height) / photo.size.width;
    const side = Math.max(8, (tool === "erase" ? 2 * ERASER : HINT) * shorter * (right - left));
    cursor.style.transform = `translate(${at[0] - side / 2}px, ${at[1] - side / 2}px)`;
    cursor.style.width = cursor.style.height = `${side}px`;
    cursor.style.setProperty("--color", tool === "erase" ? "transparent" : page.color());
  }

  function closePalette() {
    asked.abort();
    palette.hidden = true;
    place = null;
  }

  /** Shows the model's colours for a place; the one that is chosen is that of the last stroke. */
  async function openPalette(at) {
    closePalette();
    const photo = page.photo();
    asked = new AbortController();
    const { signal } = asked;
    place = at;
    other.value = page.color();
    palette.hidden = false;
    palette.classList.add("busy");
    palette.querySelector(".swatches").replaceChildren();
    movePalette();
    try {
      const colors = await page.suggest(photo, pixel(at, photo.size), signal);
      if (signal.aborted) return;
      palette.querySelector(".swatches").replaceChildren(...colors.map(swatch));
      palette.classList.remove("busy");
      movePalette();
      page.say(`${colors.length} likely colours for this place`);
    } catch {
      palette.classList.remove("busy"); // any colour can still be chosen
    }
  }

  function swatch({ color, probability }) {
    const button = document.createElement("button");
    const percent = `${Math.round(100 * probability)}%`;
    button.type = "button";
    button.style.setProperty("--color", color);
    button.dataset.color = color;
    button.setAttribute("aria-label", `${color}, ${percent} likely`);
    button.title = `${color}, ${percent} likely`;
    button.append(Object.assign(document.createElement("small"), { textContent: percent }));
    button.addEventListener("click", () => recolor(color));
    return button;
  }

  /** Gives the last stroke, or the place that was asked for, another colour. */
  function recolor(color) {
    const { history, size } = page.photo();
    const last = history.strokes.at(-1);
    const isLast = last?.points.some((point) => String(point) === String(pixel(place, size)));
    page.choose(color);
    const others = isLast ? history.strokes.slice(0, -1) : history.strokes;
    commit([...others, { color, points: isLast ? last.points : [pixel(place, size)] }]);
    closePalette();
    root.focus({ preventScroll: true });
  }

  function movePalette() {
    if (palette.hidden) return;
    const [x, y] = stage.toStage(place);
    const { offsetWidth: width, offsetHeight: height } = palette;
    const left = Math.min(root.clientWidth - width - 8, Math.max(8, x - width / 2));
    const above = y - height - 22;
    const top = above > 8 ? above : Math.min(root.clientHeight - height - 8, y + 22);
    palette.style.transform = `translate(${left}px, ${top}px)`;
  }

  const isInside = ([x, y], { width, height }) => x >= 0 && y >= 0 && x < width && y < height;

  const painter = {
    start(at) {
      const { history, size } = page.photo();
      closePalette();
      if (tool === "erase") kept = erased(history.strokes, at, size);
      else if (isInside(at, size)) stroke = [pixel(at, size)];
      drawMarks();
    },
    move(at) {
      const { size } = page.photo();
      if (tool === "erase" && kept) kept = erased(kept, at, size);
      else if (stroke) stroke = extended(stroke, at, size);
      drawMarks();
    },
    end() {
      const { history } = page.photo();
      if (kept) commit(kept);
      if (stroke) {
        const points = stroke;
        stroke = null;
        // Whoever has chosen no colour yet is asked for one first, so that no wrong one appears.
        const first = points.length === 1 && !page.isChosen();
        if (!first) commit([...history.strokes, { color: page.color(), points }]);
        openPalette(points.at(-1));
      }
      painter.cancel();
    },
    cancel() {
      stroke = kept = null;
      drawMarks();
    },
    hover: moveCursor,
    /** The keyboard moves the cursor, */
    nudge([x, y], isFar) {
      const step = isFar ? 40 : 8;
      key ??= [root.clientWidth / 2, root.clientHeight / 2];
      const inside = (value, length) => Math.min(length, Math.max(0, value));
      key = [
        inside(key[0] - step * x, root.clientWidth),
        inside(key[1] - step * y, root.clientHeight),
      ];
      moveCursor(key);
    },
    /** and presses. */
    press(toPicture) {
      painter.nudge([0, 0]);
      painter.start(toPicture(key));
      painter.end();
    },
  };

  const other = palette.querySelector("input");
  other.addEventListener("change", () => recolor(other.value));
  palette.querySelector(".close").addEventListener("click", closePalette);
  root.addEventListener("keydown", (event) => {
    if (event.key === "Escape" && !palette.hidden) {
      closePalette();
      root.focus();
    }
  });

  return {
    painter,
    set stage(value) {
      stage = value;
      stage.ondraw(movePalette);
    },
    set tool(value) {
      tool = value;
      key = null;
      closePalette();
      moveCursor(null);
      drawMarks();
    },
    /** Another photograph, or other strokes. */
    refresh() {
      closePalette();
      painter.cancel();
    },
    drawMarks,
  };
}
