"""Decode an utterance's file into samples, or find the reason why it is damaged."""

import hashlib
import itertools
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

import joblib
import numpy as np
import soundfile
import soxr
from tqdm import tqdm

from speaker_count.data import headers
from speaker_count.data.activity import active_before
from speaker_count.data.corpus import Corpus
from speaker_count.labels import FULL_SCALE

RESAMPLER = f"soxr {soxr.__version__} HQ"
RATES = (8_000, 192_000)  # Hz that are resampled; what claims another one is no speech
LONGEST_HOURS = 24  # of an utterance; a forged header could ask for any amount of memory
DECODED_AHEAD = 64  # utterances in memory at a time
READ_AT_ONCE = 2**16  # frames of a file that is converted
OVERRUN = 0.1  # s by which an utterance may end after its file: ends are often rounded

Span = tuple[float, float]
WHOLE: Span = (float("nan"), float("nan"))


class Decoded(NamedTuple):
    """What an utterance's file holds.

    Attributes:
        sha256: of the file; empty if an utterance before has had it.
        speech: the samples, `(samples,)` int16, and their activity, `(frames + 1,)` int32 as from
            `activity.active_before`; or the reason why the file is damaged.
        rate, channels: of the file, if it is not damaged.
    """

    sha256: bytes
    speech: tuple[np.ndarray, np.ndarray] | str
    rate: int = 0
    channels: int = 0


def decoded(corpus: Corpus, sample_rate: int, resample: bool = False) -> Iterator[Decoded]:
    """What the file of each utterance holds, in the corpus's order.

    Samples are valid only until the next utterance is taken: buffers are reused.

    Args:
        sample_rate: in Hz.
        resample: convert whatever libsndfile reads; otherwise all but integer PCM of one channel at `sample_rate`, in
            WAV and FLAC, counts as damaged.
    """
    buffers = [Buffer() for _ in range(DECODED_AHEAD)]  # allocating memory for each would add a twentieth of the time
    first = set() if corpus.spans is None else {*corpus.first_of_files().tolist()}
    with (
        ThreadPoolExecutor(joblib.cpu_count()) as threads,  # soundfile decodes without the interpreter's lock
        tqdm(total=len(corpus.paths), desc="decoding", unit="utterance", disable=None) as bar,
    ):
        for start in range(0, len(corpus.paths), DECODED_AHEAD):
            paths = [corpus.root / path for path in corpus.paths[start : start + DECODED_AHEAD].to_pylist()]
            spans = (
                itertools.repeat(None) if corpus.spans is None else corpus.spans[start : start + DECODED_AHEAD].tolist()
            )
            hashed = (corpus.spans is None or row in first for row in itertools.count(start))
            rates, modes = itertools.repeat(sample_rate), itertools.repeat(resample)
            for utterance in threads.map(_decode_one, paths, spans, hashed, rates, modes, buffers):
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


def _decode_one(
    path: Path, span: Span | None, hashed: bool, sample_rate: int, resample: bool, buffer: Buffer
) -> Decoded:
    # first: if the file is replaced now, its hash will not be that of the new content
    sha256 = sha256_of(path) if hashed else b""
    try:
        with soundfile.SoundFile(path) as file:
            samples = _samples(file, path, span or WHOLE, sample_rate, resample, buffer)
            if isinstance(samples, str):
                return Decoded(sha256, samples)
            rate, channels = file.samplerate, file.channels
    except (OSError, soundfile.SoundFileError, TypeError) as error:  # a TypeError: a raw file, which has no header
        if not path.exists():
            return Decoded(sha256, "does not exist")
        return Decoded(sha256, str(error).removeprefix(f"Error opening {str(path)!r}: "))
    activity = active_before(samples, sample_rate).astype("<i4", copy=False)
    return Decoded(sha256, (samples.astype("<i2", copy=False), activity), rate, channels)


