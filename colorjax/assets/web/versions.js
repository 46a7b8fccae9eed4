/** Several ways to colour a photograph, side by side to choose from. */

const COUNT = 4;

/**
 * @param {HTMLElement} root where they are shown, over the stage
 * @param {{candidates, choose, closed}} page `candidates(photo, count, signal)` gives addresses of
 *   images; `choose(photo, index)` takes one; `closed(hadFocus)` is told when none are shown any more
 */
export function createVersions(root, page) {
  let asked = new AbortController();

  function close() {
    asked.abort();
    if (root.hidden) return;
    const hadFocus = root.contains(document.activeElement);
    root.hidden = true;
    root.replaceChildren();
    cover(false);
    page.closed(hadFocus);
  }

  /** What lies below the versions cannot be reached. */
  function cover(isCovered) {
    for (const other of root.parentElement.children) other.inert = isCovered && other !== root;
  }

  async function open(photo) {
    close();
    asked = new AbortController();
    const { signal } = asked;
    const { width, height } = photo.size;
    root.hidden = false;
    cover(true);
    root.classList.add("busy");
    root.classList.toggle("portrait", height > width);
    const tiles = Array.from({ length: COUNT }, (_, index) => {
      const tile = document.createElement("button");
      tile.type = "button";
      tile.disabled = true;
      const name = index ? `Version ${index}` : "The answer";
      tile.innerHTML = `<img alt=""><small>${name}</small>`;
      tile.querySelector("img").src = photo.before;
      tile.setAttribute("aria-label", name);
      tile.setAttribute("aria-pressed", String(index === photo.look.candidate));
      tile.addEventListener("click", () => {
        close();
        page.choose(photo, index);
      });
      return tile;
    });
    root.replaceChildren(...tiles);
    try {
      const addresses = await page.candidates(photo, COUNT, signal);
      if (signal.aborted) return;
      addresses.forEach((address, index) => {
        tiles[index].querySelector("img").src = address;
        tiles[index].disabled = false;
      });
      tiles.slice(addresses.length).forEach((tile) => tile.remove());
      tiles[Math.min(photo.look.candidate, addresses.length - 1)].focus();
    } catch (error) {
      if (signal.aborted) return;
      close();
      throw error;
    } finally {
      if (!signal.aborted) root.classList.remove("busy");
    }
  }

  root.addEventListener("keydown", (event) => event.key === "Escape" && close());
  return { open, close, isOpen: () => !root.hidden };
}
