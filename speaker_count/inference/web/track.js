// The counts of one recording, or of the microphone, as the page shows and saves them.

const COLUMN_SECONDS = 0.02;
const FORMULA = /^[=+\-@\t\r\n\uff1d\uff0b\uff0d\uff20]/; // a spreadsheet computes a text that begins so

export class Track {
  /** @param total  the length of a recording, in seconds; undefined: it is the microphone, which has no end */
  constructor(name, settings, total) {
    Object.assign(this, { name, settings, total, live: total === undefined, isWhole: false });
    this.duration = 0; // heard so far, in seconds
    this.counts = []; // of each window
    this.probabilities = []; // of each window, an array
    this.classes = settings.counts[0] > 0 ? [0, ...settings.counts] : settings.counts;
    this.peaks = []; // the greatest size of a sample in each column
    this.columnSamples = Math.round(COLUMN_SECONDS * settings.sample_rate);
    this.inColumn = 0;
  }

  /** Add samples to the waveform. */
  hear(samples) {
    for (const sample of samples) {
      if (!this.inColumn) this.peaks.push(0);
      const size = Math.abs(sample);
      if (size > this.peaks[this.peaks.length - 1]) this.peaks[this.peaks.length - 1] = size;
      this.inColumn = (this.inColumn + 1) % this.columnSamples;
    }
    this.duration += samples.length / this.settings.sample_rate;
  }

  /** Take windows: new ones, and those whose neighbours are new. */
  take({ first, counts, probabilities }) {
    counts.forEach((count, each) => {
      this.counts[first + each] = count;
      this.probabilities[first + each] = probabilities[each];
    });
  }

  /** The probability of a window's count. */
  confidence(place) {
    return this.probabilities[place][this.classes.indexOf(this.counts[place])];
  }

  /** The centre of a window, in seconds. */
  time(place) {
    return (place * this.settings.hop_samples + this.settings.clip_samples / 2) / this.settings.sample_rate;
  }

  /** Where a window's count begins to hold, in seconds: halfway between two centres, and at the recording's ends. */
  begin(place) {
    if (place === 0) return 0;
    if (place === this.counts.length && this.isWhole) return this.duration;
    return Math.min(this.duration, this.time(place - 0.5));
  }

  /** The window whose count holds at a time. */
  at(seconds) {
    const { sample_rate: rate, clip_samples: length, hop_samples: hop } = this.settings;
    const place = Math.floor((seconds * rate - length / 2) / hop + 0.5);
    return Math.max(0, Math.min(place, this.counts.length - 1));
  }

  /** The recording as parts with one count each. */
  stretches() {
    const found = [];
    let start = 0;
    let sum = 0;
    this.counts.forEach((speakers, place) => {
      sum += this.confidence(place);
      if (this.counts[place + 1] === speakers) return;
      const confidence = sum / (place + 1 - start);
      found.push({ begin: this.begin(start), end: this.begin(place + 1), speakers, confidence });
      [start, sum] = [place + 1, 0];
    });
    return found;
  }

  /** How long each number of people speaks, in seconds. */
  seconds() {
    const found = new Map(this.classes.map((count) => [count, 0]));
    this.counts.forEach((count, place) => found.set(count, found.get(count) + this.begin(place + 1) - this.begin(place)));
    return found;
  }

  /** The most at once, and the share of the speech in which two or more speak. */
  totals() {
    const seconds = [...this.seconds()];
    const from = (least) => seconds.reduce((sum, [count, value]) => sum + (count >= least ? value : 0), 0);
    const most = this.counts.reduce((highest, count) => Math.max(highest, count), 0);
    return { most, overlap: from(1) ? from(2) / from(1) : 0 };
  }

  /** A table for other programs, as `predict --format csv` writes it. */
  csv() {
    const safe = FORMULA.test(this.name) ? `'${this.name}` : this.name;
    const name = /[",\r\n]/.test(safe) ? `"${safe.replaceAll('"', '""')}"` : safe;
    const rows = this.counts.map((count, place) =>
      [name, this.time(place).toFixed(3), count, ...this.probabilities[place].map((value) => value.toFixed(4))].join(),
    );
    return [["file", "time", "count", ...this.classes.map((count) => `p_${count}`)].join(), ...rows, ""].join("\n");
  }
}
