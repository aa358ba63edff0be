"""Recordings as blocks of samples, in constant memory: files, standard input and arrays."""

import contextlib
import os
import re
import stat
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np
import soundfile
import soxr

from speaker_count.errors import UserError, first_line, install
from speaker_count.inference import containers, truncation

RATES = 4_000, 768_000  # Hz; a file that claims another rate is no recording of speech
MOST_HOURS = 100  # of a recording, because a forged header may claim any length
MOST_BYTES = 2**35  # of standard input, which is kept in a temporary file
LOUDEST = 1e6  # times full scale, because some programs write whole numbers as floats
BLOCK = 2**18  # samples of all channels that are in memory at a time
UNRECOGNISED = 1  # libsndfile's SF_ERR_UNRECOGNISED_FORMAT
VIDEO = f"; video and other containers need av, which is not installed: {install('video')}"
UNKNOWN_FRAMES = 2**62  # from here on, libsndfile says that it does not know the length
STREAMED = 0x7FFFF000, 0xFFFFFFFF  # bytes, between which programs that write to a pipe claim a length
CLAIM = re.compile(r":\s*(\d+) \(should be (\d+)\)")  # in libsndfile's log of a header: claimed, found
STANDARD_INPUT = "standard input"
MISLEADING = "File does not exist", "Internal error"  # libsndfile's words where it makes no sense of a header


@dataclass(frozen=True)
class Recording:
    """Sound from anywhere.

    Attributes:
        name: for messages; a path.
        sample_rate: in Hz.
        channels: their number.
        frames: the length in samples of one channel; None: it is not known before the end.
        blocks: gives the samples in order, `(samples, channels)` float32, full scale at 1; can be called once.
        is_endless: whether it may last longer than `MOST_HOURS`, as a microphone does.
    """

    name: str
    sample_rate: int
    channels: int
    frames: int | None
    blocks: Callable[[], Iterator[np.ndarray]]
    is_endless: bool = False


@contextlib.contextmanager
def opened(path: str | Path) -> Iterator[Recording]:
    """Open a file that libsndfile or, if it is installed, PyAV reads; "-" is the standard input.

    Raises:
        UserError: the file is missing, holds no sound that can be read, or has an absurd header.
    """
    if path == "-":
        with _standard_input() as file:
            yield from _recordings(file, STANDARD_INPUT, is_pipe=True)
        return
    name = str(path) or "''"
    try:
        kind = os.stat(path).st_mode
        if stat.S_ISDIR(kind):
            os.scandir(path).close()  # it may be here because it cannot be read
            raise UserError(f"{name} is a folder")
        if not stat.S_ISREG(kind):  # a pipe would be waited for
            raise UserError(f"{name} is no regular file; `speaker-count predict -` reads the standard input")
        file = open(path, "rb")  # noqa: SIM115 - closed below
    except (OSError, ValueError) as error:
        raise UserError(f"{name}: {getattr(error, 'strerror', None) or error}") from error
    with file:
        yield from _recordings(file, name)


