// The three pictures: waveform, count, confidence.

const LIVE_SECONDS = 60; // that are seen at a time

function prepared(canvas) {
  const scale = window.devicePixelRatio || 1;
  const { clientWidth: width, clientHeight: height } = canvas;
  canvas.width = width * scale;
  canvas.height = height * scale;
  const context = canvas.getContext("2d");
  context.scale(scale, scale);
  return { context, width, height };
}

function colour(name) {
  return getComputedStyle(document.documentElement).getPropertyValue(name);
}

/** What the pictures show: all of a recording, and the last minute of the microphone; `[begin, span]` in seconds. */
export function shown(track) {
  if (!track.live) return [0, Math.max(track.duration, 1e-3)];
  return [Math.max(0, track.duration - LIVE_SECONDS), LIVE_SECONDS];
}

/** Draw a track on the canvases `{waveform, counts, confidence}`. */
export function draw(track, canvases) {
  const [begin, span] = shown(track);
  drawWaveform(track, prepared(canvases.waveform), begin, span);
  const most = Math.max(1, ...track.classes);
  const first = firstSeen(track, begin);
  drawSteps(track, prepared(canvases.counts), begin, span, first, (place) => track.counts[place] / most, "--accent", most);
  drawSteps(track, prepared(canvases.confidence), begin, span, first, (place) => track.confidence[place], "--band", 2);
}

function firstSeen(track, begin) {
  const { sample_rate: rate, hop_samples: hop } = track.settings;
  return Math.max(0, Math.floor((begin * rate) / hop) - Math.ceil(track.settings.clip_samples / hop));
}

function drawWaveform(track, { context, width, height }, begin, span) {
  const column = track.columnSamples / track.settings.sample_rate;
  context.fillStyle = colour("--wave");
  for (let x = 0; x < width; x++) {
    const from = Math.floor((begin + (x / width) * span) / column);
    const to = Math.max(from + 1, Math.floor((begin + ((x + 1) / width) * span) / column));
    let peak = 0;
    for (let place = from; place < Math.min(to, track.peaks.length); place++) peak = Math.max(peak, track.peaks[place]);
    const tall = Math.max(from < track.peaks.length ? 1 : 0, Math.min(1, peak) * height);
    context.fillRect(x, (height - tall) / 2, 1, tall);
  }
}

function drawSteps(track, { context, width, height }, begin, span, first, share, name, lines) {
  const at = (seconds) => ((seconds - begin) / span) * width;
  const top = 4;
  context.strokeStyle = colour("--line");
  context.font = "12px system-ui, sans-serif";
  for (let line = 1; line <= lines; line++) {
    const y = Math.round(height - (line / lines) * (height - top)) + 0.5;
    context.beginPath();
    context.moveTo(0, y);
    context.lineTo(width, y);
    context.stroke();
  }
  context.fillStyle = colour(name);
  for (let place = first; place < track.counts.length; place++) {
    const tall = Math.max(1, share(place) * (height - top));
    const left = Math.round(at(track.begin(place)));
    context.fillRect(left, height - tall, Math.round(at(track.begin(place + 1))) - left, tall);
  }
  context.fillStyle = colour("--ink");
  for (let line = 1; line <= lines; line++) {
    const label = name === "--accent" ? `${line}` : `${(100 * line) / lines} %`;
    context.fillText(label, 3, height - (line / lines) * (height - top) + 13);
  }
}
