/** The page: what people press and what they see. */

import { Brush } from "./brush.js";
import * as engine from "./engine.js";
import { onFiles, save } from "./files.js";
import { Gestures } from "./gestures.js";
import { toHints } from "./hints.js";
import { Photos, plainLook } from "./photos.js";
import { Stage } from "./stage.js";
import { createStrip, describe } from "./strip.js";
import { createVersions } from "./versions.js";

const $ = (id) => document.getElementById(id);
const percent = (share) => `${Math.round(100 * share)}%`;

$("needs-script").remove();

const stageRoot = $("stage");
const [before, after, unsure] = ["before", "after", "unsure"].map((name) =>
  stageRoot.querySelector(`img.${name}`),
);
let settings = { models: [] };
let current = null; // the photograph that is shown
let color = null; // of the brush, once a person has chosen one
let restingShare = 0.5; // where the divider was before a brush was taken
let tool = "look";

const isReady = (photo) => Boolean(photo?.picture && photo.after);
const say = (line) => ($("status").textContent = line);

function complain(error) {
  if (error.name === "AbortError") return;
  $("alert").querySelector("span").textContent = error.message;
  $("alert").hidden = false;
}

const photos = new Photos(engine, (photo) => {
  render();
  // Its first colours are told, and not those after each change.
  const isTold = photo.told === "ready" && photo.after;
  if (photo === current && photo.state !== photo.told && !isTold) {
    photo.told = photo.state;
    say(describe(photo).line || `${photo.file.name} is coloured`);
  }
});

const can = (need) => photos.abilities[need];

const stage = new Stage(stageRoot);
const brush = new Brush(stage, {
  photo: () => current,
  changed: recolor,
  suggest: async (photo, [x, y], strokes, signal) =>
    can("distribution") && photo.picture
      ? engine.suggest(photo.picture, { x, y, hints: toHints(strokes) }, signal)
      : [],
  color: () => color ?? $("color").value,
  isChosen: () => color !== null,
  choose(value) {
    color = $("color").value = value;
  },
  say,
});
new Gestures(stage, brush);
stage.ondraw((zoom) => {
  $("zoom-reset").textContent = zoom === 1 ? "Fit" : percent(zoom);
});

const versions = createVersions(stageRoot.querySelector(".versions"), {
  candidates: (photo, count, signal) => {
    const { candidate, ...look } = photos.look(photo);
    return engine.candidates(photo.picture, count, look, signal);
  },
  choose(photo, candidate) {
    photo.look.candidate = candidate;
    say(candidate ? `Version ${candidate} is chosen` : "The answer is chosen");
    recolor(photo);
  },
  closed(hadFocus) {
    $("versions").setAttribute("aria-expanded", "false");
    if (hadFocus) stageRoot.focus({ preventScroll: true });
  },
});

const strip = createStrip($("strip"), { select: show, remove });

/** The photograph as its look is now. The last call wins. */
function recolor(photo) {
  photos.recolor(photo).catch(complain);
  render();
}

function show(photo) {
  if (photo === current) return;
  versions.close();
  current = photo;
  stage.size = photo?.size ?? { width: 4, height: 3 };
  brush.refresh();
  render();
}

function remove(photo) {
  const index = photos.all.indexOf(photo);
  photos.remove(photo);
  if (photo === current) {
    current = null;
    show(photos.all[Math.min(index, photos.all.length - 1)] ?? null);
  }
  if (photos.all.length) $("strip").querySelector("[aria-current=true]")?.focus();
  else $("choose").focus();
  render();
}

function setTool(value) {
  if (value === tool || (value !== "look" && !can("hints"))) return;
  if (tool === "look") {
    // A brush is for the coloured picture: all of it is shown while one is in hand.
    restingShare = stage.share;
    stage.share = 0;
  } else if (value === "look" && stage.share === 0) stage.share = restingShare;
  tool = value;
  stage.tool = brush.tool = value;
  for (const button of document.querySelectorAll("[data-tool]:not(.stage)")) {
    button.setAttribute("aria-pressed", String(button.dataset.tool === value));
  }
  for (const note of document.querySelectorAll("[data-hint]")) {
    note.hidden = note.dataset.hint !== value;
  }
}

