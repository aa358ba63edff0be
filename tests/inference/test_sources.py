"""Sound that continues. A machine without a sound card tests a microphone by a stand-in for sounddevice alone."""

import sys
import time
import types

import numpy as np
import pytest
import soundfile

import speaker_count
from speaker_count.errors import UserError
from speaker_count.inference import sources
from tests.inference.conftest import RATE


class PortAudioError(Exception):
    """As sounddevice has it: a message, and PortAudio's number of it."""


class Card(types.ModuleType):
    """sounddevice with one microphone of two channels, which hears what a test gives."""

    PortAudioError = PortAudioError

    def __init__(self, *pieces, fails: str = "") -> None:
        super().__init__("sounddevice")
        self.pieces, self.fails, self.closed = pieces, fails, False
        self.default = types.SimpleNamespace(device=(0, 1))

    def query_devices(self, device=None, kind=None):
        about = {"index": 0, "name": "Fake\x1b[31m", "max_input_channels": 2, "default_samplerate": float(RATE)}
        if device not in (None, 0, "Fake"):
            raise ValueError(f"No input device matching {device!r}")
        return [about, {**about, "index": 1, "max_input_channels": 0}] if kind is None else about

    def InputStream(self, *, channels, callback, finished_callback, **settings):  # noqa: N802
        if self.fails:
            raise PortAudioError(self.fails, -9985)
        self.channels, self.callback, self.finished = channels, callback, finished_callback
        return self

    def start(self):
        for piece, overflow in self.pieces:
            self.callback(piece[:, : self.channels], len(piece), None, types.SimpleNamespace(input_overflow=overflow))
        self.finished()

    def close(self):
        self.closed = True


@pytest.fixture
def card(monkeypatch, noise):
    def plug_in(*pieces, **settings) -> Card:
        made = Card(*pieces, **settings)
        monkeypatch.setitem(sys.modules, "sounddevice", made)
        return made

    return plug_in


def stereo(noise):
    return np.stack([noise, noise * 0], axis=1)


def test_a_microphone_is_counted_as_a_recording_until_it_is_unplugged(card, noise):
    plugged = card(*((piece, False) for piece in np.array_split(stereo(noise), 30)))
    expected = speaker_count.predict(stereo(noise), RATE).counts.tolist()
    assert {*expected} == {1}
    counts = []
    with sources.microphone() as source:
        moments = speaker_count.Predictor(threads=1).follow(source.recording)
        with pytest.raises(UserError, match=r"the microphone Fake.* gives no sound any more: is it unplugged\?"):
            counts.extend(moment.speakers for moment in moments)
    assert counts == expected[: len(counts)]
    assert len(counts) == len(expected) - 1  # the last one waited for its neighbour
    assert plugged.closed
    assert source.lost == 0


def test_the_channel_is_the_one_that_is_named(card, noise):
    for channel, speakers in ((1, 1), (2, 0)):
        card((stereo(noise), False))
        with sources.microphone("Fake", channel=channel) as source:
            moments = speaker_count.Predictor(threads=1, channel=channel).follow(source.recording)
            assert [next(moments).speakers for _ in range(3)] == [speakers] * 3
    with pytest.raises(UserError, match="has no channel 3: its channels are 1 to 2"), sources.microphone(channel=3):
        pass


def test_lost_sound_is_counted_and_the_time_follows_the_clock(card, noise, monkeypatch):
    monkeypatch.setattr(sources, "MOST_WAITING", 2)
    card((stereo(noise), False), (stereo(noise), True), (stereo(noise), False))
    with sources.microphone() as source:
        blocks = source.recording.blocks()
        next(blocks)
        assert time.time() - source.began == pytest.approx(3, abs=0.5)
        next(blocks)
        assert time.time() - source.began == pytest.approx(6, abs=0.5)
        assert source.lost == 6  # what overflowed in the card, and what came while two pieces waited


def test_a_microphone_that_is_silent_for_long_is_gone(card, monkeypatch):
    monkeypatch.setattr(sources, "PATIENCE", 0.05)
    monkeypatch.setattr(Card, "start", lambda self: None)
    card()
    with pytest.raises(UserError, match="is it unplugged"), sources.microphone() as source:
        next(source.recording.blocks())


@pytest.mark.parametrize(
    ("device", "fails", "says"),
    [
        (None, "Device unavailable", r"no microphone found \(Device unavailable\): `--list-devices` shows"),
        ("3", "", r"no microphone 3 \(No input device matching 3\)"),
        ("usb", "", "no microphone usb"),
        ("9" * 5000, "", "no microphone 999"),
    ],
)
def test_no_microphone_is_one_line(card, device, fails, says):
    card(fails=fails)
    with pytest.raises(UserError, match=says), sources.microphone(device):
        pass


def test_the_list_of_microphones_has_no_loudspeakers(card):
    card()
    assert sources.devices() == ["*   0  Fake\\x1b[31m, 2 channels, 16,000 Hz"]


def test_without_sounddevice_or_portaudio_one_line_says_what_to_install(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "sounddevice", None)
    with pytest.raises(UserError, match="sounddevice.*: pip install 'speaker-count.microphone.'; `--from-file FILE`"):
        sources.devices()
    (tmp_path / "sounddevice.py").write_text("raise OSError('PortAudio library not found')")
    monkeypatch.delitem(sys.modules, "sounddevice")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(UserError, match="apt install libportaudio2"), sources.microphone():
        pass


def test_a_file_is_played_in_real_time_or_at_once(tmp_path, noise):
    soundfile.write(tmp_path / "x.wav", noise[: RATE // 2], RATE)
    for fast in (False, True):
        start = time.monotonic()
        with sources.played(str(tmp_path / "x.wav"), fast, began=5.0) as source:
            pieces = list(source.recording.blocks())
        lasted = time.monotonic() - start
        assert lasted < 0.25 if fast else 0.45 < lasted < 2
        assert sum(map(len, pieces)) == RATE // 2
        assert source.began == 5.0
