/** The colours that the model finds likeliest at a place, beside it. */

const GAP = 22; // pixels between the place and the palette
const EDGE = 8; // pixels between the palette and the edges of the stage

function swatch({ color, probability }, choose) {
  const button = document.createElement("button");
  const percent = `${Math.round(100 * probability)}%`;
  button.type = "button";
  button.style.setProperty("--color", color);
  button.dataset.color = color;
  button.title = `${color}, ${percent} likely`;
  button.setAttribute("aria-label", button.title);
  button.append(Object.assign(document.createElement("small"), { textContent: percent }));
  button.addEventListener("click", () => choose(color));
  return button;
}

export class Palette {
  #stage;
  #root;
  #swatches;
  #choose;
  #place = null; // in pixels of the picture
  #asked = new AbortController();

  /**
   * @param {Stage} stage
   * @param {(color: string, place: [number, number]) => void} choose a person has chosen
   */
  constructor(stage, choose) {
    this.#stage = stage;
    this.#root = stage.root.querySelector(".palette");
    this.#swatches = this.#root.querySelector(".swatches");
    this.#choose = (color) => {
      const place = this.#place;
      leave();
      choose(color, place);
    };
    const other = this.#root.querySelector("input");
    other.addEventListener("change", () => this.#choose(other.value));
    const leave = () => {
      this.close();
      stage.root.focus({ preventScroll: true });
    };
    this.#root.querySelector(".close").addEventListener("click", leave);
    stage.root.addEventListener("keydown", ({ key }) => {
      if (key === "Escape" && !this.#root.hidden) leave();
    });
    stage.ondraw(() => this.#move());
  }

  close() {
    this.#asked.abort();
    this.#root.hidden = true;
    this.#place = null;
  }

  /**
   * Shows colours; until they are known any other colour can be chosen.
   *
   * @param {[number, number]} place in pixels of the picture
   * @param {string} color that is offered besides
   * @param {(signal: AbortSignal) => Promise<Array>} suggest gives {color, probability}
   * @returns {Promise<number>} how many colours are shown
   */
  async open(place, color, suggest) {
    this.close();
    this.#asked = new AbortController();
    const { signal } = this.#asked;
    this.#place = place;
    this.#root.hidden = false;
    this.#root.classList.add("busy");
    this.#root.querySelector("input").value = color;
    this.#swatches.replaceChildren();
    this.#move();
    const colors = await suggest(signal).catch(() => []);
    if (signal.aborted) return 0;
    this.#swatches.replaceChildren(...colors.map((one) => swatch(one, this.#choose)));
    this.#root.classList.remove("busy");
    this.#move();
    return colors.length;
  }

  /** Above the place, or below it; within the stage. */
  #move() {
    if (this.#root.hidden) return;
    const [x, y] = this.#stage.toStage(this.#place);
    const { clientWidth, clientHeight } = this.#stage.root;
    const { offsetWidth: width, offsetHeight: height } = this.#root;
    const left = Math.min(clientWidth - width - EDGE, Math.max(EDGE, x - width / 2));
    const above = y - height - GAP;
    const top = above > EDGE ? above : Math.min(clientHeight - height - EDGE, y + GAP);
    this.#root.style.transform = `translate(${left}px, ${top}px)`;
  }
}
