"""The page that counts in the browser, in a real one: files, the microphone, and what cannot be counted."""

import io
import struct
import time

import numpy as np
import pandas as pd
import pytest
import soundfile

import speaker_count
from speaker_count.inference import formats
from tests.inference.browsing import NEEDED, at, chromium, drop, folder, launch, opened, status, stretches, url
from tests.inference.conftest import RATE

__all__ = ["chromium", "folder", "launch", "url"]  # fixtures
pytestmark = NEEDED


def test_a_file_is_counted_as_predict_does_and_its_counts_are_saved_as_predict_writes_them(chromium, url, conversation):
    prediction = speaker_count.predict(conversation.path)
    with opened(chromium, url) as (tab, messages):
        tab.set_input_files("#file", conversation.path)
        said = status(tab, "at most")
        found = stretches(tab)
        assert tab.locator("#summary tbody td:nth-child(2)").all_inner_texts() == [
            f"{seconds / 60:.2f}" for seconds in prediction.seconds().values()
        ]
        with tab.expect_download() as download:
            tab.get_by_role("button", name="Save the counts as CSV").click()
        assert download.value.suggested_filename == "talk.wav.csv"
        saved = pd.read_csv(download.value.path())
        assert not messages
    expected = prediction.stretches()
    assert [each[2] for each in found] == [each.speakers for each in expected]
    assert np.array(found) == pytest.approx(np.array(expected), abs=0.006)
    assert (
        said == f"talk.wav: 0:28, at most {prediction.most} at once, overlap in {prediction.overlap:.1%} of the speech."
    )
    written = pd.read_csv(io.StringIO("\n".join(formats.lines(prediction, "csv", True))))
    assert list(saved) == list(written)
    assert set(saved["file"]) == {"talk.wav"}
    numbers = written.columns[1:]
    assert saved[numbers].to_numpy() == pytest.approx(written[numbers].to_numpy(), abs=0.00051)


def test_a_name_that_a_spreadsheet_would_compute_is_saved_as_text(chromium, url):
    csv = """import("./track.js").then(({Track}) => {
        const settings = {counts: [1, 2], sample_rate: 8, clip_samples: 8, hop_samples: 2};
        const track = new Track('=1+"a",b', settings, 2);
        track.take({first: 0, counts: [1], probabilities: [[0, 0.75, 0.25]]});
        return track.csv(); })"""
    with opened(chromium, url) as (tab, _):
        assert tab.evaluate(csv) == ('file,time,count,p_0,p_1,p_2\n"\'=1+""a"",b",0.500,1,0.0000,0.7500,0.2500\n')


def test_a_dropped_file_ends_the_one_before_and_escape_ends_any(chromium, url, conversation, tmp_path):
    soundfile.write(tmp_path / "long.wav", np.tile(conversation.samples, 20), RATE)
    with opened(chromium, url) as (tab, messages):
        bar = tab.get_by_role("progressbar", name="Progress")
        tab.set_input_files("#file", tmp_path / "long.wav")
        status(tab, "Counting in long.wav")
        assert bar.is_visible()
        drop(tab, conversation.path)
        drop(tab, conversation.path)
        status(tab, "talk.wav: 0:28, at most")
        assert bar.is_hidden()
        found = stretches(tab)
        tab.set_input_files("#file", tmp_path / "long.wav")
        status(tab, "Counting in long.wav")
        tab.get_by_role("button", name="Cancel").focus()
        tab.keyboard.press("Escape")
        status(tab, "Cancelled")
        assert tab.locator("#results").is_hidden()
        assert tab.evaluate("document.activeElement.id") == "file"  # the focus is not lost with the button
        drop(tab, conversation.path, tmp_path / "long.wav")
        status(tab, "one recording at a time")
        drop(tab, tmp_path)
        status(tab, f"^{tmp_path.name} is a folder")
        assert not messages
    assert [each[2] for each in found] == [
        each.speakers for each in speaker_count.predict(conversation.path).stretches()
    ]


def test_channels_of_another_sample_rate_are_mixed_down_and_resampled(chromium, url, conversation, tmp_path):
    import soxr

    with opened(chromium, url) as (tab, _):
        for rate, channels, ending in ((8_000, 2, "flac"), (44_100, 2, "mp3"), (192_000, 32, "wav")):
            samples = conversation.samples[6 * RATE : (11 if channels > 2 else 20) * RATE]
            path = tmp_path / f"{rate}.{ending}"
            soundfile.write(path, soxr.resample(samples, RATE, rate)[:, None] * np.linspace(0.5, 1.5, channels), rate)
            tab.set_input_files("#file", path)
            status(tab, f"^{path.name}: .* at most")
            expected = speaker_count.predict(path)
            assert np.mean(at(stretches(tab), expected.times) == expected.counts) >= 0.95  # resamplers differ


def test_silence_is_nobody_and_a_loud_offset_is_silence(chromium, url, tmp_path):
    soundfile.write(tmp_path / "x.wav", np.full(3 * RATE, 0.5), RATE)
    with opened(chromium, url) as (tab, _):
        tab.set_input_files("#file", tmp_path / "x.wav")
        status(tab, "at most 0 at once")


