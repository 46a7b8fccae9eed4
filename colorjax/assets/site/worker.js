/** Colours photographs beside the page, so that the page never stops: one request at a time. */

import { colorizer, fitCoefficients } from "./full_size.js";
import { lightness } from "./lab.js";
import * as ort from "./ort.wasm.min.mjs";
import { resize } from "./resize.js";

const MAX_SIDE = 1024; // longest side of what the model sees, in pixels
const BAND = 1 << 20; // pixels coloured between two looks at the messages
const QUALITY = 0.95;
const UNREADABLE = "This browser cannot read the file. Give a JPEG, PNG or WebP.";

ort.env.wasm.numThreads = 1;
ort.env.wasm.wasmPaths = new URL("./", import.meta.url).href;
const session = ort.InferenceSession.create(new URL("./model.onnx", import.meta.url).href);
session.catch(() => {}); // told with the first photograph

const pictures = new Map();
const cancelled = new Set();
let last = Promise.resolve();

/** The photograph on a canvas, upright, in sRGB. */
async function decode(file) {
  const bitmap = await createImageBitmap(file).catch(() => {
    throw new Error(UNREADABLE);
  });
  const { width, height } = bitmap;
  const context = new OffscreenCanvas(width, height).getContext("2d", { willReadFrequently: true });
  // Canvases beyond a browser's limit are silently empty.
  context?.fillRect(width - 1, height - 1, 1, 1);
  const { data } = context?.getImageData(width - 1, height - 1, 1, 1) ?? {};
  if (data?.[3] !== 255) throw new Error("The photograph is too large for this browser.");
  context.clearRect(width - 1, height - 1, 1, 1);
  context.drawImage(bitmap, 0, 0);
  bitmap.close();
  return context;
}

const sizeOf = ({ canvas: { width, height } }) => ({ width, height });

/** The size at which the model sees a picture, as colorjax/colorize/views.py. */
function viewSize({ width, height }, side) {
  const scale = Math.min(side / Math.min(width, height), MAX_SIDE / Math.max(width, height));
  const scaled = (length) => Math.max(1, Math.round(scale * length));
  return { width: scaled(width), height: scaled(height) };
}

/** The length to which one is padded: one of few. */
function padded(length) {
  const multiple = 32 * (length <= 256 ? 1 : length <= 512 ? 2 : 4);
  return multiple * Math.ceil(length / multiple);
}

/** The index that a padded one mirrors. */
function mirrored(index, length) {
  const place = index % (2 * length);
  return place < length ? place : 2 * length - 1 - place;
}

async function predict(context, side) {
  const size = sizeOf(context);
  const view = viewSize(size, side);
  const read = (top, rows) => context.getImageData(0, top, size.width, rows).data;
  const rgb = resize(read, size, view);
  const l = new Float32Array(view.width * view.height);
  for (let i = 0; i < l.length; i++) l[i] = lightness(rgb[3 * i], rgb[3 * i + 1], rgb[3 * i + 2]);

  const [width, height] = [padded(view.width), padded(view.height)];
  const input = new Float32Array(width * height);
  for (let y = 0; y < height; y++) {
    const row = view.width * mirrored(y, view.height);
    for (let x = 0; x < width; x++) input[width * y + x] = l[row + mirrored(x, view.width)];
  }
  const tensor = new ort.Tensor("float32", input, [1, 1, height, width]);
  const { ab } = await (await session).run({ l: tensor });
  const cropped = [0, 1].map((channel) => {
    const start = channel * width * height;
    return l.map((_, i) => {
      const [x, y] = [i % view.width, Math.floor(i / view.width)];
      return ab.data[start + width * y + x];
    });
  });
  return fitCoefficients(l, cropped, view.width, view.height);
}

/** A moment in which messages arrive. Throws if the request is wanted no longer. */
async function breathe(request) {
  await new Promise((resolve) => setTimeout(resolve));
  if (cancelled.has(request)) throw new DOMException("cancelled", "AbortError");
}

async function render({ file, coefficients }, saturation, type, request) {
  const context = await decode(file);
  const { width, height } = sizeOf(context);
  const color = colorizer(coefficients, { width, height }, saturation);
  const rows = Math.max(1, Math.floor(BAND / width));
  for (let top = 0; top < height; top += rows) {
    await breathe(request);
    const band = context.getImageData(0, top, width, Math.min(rows, height - top));
    color(band.data, top);
    context.putImageData(band, 0, top);
  }
  if (type === "image/jpeg") {
    // JPEG knows no transparency, and browsers would put black behind the picture.
    context.globalCompositeOperation = "destination-over";
    context.fillStyle = "white";
    context.fillRect(0, 0, width, height);
  }
  return context.canvas.convertToBlob({ type, quality: QUALITY });
}

const actions = {
  async add({ file, side }, request) {
    const context = await decode(file);
    await breathe(request);
    pictures.set(request, { file, coefficients: await predict(context, side) });
    return { id: request, name: file.name, ...sizeOf(context) };
  },
  render: ({ id, saturation, type }, request) =>
    render(pictures.get(id), saturation, type, request),
  remove: ({ id }) => void pictures.delete(id),
};

onmessage = ({ data: { request, action, given } }) => {
  if (action === "cancel") {
    cancelled.add(given);
    return;
  }
  last = last.then(async () => {
    try {
      if (cancelled.has(request)) return;
      postMessage({ request, result: await actions[action](given, request) });
    } catch (error) {
      postMessage({ request, error: error.message });
    } finally {
      cancelled.delete(request);
    }
  });
};
