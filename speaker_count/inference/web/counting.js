// Windows, silence and smoothing as `predictor.py` and `windows.py` have them.

const BATCH = 4; // windows that are computed at a time; the first ones are soon there

/** The level of a window: RMS without its mean. */
export function level(window) {
  let sum = 0;
  for (const sample of window) sum += sample;
  const mean = sum / window.length;
  let squares = 0;
  for (const sample of window) squares += (sample - mean) ** 2;
  return Math.sqrt(squares / window.length);
}

/**
 * The mean of a window's probabilities and its neighbours', whose weights fall linearly with their distance.
 * @param raw  an array of probabilities for each window
 * @param silent  whether each window is silence: it is no speaker, whatever its neighbours say
 */
export function smoothedAt(place, raw, silent, hopSeconds, seconds) {
  if (silent[place]) return raw[place];
  const reach = seconds > 0 ? Math.max(0, Math.ceil(seconds / hopSeconds) - 1) : 0;
  const result = new Array(raw[place].length).fill(0);
  let weights = 0;
  for (let other = Math.max(0, place - reach); other <= Math.min(raw.length - 1, place + reach); other++) {
    const weight = reach ? 1 - (Math.abs(other - place) * hopSeconds) / seconds : 1;
    weights += weight;
    raw[other].forEach((value, index) => (result[index] += weight * value));
  }
  return result.map((value) => value / weights);
}

/** Counts in one stream of samples, which comes in pieces of any length. */
export class Counter {
  /**
   * @param settings  what net.json says
   * @param run  takes `windows * clip_samples` samples, gives a promise of an array of probabilities for each window
   */
  constructor(settings, run) {
    Object.assign(this, { settings, run, rest: new Float32Array(0), raw: [], silent: [] });
    this.classes = settings.counts[0] > 0 ? [0, ...settings.counts] : settings.counts;
    this.reach = Math.max(0, Math.ceil(settings.smooth_seconds / this.hopSeconds) - 1);
  }

  get hopSeconds() {
    return this.settings.hop_samples / this.settings.sample_rate;
  }

  /**
   * Add samples; gives the windows that are new, or whose neighbours are, in batches: `{first, counts, probabilities}`.
   */
  async *add(samples) {
    const { clip_samples: length, hop_samples: hop } = this.settings;
    const joined = new Float32Array(this.rest.length + samples.length);
    joined.set(this.rest);
    joined.set(samples, this.rest.length);
    let start = 0;
    while (joined.length - start >= length) {
      const number = Math.min(BATCH, 1 + Math.floor((joined.length - start - length) / hop));
      const batch = new Float32Array(number * length);
      for (let each = 0; each < number; each++) {
        batch.set(joined.subarray(start + each * hop, start + each * hop + length), each * length);
      }
      start += number * hop;
      yield this.#counted(batch, await this.run(batch, number));
    }
    this.rest = joined.slice(start);
  }

  #counted(batch, probabilities) {
    const { clip_samples: length, silence, counts } = this.settings;
    const first = Math.max(0, this.raw.length - this.reach);
    probabilities.forEach((row, each) => {
      const silent = level(batch.subarray(each * length, (each + 1) * length)) < silence;
      const whole = counts[0] > 0 ? [0, ...row] : [...row]; // a net that knows no silence gets a class for it
      this.silent.push(silent);
      this.raw.push(silent ? whole.map((_, place) => Number(place === 0)) : whole);
    });
    const result = { first, counts: [], probabilities: [] };
    for (let place = first; place < this.raw.length; place++) {
      const row = smoothedAt(place, this.raw, this.silent, this.hopSeconds, this.settings.smooth_seconds);
      result.probabilities.push(row);
      result.counts.push(this.classes[row.indexOf(Math.max(...row))]);
    }
    return result;
  }
}