def unreadable(folder) -> list[tuple]:
    """Files that cannot be counted, and what the page says of them."""
    speech = np.random.default_rng(0).normal(0, 0.1, 3 * RATE).astype(np.float32)
    for name, samples in (
        ("short", speech[: RATE // 2]),
        ("nan", np.where(np.arange(len(speech)) == RATE, np.nan, speech)),
        ("loud", speech * 1e9),
    ):
        soundfile.write(folder / f"{name}.wav", samples, RATE, subtype="FLOAT")
    # its header claims 2^36 - 1 samples
    soundfile.write(folder / "days.flac", speech, RATE)
    flac = bytearray((folder / "days.flac").read_bytes())
    flac[21] |= 0x0F
    flac[22:26] = b"\xff" * 4
    (folder / "days.flac").write_bytes(flac)
    (folder / "header.wav").write_bytes(struct.pack("<4sI4s4sI", b"RIFF", 2**32 - 1, b"WAVE", b"fmt ", 2**31))
    (folder / "text.wav").write_bytes(b"hello" * 99)
    (folder / "empty.wav").write_bytes(b"")
    with (folder / "large.wav").open("wb") as file:
        file.truncate(201_000_000)
    return [
        ("short", "is shorter than 1 s"),
        ("nan", "has samples that are not numbers"),
        ("loud", "has samples that are not numbers"),
        ("header", "holds no sound"),
        ("text", "holds no sound"),
        ("empty", "is empty"),
        ("large", "is larger than 200 MB"),
    ]


def test_a_file_that_cannot_be_counted_is_named_in_one_line(chromium, url, tmp_path):
    with opened(chromium, url) as (tab, messages):
        for name, says in unreadable(tmp_path):
            tab.set_input_files("#file", tmp_path / f"{name}.wav")
            status(tab, f"^{name}.wav {says}")
            assert tab.locator("#results").is_hidden()
            assert tab.get_by_role("progressbar").count() == 0
        tab.set_input_files("#file", tmp_path / "days.flac")  # refused by what it claims, before it is decoded
        status(tab, "^days.flac is longer than an hour")
        assert not messages


def test_the_microphone_is_counted_as_predict_counts_what_it_hears(launch, url, conversation, tmp_path):
    heard = conversation.samples[5 * RATE : 15 * RATE]
    soundfile.write(tmp_path / "heard.wav", np.concatenate([heard, np.zeros(5 * RATE)]), RATE)
    flags = (
        "--use-fake-ui-for-media-stream",
        "--use-fake-device-for-media-stream",
        f"--use-file-for-fake-audio-capture={tmp_path / 'heard.wav'}%noloop",
    )
    with launch(*flags) as browser, opened(browser, url) as (tab, messages):
        button = tab.get_by_role("button", name="Listen with the microphone")
        button.focus()
        tab.keyboard.press("Enter")
        status(tab, "Listening")
        assert tab.locator("#microphone").get_attribute("aria-pressed") == "true"
        time.sleep(11)
        assert tab.locator("#now").inner_text()
        assert tab.locator("#said").text_content()
        tab.keyboard.press("Enter")
        status(tab, "^Microphone: .* at most")
        found = stretches(tab)
        tab.keyboard.press("Enter")
        status(tab, "Listening")
        tab.keyboard.press("Escape")
        status(tab, "^Microphone: ")
        assert not messages
    expected = speaker_count.predict(heard, sample_rate=RATE)
    # the browser hears the file some time after it opens the microphone
    agreement = max(np.mean(at(found, expected.times + lag) == expected.counts) for lag in np.arange(-1, 2, 0.05))
    assert agreement >= 0.9


def test_without_a_microphone_the_page_says_so(launch, chromium, url):
    with opened(chromium, url) as (tab, _):
        tab.locator("#microphone").click()
        status(tab, "no microphone")
        assert tab.locator("#microphone").is_enabled()
    refusing = "--use-fake-device-for-media-stream", "--deny-permission-prompts"
    with launch(*refusing) as browser, opened(browser, url) as (tab, _):
        tab.locator("#microphone").click()
        status(tab, "refused")
        assert tab.locator("#microphone").is_enabled()


def test_a_microphone_that_is_unplugged_leaves_its_counts(launch, url):
    flags = "--use-fake-ui-for-media-stream", "--use-fake-device-for-media-stream"
    kept = """() => { const open = navigator.mediaDevices.getUserMedia.bind(navigator.mediaDevices);
        navigator.mediaDevices.getUserMedia = async (wish) => (window.opened = await open(wish)); }"""
    with launch(*flags) as browser, opened(browser, url) as (tab, messages):
        tab.evaluate(kept)
        tab.locator("#microphone").click()
        status(tab, "Listening")
        time.sleep(2)
        tab.evaluate("opened.getAudioTracks()[0].onended()")
        status(tab, "disconnected")
        assert stretches(tab)
        assert tab.locator("#microphone").inner_text() == "Listen with the microphone"
        assert not messages