/** Shows another image only when it can be drawn, so that nothing flickers. */
async function setSource(image, source) {
  if (image.dataset.source === (source ?? "")) return;
  image.dataset.source = source ?? "";
  if (source) {
    const next = new Image();
    next.src = source;
    await next.decode().catch(() => {});
  }
  if (image.dataset.source !== (source ?? "")) return;
  if (source) image.src = source;
  else image.removeAttribute("src");
}

function render() {
  const photo = current;
  document.body.classList.toggle("empty", !photos.all.length);
  strip(photos.all, photo);
  if (photo?.size && photo.size !== photo.staged) {
    photo.staged = photo.size;
    stage.size = photo.size;
  }
  setSource(before, photo?.before);
  setSource(after, photo?.after);
  setSource(unsure, photo?.unsure);
  stageRoot.classList.toggle("bare", !photo?.before);
  stageRoot.classList.toggle("plain", !photo?.after);
  stageRoot.classList.toggle("doubting", Boolean($("unsure").checked && photo?.unsure));
  // Until the server has answered, the browser shows roughly what a saturation will do.
  const ratio = photo?.shown ? photo.look.saturation / photo.shown : 1;
  after.style.filter = Math.abs(ratio - 1) > 0.01 ? `saturate(${ratio})` : "";

  const line = photo ? describe(photo).line : "";
  $("badge-line").textContent = line;
  $("badge").hidden = !line;
  $("badge").classList.toggle("failed", photo?.state === "failed");
  $("retry").hidden = !(photo?.state === "failed" && photo.mayPass);
  const size = photo?.size ? `${photo.size.width} × ${photo.size.height}` : "";
  $("title").textContent = photo ? [photo.file.name, size].filter(Boolean).join("  ·  ") : "";
  $("notes").textContent = photo?.picture?.notes?.join("; ") ?? "";
  stageRoot.setAttribute("aria-label", photo ? `Photograph ${photo.file.name}` : "Photograph");

  for (const element of document.querySelectorAll("[data-needs]")) {
    element.hidden = !can(element.dataset.needs);
  }
  $("archive").hidden = !can("archive") || photos.all.filter(isReady).length < 2;
  renderControls(photo);
  // After the colours, which a person waits for.
  if (photo?.state === "ready" && $("unsure").checked) photos.findUnsure(photo).catch(complain);
}

function renderControls(photo) {
  const ready = isReady(photo);
  const { saturation, temperature, candidate } = photo?.look ?? plainLook();
  $("save").disabled = !ready || $("save").classList.contains("busy");
  for (const id of ["saturation", "temperature", "versions", "unsure"]) $(id).disabled = !ready;
  $("saturation").value = saturation;
  $("saturation-value").textContent = percent(saturation);
  $("temperature").value = temperature ?? 1;
  $("temperature").classList.toggle("own", temperature === null);
  $("temperature-value").textContent = temperature === null ? "model’s own" : temperature.toFixed(2);
  $("reset").disabled = saturation === 1 && temperature === null && !candidate;
  for (const input of [$("saturation"), $("temperature")]) {
    const { min, max, valueAsNumber } = input;
    input.style.setProperty("--share", percent((valueAsNumber - min) / (max - min)));
  }
  $("undo").disabled = !photo?.history.canUndo;
  $("redo").disabled = !photo?.history.canRedo;
  $("clear").disabled = !photo?.history.strokes.length;
}

function travel(step) {
  if (!current) return;
  const { history } = current;
  const strokes = history.strokes;
  if (typeof step === "string") history[step]();
  else history.push(step);
  if (history.strokes === strokes) return;
  brush.refresh();
  recolor(current);
}

/** Runs what takes a while from a button, which is busy meanwhile. */
async function busy(button, action) {
  button.classList.add("busy");
  button.disabled = true;
  try {
    await action();
  } catch (error) {
    complain(error);
  } finally {
    button.classList.remove("busy");
    button.disabled = false;
    render();
  }
}

const chosen = (photo) => ({ picture: photo.picture, look: photos.look(photo) });

function download() {
  if (!isReady(current) || $("save").disabled) return;
  const { picture, look } = chosen(current);
  busy($("save"), async () => {
    const file = await engine.file(picture, look);
    save(file);
    say((picture.notes = file.notes ?? []).join("; "));
  });
}

function setLook(changes) {
  Object.assign(current.look, changes);
  recolor(current);
}

