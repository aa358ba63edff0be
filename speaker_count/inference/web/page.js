// The page: a file or the microphone in, pictures, tables and words out. All counting is done by worker.js.

import { blocks, decoded, listen, Mistake } from "./sound.js";
import { Track } from "./track.js";
import * as view from "./view.js";

const SAID_SECONDS = 3; // between two counts that a screen reader is told of
const DRAWN_EVERY = matchMedia("(prefers-reduced-motion: reduce)").matches ? 1000 : 100; // ms
const { element, tell } = view;

let settings = null;
let track = null;
let id = 0; // of what is counted; an answer with another one is late
let isCounting = false; // in a file
let taken = null; // called when the worker has counted in what it was sent of a file
let close = null; // closes the microphone while it is open
let isOpening = false;
let saidAt = 0;
let isDrawn = true;

// a blob's worker has the policy of its page; one with an address of its own would have none, and could connect anywhere
const address = JSON.stringify(new URL("worker.js", import.meta.url).href);
const script = `import(${address}).catch((error) => postMessage({ kind: "failed", reason: String(error) }));`;
const worker = new Worker(URL.createObjectURL(new Blob([script], { type: "text/javascript" })), { type: "module" });

function send(samples = new Float32Array(0), last = false) {
  worker.postMessage({ id, samples, last }, [samples.buffer]);
}

function show() {
  view.show(track);
  if (isCounting) element("progress").value = track.begin(track.counts.length) / track.total;
  view.write("now", close && track.counts.length ? view.named(track.counts[track.counts.length - 1]) : "");
}

function showSoon() {
  if (!isDrawn) return;
  isDrawn = false;
  setTimeout(() => {
    isDrawn = true;
    if (track) show();
  }, DRAWN_EVERY);
}

function setCounting(value) {
  if (!value && document.activeElement === element("cancel")) element("file").focus(); // the button goes
  isCounting = value;
  element("going").hidden = !value;
}

function clear() {
  track = null;
  view.clear();
}

/** End what is counted, late answers too; gives the number of what comes next. */
function next() {
  stop();
  setCounting(false);
  taken = null;
  id += 1;
  send();
  return id;
}

function finish() {
  setCounting(false);
  track.isWhole = !track.live;
  show();
  view.showWhole(track);
}

function fail(error, name) {
  if (!(error instanceof Mistake)) tell("failed", { reason: error.message ?? error });
  else tell(error.key, { name, window: settings.clip_samples / settings.sample_rate });
}

async function countFile(file) {
  if (!settings) return;
  const own = next();
  clear();
  setCounting(true);
  element("progress").removeAttribute("value");
  tell("decoding", { name: file.name });
  try {
    const buffer = await decoded(file, settings);
    if (id !== own) return; // another one was chosen meanwhile
    track = new Track(file.name, settings, buffer.duration);
    tell("counting", { name: file.name });
    for (const samples of blocks(buffer, settings)) {
      track.hear(samples);
      send(samples);
      await new Promise((resolve) => (taken = resolve));
      if (id !== own) return;
    }
    send(undefined, true);
  } catch (error) {
    if (id !== own) return;
    next();
    clear();
    fail(error, file.name);
  }
}

/** Close the microphone, if it is open. */
function stop() {
  if (!close) return;
  close();
  close = null;
  view.relabel("microphone", "listen");
  element("microphone").ariaPressed = "false";
  view.write("said", "");
}

/** Close the microphone, and count what is still on its way. */
function end() {
  stop();
  send(undefined, true);
}

function cancel() {
  if (close) end();
  if (!isCounting) return;
  next();
  clear();
  tell("cancelled");
}

async function toggleMicrophone() {
  if (close) return end();
  if (isOpening) return; // a button that were disabled meanwhile would lose the keyboard
  isOpening = true;
  const own = next();
  tell("opening");
  const isOurs = () => id === own && close;
  const heard = (samples) => {
    if (!isOurs()) return;
    track.hear(samples);
    send(samples);
    showSoon();
  };
  const lost = () => {
    if (!isOurs()) return;
    next();
    finish();
    tell("lost");
  };
  try {
    const closing = await listen(settings, heard, lost);
    if (id !== own) return closing(); // a file was chosen meanwhile
    clear();
    track = new Track("", settings);
    close = closing;
    view.relabel("microphone", "stop");
    element("microphone").ariaPressed = "true";
    tell("listening");
  } catch (error) {
    if (id === own) fail(error);
  } finally {
    isOpening = false;
  }
}

/** Tell a screen reader the count at the microphone, now and then. */
function sayCount() {
  if (!close || performance.now() - saidAt < 1000 * SAID_SECONDS) return;
  saidAt = performance.now();
  view.write("said", view.named(track.counts[track.counts.length - 1]));
}

worker.onmessage = ({ data }) => {
  if (data.kind === "ready") {
    settings = data.settings;
    element("file").disabled = element("microphone").disabled = false;
    tell("ready");
    navigator.serviceWorker?.register("offline.js").catch(() => {}); // without one the page works as long as it is open
  } else if (data.kind === "failed" && (data.id === undefined || data.id === id)) {
    next();
    fail(data.reason);
  } else if (data.id !== id) return;
  else if (data.kind === "taken") taken?.();
  else if (data.kind === "windows") {
    track.take(data);
    showSoon();
    sayCount();
  } else if (data.kind === "done") {
    finish();
    view.tellResult(track);
  }
};
worker.onerror = (event) => fail(event.message || "worker.js");

element("file").addEventListener("change", ({ target }) => {
  if (target.files.length) countFile(target.files[0]);
  target.value = ""; // the same file can be chosen again
});
element("microphone").addEventListener("click", toggleMicrophone);
element("cancel").addEventListener("click", cancel);
element("save").addEventListener("click", () => view.save(track));
element("language").addEventListener("change", ({ target }) => {
  view.translate(target.value);
  if (track) show();
  if (!element("whole").hidden) view.showWhole(track);
});
addEventListener("keydown", ({ key }) => key === "Escape" && cancel());
addEventListener("dragover", (event) => {
  event.preventDefault();
  element("drop").classList.add("over");
});
addEventListener("dragleave", () => element("drop").classList.remove("over"));
addEventListener("drop", (event) => {
  event.preventDefault(); // elsewhere on the page, too: the browser would open the file instead of the page
  element("drop").classList.remove("over");
  const { files, items } = event.dataTransfer;
  if (files.length > 1) fail(new Mistake("several"));
  else if (items[0]?.webkitGetAsEntry()?.isDirectory) fail(new Mistake("folder"), files[0].name);
  else if (files.length) countFile(files[0]);
});
addEventListener("resize", () => track && showSoon());
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => track && showSoon());
view.translate();
