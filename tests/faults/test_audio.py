"""Files that no encoder wrote, or that no longer hold what it wrote: their exact samples, or the reason why not."""

import io
import os
import random
import struct
from functools import partial

import numpy as np
import pytest
import soundfile

from speaker_count.data import corpus, decoding
from speaker_count.data.pool import Pool
from tests.conftest import RATE, SMALL, make_tree
from tests.faults.conftest import FULL

SAMPLES = np.random.default_rng(0).integers(-6000, 6000, 24_000).astype(np.int16)
ODD = "speech/100/7/100-7-odd"
PREPARE = ("prepare", *SMALL[:4], "data.resample=false")


def encoded(kind: str, subtype: str | None = None, samples: np.ndarray = SAMPLES, rate: int = RATE, **keys) -> bytes:
    file = io.BytesIO()
    soundfile.write(file, samples, rate, format=kind, subtype=subtype, **keys)
    return file.getvalue()


def wav(tag: int = 1, channels: int = 1, rate: int = RATE, bits: int = 16, block: int = 2, size: int = 48_000) -> bytes:
    """A WAV file of `SAMPLES` with any values in its header."""
    sizes = (16, tag, channels, rate, min(rate * block, 2**32 - 1), block, bits)
    header = struct.pack(
        "<4sI4s4sIHHIIHH4sI", b"RIFF", min(36 + size, 2**32 - 1), b"WAVE", b"fmt ", *sizes, b"data", size
    )
    return header + SAMPLES.tobytes()


def flipped(content: bytes, byte: int, bit: int) -> bytes:
    return content[:byte] + bytes([content[byte] ^ 1 << bit]) + content[byte + 1 :]


FLAC, WAV = encoded("FLAC"), encoded("WAV")
STEREO = np.stack([SAMPLES, SAMPLES], axis=1)
TAG = b"ID3\x04\0\0\0\0\x01\x02" + bytes(130)  # its size has seven bits a byte
LOST, UNKNOWN = "Error : flac decoder lost sync.", "Error : unknown error in flac decoder."
SEEK = "Internal psf_fseek() failed."
STRANGE, MALFORMED = "Format not recognised.", "Error in WAV/W64/RF64 file. Malformed 'fmt ' chunk."
INCOMPLETE, UNIMPLEMENTED = (
    "Internal error : SF_INFO struct incomplete.",
    "File contains data in an unimplemented format.",
)
OTHER = "its samples are not those that were encoded (MD5)"
EIGHT = (SAMPLES >> 8 << 8).astype(np.int16)  # what is left of them in 8 bits