function toggleVersions() {
  if (versions.isOpen()) return versions.close();
  if (!isReady(current)) return;
  $("versions").setAttribute("aria-expanded", "true");
  versions.open(current).catch(complain);
}

function step(by) {
  const next = photos.all[photos.all.indexOf(current) + by];
  if (next) show(next);
}

onFiles({ buttons: [$("choose"), $("add")], input: $("files"), frame: document.body }, (files) => {
  const [first] = photos.add(files);
  if (!current) show(first);
  render();
});
for (const button of document.querySelectorAll("button[data-tool]")) {
  button.addEventListener("click", () => setTool(button.dataset.tool));
}
$("save").addEventListener("click", download);
$("archive").addEventListener("click", () =>
  busy($("archive"), async () => {
    let count = 0;
    for await (const { blob, name } of engine.archives(photos.all.filter(isReady).map(chosen))) {
      save({ blob, name: ++count > 1 ? name.replace(".", `_${count}.`) : name });
    }
  }),
);
$("saturation").addEventListener("input", (event) =>
  setLook({ saturation: event.target.valueAsNumber }),
);
$("temperature").addEventListener("input", (event) =>
  setLook({ temperature: event.target.valueAsNumber }),
);
$("reset").addEventListener("click", () => setLook(plainLook()));
$("color").addEventListener("input", (event) => (color = event.target.value));
$("color").addEventListener("change", () => setTool("brush"));
$("undo").addEventListener("click", () => travel("undo"));
$("redo").addEventListener("click", () => travel("redo"));
$("clear").addEventListener("click", () => travel([]));
$("versions").addEventListener("click", toggleVersions);
$("unsure").addEventListener("change", render);
$("zoom-in").addEventListener("click", () => stage.zoomBy(1.5));
$("zoom-out").addEventListener("click", () => stage.zoomBy(1 / 1.5));
$("zoom-reset").addEventListener("click", () => stage.reset());
$("retry").addEventListener("click", () => photos.retry(current));
$("help").addEventListener("click", () => $("shortcuts").showModal());
$("alert").querySelector("button").addEventListener("click", () => ($("alert").hidden = true));
$("model").addEventListener("change", () => {
  setTool("look");
  $("unsure").checked = false;
  versions.close();
  photos.restart(chosenModel());
  render();
});
addEventListener("pagehide", (event) => event.persisted || photos.forgetAll());

const toggleSide = () => (stage.share = stage.share > 0 ? 0 : 1);
const KEYS = {
  "+": () => stage.zoomBy(1.5),
  "=": () => stage.zoomBy(1.5),
  "-": () => stage.zoomBy(1 / 1.5),
  0: () => stage.reset(),
  PageUp: () => step(-1),
  PageDown: () => step(1),
  s: toggleSide,
  v: () => setTool("look"),
  b: () => setTool("brush"),
  e: () => setTool("erase"),
  c: () => can("distribution") && toggleVersions(),
  u: () => can("distribution") && $("unsure").click(),
  d: download,
  "?": () => $("shortcuts").showModal(),
};
addEventListener("keydown", (event) => {
  const { target } = event;
  if (target.matches("select, input") || event.altKey) return;
  if ($("shortcuts").open || !photos.all.length) return;
  const key = event.key.length === 1 ? event.key.toLowerCase() : event.key;
  if (event.ctrlKey || event.metaKey) {
    if (key !== "z" && key !== "y") return;
    travel(key === "y" || event.shiftKey ? "redo" : "undo");
  } else if (KEYS[key] && (target === document.body || target.closest("#stage, #strip"))) {
    KEYS[key]();
  } else return;
  event.preventDefault();
});

/** The model that is chosen, whose terms are shown. */
function chosenModel() {
  const model = settings.models.find(({ name }) => name === $("model").value);
  $("terms").textContent = model.terms ? `Use: ${model.terms}` : "";
  return model;
}

try {
  settings = await engine.open();
  $("promise").textContent = $("about-promise").textContent = settings.note;
  for (const { name, title } of settings.models) $("model").add(new Option(title || name, name));
  $("model").value = settings.default;
  $("model-label").hidden = settings.models.length < 2;
  photos.model = chosenModel();
  photos.limits = settings.limits;
} catch (error) {
  complain(error);
}
stage.tool = tool;
render();
document.body.classList.add("ready");
