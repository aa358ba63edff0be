// The counts of one recording, or of the microphone, as the page shows them.

const COLUMN_SECONDS = 0.02;

export class Track {
  constructor(name, settings, live) {
    Object.assign(this, { name, settings, live, duration: 0, counts: [], confidence: [] });
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
      this.confidence[first + each] = probabilities[each][this.classes.indexOf(count)];
    });
  }

  /** Where a window's count begins to hold, in seconds: halfway between two centres, and at the recording's ends. */
  begin(place) {
    const { sample_rate: rate, clip_samples: length, hop_samples: hop } = this.settings;
    if (place === 0) return 0;
    if (place < this.counts.length) return (length / 2 + (place - 0.5) * hop) / rate;
    return this.live ? Math.min(this.duration, (length / 2 + (place - 0.5) * hop) / rate) : this.duration;
  }

  /** The recording as parts with one count each. */
  stretches() {
    const found = [];
    let start = 0;
    for (let place = 1; place <= this.counts.length; place++) {
      if (place < this.counts.length && this.counts[place] === this.counts[start]) continue;
      const sum = this.confidence.slice(start, place).reduce((total, value) => total + value, 0);
      const confidence = sum / (place - start);
      found.push({ begin: this.begin(start), end: this.begin(place), speakers: this.counts[start], confidence });
      start = place;
    }
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
}
