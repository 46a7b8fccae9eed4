/** The photographs of the page, and the work on them: handed over, coloured, coloured again. */

import { History, toHints } from "./hints.js";

const AT_ONCE = 2; // photographs in work; the others wait here, not in the server's queue
const TOO_LARGE = 413; // as the server would say
const IMAGES = ["before", "after", "unsure"]; // addresses of a photograph's images

export const plainLook = () => ({ saturation: 1, temperature: null, candidate: 0 });

const isWorking = ({ state }) => state === "sending" || state === "coloring";
/** What the engine calls a photograph in its queue. */
const nameOf = ({ picture, ticket }) => picture?.id ?? ticket;

/** Signals of which each aborts the one before. */
function signals() {
  let controller = new AbortController();
  return () => {
    controller.abort();
    controller = new AbortController();
    return controller.signal;
  };
}

/** Replaces one of a photograph's images, and frees the old one. */
function setImage(photo, name, blob) {
  if (photo[name]) URL.revokeObjectURL(photo[name]);
  photo[name] = blob && URL.createObjectURL(blob);
}

/**
 * A photograph is {file, state, look, history, …}. Its state is queued, sending, coloring, ready or
 * failed; `picture` is what the engine knows it as, and `size` the upright full size.
 */
function create(file) {
  return {
    file,
    state: "queued",
    look: plainLook(),
    history: new History(),
    ticket: `t${Math.random().toString(36).slice(2)}`,
    stop: new AbortController(),
    nextColors: signals(),
    nextUnsure: signals(),
  };
}

export class Photos {
  all = [];
  /** That colours them, one of those that the engine has. */
  model = { name: "", hints: false, distribution: false };
  /** What the engine accepts: `bytes` of a file, if it says so. */
  limits = {};
  #engine;
  #changed;
  #working = 0;
  #watched = "";
  #stopWatching = () => {};

  /**
   * @param {object} engine see engine.js
   * @param {(photo: object) => void} changed something about a photograph is to be shown
   */
  constructor(engine, changed) {
    this.#engine = engine;
    this.#changed = changed;
  }

  /** What the model can do, see the engine. */
  get abilities() {
    return this.#engine.abilities(this.model);
  }

  /** All that a look is, as the engine takes it; what the model cannot do is left out. */
  look(photo) {
    const { hints, distribution } = this.abilities;
    const { saturation, temperature, candidate } = photo.look;
    return {
      saturation,
      ...(distribution && { temperature, candidate }),
      ...(hints && { hints: toHints(photo.history.strokes) }),
    };
  }

  /** Takes files in. */
  add(files) {
    const added = files.map(create);
    this.all.push(...added);
    this.#work();
    return added;
  }

  remove(photo) {
    this.#forget(photo);
    this.all.splice(this.all.indexOf(photo), 1);
    this.#watch();
  }

  /** Colours a photograph from the start. */
  retry(photo) {
    this.#requeue(photo);
    this.#changed(photo);
    this.#work();
  }

  /** Colours all of them with another model. */
  restart(model) {
    this.model = model;
    for (const photo of this.all) this.#requeue(photo);
    this.#work();
  }

  forgetAll() {
    for (const photo of this.all) this.#forget(photo);
  }

  /**
   * Colours a photograph as its look is now; what was under way for an older look ends. One that
   * the engine has not taken yet gets the look that it has then.
   */
  async recolor(photo) {
    if (!photo.picture) return;
    const signal = photo.nextColors();
    const wanted = this.look(photo);
    this.#update(photo, { state: "coloring" });
    try {
      const blob = await this.#engine.preview(photo.picture, wanted, signal);
      if (signal.aborted) return;
      setImage(photo, "after", blob);
      this.#update(photo, { state: "ready", shown: wanted.saturation, place: null });
    } catch (error) {
      if (signal.aborted) return;
      this.#fail(photo, error);
      throw error;
    }
  }

  /** How unsure the model is of a photograph with its hints, unless that is known or asked. */
  async findUnsure(photo) {
    const { strokes } = photo.history;
    if (!photo.picture || photo.unsureOf === strokes) return;
    const signal = photo.nextUnsure();
    photo.unsureOf = strokes;
    try {
      const blob = await this.#engine.uncertainty(photo.picture, this.look(photo), signal);
      if (signal.aborted) return;
      setImage(photo, "unsure", blob);
      this.#changed(photo);
    } catch (error) {
      if (signal.aborted) return;
      photo.unsureOf = null;
      setImage(photo, "unsure", null);
      throw error;
    }
  }

  #work() {
    const next = this.all.find(({ state }) => state === "queued");
    if (!next || this.#working >= AT_ONCE) return;
    this.#working += 1;
    this.#process(next).finally(() => {
      this.#working -= 1;
      this.#work();
    });
    this.#work();
  }

  async #process(photo) {
    const { signal } = photo.stop;
    try {
      this.#checkSize(photo.file);
      this.#update(photo, { state: "sending", progress: 0 });
      const onprogress = (progress) => this.#update(photo, { progress });
      const { file, ticket } = photo;
      const { name } = this.model;
      const picture = await this.#engine.add(file, name, ticket, signal, onprogress);
      if (signal.aborted) return this.#engine.remove(picture);
      this.#update(photo, { picture, size: picture, state: "coloring", progress: 1 });
      const grey = await this.#engine.grey(picture, signal);
      if (signal.aborted) return;
      setImage(photo, "before", grey);
      this.#changed(photo);
      await this.recolor(photo);
    } catch (error) {
      if (!signal.aborted) this.#fail(photo, error);
    }
  }

  #checkSize({ size }) {
    const { bytes } = this.limits;
    if (!(size > bytes)) return;
    const message = `The file is larger than ${Math.round(bytes / 2 ** 20)} MiB.`;
    throw Object.assign(new Error(message), { status: TOO_LARGE });
  }

  #update(photo, changes) {
    Object.assign(photo, changes);
    this.#watch();
    this.#changed(photo);
  }

  /** An error that is not the fault of the file may pass. What has colours keeps them. */
  #fail(photo, error) {
    const state = photo.after ? "ready" : "failed";
    this.#update(photo, { state, error: error.message, mayPass: !(error.status < 500) });
  }

  #forget(photo) {
    photo.stop.abort();
    photo.nextColors();
    photo.nextUnsure();
    if (photo.picture) this.#engine.remove(photo.picture);
    for (const name of IMAGES) setImage(photo, name, null);
    photo.picture = photo.unsureOf = null;
  }

  #requeue(photo) {
    this.#forget(photo);
    Object.assign(photo, { state: "queued", stop: new AbortController(), error: null });
  }

  /** Follows the places of all that wait in the engine's queue. */
  #watch() {
    const names = this.all.filter(isWorking).map(nameOf);
    if (!this.#engine.watch || String(names) === this.#watched) return;
    this.#watched = String(names);
    this.#stopWatching();
    this.#stopWatching = () => {};
    if (!names.length) return;
    this.#stopWatching = this.#engine.watch(names, ({ places, waiting }) => {
      for (const photo of this.all.filter(isWorking)) {
        const place = places[nameOf(photo)];
        if (photo.place !== place) this.#update(photo, { place, waiting });
      }
    });
  }
}