def _samples(
    file: soundfile.SoundFile, path: Path, span: Span, sample_rate: int, resample: bool, buffer: Buffer
) -> np.ndarray | str:
    """The samples of a span, `(samples,)` int16; or the reason why the file is damaged."""
    unlike = _unlike(file, path, sample_rate)
    if unlike and not resample:
        return unlike
    if file.frames > LONGEST_HOURS * 3600 * file.samplerate:
        return f"its header claims {file.frames / file.samplerate / 3600:,.0f} h of speech"
    begin, frames = _extent(file, span)
    if frames < 1 <= file.frames:
        return f"its part from {span[0]:g} to {span[1]:g} s is not in it: it has {file.frames / file.samplerate:.2f} s"
    if frames < 1:
        return "empty"
    whole = frames == file.frames
    # soundfile silently returns the rest of a truncated WAV file, and as much as a FLAC file claims
    md5 = headers.flac_md5(path) if file.format == "FLAC" and whole else b""
    expected = max(frames, headers.wav_frames(path)) if file.format in ("WAV", "WAVEX") and whole else frames
    if begin:
        file.seek(begin)
    if unlike:
        return _converted(file, frames, sample_rate, md5, expected)
    samples = file.read(out=buffer.of(frames))
    if any(md5) and headers.md5_of(file, samples) != md5:
        return "its samples are not those that were encoded (MD5)"
    return _lacking(len(samples), expected) or samples


def _unlike(file: soundfile.SoundFile, path: Path, sample_rate: int) -> str:
    """What a file has to be converted for; empty if it is one channel of integers at this rate, as it says."""
    kind = path.suffix[1:].upper()
    if file.format.removesuffix("EX") != kind:
        return f"{file.format}, not {kind}"
    if file.endian == "BIG":
        return "big-endian WAV; only little-endian is read"
    if kind not in ("FLAC", "WAV"):
        return f"{kind}; only FLAC and WAV are read"
    if not file.subtype.startswith("PCM_"):  # NaN would silently become zeros
        return f"{file.subtype_info} samples; only integer PCM is read"
    if file.samplerate != sample_rate:
        return f"{file.samplerate} Hz, not {sample_rate}"
    return f"{file.channels} channels, not one" if file.channels != 1 else ""


def _extent(file: soundfile.SoundFile, span: Span) -> tuple[int, int]:
    """The first frame of a span, and how many there are; none if the file ends before the span does."""
    begin, end = (0 if np.isnan(second) else round(second * file.samplerate) for second in span)
    if np.isnan(span[1]):
        return begin, file.frames - begin
    if end > file.frames + OVERRUN * file.samplerate:
        return begin, 0
    return begin, min(end, file.frames) - begin


def _lacking(samples: int, expected: int) -> str:
    """Why there are too few samples; empty if there are enough."""
    if samples == 0:
        return "empty"
    return f"truncated: {samples} of {expected} samples" if samples < expected else ""


def _converted(file: soundfile.SoundFile, frames: int, sample_rate: int, md5: bytes, expected: int) -> np.ndarray | str:
    """Samples of any file from where it stands: the mean of its channels, resampled and rounded.

    Args:
        md5: of what was encoded; zeros or empty if that is not known.
    """
    if file.samplerate != sample_rate and not RATES[0] <= file.samplerate <= RATES[1]:
        return f"{file.samplerate:,} Hz; only {RATES[0]:,} to {RATES[1]:,} Hz are resampled"
    resampler = soxr.ResampleStream(file.samplerate, sample_rate, 1, dtype="float64", quality="HQ")
    kind = "int32" if file.subtype.startswith("PCM_") else "float64"
    done, digest, parts = 0, hashlib.md5(), []
    while done < frames and len(block := file.read(min(READ_AT_ONCE, frames - done), kind, always_2d=True)):
        done += len(block)  # (frames, channels)
        if any(md5):
            digest.update(headers.as_encoded(file, block))
        mono = block.mean(axis=1, dtype=np.float64) * (FULL_SCALE / 2**31 if kind == "int32" else FULL_SCALE)
        if not np.isfinite(mono).all():
            return "some of its samples are infinite or not numbers"
        parts.append(resampler.resample_chunk(mono) if file.samplerate != sample_rate else mono)
    if any(md5) and digest.digest() != md5:
        return "its samples are not those that were encoded (MD5)"
    if lacking := _lacking(done, expected):
        return lacking
    if file.samplerate != sample_rate:
        parts.append(resampler.resample_chunk(np.empty(0), last=True))
    speech = np.concatenate(parts)
    return (
        np.clip(np.rint(speech, out=speech), -FULL_SCALE, FULL_SCALE - 1).astype(np.int16) if len(speech) else "empty"
    )
