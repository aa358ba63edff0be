"""From an utterance's file to its samples, or to the reason why it is left out."""

import os
import wave
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import soundfile
from tqdm import tqdm

from speaker_count.data.activity import active_before
from speaker_count.data.corpus import Corpus

DECODED_AHEAD = 64  # utterances in memory at a time


def decoded(corpus: Corpus, sample_rate: int) -> Iterator[tuple[np.ndarray, np.ndarray] | str]:
    """Each utterance's samples and their activity, or the reason why it has none, in the corpus's order.

    The samples are to be used before the next utterance is asked for.
    """
    buffers = [Buffer() for _ in range(DECODED_AHEAD)]  # fresh memory for each would take a twentieth of the time
    workers = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    with (
        ThreadPoolExecutor(workers) as threads,  # soundfile decodes without the interpreter's lock
        tqdm(total=len(corpus.paths), desc="decoding", unit="utterance", disable=None) as bar,
    ):
        for start in range(0, len(corpus.paths), DECODED_AHEAD):
            paths = [corpus.root / path for path in corpus.paths[start : start + DECODED_AHEAD].to_pylist()]
            for utterance in threads.map(_decode_one, paths, [sample_rate] * len(paths), buffers):
                yield utterance
                bar.update()


class Buffer:
    """Memory for the samples of one utterance after the other."""

    def __init__(self):
        self.samples = np.empty(0, np.int16)

    def of(self, frames: int) -> np.ndarray:
        if len(self.samples) < frames:
            self.samples = np.empty(frames, np.int16)
        return self.samples[:frames]


def _decode_one(path: Path, sample_rate: int, buffer: Buffer) -> tuple[np.ndarray, np.ndarray] | str:
    try:
        with soundfile.SoundFile(path) as file:
            if file.samplerate != sample_rate:
                return f"{file.samplerate} Hz, not {sample_rate}"
            if file.channels != 1:
                return f"{file.channels} channels, not one"
            if file.subtype in ("FLOAT", "DOUBLE"):
                return "floating-point samples; only integer PCM is read"  # NaN would turn into zeros without a word
            expected = file.frames
            samples = file.read(out=buffer.of(file.frames))
        if path.suffix.lower() == ".wav":  # of a truncated one, soundfile reads what is left without a word
            with wave.open(str(path)) as header:
                expected = header.getnframes()
    except (OSError, soundfile.SoundFileError, wave.Error, EOFError) as error:
        return str(error).removeprefix(f"Error opening {str(path)!r}: ")
    if len(samples) == 0:
        return "empty"
    if len(samples) < expected:
        return f"truncated: {len(samples)} of {expected} samples"
    return samples.astype("<i2", copy=False), active_before(samples, sample_rate).astype("<i4", copy=False)
