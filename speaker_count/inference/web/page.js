// The page: a file or the microphone in, pictures, tables and words out. All counting is done by worker.js.

import { draw, shown } from "./drawing.js";
import { decoded, listen, Mistake } from "./sound.js";
import { preferred, text } from "./texts.js";
import { Track } from "./track.js";

const SAID_SECONDS = 3; // between two counts that a screen reader is told of
const element = (id) => document.getElementById(id);
const canvases = { waveform: element("waveform"), counts: element("counts"), confidence: element("confidence") };

let language = preferred();
let status = ["loading", {}];
let settings = null;
let track = null;
let id = 0;
let close = null; // closes the microphone while it is open
let isOpening = false;
let saidAt = 0;
let isDrawn = true;

// a blob's worker has the policy of its page; one with an address of its own would have none, and could connect anywhere
const script = `import ${JSON.stringify(new URL("worker.js", import.meta.url).href)};`;
const worker = new Worker(URL.createObjectURL(new Blob([script], { type: "text/javascript" })), { type: "module" });

const say = (key, values) => text(language, key, values);
const number = (value, digits = 1) =>
  value.toLocaleString(language, { minimumFractionDigits: digits, maximumFractionDigits: digits });
const percent = (value) => value.toLocaleString(language, { style: "percent", maximumFractionDigits: 1 });

function named(count) {
  return count === 0 ? say("nobody") : count === 1 ? say("one") : say("many", { count });
}

/** Show a text, which a screen reader reads; its values are made when it is shown, in the language of then. */
function tell(key, values = () => ({})) {
  status = [key, values];
  const words = say(key, typeof values === "function" ? values() : values);
  if (element("status").textContent !== words) element("status").textContent = words;
}

function translate() {
  document.documentElement.lang = language;
  document.title = say("title");
  element("language").value = language;
  for (const each of document.querySelectorAll("[data-text]")) each.textContent = say(each.dataset.text);
  element("microphone").textContent = say(close ? "stop" : "listen");
  for (const [name, canvas] of Object.entries(canvases)) {
    canvas.setAttribute("aria-label", say("picture", { title: say(name) }));
  }
  tell(...status);
  if (track) {
    show();
    fillStretches();
  }
}

function row(cells) {
  const made = document.createElement("tr");
  cells.forEach((cell, place) => {
    const each = document.createElement(place ? "td" : "th");
    if (!place) each.scope = "row";
    each.textContent = cell;
    made.append(each);
  });
  return made;
}

function clock(seconds) {
  const whole = Math.round(seconds);
  return `${Math.floor(whole / 60)}:${String(whole % 60).padStart(2, "0")}`;
}

/** Draw what is there, and the table of seconds. */
function show() {
  element("results").hidden = false;
  element("results-title").textContent = track.live ? say("microphone") : track.name;
  draw(track, canvases);
  const [from, span] = shown(track);
  [...element("axis").children].forEach((each, place) => (each.textContent = clock(from + (span * place) / 2)));
  const seconds = track.seconds();
  const all = [...seconds.values()].reduce((sum, value) => sum + value, 0) || 1;
  const rows = [...seconds].map(([count, value]) => row([named(count), number(value), percent(value / all)]));
  element("summary").tBodies[0].replaceChildren(...rows);
  const latest = track.live && close && track.counts.length ? track.counts[track.counts.length - 1] : null;
  element("now").textContent = latest === null ? "" : named(latest);
}

function fillStretches() {
  const rows = track.stretches().map((each) =>
    row([number(each.begin, 2), number(each.end, 2), each.speakers, percent(each.confidence)]),
  );
  element("stretches").tBodies[0].replaceChildren(...rows);
}

function showSoon() {
  if (!isDrawn) return;
  isDrawn = false;
  requestAnimationFrame(() => {
    isDrawn = true;
    if (track) show();
  });
}

function finish() {
  show();
  fillStretches();
  const counted = track;
  tell("done", () => {
    const { most, overlap } = counted.totals();
    const name = counted.live ? say("microphone") : counted.name;
    return { name, duration: number(counted.duration), most, overlap: percent(overlap) };
  });
}

function fail(error) {
  if (error instanceof Mistake) tell(error.key);
  else tell("failed", { reason: error.message ?? error });
}

/** Begin with another recording; what was counted before ends. */
function begin(name, live) {
  track = new Track(name, settings, live);
  element("stretches").tBodies[0].replaceChildren();
}

async function countFile(file) {
  if (!settings) return;
  stop();
  id += 1;
  const own = id;
  tell("decoding", { name: file.name });
  try {
    const samples = await decoded(file, settings);
    if (id !== own) return; // another one was chosen meanwhile
    begin(file.name, false);
    track.hear(samples);
    show();
    tell("counting", { name: file.name });
    worker.postMessage({ id, samples, last: true }, [samples.buffer]);
  } catch (error) {
    if (id === own) fail(error);
  }
}

function stop() {
  if (!close) return;
  close();
  close = null;
  element("microphone").setAttribute("aria-pressed", "false");
  element("microphone").textContent = say("listen");
}

/** Close the microphone, and count what is still on its way. */
function end() {
  stop();
  worker.postMessage({ id, samples: new Float32Array(0), last: true });
}

async function toggleMicrophone() {
  if (close) return end();
  if (isOpening) return; // a button that were disabled meanwhile would lose the keyboard
  isOpening = true;
  id += 1;
  const own = id;
  const heard = (samples) => {
    if (id !== own || !close) return;
    track.hear(samples);
    worker.postMessage({ id, samples, last: false });
    showSoon();
  };
  try {
    const closing = await listen(settings, heard, () => {
      if (id !== own || !close) return;
      stop();
      fillStretches();
      tell("lost");
    });
    if (id !== own) return closing(); // a file was chosen meanwhile
    begin("", true);
    close = closing;
    element("microphone").setAttribute("aria-pressed", "true");
    element("microphone").textContent = say("stop");
    tell("listening");
  } catch (error) {
    if (id === own) fail(error);
  } finally {
    isOpening = false;
  }
}

worker.onmessage = ({ data }) => {
  if (data.kind === "ready") {
    settings = data.settings;
    element("file").disabled = element("microphone").disabled = false;
    tell("ready");
  } else if (data.kind === "failed" && (data.id === undefined || data.id === id)) {
    stop();
    fail(data.reason);
  } else if (data.id === id && data.kind === "windows") {
    track.take(data);
    showSoon();
    const count = track.counts[track.counts.length - 1];
    if (track.live && close && performance.now() - saidAt > 1000 * SAID_SECONDS) {
      saidAt = performance.now();
      tell(count === 0 ? "nobody" : count === 1 ? "one" : "many", { count });
    }
  } else if (data.id === id && data.kind === "done") finish();
};
worker.onerror = (event) => fail(event.message || "worker.js");

element("file").addEventListener("change", ({ target }) => {
  if (target.files.length) countFile(target.files[0]);
  target.value = ""; // the same file can be chosen again
});
element("microphone").addEventListener("click", toggleMicrophone);
element("language").addEventListener("change", ({ target }) => {
  language = target.value;
  translate();
});
addEventListener("dragover", (event) => {
  event.preventDefault();
  element("drop").classList.add("over");
});
addEventListener("dragleave", () => element("drop").classList.remove("over"));
addEventListener("drop", (event) => {
  event.preventDefault(); // elsewhere on the page, too: the browser would open the file instead of the page
  element("drop").classList.remove("over");
  if (event.dataTransfer.files.length) countFile(event.dataTransfer.files[0]);
});
addEventListener("resize", () => track && showSoon());
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => track && showSoon());
translate();
