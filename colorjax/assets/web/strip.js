/** The film strip: every photograph, how far it is, and which one is shown. */

/** What is said about a photograph: in a line, and in two or three words. */
export function describe({ state, progress, place, waiting, error }) {
  if (state === "ready") return { line: "", short: "" };
  if (state === "failed") return { line: error, short: "Failed" };
  if (state === "queued") return { line: "Waiting", short: "Waiting" };
  if (state === "sending" && progress < 1) {
    const percent = `${Math.round(100 * progress)}%`;
    return { line: `Sending, ${percent}`, short: percent };
  }
  if (place) {
    const of = `${place} of ${Math.max(place, waiting)}`;
    return { line: `Place ${of} in the queue`, short: of };
  }
  const line = state === "sending" ? "Reading" : "Colouring";
  return { line, short: line };
}

/** Draws photographs into `list`; `select` and `remove` are called with one of them. */
export function createStrip(list, { select, remove }) {
  const frames = new Map();

  function frameOf(photo) {
    const frame = document.createElement("li");
    frame.innerHTML = `<button type="button" class="frame"><img alt=""><span class="bar"></span>
      <small></small></button><button type="button" class="remove icon"><svg aria-hidden="true">
      <use href="static/icons.svg#close"/></svg></button>`;
    const [show, drop] = frame.querySelectorAll("button");
    show.title = photo.file.name;
    drop.setAttribute("aria-label", `Remove ${photo.file.name}`);
    show.addEventListener("click", () => select(photo));
    drop.addEventListener("click", () => remove(photo));
    return frame;
  }

  return function render(photos, current) {
    for (const [photo, frame] of frames) {
      if (!photos.includes(photo)) {
        frame.remove();
        frames.delete(photo);
      }
    }
    for (const photo of photos) {
      if (!frames.has(photo)) {
        frames.set(photo, frameOf(photo));
        list.append(frames.get(photo));
      }
      const frame = frames.get(photo);
      const show = frame.querySelector(".frame");
      const image = frame.querySelector("img");
      const source = photo.after ?? photo.before;
      if (source && image.src !== source) image.src = source;
      image.hidden = !source;
      frame.dataset.state = photo.state;
      const { line, short } = describe(photo);
      frame.querySelector("small").textContent = short;
      frame.querySelector(".bar").style.transform = `scaleX(${photo.progress ?? 0})`;
      show.setAttribute("aria-label", `${photo.file.name}${line && `: ${line}`}`);
      if (photo === current && show.getAttribute("aria-current") !== "true") {
        frame.scrollIntoView({ block: "nearest", inline: "nearest" });
      }
      show.setAttribute("aria-current", String(photo === current));
    }
  };
}