CASES: dict[str, tuple[str, bytes, str | np.ndarray]] = {
    "a FLAC file": (".flac", FLAC, SAMPLES),
    "a WAV file": (".wav", WAV, SAMPLES),
    "capital letters": (".WAV", WAV, SAMPLES),
    "an empty FLAC file": (".flac", b"", STRANGE),
    "an empty WAV file": (".wav", b"", STRANGE),
    "zeros": (".flac", bytes(5000), STRANGE),
    "text": (".flac", b"no speech at all, but many words " * 40, STRANGE),
    "text as WAV": (".wav", b"no speech at all, but many words " * 40, STRANGE),
    "WAV without samples": (".wav", encoded("WAV", samples=SAMPLES[:0]), "empty"),
    "one sample": (".wav", encoded("WAV", samples=SAMPLES[:1]), SAMPLES[:1]),
    "FLAC of another rate": (".flac", encoded("FLAC", rate=8000), "8000 Hz, not 16000"),
    "WAV of another rate": (".wav", encoded("WAV", rate=44_100), "44100 Hz, not 16000"),
    "stereo FLAC": (".flac", encoded("FLAC", samples=STEREO), "2 channels, not one"),
    "stereo WAV": (".wav", encoded("WAV", samples=STEREO), "2 channels, not one"),
    "WAV of 8 bits": (".wav", encoded("WAV", "PCM_U8"), EIGHT),
    "WAV of 24 bits": (".wav", encoded("WAV", "PCM_24"), SAMPLES),
    "WAV of 32 bits": (".wav", encoded("WAV", "PCM_32"), SAMPLES),
    "FLAC of 8 bits": (".flac", encoded("FLAC", "PCM_S8"), EIGHT),
    "FLAC of 24 bits": (".flac", encoded("FLAC", "PCM_24"), SAMPLES),
    "WAV of floats": (".wav", encoded("WAV", "FLOAT"), "32 bit float samples; only integer PCM is read"),
    "WAV of doubles": (".wav", encoded("WAV", "DOUBLE"), "64 bit float samples; only integer PCM is read"),
    "µ-law": (".wav", encoded("WAV", "ULAW"), "U-Law samples; only integer PCM is read"),
    "ADPCM": (".wav", encoded("WAV", "IMA_ADPCM"), "IMA ADPCM samples; only integer PCM is read"),
    "WAVEX": (".wav", encoded("WAVEX"), SAMPLES),
    "truncated WAVEX": (".wav", encoded("WAVEX")[:-1001], "truncated: 23499 of 24000 samples"),
    "WAVEX of floats": (".wav", encoded("WAVEX", "FLOAT"), "32 bit float samples; only integer PCM is read"),
    "RF64": (".wav", encoded("RF64"), "RF64, not WAV"),
    "W64": (".wav", encoded("W64"), "W64, not WAV"),
    "RIFX": (".wav", encoded("WAV", endian="BIG"), "big-endian WAV; only little-endian is read"),
    **{
        f"{kind} as WAV": (".wav", encoded(kind), f"{kind}, not WAV")
        for kind in ("FLAC", "MP3", "OGG", "AIFF", "AU", "CAF", "VOC")
    },
    **{f"{kind} as FLAC": (".flac", encoded(kind), f"{kind}, not FLAC") for kind in ("WAV", "MP3", "OGG", "AIFF")},
    "a truncated WAV as FLAC": (".flac", WAV[:20_000], "WAV, not FLAC"),
    "FLAC behind a tag": (".flac", TAG + FLAC, SAMPLES),
    "truncated FLAC behind a tag": (".flac", TAG + FLAC[:-1000], SEEK),
    "a forged length behind a tag": (".flac", TAG + flipped(FLAC, 24, 0), OTHER),
    "WAV behind a tag": (".wav", TAG + WAV, SAMPLES),
    "truncated WAV behind a tag": (".wav", TAG + WAV[:-1000], "truncated: 23500 of 24000 samples"),
    **{
        f"{length} bytes of FLAC": (".flac", FLAC[:length], reason)
        for length, reason in (
            (4, STRANGE),
            (20, UNIMPLEMENTED),
            (42, SEEK),
            (60, UNKNOWN),
            (100, LOST),
            (len(FLAC) // 2, LOST),
            (len(FLAC) - 1, LOST),
        )
    },
    **{
        f"{length} bytes of WAV": (".wav", WAV[:length], reason)
        for length, reason in (
            (12, "Error in WAV file. No 'data' chunk marker."),
            (20, MALFORMED),
            (44, "empty"),
            (45, "empty"),
            (24_022, "truncated: 11989 of 24000 samples"),
            (24_023, "truncated: 11989 of 24000 samples"),
            (len(WAV) - 1, "truncated: 23999 of 24000 samples"),
        )
    },
    "WAV with an end of junk": (".wav", WAV + bytes(1000), SAMPLES),
    "WAV with chunks before and behind": (
        ".wav",
        WAV[:12] + b"LIST\x03\0\0\0abc\0" + WAV[12:] + b"bext\x04\0\0\0abcd",
        SAMPLES,
    ),
    "a chunk that claims 4 GB": (
        ".wav",
        WAV[:36] + b"LIST\xff\xff\xff\xff" + WAV[36:],
        "Error in WAV file. No 'data' chunk marker.",
    ),
    "FLAC with an end of junk": (".flac", FLAC + b"junk" * 100, SAMPLES),
    "WAV that claims fewer samples": (".wav", wav(size=20_000), SAMPLES[:10_000]),
    "WAV that claims half a sample": (".wav", wav(size=20_001), SAMPLES[:10_000]),
    "WAV that claims no sample": (".wav", wav(size=0), "empty"),
    "WAV that claims more samples": (".wav", wav(size=60_000), "truncated: 24000 of 30000 samples"),
    "WAV of a stream": (".wav", wav(size=2**32 - 1), "truncated: 24000 of 2147483647 samples"),
    "WAV of 0 Hz": (".wav", wav(rate=0), INCOMPLETE),
    "WAV of 4 GHz": (".wav", wav(rate=2**32 - 1), INCOMPLETE),
    "WAV without channels": (".wav", wav(channels=0), "Channel count is zero."),
    "WAV of 65,535 channels": (".wav", wav(channels=65_535), "Too many channels specified."),
    "WAV of no bits": (".wav", wav(bits=0), UNIMPLEMENTED),
    "WAV of 24 bits in two bytes": (".wav", wav(bits=24), "truncated: 16000 of 24000 samples"),
    "WAV of an unknown kind": (".wav", wav(tag=0), MALFORMED),
    "FLAC that claims fewer samples": (".flac", flipped(FLAC, 24, 0), OTHER),
    "FLAC that claims 2 channels": (".flac", flipped(FLAC, 20, 1), "2 channels, not one"),
    "FLAC of another MD5": (".flac", flipped(FLAC, 30, 0), OTHER),
    "FLAC without MD5": (".flac", FLAC[:26] + bytes(16) + FLAC[42:], SAMPLES),
    "FLAC with a bad CRC": (".flac", flipped(FLAC, len(FLAC) - 1, 0), UNKNOWN),
    "FLAC with a flipped bit": (".flac", flipped(FLAC, len(FLAC) // 2, 3), UNKNOWN),
}


@pytest.fixture
def root(tmp_path):
    return make_tree(tmp_path / "tree", women=9, men=9, utterances=1, seconds=1.1)


@pytest.mark.parametrize("name", CASES)
def test_a_file_gives_its_exact_samples_or_is_left_out_with_its_reason(root, verb, caplog, tally, name):
    suffix, content, expected = CASES[name]
    path = root / "LibriSpeech" / f"{ODD}{suffix}"
    path.write_bytes(content)
    tally(inputs=1)
    code, out, err = verb(*PREPARE, f"data.root={root}")
    assert code == 0, err
    pool = Pool(out.split("decoded in ")[1].strip())
    if isinstance(expected, str):
        assert pool.damaged == [{"path": f"{ODD}{suffix}", "reason": expected}]
        assert f"left out: {path}: {expected}" in caplog.messages
        assert path.stem not in pool.utterances
    else:
        assert pool.damaged == []
        row = pool.utterances.tolist().index(path.stem)
        begin = pool.offsets[row]
        assert np.array_equal(pool.samples[begin : begin + pool.frames[row]], expected)
    assert len(pool.utterances) == 18 + (not isinstance(expected, str))


@pytest.mark.parametrize("kind", ["a pipe", "a folder", "a link to nothing", "a link to itself"])
def test_what_is_no_file_is_left_out_at_once(root, command, tally, kind):
    path = root / "LibriSpeech" / f"{ODD}.flac"
    loop = path.parents[3] / "loop"
    {
        "a pipe": partial(os.mkfifo, path),
        "a folder": path.mkdir,
        "a link to nothing": partial(path.symlink_to, "nothing"),
        "a link to itself": partial(path.symlink_to, path.name),
    }[kind]()
    loop.symlink_to(loop.name)  # where a subset's folder could be
    tally(inputs=1)
    done = command(*PREPARE, f"data.root={root}")
    assert done.returncode == 0, done.stderr
    (line,) = {line for line in done.stderr.splitlines() if "left out" in line}
    assert line == f"left out: {path.name!r} in {path.parent}: not a regular file, or its name is not printable"


def damaged(content: bytes, number: random.Random) -> bytes:
    """A file with a part that is flipped, zero, gone, doubled or exchanged, or without its end."""
    begin, length = number.randrange(len(content)), 2 ** number.randrange(13)
    part = content[begin : begin + length]
    behind = content[begin + len(part) :]
    changed = number.choice(
        [
            flipped(content, begin, number.randrange(8))[begin : begin + len(part)],
            bytes(len(part)),
            b"",
            part + part,
            number.randbytes(len(part)),
            behind[: len(part)] + part,
        ]
    )
    return content[:begin] + changed + (behind if number.randrange(8) else b"")


def test_no_damage_to_a_flac_file_gives_other_samples(root, tally):
    folder = root / "LibriSpeech" / "speech" / "100" / "7"
    number, tries = random.Random(0), 4000 if FULL else 400
    # every bit of the header that says what follows, then anything anywhere
    contents = [flipped(FLAC, byte, bit) for byte in range(4, 42) for bit in range(8)]
    contents += [damaged(FLAC, number) for _ in range(tries)]
    for place, content in enumerate(contents):
        (folder / f"odd-{place:05}.flac").write_bytes(content)
    tally(inputs=len(contents))
    listed, odd = corpus.index(root), 0
    for name, each in zip(listed.utterances.to_pylist(), decoding.decoded(listed, RATE), strict=True):
        if name.startswith("odd"):
            odd += 1
            assert isinstance(each.speech, str) or np.array_equal(each.speech[0], SAMPLES), name
    assert odd == len(contents)
