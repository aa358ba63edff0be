"""Decode an utterance's file into samples, or find the reason why it is damaged."""

import hashlib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

import joblib
import numpy as np
import soundfile
from tqdm import tqdm

from speaker_count.data import headers
from speaker_count.data.activity import active_before
from speaker_count.data.corpus import Corpus

LONGEST_HOURS = 24  # of an utterance; a forged header could ask for any amount of memory
DECODED_AHEAD = 64  # utterances in memory at a time


class Decoded(NamedTuple):
    """What an utterance's file holds.

    Attributes:
        sha256: of the file.
        speech: the samples, `(samples,)` int16, and their activity, `(frames + 1,)` int32 as from
            `activity.active_before`; or the reason why the file is damaged.
    """

    sha256: bytes
    speech: tuple[np.ndarray, np.ndarray] | str


def decoded(corpus: Corpus, sample_rate: int) -> Iterator[Decoded]:
    """What the file of each utterance holds, in the corpus's order.

    Samples are valid only until the next utterance is taken: buffers are reused.

    Args:
        sample_rate: in Hz; an utterance with another rate counts as damaged.
    """
    buffers = [Buffer() for _ in range(DECODED_AHEAD)]  # allocating memory for each would add a twentieth of the time
    with (
        ThreadPoolExecutor(joblib.cpu_count()) as threads,  # soundfile decodes without the interpreter's lock
        tqdm(total=len(corpus.paths), desc="decoding", unit="utterance", disable=None) as bar,
    ):
        for start in range(0, len(corpus.paths), DECODED_AHEAD):
            paths = [corpus.root / path for path in corpus.paths[start : start + DECODED_AHEAD].to_pylist()]
            for utterance in threads.map(_decode_one, paths, [sample_rate] * len(paths), buffers):
                yield utterance
                bar.update()


class Buffer:
    """Memory that is reused for the samples of one utterance after another."""

    def __init__(self) -> None:
        self.samples = np.empty(0, np.int16)

    def of(self, frames: int) -> np.ndarray:
        """`(frames,)` int16; the values are left over from the last utterance."""
        if len(self.samples) < frames:
            self.samples = np.empty(frames, np.int16)
        return self.samples[:frames]


def sha256_of(path: str | Path) -> bytes:
    """The SHA-256 of a file; empty if the file cannot be read."""
    try:
        with open(path, "rb") as file:
            return hashlib.file_digest(file, "sha256").digest()
    except OSError:
        return b""


def _decode_one(path: Path, sample_rate: int, buffer: Buffer) -> Decoded:
    # first: if the file is replaced now, its hash will not be that of the new content
    return Decoded(sha256_of(path), _speech(path, sample_rate, buffer))


def _speech(path: Path, sample_rate: int, buffer: Buffer) -> tuple[np.ndarray, np.ndarray] | str:
    try:
        with soundfile.SoundFile(path) as file:
            kind = path.suffix[1:].upper()
            if file.format.removesuffix("EX") != kind:
                return f"{file.format}, not {kind}"
            if file.endian == "BIG":
                return "big-endian WAV; only little-endian is read"
            if not file.subtype.startswith("PCM_"):  # NaN would silently become zeros
                return f"{file.subtype_info} samples; only integer PCM is read"
            if file.samplerate != sample_rate:
                return f"{file.samplerate} Hz, not {sample_rate}"
            if file.channels != 1:
                return f"{file.channels} channels, not one"
            if file.frames > LONGEST_HOURS * 3600 * sample_rate:
                return f"its header claims {file.frames / sample_rate / 3600:,.0f} h of speech"
            samples = file.read(out=buffer.of(file.frames))
            # soundfile silently returns the rest of a truncated WAV file, and as much as a FLAC file claims
            expected = headers.wav_frames(path) if kind == "WAV" else file.frames
            md5 = headers.flac_md5(path) if kind == "FLAC" else b""
            if any(md5) and headers.md5_of(file, samples) != md5:
                return "its samples are not those that were encoded (MD5)"
    except (OSError, soundfile.SoundFileError) as error:
        return str(error).removeprefix(f"Error opening {str(path)!r}: ")
    if len(samples) == 0:
        return "empty"
    if len(samples) < expected:
        return f"truncated: {len(samples)} of {expected} samples"
    return samples.astype("<i2", copy=False), active_before(samples, sample_rate).astype("<i4", copy=False)
