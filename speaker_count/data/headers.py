"""What the headers of audio files claim about their samples, and libsndfile does not tell.

WAV: Multimedia Programming Interface and Data Specifications 1.0 (IBM and Microsoft 1991). FLAC: RFC 9639. Either may
begin with a tag of ID3 version 2.
"""

import hashlib
import struct
from pathlib import Path
from typing import BinaryIO

import numpy as np
import soundfile

MD5 = slice(26, 42)  # of a FLAC file: behind its name, a block's header, and the rest of the first block


def _skip_tag(file: BinaryIO) -> None:
    head = file.read(10)
    # the size has seven bits in each byte
    file.seek(10 + sum((byte & 127) << shift for byte, shift in zip(head[6:], (21, 14, 7, 0), strict=True)))
    if head[:3] != b"ID3":
        file.seek(0)


def wav_frames(path: Path) -> int:
    """The number of samples that a WAV file's header claims; 0 if it claims none. A truncated file holds fewer."""
    with open(path, "rb") as file:
        _skip_tag(file)
        file.seek(12, 1)
        of_frame = 1  # bytes
        while len(chunk := file.read(8)) == 8:
            name, size = struct.unpack("<4sI", chunk)
            if name == b"data":
                return int(size // of_frame)
            begin = file.tell()
            if name == b"fmt ":
                of_frame = max(1, int.from_bytes(file.read(14)[12:], "little"))
            file.seek(begin + size + size % 2)
    return 0


def flac_md5(path: Path) -> bytes:
    """The MD5 of the samples that were encoded, from a FLAC file's header; zeros if the encoder did not write it."""
    with open(path, "rb") as file:
        _skip_tag(file)
        return file.read(MD5.stop)[MD5]


def md5_of(file: soundfile.SoundFile, samples: np.ndarray) -> bytes:
    """The MD5 of samples as an encoder computes it.

    Args:
        file: open.
        samples: what was read of it, `(samples,)` int16.
    """
    if file.subtype == "PCM_16":
        return hashlib.md5(samples.astype("<i2", copy=False).data).digest()
    file.seek(0)
    return hashlib.md5(as_encoded(file, file.read(dtype="int32"))).digest()


def as_encoded(file: soundfile.SoundFile, samples: np.ndarray) -> bytes:
    """Samples as an encoder computes their MD5: little-endian integers of as many bytes as they need.

    Args:
        file: open; of PCM_S8, PCM_16 or PCM_24.
        samples: read of it as int32, `(samples,)` or `(samples, channels)`.
    """
    bits = int("".join(filter(str.isdigit, file.subtype)))
    whole = (samples >> (32 - bits)).astype("<i4").reshape(-1)
    return whole.view(np.uint8).reshape(-1, 4)[:, : bits // 8].tobytes()
