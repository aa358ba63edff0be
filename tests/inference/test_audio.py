"""Recordings as blocks of one channel at the net's rate, and files that are none."""

import os
import struct

import numpy as np
import pytest
import soundfile
import soxr
import torch

from speaker_count.errors import UserError
from speaker_count.inference import audio
from tests.inference.conftest import RATE


def heard(path, channel=None) -> np.ndarray:
    """A file as the net hears it, `(samples,)`."""
    with audio.opened(path) as recording:
        return np.concatenate(list(audio.mono(recording, RATE, channel)))


@pytest.mark.parametrize("ending", ["wav", "flac", "ogg", "mp3", "aiff", "caf", "w64", "au"])
def test_any_format_is_read(noise, tmp_path, ending):
    soundfile.write(tmp_path / f"x.{ending}", noise, RATE)
    samples = heard(tmp_path / f"x.{ending}")
    assert len(samples) == len(noise)
    if ending not in ("ogg", "mp3"):
        np.testing.assert_allclose(samples, noise, atol=2**-15)


@pytest.mark.parametrize("rate", [8_000, 44_100, 192_000])
def test_any_sample_rate_becomes_the_net_s_as_if_the_whole_were_converted_at_once(noise, tmp_path, monkeypatch, rate):
    soundfile.write(tmp_path / "x.wav", noise, rate, subtype="FLOAT")
    monkeypatch.setattr(audio, "BLOCK", 5_000)
    np.testing.assert_allclose(heard(tmp_path / "x.wav"), soxr.resample(noise, rate, RATE, "HQ"), atol=1e-4)


def test_channels_are_mixed_down_or_one_is_taken(noise, tmp_path):
    channels = np.stack([noise * number / 32 for number in range(32)], axis=1)
    soundfile.write(tmp_path / "x.wav", channels, RATE, subtype="FLOAT")
    np.testing.assert_allclose(heard(tmp_path / "x.wav"), channels.mean(axis=1), atol=1e-6)
    np.testing.assert_allclose(heard(tmp_path / "x.wav", channel=32), channels[:, 31], atol=1e-6)
    for channel in (0, 33):
        with pytest.raises(UserError, match=f"no channel {channel}: its channels are 1 to 32"):
            heard(tmp_path / "x.wav", channel)


def rf64(frames: int) -> bytes:
    """A WAV file of 64 bits that claims so many frames, and has 40,000."""
    chunk = struct.pack("<IQQQI", 28, 2 * frames, 2 * frames, frames, 0)
    form = struct.pack("<IHHIIHH", 16, 1, 1, RATE, 2 * RATE, 2, 16)
    return b"RF64\xff\xff\xff\xffWAVEds64" + chunk + b"fmt " + form + b"data\xff\xff\xff\xff" + bytes(80_000)


def flac(content: bytes, frames: int) -> bytes:
    """A FLAC file that claims so many frames, in 36 bits."""
    claimed = bytearray(content)
    claimed[21] = claimed[21] & 0xF0 | frames >> 32
    claimed[22:26] = (frames & 0xFFFFFFFF).to_bytes(4, "big")
    return bytes(claimed)


@pytest.fixture
def contents(noise, tmp_path) -> dict[str, bytes]:
    """The bytes of some files."""
    made = {}
    for ending in ("wav", "flac", "aiff", "mp3", "caf", "ogg"):
        soundfile.write(tmp_path / f"whole.{ending}", noise, RATE)
        made[ending] = (tmp_path / f"whole.{ending}").read_bytes()
    return made


