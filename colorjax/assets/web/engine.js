/**
 * What colours the photographs: here the server that the page came from.
 *
 * The exported page has a file of the same name, which colours in the browser; the pages know
 * nothing but these functions. A look is {saturation, temperature, candidate, hints}. Functions
 * that a model or an engine cannot perform are never called: see `abilities`.
 */

const BUSY = 503;
const GONE = 404;
let atOnce = Infinity; // pictures in one zip

/** The models {name, title, terms, hints, distribution}, the name of the default, and limits. */
export async function open() {
  const answer = await (await send("api/models")).json();
  // Half of what the server keeps: forgotten pictures need room beside the others.
  atOnce = Math.max(1, Math.floor(answer.limits.pictures / 2));
  const minutes = Math.round(answer.limits.session_seconds / 60);
  const note = `Your photographs stay on the computer that runs colorjax: in its memory, and in a \
private temporary file while one is read or written. They are forgotten ${minutes} minutes after \
you last use them.`;
  return { ...answer, note };
}

/** What the page may offer for a model. */
export const abilities = (model) => ({
  hints: model.hints,
  distribution: model.distribution,
  archive: true,
});

/**
 * Hands a file over. Returns {id, name, width, height, …}: the upright size.
 *
 * @param {string} ticket what the request is called in the queue, see `watch`
 * @param {(share: number) => void} onprogress called while the file is sent
 */
export async function add(file, model, ticket, signal, onprogress) {
  const answer = await upload(file, model, ticket, signal, onprogress);
  return { ...answer, file, model };
}

export async function remove(picture) {
  await renewals.get(picture)?.catch(() => {});
  // Also when the page is left, hence keepalive. What cannot be removed is forgotten later.
  fetch(`api/pictures/${picture.id}`, { method: "DELETE", keepalive: true }).catch(() => {});
}

/** The picture in grey, as an image. */
export const grey = async (picture, signal) => (await of(picture, "grey", null, signal)).blob();

/** The coloured picture, as an image at the size of the screen. */
export const preview = async (picture, look, signal) =>
  (await of(picture, "preview", look, signal)).blob();

/** Addresses of images of several ways to colour a picture; the first is the answer itself. */
export const candidates = async (picture, count, look, signal) =>
  (await (await of(picture, "candidates", { ...look, count }, signal)).json()).previews;

/** How unsure the model is of each place, as an image to be laid over the picture. */
export const uncertainty = async (picture, look, signal) =>
  (await of(picture, "uncertainty", look, signal)).blob();

/** The likeliest colours [{color, probability}, …] of the pixel x, y. */
export const suggest = async (picture, place, signal) =>
  (await (await of(picture, "suggest", place, signal)).json()).colors;

/** The coloured file {blob, name, notes} at full size. */
export const file = async (picture, look, signal) =>
  named(await of(picture, "file", look, signal));

/** Coloured files in as few zips as the server's memory allows. `chosen` is [{picture, look}, …]. */
export async function* archives(chosen) {
  const half = Math.ceil(chosen.length / 2);
  if (chosen.length <= atOnce) {
    try {
      return yield await archive(chosen);
    } catch (error) {
      // Those that were handed over again took the places of others.
      if (error.status !== GONE || chosen.length === 1) throw error;
    }
  }
  yield* archives(chosen.slice(0, half));
  yield* archives(chosen.slice(half));
}

async function archive(chosen) {
  const request = () => {
    const pictures = chosen.map(({ picture, look }) => ({ id: picture.id, look }));
    return send("api/zip", json({ pictures }));
  };
  try {
    return await named(await request());
  } catch (error) {
    if (error.status !== GONE) throw error;
    const gone = chosen.map(({ picture }) => picture).filter(({ id }) => error.gone.includes(id));
    for (const picture of gone) await renew(picture);
    return named(await request());
  }
}

/**
 * Tells {places: {name: place}, waiting} of pictures, by their ids and tickets, until the returned
 * function is called. Place 0 is being worked on, 1 is next.
 */
