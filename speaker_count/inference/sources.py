"""Sound that continues: a microphone, or a file that is played through the same path."""

import contextlib
import dataclasses
import queue
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from types import ModuleType
from typing import Any

import numpy as np

from speaker_count.errors import MissingPackageError, UserError, needed_by, printable
from speaker_count.inference import audio
from speaker_count.inference.audio import Recording

PIECE = 0.1  # s of sound that come at a time
MOST_WAITING = 600  # pieces; what comes while so many wait is lost, so that memory does not grow
PATIENCE = 3.0  # s without a piece, after which a microphone is gone
MOST_CHANNELS = 2  # that are mixed down; drivers claim up to 128
INSTEAD = "`--from-file FILE` plays a recording instead"


@dataclass
class Source:
    """Sound that continues.

    Attributes:
        recording: the sound; its blocks come as they are heard.
        began: the time of its first sample, in seconds since 1970. That of a microphone follows the clock as sound
            comes, because sound is lost while a computer sleeps, and a sound card's second is not quite one.
        lost: seconds of sound that came while the processor did not keep up.
    """

    recording: Recording
    began: float = field(default_factory=time.time)
    lost: float = 0.0


@contextlib.contextmanager
def played(path: str, fast: bool = False, began: float | None = None) -> Iterator[Source]:
    """A file as a source: in real time, or as fast as it is counted.

    Args:
        began: the time of its first sample, in seconds since 1970; None: now.

    Raises:
        UserError: it cannot be read.
    """
    with audio.opened(path) as recording:

        def pieces() -> Iterator[np.ndarray]:
            start, done = time.monotonic(), 0
            at_once = max(1, round(PIECE * recording.sample_rate))
            for block in recording.blocks():
                for first in range(0, len(block), at_once):
                    piece = block[first : first + at_once]
                    done += len(piece)
                    time.sleep(max(0, start + done / recording.sample_rate - time.monotonic()))
                    yield piece

        shown = recording if fast else dataclasses.replace(recording, blocks=pieces)
        yield Source(shown) if began is None else Source(shown, began)


@contextlib.contextmanager
def microphone(device: str | None = None, channel: int | None = None) -> Iterator[Source]:
    """A microphone as a source, at its own sample rate.

    Args:
        device: its number or a part of its name, as `devices` gives them; None: the system's default.
        channel: from 1; None: the first two, or the only one.

    Raises:
        UserError: there is none, it cannot be opened, or it gives no sound any more.
    """
    sounddevice = _sounddevice()
    waiting: queue.Queue[tuple[float, np.ndarray] | None] = queue.Queue()
    try:
        chosen = int(device) if device is not None and device.isdecimal() else device
        about = sounddevice.query_devices(chosen, "input")
        rate, channels = round(about["default_samplerate"]), channel or min(about["max_input_channels"], MOST_CHANNELS)
        name = f"the microphone {about['name']}"
        if channels > about["max_input_channels"]:
            raise audio.no_channel(name, channels, about["max_input_channels"])
        source = Source(Recording(name, rate, channels, None, lambda: _pieces(waiting, source), is_endless=True))

        def heard(block: np.ndarray, samples: int, _: Any, status: Any) -> None:
            if status.input_overflow or waiting.qsize() >= MOST_WAITING:
                source.lost += samples / rate  # at least
            if waiting.qsize() < MOST_WAITING:
                waiting.put((time.time(), block.copy()))

        stream = sounddevice.InputStream(
            samplerate=rate, blocksize=round(PIECE * rate), device=chosen, channels=channels, dtype="float32",
            callback=heard, finished_callback=lambda: waiting.put(None),
        )  # fmt: skip
        stream.start()
    except (sounddevice.PortAudioError, ValueError, OverflowError) as error:
        what = "no microphone found" if device is None else f"no microphone {device}"
        raise UserError(f"{what} ({_reason(error)}): `--list-devices` shows what there is; {INSTEAD}") from error
    try:
        yield source
    finally:
        with contextlib.suppress(sounddevice.PortAudioError):  # it may be gone
            stream.close()


def devices() -> list[str]:
    """Lines: the number of each microphone, its name, channels and sample rate; a star marks the default.

    Raises:
        UserError: there is none.
    """
    sounddevice = _sounddevice()
    try:
        found = [each for each in sounddevice.query_devices() if each["max_input_channels"] > 0]
        default = sounddevice.default.device[0]
    except sounddevice.PortAudioError as error:
        raise UserError(f"no microphone found ({_reason(error)}); {INSTEAD}") from error
    if not found:
        raise UserError(f"no microphone found; {INSTEAD}")
    return [
        f"{'*' if each['index'] == default else ' '} {each['index']:>3}  {printable(each['name'])}, "
        f"{each['max_input_channels']} channels, {each['default_samplerate']:,.0f} Hz"
        for each in found
    ]


def _pieces(waiting: "queue.Queue[tuple[float, np.ndarray] | None]", source: Source) -> Iterator[np.ndarray]:
    """What a microphone hears, piece by piece."""
    recording, done = source.recording, 0
    while True:
        try:
            piece = waiting.get(timeout=PATIENCE)
        except queue.Empty:
            piece = None
        if piece is None:
            raise UserError(f"{recording.name} gives no sound any more: is it unplugged?")
        at, block = piece
        done += len(block)
        source.began = at - done / recording.sample_rate
        yield block


def _sounddevice() -> ModuleType:
    try:
        with needed_by("a microphone"):
            import sounddevice
    except MissingPackageError as error:
        raise MissingPackageError(f"{error}; {INSTEAD}") from error
    except OSError as error:  # its wheel for Linux comes without PortAudio
        raise UserError(
            f"a microphone needs the library PortAudio, on Debian and Ubuntu `apt install libportaudio2`; {INSTEAD}"
        ) from error
    found: ModuleType = sounddevice
    return found


def _reason(error: BaseException) -> str:
    """The first line of an error, without PortAudio's number of it."""
    return (str(error.args[0] if error.args else error).splitlines() or [type(error).__name__])[0].rstrip(".")
