"""Video and other containers, read by PyAV where it is installed: the first stream of sound."""

import importlib.util
from collections.abc import Iterator
from typing import IO, Any

import numpy as np

ENDINGS = (".3gp", ".aac", ".ac3", ".avi", ".m4a", ".m4b", ".mka", ".mkv", ".mov", ".mp4", ".mpg", ".ts", ".webm",
           ".wma", ".wmv")  # fmt: skip
FORMAT = "fltp"  # of FFmpeg, to which frames are converted: float32, a row for each channel
# the formats that FFmpeg may read: none of them names other files or addresses, as playlists do (M3U8, SDP, DASH)
DEMUXERS = (
    "aac,ac3,aiff,amr,amrnb,amrwb,ape,asf,avi,caf,dts,eac3,flac,flv,matroska,mov,mp3,mpc,mpc8,mpeg,mpegts,ogg,rm,tak,"
    "truehd,tta,w64,wav,wv"
)
CLOSED = {"format_whitelist": DEMUXERS, "protocol_whitelist": "none"}  # nothing but the file is opened
BLOCK = 2**16  # samples that are given at a time: a frame has only about a thousand


def is_installed() -> bool:
    """Whether PyAV is installed."""
    found = importlib.util.find_spec("av")
    return found is not None and found.origin is not None  # not a folder of that name


def errors() -> tuple[type[Exception], ...]:
    """The classes of the errors that PyAV raises; none where it is not installed."""
    if not is_installed():
        return ()
    import av

    return (av.error.FFmpegError, ValueError)


class Contained:
    """The first stream of sound in a container.

    Attributes:
        sample_rate: in Hz.
        channels: their number.
    """

    def __init__(self, container: Any) -> None:
        self._container, self._stream = container, container.streams.audio[0]
        self.sample_rate, self.channels = int(self._stream.rate or 0), int(self._stream.channels or 0)

    def blocks(self) -> Iterator[np.ndarray]:
        """`(samples, channels)` float32."""
        kept: list[np.ndarray] = []
        held = 0
        for frame in self._frames():
            kept.append(frame)
            held += len(frame)
            if held >= BLOCK:
                yield np.concatenate(kept)
                kept, held = [], 0
        if kept:
            yield np.concatenate(kept)

    def _frames(self) -> Iterator[np.ndarray]:
        import av

        resampler = av.AudioResampler(format=FORMAT, layout=self._stream.layout.name, rate=self.sample_rate)
        for frame in self._container.decode(self._stream):
            for converted in resampler.resample(frame):
                yield converted.to_ndarray().T
        for converted in resampler.resample(None):
            yield converted.to_ndarray().T

    def close(self) -> None:
        """Close the container."""
        self._container.close()


def opened(file: IO[bytes]) -> Contained | None:
    """The sound in a container; None: PyAV is not installed, finds no sound, or cannot read the file."""
    if not is_installed():
        return None
    import av

    try:
        container = av.open(file, options=CLOSED)
    except (av.error.FFmpegError, ValueError):
        return None
    contained = Contained(container) if container.streams.audio else None
    if contained is None or not contained.sample_rate or not contained.channels:
        container.close()
        return None
    return contained
