// Sound from a file or a microphone, as one channel at the net's sample rate.

export const MOST_BYTES = 200e6; // of a file; the browser decodes it as a whole
export const MOST_SECONDS = 3600;

/** An error whose `key` names a text of texts.js. */
export class Mistake extends Error {
  constructor(key) {
    super(key);
    this.key = key;
  }
}

/** The samples of a file, `Float32Array`. */
export async function decoded(file, settings) {
  if (file.size > MOST_BYTES) throw new Mistake("tooLarge");
  if (!file.size) throw new Mistake("empty");
  let buffer;
  try {
    // a context of one sample: it only decodes, and resamples to its rate
    buffer = await new OfflineAudioContext(1, 1, settings.sample_rate).decodeAudioData(await file.arrayBuffer());
  } catch {
    throw new Mistake("noSound");
  }
  if (buffer.duration > MOST_SECONDS) throw new Mistake("tooLong");
  if (buffer.length < settings.clip_samples) throw new Mistake("tooShort");
  const mono = new Float32Array(buffer.length);
  for (let channel = 0; channel < buffer.numberOfChannels; channel++) {
    buffer.getChannelData(channel).forEach((sample, place) => (mono[place] += sample / buffer.numberOfChannels));
  }
  if (!mono.every(Number.isFinite)) throw new Mistake("noNumbers");
  return mono;
}

/**
 * Open the microphone.
 * @param heard  takes each block of samples
 * @returns a function that closes it
 */
export async function listen(settings, heard, ended) {
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
    await context.resume();
  } catch {
    close();
    throw new Mistake("noRate");
  }
  stream.getAudioTracks()[0].onended = ended;
  return close;
}
