// What is seen and read: words in the chosen language, pictures, tables.

import { draw, shown } from "./drawing.js";
import { preferred, text } from "./texts.js";

export const element = (id) => document.getElementById(id);
const canvases = { waveform: element("waveform"), counts: element("counts"), confidence: element("confidence") };

let language = preferred();
let status = ["loading", {}];

const say = (key, values) => text(language, key, values);
const number = (value, digits) =>
  value.toLocaleString(language, { minimumFractionDigits: digits, maximumFractionDigits: digits });
const percent = (value) =>
  value.toLocaleString(language, { style: "percent", minimumFractionDigits: 1, maximumFractionDigits: 1 });

function clock(seconds) {
  const whole = Math.round(seconds);
  return `${Math.floor(whole / 60)}:${String(whole % 60).padStart(2, "0")}`;
}

export function named(count) {
  return count === 0 ? say("nobody") : count === 1 ? say("one") : say("many", { count });
}

export function title(track) {
  return track.live ? say("microphone") : track.name;
}

/** Set an element's words, unless they are there: a screen reader would read them again. */
export function write(id, words) {
  if (element(id).textContent !== words) element(id).textContent = words;
}

/** Show a text, which a screen reader reads; its values are made when it is shown, in the language of then. */
export function tell(key, values = {}) {
  status = [key, values];
  write("status", say(key, typeof values === "function" ? values() : values));
}

export function tellResult(track) {
  const { most, overlap } = track.totals();
  tell("done", () => ({ name: title(track), duration: clock(track.duration), most, overlap: percent(overlap) }));
}

/** Give a button another text. */
export function relabel(id, key) {
  element(id).dataset.text = key;
  write(id, say(key));
}

export function translate(to = language) {
  language = to;
  document.documentElement.lang = language;
  document.title = say("title");
  element("language").value = language;
  for (const each of document.querySelectorAll("[data-text]")) each.textContent = say(each.dataset.text);
  for (const each of document.querySelectorAll("[data-label]")) each.ariaLabel = say(each.dataset.label);
  for (const [name, canvas] of Object.entries(canvases)) canvas.ariaLabel = say("picture", { title: say(name) });
  tell(...status);
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

/** Draw what is there, and the table of minutes. */
export function show(track) {
  element("results").hidden = false;
  write("results-title", title(track));
  draw(track, canvases);
  const [from, span] = shown(track);
  [...element("axis").children].forEach((each, place) => (each.textContent = clock(from + (span * place) / 2)));
  const seconds = track.seconds();
  const all = [...seconds.values()].reduce((sum, value) => sum + value, 0) || 1;
  const rows = [...seconds].map(([count, value]) => row([named(count), number(value / 60, 2), percent(value / all)]));
  element("summary").tBodies[0].replaceChildren(...rows);
}

/** Fill the table of what holds from when to when, and offer the counts as a file. */
export function showWhole(track) {
  const rows = track.stretches().map((each) =>
    row([number(each.begin, 2), number(each.end, 2), each.speakers, percent(each.confidence)]),
  );
  element("stretches").tBodies[0].replaceChildren(...rows);
  element("whole").hidden = !rows.length;
}

export function clear() {
  element("results").hidden = element("whole").hidden = true;
}

export function save(track) {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob([track.csv()], { type: "text/csv" }));
  link.download = `${title(track)}.csv`;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
}
