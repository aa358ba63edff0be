// Sound from a file or a microphone, as one channel at the net's sample rate.

// The browser decodes a file as a whole: 1.3 GB for an hour of stereo at 44.1 kHz.
const MOST_BYTES = 200e6;
const MOST_SECONDS = 3660; // an hour, and what an encoder adds
const MOST_BYTES_OF_UNKNOWN_LENGTH = 30e6; // an hour at 64 kbit/s
const BLOCK_SECONDS = 10;
const PATIENCE = 5000; // ms that a browser may take to find a file's length, or to start sound

/** An error whose `key` names a text of texts.js. */
export class Mistake extends Error {
  constructor(key) {
    super(key);
    this.key = key;
  }
}

/** The length that a file claims, in seconds; NaN or infinite where the browser does not know it. */
async function claimedSeconds(file) {
  const audio = new Audio();
  const url = URL.createObjectURL(file);
  await new Promise((resolve) => {
    audio.onloadedmetadata = audio.onerror = resolve;
    setTimeout(resolve, PATIENCE);
    audio.preload = "metadata";
    audio.src = url;
  });
  const { duration } = audio;
  audio.removeAttribute("src");
  URL.revokeObjectURL(url);
  return duration;
}

/** A file as an `AudioBuffer` at the net's sample rate. */
export async function decoded(file, settings) {
  if (file.size > MOST_BYTES) throw new Mistake("tooLarge");
  if (!file.size) throw new Mistake("empty");
  const claimed = await claimedSeconds(file); // before what would not fit is decoded
  if (Number.isFinite(claimed) ? claimed > MOST_SECONDS : file.size > MOST_BYTES_OF_UNKNOWN_LENGTH) {
    throw new Mistake("tooLong");
  }
  let buffer;
  try {
    // a context of one sample: it only decodes, and resamples to its rate
    buffer = await new OfflineAudioContext(1, 1, settings.sample_rate).decodeAudioData(await file.arrayBuffer());
  } catch {
    throw new Mistake("noSound");
  }
  if (buffer.duration > MOST_SECONDS) throw new Mistake("tooLong");
  if (buffer.length < settings.clip_samples) throw new Mistake("tooShort");
  return buffer;
}

/** The mean of a buffer's channels, a `Float32Array` for each ten seconds. */
export function* blocks(buffer, settings) {
  const channels = Array.from({ length: buffer.numberOfChannels }, (_, channel) => buffer.getChannelData(channel));
  const most = BLOCK_SECONDS * buffer.sampleRate;
  for (let start = 0; start < buffer.length; start += most) {
    const mono = new Float32Array(Math.min(most, buffer.length - start));
    for (const channel of channels) {
      for (let place = 0; place < mono.length; place++) mono[place] += channel[start + place] / channels.length;
    }
    if (!mono.every((sample) => Math.abs(sample) < settings.loudest)) throw new Mistake("noNumbers");
    yield mono;
  }
}

/**
 * Open the microphone.
 * @param heard  takes each block of samples
 * @returns a function that closes it
 */
export async function listen(settings, heard, ended) {
  if (!isSecureContext) throw new Mistake("insecure");
  if (!navigator.mediaDevices?.getUserMedia) throw new Mistake("noMicrophone");
  let stream;
  try {
    // what a telephone call needs would remove the second speaker
    const audio = { echoCancellation: false, noiseSuppression: false, autoGainControl: false };
    stream = await navigator.mediaDevices.getUserMedia({ audio });
  } catch (error) {
    throw new Mistake(error.name === "NotAllowedError" ? "refused" : "noMicrophone");
  }
  const context = new AudioContext({ sampleRate: settings.sample_rate });
  const close = () => {
    stream.getTracks().forEach((track) => track.stop());
    if (context.state !== "closed") context.close();
  };
  try {
    await context.audioWorklet.addModule("microphone.js");
    const node = new AudioWorkletNode(context, "microphone", { numberOfOutputs: 0 });
    node.port.onmessage = ({ data }) => heard(data);
    context.createMediaStreamSource(stream).connect(node);
    // without a sound card some browsers never start it
    await Promise.race([context.resume(), new Promise((_, reject) => setTimeout(reject, PATIENCE))]);
  } catch {
    close();
    throw new Mistake("noRate");
  }
  stream.getAudioTracks()[0].onended = ended;
  return close;
}