def of_array(samples: Any, sample_rate: int | None, name: str = "the array") -> Recording:
    """An array or a tensor as a recording.

    Args:
        samples: `(samples,)`, `(samples, channels)` or `(channels, samples)`; there are fewer channels than samples.
            Floats have full scale at 1, whole numbers at their type's.
        sample_rate: in Hz.

    Raises:
        UserError: the sample rate is missing, or the array has another form.
    """
    try:
        is_short = str(getattr(samples, "dtype", "")) == "torch.bfloat16"  # which NumPy does not know
        for conversion in ("detach", "cpu", *["float"] * is_short):  # of a tensor; torch need not be there
            samples = getattr(samples, conversion, lambda given=samples: given)()
        array = np.asarray(samples)
    except (TypeError, ValueError, RuntimeError) as error:
        raise UserError(f"{name} cannot be read as numbers, (samples, channels): {_reason(error)}") from error
    if not _is_whole(sample_rate):
        raise UserError(f"{name} needs its sample rate: predict(array, sample_rate=16_000)")
    assert sample_rate is not None
    if array.ndim not in (1, 2) or array.dtype.kind not in "fiu":
        raise UserError(f"{name} has the form {array.shape} of {array.dtype}: expected numbers, (samples, channels)")
    array = array[:, None] if array.ndim == 1 else array if len(array) >= array.shape[1] else array.T
    _check_claims(name, int(sample_rate), array.shape[1], len(array))
    at_once = max(1, BLOCK // array.shape[1])

    def blocks() -> Iterator[np.ndarray]:
        for start in range(0, len(array), at_once):
            yield _as_float(array[start : start + at_once])

    return Recording(name, int(sample_rate), array.shape[1], len(array), blocks)


def mono(recording: Recording, sample_rate: int, channel: int | None = None) -> Iterator[np.ndarray]:
    """A recording as one channel at another sample rate, block by block.

    Args:
        sample_rate: in Hz.
        channel: from 1; None: the mean of all.

    Yields:
        `(samples,)` float32.

    Raises:
        UserError: the recording has no such channel, has samples that are no numbers, or is damaged, truncated, empty
            or longer than `MOST_HOURS`.
    """
    if channel is not None and not 1 <= channel <= recording.channels:
        raise no_channel(recording.name, channel, recording.channels)
    resampler = None
    if recording.sample_rate != sample_rate:
        resampler = soxr.ResampleStream(recording.sample_rate, sample_rate, 1, dtype="float32", quality="HQ")
    done = 0
    for block in recording.blocks():
        chosen = block if channel is None else block[:, channel - 1 : channel]
        usable = (np.abs(chosen) < LOUDEST).all(axis=1)
        if not usable.all():
            at = (done + int(np.argmin(usable))) / recording.sample_rate
            raise UserError(
                f"{recording.name} has samples that are not numbers, or far beyond full scale, at {at:.2f} s"
            )
        samples = chosen.mean(axis=1)
        done += len(block)
        if done > MOST_HOURS * 3600 * recording.sample_rate and not recording.is_endless:
            raise UserError(f"{recording.name} is longer than {MOST_HOURS} hours: cut it into parts")
        yield samples if resampler is None else resampler.resample_chunk(samples)
    if not done:
        raise UserError(f"{recording.name} is empty")
    if recording.frames is not None and done < recording.frames:
        raise UserError(
            f"{recording.name} is truncated: it has {done / recording.sample_rate:.2f} of "
            f"{recording.frames / recording.sample_rate:.2f} s"
        )
    if resampler is not None:
        yield resampler.resample_chunk(np.empty(0, np.float32), last=True)


def no_channel(name: str, channel: int, channels: int) -> UserError:
    """The error that a recording or a microphone has no such channel."""
    has = "it has one channel" if channels == 1 else f"its channels are 1 to {channels}"
    return UserError(f"{name} has no channel {channel}: {has}")


class _Forward(soundfile.SoundFile):
    """A file that is only read forward: soundfile would seek after each block, which some files do not allow."""

    def seekable(self) -> bool:
        return False


def _recordings(file: IO[bytes], name: str, is_pipe: bool = False) -> Iterator[Recording]:
    """Yield one recording, that of an open file, for a context manager."""
    if not os.fstat(file.fileno()).st_size:
        raise UserError(f"{name} is empty")
    if lacks := truncation.lacking(file):
        raise UserError(f"{name} is truncated: it has {lacks[0]:,} of {lacks[1]:,} bytes")
    try:
        sound = _Forward(file.fileno(), closefd=False)
    except (soundfile.SoundFileError, OSError, TypeError) as error:
        file.seek(0)
        # only of unknown formats: FFmpeg would read a file that libsndfile knows to be damaged, and not say so
        is_unknown = getattr(error, "code", None) == UNRECOGNISED
        contained = containers.opened(file) if is_unknown else None
        if contained is None:
            more = VIDEO if is_unknown and not containers.is_installed() else ""
            raise UserError(f"{name} is no sound that can be read ({_reason(error)}){more}") from error
        with contextlib.closing(contained):
            _check_claims(name, contained.sample_rate, contained.channels, None)
            blocks = _without_damage(name, contained.sample_rate, contained.blocks)
            yield Recording(name, contained.sample_rate, contained.channels, None, blocks)
        return
    with sound:
        frames = None if is_pipe or sound.frames >= UNKNOWN_FRAMES else sound.frames
        _check_claims(name, sound.samplerate, sound.channels, frames)
        claims = [(int(claimed), int(held)) for claimed, held in CLAIM.findall(sound.extra_info)]
        if not is_pipe and any(
            claimed > held and not STREAMED[0] <= claimed <= STREAMED[1] for claimed, held in claims
        ):
            claimed, held = max(claims)
            raise UserError(f"{name} is truncated: it has {held:,} of {claimed:,} bytes")

        def blocks() -> Iterator[np.ndarray]:
            at_once = max(1, BLOCK // sound.channels)
            while len(block := sound.read(at_once, dtype="float32", always_2d=True)):
                yield block

        yield Recording(name, sound.samplerate, sound.channels, frames, _without_damage(name, sound.samplerate, blocks))


def _check_claims(name: str, sample_rate: int, channels: int, frames: int | None) -> None:
    """Check what a header claims, before anything is decoded."""
    if not RATES[0] <= sample_rate <= RATES[1]:
        raise UserError(f"{name} has {sample_rate:,} Hz; only {RATES[0]:,} to {RATES[1]:,} Hz are read")
    if channels < 1:
        raise UserError(f"{name} has no channel")
    if frames == 0:
        raise UserError(f"{name} is empty")
    if frames is not None and frames > MOST_HOURS * 3600 * sample_rate:
        raise UserError(
            f"{name} claims {frames / sample_rate / 3600:,.0f} hours of sound; at most {MOST_HOURS} are read: cut it "
            "into parts"
        )


def _without_damage(
    name: str, sample_rate: int, blocks: Callable[[], Iterator[np.ndarray]]
) -> Callable[[], Iterator[np.ndarray]]:
    """Blocks, in which a fault of a decoder becomes a `UserError` with its time."""

    def checked() -> Iterator[np.ndarray]:
        done = 0
        try:
            for block in blocks():
                done += len(block)
                yield block
        except (soundfile.SoundFileError, *containers.errors()) as error:
            at = done / sample_rate
            raise UserError(f"{name} is damaged or truncated after {at:.2f} s ({_reason(error)})") from error

    return checked


def _reason(error: BaseException) -> str:
    text = getattr(error, "strerror", None) or first_line(error)
    text = re.sub(r"^Error (opening \S+)?\s*:\s*", "", text).rstrip(".")
    return "its header is damaged" if text.startswith(MISLEADING) else text


def _is_whole(number: Any) -> bool:
    try:
        return bool(number == int(number))
    except (TypeError, ValueError, OverflowError):
        return False


def _as_float(block: np.ndarray) -> np.ndarray:
    if block.dtype.kind == "f":
        with np.errstate(over="ignore"):  # infinity is refused, where it is
            return block.astype(np.float32)
    half = 2.0 ** (8 * block.dtype.itemsize - 1)
    return ((block - half if block.dtype.kind == "u" else block) / half).astype(np.float32)


@contextlib.contextmanager
def _standard_input() -> Iterator[IO[bytes]]:
    """The standard input as a file that can be read in any order: a pipe is copied into a temporary file."""
    given = sys.stdin.buffer
    if given.isatty():
        raise UserError("the standard input is a terminal: pipe sound into it, `speaker-count predict - < FILE`")
    if stat.S_ISREG(os.fstat(given.fileno()).st_mode):
        yield given
        return
    with tempfile.TemporaryFile() as file:
        while file.tell() < MOST_BYTES and (block := given.read(2**20)):
            file.write(block)
        if file.tell() >= MOST_BYTES:
            raise UserError(f"{STANDARD_INPUT} has more than {MOST_BYTES / 2**30:,.0f} GiB: cut it into parts")
        file.flush()
        file.seek(0)
        yield file


def found(folder: Path) -> list[Path]:
    """The files in a folder and below it that have an ending of sound, sorted, and folders below it that cannot be
    read; links to folders are not followed.

    Raises:
        UserError: there are none.
    """
    endings = {f".{name.lower()}" for name in soundfile.available_formats()} - {".raw"}
    endings |= {".aif", ".aifc", ".mp2", ".oga", ".opus", ".wave"}
    endings |= set(containers.ENDINGS) if containers.is_installed() else set()
    unread: list[OSError] = []
    paths = [
        Path(root, name)
        for root, _, names in os.walk(folder, onerror=unread.append)
        for name in names
        if os.path.splitext(name)[1].lower() in endings
    ]
    paths += [Path(error.filename) for error in unread]
    if not paths:
        raise UserError(f"{folder} holds no file of sound")
    return sorted(paths)
