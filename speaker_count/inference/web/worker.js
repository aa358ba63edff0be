// Loads the net and counts, away from the page, which stays responsive. Messages in: {id, samples, last}; a new id ends
// what an older one began. Messages out: {kind: "ready" | "windows" | "taken" | "done" | "failed", id, ...}; "taken"
// asks for more samples.

import * as ort from "./ort/ort.wasm.bundle.min.mjs";
import { Counter } from "./counting.js";

const here = (name) => new URL(name, import.meta.url).href;
ort.env.wasm.numThreads = 1;
ort.env.wasm.wasmPaths = { wasm: here("ort/ort-wasm-simd-threaded.wasm") };

const loaded = load();
let current = null;
let counter = null;
let queue = Promise.resolve();

async function load() {
  const settings = await (await fetch(here("net.json"))).json();
  const model = new Uint8Array(await (await fetch(here("net.onnx"))).arrayBuffer());
  const session = await ort.InferenceSession.create(model, { executionProviders: ["wasm"] });
  const run = async (batch, number) => {
    const input = new ort.Tensor("float32", batch, [number, settings.clip_samples]);
    const outputs = await session.run({ waveform: input });
    const { data } = outputs.middle ?? outputs.probabilities; // as `over_time` of session.py
    const classes = settings.counts.length;
    return Array.from({ length: number }, (_, each) => Array.from(data.slice(each * classes, (each + 1) * classes)));
  };
  await run(new Float32Array(settings.clip_samples), 1); // the first one takes longer
  return { settings, run };
}

async function count({ id, samples, last }) {
  const { settings, run } = await loaded;
  if (id !== current) return;
  counter ??= new Counter(settings, run);
  for await (const windows of counter.add(samples)) {
    if (id !== current) return;
    postMessage({ kind: "windows", id, ...windows });
    await new Promise((resolve) => setTimeout(resolve)); // a message with a newer id is read meanwhile
  }
  postMessage({ kind: last ? "done" : "taken", id });
}

addEventListener("message", ({ data }) => {
  if (data.id !== current) {
    current = data.id;
    queue = queue.then(() => (counter = null));
  }
  queue = queue.then(() => count(data)).catch((error) => postMessage({ kind: "failed", id: data.id, reason: `${error}` }));
});

loaded.then(
  ({ settings }) => postMessage({ kind: "ready", settings }),
  (error) => postMessage({ kind: "failed", reason: `${error}` }),
);