export function watch(names, tell) {
  const events = new EventSource(`api/queue?ids=${names.map(encodeURIComponent).join(",")}`);
  events.onmessage = ({ data }) => tell(JSON.parse(data));
  return () => events.close();
}

const json = (body, signal) => ({
  method: "POST",
  headers: { "Content-Type": "application/json" },
  body: JSON.stringify(body),
  signal,
});

/** A request about a picture. One that the server has forgotten is handed over again. */
async function of(picture, what, body, signal) {
  const request = () =>
    send(`api/pictures/${picture.id}/${what}`, body ? json(body, signal) : { signal });
  try {
    return await request();
  } catch (error) {
    if (error.status !== GONE) throw error;
    await renew(picture);
    return request();
  }
}

const renewals = new Map();

/** Once for all requests that miss a picture; hence none of them can abort it. */
function renew(picture) {
  if (!renewals.has(picture)) {
    const done = upload(picture.file, picture.model, "", undefined, () => {})
      .then((answer) => Object.assign(picture, answer))
      .finally(() => renewals.delete(picture));
    renewals.set(picture, done);
  }
  return renewals.get(picture);
}

/** A request; if the server is busy, again when it says. Errors have a line for a person. */
async function send(path, options = {}) {
  for (;;) {
    const answer = await fetch(path, options).catch((error) => {
      if (error.name === "AbortError") throw error;
      throw new Error("The server does not answer. Is colorjax serve still running?");
    });
    if (answer.ok) return answer;
    if (answer.status === BUSY) await pause(answer.headers.get("Retry-After"), options.signal);
    else throw failure(answer.status, await answer.text());
  }
}

/** Sends a file: with XMLHttpRequest, because fetch tells nothing about the progress. */
async function upload(file, model, ticket, signal, onprogress) {
  const form = new FormData();
  form.append("model", model); // before the file, so that the server knows it first
  form.append("file", file);
  for (;;) {
    const request = new XMLHttpRequest();
    const done = new Promise((resolve, reject) => {
      request.onload = resolve;
      request.onabort = () => reject(signal.reason);
      request.onerror = () =>
        reject(new Error("The photograph could not be sent. Is colorjax serve still running?"));
    });
    const abort = () => request.abort();
    request.upload.onprogress = (event) => onprogress(event.loaded / event.total);
    request.open("POST", `api/pictures?ticket=${ticket}`);
    signal?.throwIfAborted();
    signal?.addEventListener("abort", abort);
    request.send(form);
    await done.finally(() => signal?.removeEventListener("abort", abort));
    if (request.status === 201) return JSON.parse(request.responseText);
    if (request.status !== BUSY) throw failure(request.status, request.responseText);
    await pause(request.getResponseHeader("Retry-After"), signal);
  }
}

function pause(seconds, signal) {
  signal?.throwIfAborted();
  return new Promise((resolve, reject) => {
    const timer = setTimeout(resolve, 1000 * (Number(seconds) || 1));
    const abort = () => {
      clearTimeout(timer);
      reject(signal.reason);
    };
    signal?.addEventListener("abort", abort, { once: true });
  });
}

function failure(status, text) {
  let answer = {};
  try {
    answer = JSON.parse(text);
  } catch {
    // not one of the server's own answers
  }
  const message = answer.error ?? `The server answers with status ${status}.`;
  return Object.assign(new Error(message), { status, gone: answer.gone ?? [] });
}

async function named(answer) {
  const header = answer.headers.get("Content-Disposition") ?? "";
  const encoded = /filename\*=UTF-8''([^;]+)/i.exec(header)?.[1];
  const plain = /filename="?([^";]+)/i.exec(header)?.[1];
  const name = encoded ? decodeURIComponent(encoded) : plain ?? "";
  const notes = JSON.parse(answer.headers.get("X-Notes") ?? "[]");
  return { blob: await answer.blob(), name, notes };
}