@pytest.mark.parametrize("ending", ["wav", "flac", "aiff", "mp3", "caf", "ogg"])
def test_a_truncated_file_is_named_and_not_counted(contents, tmp_path, ending):
    path = tmp_path / f"x.{ending}"
    path.write_bytes(contents[ending][: len(contents[ending]) * 2 // 3])
    with pytest.raises(UserError, match=f"x.{ending} is .*(truncated|malformed)"):
        heard(path)


def test_an_ogg_file_that_lacks_a_byte_is_truncated_and_one_with_more_is_whole(contents, tmp_path):
    for length in (20, 40, len(contents["ogg"]) - 1):
        (tmp_path / "x.ogg").write_bytes(contents["ogg"][:length])
        with pytest.raises(UserError, match=f"x.ogg is truncated: it has {length:,} of "):
            heard(tmp_path / "x.ogg")
    (tmp_path / "x.ogg").write_bytes(contents["ogg"] + bytes(100))
    assert len(heard(tmp_path / "x.ogg")) == 3 * RATE


def test_a_forged_length_is_refused_before_anything_is_decoded(contents, tmp_path):
    (tmp_path / "x.wav").write_bytes(rf64(2**60))
    with pytest.raises(UserError, match="truncated: it has 80,0.. of 2,305,843,009,213,693,952 bytes"):
        heard(tmp_path / "x.wav")
    (tmp_path / "x.flac").write_bytes(flac(contents["flac"], 2**36 - 1))
    with pytest.raises(UserError, match="claims 1,193 hours of sound"):
        heard(tmp_path / "x.flac")


def test_what_a_pipe_left_open_is_read_to_its_end(contents, noise, tmp_path):
    (tmp_path / "x.flac").write_bytes(flac(contents["flac"], 0))  # it does not say how long it is
    assert len(heard(tmp_path / "x.flac")) == len(noise)
    streamed = bytearray(contents["wav"])
    streamed[4:8] = streamed[40:44] = b"\xff\xff\xff\xff"
    (tmp_path / "x.wav").write_bytes(streamed)
    assert len(heard(tmp_path / "x.wav")) == len(noise)


@pytest.mark.parametrize("value", [np.nan, -np.inf, 3e38])
def test_samples_that_are_no_numbers_are_named_with_their_time(noise, tmp_path, value):
    noise[20_000] = value
    soundfile.write(tmp_path / "x.wav", noise, RATE, subtype="FLOAT")
    with pytest.raises(UserError, match="not numbers, or far beyond full scale, at 1.25 s"):
        heard(tmp_path / "x.wav")


@pytest.mark.parametrize("other", [np.inf, -np.inf, -3e38, 3e38])
def test_a_channel_that_is_not_numbers_is_named_even_where_another_one_hides_it(noise, tmp_path, other, recwarn):
    two = np.stack([noise, noise], axis=1)
    two[20_000] = -np.inf if np.isinf(other) else 3e38, other
    soundfile.write(tmp_path / "x.wav", two, RATE, subtype="FLOAT")
    with pytest.raises(UserError, match="at 1.25 s"):
        heard(tmp_path / "x.wav")
    two[:, 1] = noise
    soundfile.write(tmp_path / "x.wav", two, RATE, subtype="FLOAT")
    assert len(heard(tmp_path / "x.wav", channel=2)) == len(noise)
    with pytest.raises(UserError, match="at 0.00 s"):
        list(audio.mono(audio.of_array(np.full(RATE, 1e300), RATE), RATE))
    assert not list(recwarn)  # each would be two more lines


def test_what_is_no_sound_is_refused_with_its_reason(noise, tmp_path):
    (tmp_path / "text.wav").write_text("hello")
    (tmp_path / "nothing.wav").touch()
    soundfile.write(tmp_path / "header.wav", noise[:0], RATE)
    soundfile.write(tmp_path / "slow.wav", noise, 1000)
    os.mkfifo(tmp_path / "pipe")
    for name, says in {
        "text.wav": "is no sound that can be read .Format not recognised",
        "nothing.wav": "is empty",
        "header.wav": "is empty",
        "slow.wav": "has 1,000 Hz; only 4,000 to 768,000 Hz are read",
        "none.wav": "No such file or directory",
        "pipe": "is no regular file",
        ".": "is a folder",
    }.items():
        with pytest.raises(UserError, match=says):
            heard(tmp_path / name)


def test_arrays_and_tensors_of_any_kind_are_the_same_sound(noise):
    whole = np.rint(noise * 32_767).astype(np.int16)
    expected = whole / np.float32(32_768)
    two = np.stack([whole, whole], axis=1)
    for array in (whole, whole.astype(np.int32) * 65_536, expected, expected.astype(np.float64), two, two.T,
                  torch.tensor(expected, requires_grad=True), torch.tensor(two.T)):  # fmt: skip
        (samples,) = audio.mono(audio.of_array(array, RATE), RATE)
        np.testing.assert_allclose(samples, expected, atol=1e-6)
    with pytest.raises(UserError, match="needs its sample rate"):
        audio.of_array(noise, None)
    for rate in ("x", float("nan"), float("inf"), RATE + 0.5, [RATE, RATE]):
        with pytest.raises(UserError, match="needs its sample rate"):
            audio.of_array(noise, rate)
    short = torch.tensor(expected).bfloat16()
    (samples,) = audio.mono(audio.of_array(short, RATE), RATE)
    np.testing.assert_array_equal(samples, short.float().numpy())
    for array in ([[1, 2], [3]], torch.zeros(3, device="meta")):
        with pytest.raises(UserError, match="the array cannot be read as numbers"):
            audio.of_array(array, RATE)
    for array in (noise[None, None], noise > 0, np.array("x")):
        with pytest.raises(UserError, match="expected numbers"):
            audio.of_array(array, RATE)


def test_a_folder_s_recordings_are_found_and_nothing_else(noise, tmp_path):
    (tmp_path / "below").mkdir()
    for name in ("b.wav", "A.FLAC", "below/c.mp3", "notes.txt", "x.raw"):
        (tmp_path / name).touch()
    assert [str(path.relative_to(tmp_path)) for path in audio.found(tmp_path)] == ["A.FLAC", "b.wav", "below/c.mp3"]
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match="holds no file of sound"):
        audio.found(tmp_path / "empty")
