/** The photographs of the page, and the work on them: handed over, coloured, coloured again. */

import { History, toHints } from "./hints.js";

const AT_ONCE = 2; // photographs in work; the others wait here, not in the server's queue

export const plainLook = () => ({ saturation: 1, temperature: null, candidate: 0 });

const isWorking = ({ state }) => state === "sending" || state === "coloring";
/** What the engine calls a photograph in its queue. */
const nameOf = ({ picture, ticket }) => picture?.id ?? ticket;

/** Aborts what an earlier call of it has started. */
function latest() {
  let controller = new AbortController();
  return () => {
    controller.abort();
    controller = new AbortController();
    return controller.signal;
  };
}

/**
 * @param {object} engine see engine.js
 * @param {(photo: object) => void} changed something about a photograph is to be shown
 */
export function createPhotos(engine, changed) {
  const all = [];
  let working = 0;
  let stopWatching = null;
  let watched = "";

  /** All that a look is, as the engine takes it. */
  const look = (photo) => ({ ...photo.look, hints: toHints(photo.history.strokes) });

  function create(file) {
    const photo = { file, state: "queued", look: plainLook(), history: new History() };
    photo.ticket = `t${Math.random().toString(36).slice(2)}`;
    photo.stop = new AbortController();
    photo.again = latest();
    photo.unsureAgain = latest();
    return photo;
  }

  function update(photo, changes) {
    Object.assign(photo, changes);
    watch();
    changed(photo);
  }

  /** An error that is not the fault of the file may pass. One that has colours keeps them. */
  function fail(photo, error) {
    const state = photo.after ? "ready" : "failed";
    update(photo, { state, error: error.message, mayPass: !(error.status < 500) });
  }

  /** Replaces one of a photograph's images, and frees the old one. */
  function setImage(photo, name, blob) {
    if (photo[name]) URL.revokeObjectURL(photo[name]);
    photo[name] = blob && URL.createObjectURL(blob);
  }

  function work(model) {
    const next = all.find((photo) => photo.state === "queued");
    if (!next || working >= AT_ONCE) return;
    working += 1;
    process(next, model).finally(() => {
      working -= 1;
      work(model);
    });
    work(model);
  }

  async function process(photo, model) {
    const { signal } = photo.stop;
    try {
      update(photo, { state: "sending", progress: 0 });
      const onprogress = (progress) => update(photo, { progress });
      const picture = await engine.add(photo.file, model, photo.ticket, signal, onprogress);
      if (signal.aborted) return engine.remove(picture);
      update(photo, { picture, size: picture, state: "coloring", progress: 1 });
      setImage(photo, "before", await engine.grey(picture, signal));
      changed(photo);
      await recolor(photo);
    } catch (error) {
      if (!signal.aborted) fail(photo, error);
    }
  }

  /** Colours a photograph as its look is now; what was under way for an older look ends. */
  async function recolor(photo) {
    const signal = photo.again();
    const wanted = look(photo);
    update(photo, { state: "coloring" });
    try {
      const blob = await engine.preview(photo.picture, wanted, signal);
      if (signal.aborted) return;
      setImage(photo, "after", blob);
      update(photo, { state: "ready", shown: wanted.saturation, place: null });
    } catch (error) {
      if (signal.aborted) return;
      fail(photo, error);
      throw error;
    }
  }

  async function findUnsure(photo) {
    const signal = photo.unsureAgain();
    const blob = await engine.uncertainty(photo.picture, look(photo), signal);
    if (signal.aborted) return;
    setImage(photo, "unsure", blob);
    changed(photo);
  }

  function watch() {
    const working = all.filter(isWorking);
    const names = working.map(nameOf);
    if (!engine.watch || String(names) === watched) return;
    watched = String(names);
    stopWatching?.();
    stopWatching = null;
    if (!names.length) return;
    stopWatching = engine.watch(names, ({ places, waiting }) => {
      for (const photo of all.filter(isWorking)) {
        const place = places[nameOf(photo)];
        if (photo.place !== place) update(photo, { place, waiting });
      }
    });
  }

  function forget(photo) {
    photo.stop.abort();
    photo.again();
    photo.unsureAgain();
    if (photo.picture) engine.remove(photo.picture);
    for (const name of ["before", "after", "unsure"]) setImage(photo, name, null);
    photo.picture = null;
  }

  function restart(photo) {
    forget(photo);
    Object.assign(photo, { state: "queued", stop: new AbortController(), error: null });
  }

  return {
    all,
    look,
    recolor,
    findUnsure,
    /** Takes files in; those that are too large fail at once. */
    add(files, model, limits) {
      const added = files.map(create);
      for (const photo of added) {
        if (limits?.bytes && photo.file.size > limits.bytes) {
          photo.state = "failed";
          photo.error = `The file is larger than ${Math.round(limits.bytes / 2 ** 20)} MiB.`;
        }
      }
      all.push(...added);
      work(model);
      return added;
    },
    remove(photo) {
      forget(photo);
      all.splice(all.indexOf(photo), 1);
      watch();
    },
    /** Colours all of them with another model. */
    restart(model) {
      all.forEach(restart);
      work(model);
    },
    retry(photo, model) {
      restart(photo);
      changed(photo);
      work(model);
    },
    forgetAll: () => all.forEach(forget),
  };
}
