/**
 * What colours the photographs: here the browser itself, with ONNX Runtime Web. The page that
 * `colorjax serve` shows has a file of the same name, which says what these functions are.
 */

const FAILED = "The model could not be started in this browser.";

const worker = new Worker(new URL("./worker.js", import.meta.url), { type: "module" });
const waiting = new Map();
let requests = 0;
let broken = false; // a worker that cannot be loaded answers nothing
let side = 128; // of the images that the model was trained with

worker.onmessage = ({ data: { request, result, error } }) => {
  const { resolve, reject } = waiting.get(request) ?? {};
  waiting.delete(request);
  if (error === undefined) resolve?.(result);
  else reject?.(new Error(error));
};
worker.onerror = () => {
  broken = true;
  for (const { reject } of waiting.values()) reject(new Error(FAILED));
  waiting.clear();
};

async function ask(action, given, signal) {
  signal?.throwIfAborted();
  if (broken) throw new Error(FAILED);
  const request = ++requests;
  return new Promise((resolve, reject) => {
    waiting.set(request, { resolve, reject });
    worker.postMessage({ request, action, given });
    signal?.addEventListener("abort", () => {
      if (!waiting.delete(request)) return;
      worker.postMessage({ action: "cancel", given: request });
      reject(signal.reason);
    });
  });
}

export async function open() {
  const model = await (await fetch(new URL("./model.json", import.meta.url))).json();
  side = model.image_size;
  const note = "Your photographs are coloured in this browser. They are sent nowhere.";
  return { models: [model], default: model.name, limits: {}, note };
}

export const abilities = () => ({ hints: false, distribution: false, archive: false });

export async function add(file, model, ticket, signal, onprogress) {
  onprogress(1);
  const picture = await ask("add", { file, side }, signal);
  return { ...picture, type: file.type };
}

export const remove = ({ id }) => ask("remove", { id });

const render = ({ id }, saturation, type, signal) =>
  ask("render", { id, saturation, type }, signal);

export const grey = (picture, signal) => render(picture, 0, "image/jpeg", signal);

export const preview = (picture, { saturation }, signal) =>
  render(picture, saturation, "image/jpeg", signal);

/** JPEG stays JPEG; everything else becomes PNG, which loses nothing. */
export async function file(picture, { saturation }, signal) {
  // Some systems tell no type.
  const isJpeg = picture.type ? picture.type === "image/jpeg" : /\.jpe?g$/i.test(picture.name);
  const blob = await render(picture, saturation, isJpeg ? "image/jpeg" : "image/png", signal);
  const stem = picture.name.replace(/\.[^.]+$/, "");
  return { blob, name: `${stem}_coloured.${isJpeg ? "jpg" : "png"}` };
}
