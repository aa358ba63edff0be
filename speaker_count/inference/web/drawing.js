// The three pictures: waveform, count, confidence.

const LIVE_SECONDS = 60; // that are seen at a time
const GUTTER = 44; // pixels at the left, for the scale; style.css moves the axis by as many
const FAINTEST = 0.3; // what holds for a moment of a pixel's time is still seen

function prepared(canvas) {
  const scale = window.devicePixelRatio || 1;
  const { clientWidth: width, clientHeight: height } = canvas;
  canvas.width = width * scale;
  canvas.height = height * scale;
  const context = canvas.getContext("2d");
  context.scale(scale, scale);
  context.translate(GUTTER, 0);
  return { context, width: Math.max(0, width - GUTTER), height };
}

function colour(name) {
  return getComputedStyle(document.documentElement).getPropertyValue(name);
}

/** What the pictures show: all of a recording, and the last minute of the microphone; `[begin, span]` in seconds. */
export function shown(track) {
  if (!track.live) return [0, Math.max(track.total, 1e-3)];
  return [Math.max(0, track.duration - LIVE_SECONDS), LIVE_SECONDS];
}

/** Draw a track on the canvases `{waveform, counts, confidence}`. */
export function draw(track, canvases) {
  const [begin, span] = shown(track);
  drawWaveform(track, prepared(canvases.waveform), begin, span);
  drawCounts(track, prepared(canvases.counts), begin, span);
  drawConfidence(track, prepared(canvases.confidence), begin, span);
}

/** For each pixel from left to right up to `end`, in seconds: `[x, from, to]`, the places `at(seconds)` within it. */
function* pixels(width, begin, span, end, at) {
  for (let x = 0; x < width && begin + (x / width) * span < end; x++) {
    const from = at(begin + (x / width) * span);
    yield [x, from, Math.max(from + 1, at(Math.min(end, begin + ((x + 1) / width) * span)))];
  }
}

function drawWaveform(track, { context, width, height }, begin, span) {
  const at = (seconds) => Math.floor((seconds * track.settings.sample_rate) / track.columnSamples);
  context.fillStyle = colour("--wave");
  for (const [x, from, to] of pixels(width, begin, span, track.duration, at)) {
    let peak = 0;
    for (let place = from; place < Math.min(to, track.peaks.length); place++) peak = Math.max(peak, track.peaks[place]);
    const tall = Math.max(1, Math.min(1, peak) * height);
    context.fillRect(x, (height - tall) / 2, 1, tall);
  }
}

/** The longer a count is reached within a pixel's time, the fuller is its colour. */
function drawCounts(track, surface, begin, span) {
  const most = Math.max(1, ...track.classes);
  const y = drawScale(surface, most, (line) => `${line}`);
  surface.context.fillStyle = colour("--accent");
  for (const [x, from, to] of counted(track, surface.width, begin, span)) {
    for (let level = 1; level <= most; level++) {
      let reached = 0;
      for (let place = from; place < to; place++) reached += track.counts[place] >= level;
      if (!reached) break;
      surface.context.globalAlpha = FAINTEST + (1 - FAINTEST) * (reached / (to - from));
      surface.context.fillRect(x, y(level), 1, y(level - 1) - y(level));
    }
  }
  surface.context.globalAlpha = 1;
}

function drawConfidence(track, surface, begin, span) {
  const y = drawScale(surface, 2, (line) => `${50 * line}%`);
  surface.context.fillStyle = colour("--band");
  for (const [x, from, to] of counted(track, surface.width, begin, span)) {
    let sum = 0;
    for (let place = from; place < to; place++) sum += track.confidence(place);
    const top = y((2 * sum) / (to - from));
    surface.context.fillRect(x, top, 1, surface.height - top);
  }
}

function counted(track, width, begin, span) {
  return pixels(width, begin, span, track.begin(track.counts.length), (seconds) => track.at(seconds));
}

/** Draw lines with labels at 1 to `lines`; gives the height of a value, in pixels from the top. */
function drawScale({ context, width, height }, lines, label) {
  const top = 8;
  const y = (value) => Math.round(height - (value / lines) * (height - top));
  context.strokeStyle = colour("--line");
  context.fillStyle = colour("--faint");
  context.font = "12px system-ui, sans-serif";
  context.textAlign = "right";
  context.textBaseline = "middle";
  for (let line = 1; line <= lines; line++) {
    context.beginPath();
    context.moveTo(0, y(line) + 0.5);
    context.lineTo(width, y(line) + 0.5);
    context.stroke();
    context.fillText(label(line), -6, y(line));
  }
  return y;
}
