"""The page that counts in the browser, in a real one."""

import base64
import contextlib
import functools
import http.server
import re
import shutil
import threading
import time
from pathlib import Path

import numpy as np
import pytest
import soundfile

import speaker_count
from speaker_count.inference import page, serving
from tests.inference.conftest import RATE

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
LOADED = all((page.SOURCE / name).is_file() for name in page.RUNTIME)
pytestmark = [
    pytest.mark.skipif(CHROMIUM is None, reason="no Chromium is installed"),
    pytest.mark.skipif(not LOADED, reason="`make web-assets` was not run"),
]
PATIENCE = 20_000  # ms


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("web") / "page"
    page.write(folder)
    return folder


@contextlib.contextmanager
def running(server):
    """The address of a server, while it runs."""
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


class Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_):
        pass


@contextlib.contextmanager
def opened(url, *flags, **settings):
    """The page in a browser, ready to count, and what it said on its console."""
    from playwright.sync_api import expect, sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", *flags])
        tab = browser.new_page(**settings)
        messages = []
        tab.on("console", lambda message: messages.append(message.text))
        tab.on("pageerror", lambda error: messages.append(str(error)))
        tab.goto(url)
        expect(tab.locator("#file")).to_be_enabled(timeout=PATIENCE)
        yield tab, messages
        browser.close()


def status(tab, pattern) -> str:
    """What the page says once it says something like that."""
    from playwright.sync_api import expect

    expect(tab.locator("#status")).to_have_text(re.compile(pattern), timeout=PATIENCE)
    return tab.locator("#status").inner_text()


def stretches(tab) -> list[tuple[float, float, int]]:
    """The table of the count over time: begin, end, speakers."""
    rows = tab.locator("#stretches tbody tr").evaluate_all(
        "rows => rows.map(row => [...row.cells].map(c => c.innerText))"
    )
    rows = rows or []
    return [(float(begin), float(end), int(speakers)) for begin, end, speakers, _ in rows]


def with_table(tab):
    tab.locator("details > summary").click()
    return stretches(tab)


def at(parts, times) -> np.ndarray:
    """The count at each time."""
    begins = [begin for begin, _, _ in parts]
    return np.array([speakers for _, _, speakers in parts])[np.searchsorted(begins, times, side="right") - 1]


def test_a_file_is_counted_as_predict_does_and_offline(folder, conversation):
    with running(serving.server(folder, 0)) as url, opened(url) as (tab, messages):
        tab.context.set_offline(True)
        tab.set_input_files("#file", conversation.path)
        said = status(tab, "at most")
        found = with_table(tab)
        assert not messages
    prediction = speaker_count.predict(conversation.path)
    expected = prediction.stretches()
    assert [each[2] for each in found] == [each.speakers for each in expected]
    assert np.array(found) == pytest.approx(np.array(expected), abs=0.006)
    assert said.startswith(f"talk.wav: 28.0 s, at most {prediction.most} at once")


def test_a_dropped_file_is_counted_and_ends_the_one_before(folder, conversation, tmp_path):
    soundfile.write(tmp_path / "long.wav", np.tile(conversation.samples, 10), RATE)
    drop = """content => {
        const transfer = new DataTransfer();
        transfer.items.add(new File([Uint8Array.from(atob(content), c => c.charCodeAt(0))], "dropped.wav"));
        for (const kind of ["dragover", "drop"])
            document.getElementById("drop").dispatchEvent(
                new DragEvent(kind, {dataTransfer: transfer, bubbles: true, cancelable: true}));
    }"""
    with running(serving.server(folder, 0)) as url, opened(url) as (tab, messages):
        tab.set_input_files("#file", tmp_path / "long.wav")
        status(tab, "Counting in long.wav")
        tab.evaluate(drop, base64.b64encode(conversation.path.read_bytes()).decode())
        status(tab, "dropped.wav: 28.0 s, at most")
        assert not messages
        found = with_table(tab)
    assert [each[2] for each in found] == [
        each.speakers for each in speaker_count.predict(conversation.path).stretches()
    ]


@pytest.mark.parametrize("rate", [8_000, 44_100])
def test_stereo_of_another_sample_rate_is_mixed_down_and_resampled(folder, conversation, tmp_path, rate):
    import soxr

    both = soxr.resample(np.stack([1.5 * conversation.samples, 0.5 * conversation.samples], axis=1), RATE, rate)
    soundfile.write(tmp_path / "talk.flac", both, rate)
    with running(serving.server(folder, 0)) as url, opened(url) as (tab, _):
        tab.set_input_files("#file", tmp_path / "talk.flac")
        status(tab, "at most")
        found = with_table(tab)
    expected = speaker_count.predict(tmp_path / "talk.flac")
    assert np.mean(at(found, expected.times) == expected.counts) >= 0.95  # resamplers differ


def test_silence_is_nobody_and_a_loud_offset_is_silence(folder, tmp_path):
    soundfile.write(tmp_path / "x.wav", np.full(3 * RATE, 0.5), RATE)
    with running(serving.server(folder, 0)) as url, opened(url) as (tab, _):
        tab.set_input_files("#file", tmp_path / "x.wav")
        status(tab, "at most 0 at once")


def test_the_microphone_is_counted_as_predict_counts_what_it_hears(folder, conversation, tmp_path):
    heard = conversation.samples[5 * RATE : 15 * RATE]
    soundfile.write(tmp_path / "heard.wav", np.concatenate([heard, np.zeros(5 * RATE)]), RATE)
    flags = (
        "--use-fake-ui-for-media-stream",
        "--use-fake-device-for-media-stream",
        f"--use-file-for-fake-audio-capture={tmp_path / 'heard.wav'}%noloop",
    )
    with running(serving.server(folder, 0)) as url, opened(url, *flags) as (tab, messages):
        button = tab.get_by_role("button", name="Listen at the microphone")
        button.focus()
        tab.keyboard.press("Enter")
        status(tab, "Listening|speak")
        assert tab.locator("#microphone").get_attribute("aria-pressed") == "true"
        time.sleep(11)
        assert tab.locator("#now").inner_text()
        tab.keyboard.press("Enter")
        status(tab, "^Microphone: .* at most")
        found = with_table(tab)
        assert not messages
    expected = speaker_count.predict(heard, sample_rate=RATE)
    # the browser hears the file some time after it opens the microphone
    agreement = max(np.mean(at(found, expected.times + lag) == expected.counts) for lag in np.arange(-1, 2, 0.05))
    assert agreement >= 0.9


@pytest.mark.parametrize(
    ("flags", "says"),
    [((), "no microphone"), (("--use-fake-device-for-media-stream", "--deny-permission-prompts"), "refused")],
)
def test_without_a_microphone_the_page_says_so(folder, flags, says):
    with running(serving.server(folder, 0)) as url, opened(url, *flags) as (tab, _):
        tab.locator("#microphone").click()
        status(tab, says)
        assert tab.locator("#microphone").is_enabled()


@pytest.mark.parametrize(
    ("content", "says"), [(b"", "empty"), (b"hello" * 99, "no sound"), (None, "shorter than the net's window")]
)
def test_a_file_that_cannot_be_counted_is_refused_in_one_line(folder, tmp_path, content, says):
    path = tmp_path / "x.wav"
    if content is None:
        soundfile.write(path, np.zeros(RATE // 2), RATE)
    else:
        path.write_bytes(content)
    with running(serving.server(folder, 0)) as url, opened(url) as (tab, messages):
        tab.set_input_files("#file", path)
        status(tab, says)
        assert not messages
        assert tab.locator("#results").is_hidden()


def test_nothing_but_its_own_folder_can_be_reached_from_page_or_worker_on_any_server(folder, tmp_path):
    reached = []

    class Other(Quiet):
        def do_GET(self):
            reached.append(self.path)
            self.send_response(200)
            self.send_header("Access-Control-Allow-Origin", "*")
            self.end_headers()

    other = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Other)
    plain = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=str(folder)))
    with running(other) as elsewhere, running(plain) as url, opened(url) as (tab, _):
        (worker,) = tab.workers
        for place in (tab, worker):
            asked = f"fetch('{elsewhere}').then(() => 'reached', () => 'refused')"
            assert place.evaluate(asked) == "refused"
            socket = f"new WebSocket('{elsewhere.replace('http', 'ws')}')"
            refused = f"new Promise(end => {{ const s = {socket}; s.onerror = () => end('refused'); s.onopen = end }})"
            assert (
                place.evaluate(f"(() => {{ try {{ return {refused} }} catch {{ return 'refused' }} }})()") == "refused"
            )
        tab.evaluate(f"document.body.append(Object.assign(new Image(), {{src: '{elsewhere}'}}))")
        tab.evaluate(f"navigator.sendBeacon('{elsewhere}')")
        assert worker.evaluate("fetch(new URL('/net.json', location.origin)).then(r => r.ok)")
        time.sleep(0.3)
    assert not reached


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_in_spanish_on_a_telephone_in_light_and_dark(folder, conversation, scheme):
    settings = {"locale": "es-MX", "viewport": {"width": 320, "height": 640}, "color_scheme": scheme}
    with running(serving.server(folder, 0)) as url, opened(url, **settings) as (tab, messages):
        assert tab.title() == "¿Cuántas personas hablan?"
        assert tab.evaluate("document.documentElement.lang") == "es"
        tab.set_input_files("#file", conversation.path)
        status(tab, "como máximo")
        tab.locator("details > summary").click()
        assert tab.evaluate("document.documentElement.scrollWidth") == 320
        dark = tab.evaluate("getComputedStyle(document.body).backgroundColor") != "rgb(255, 255, 255)"
        assert dark == (scheme == "dark")
        tab.locator("#language").select_option("en")
        status(tab, "at most")  # what was said is said again
        assert tab.get_by_role("img", name="Speakers over time").count() == 1
        assert tab.get_by_role("table", name="How long").get_by_role("row").count() == 5
        assert not messages


def test_every_control_has_a_name_and_takes_the_keyboard(folder):
    with running(serving.server(folder, 0)) as url, opened(url) as (tab, _):
        focused = []
        for _ in range(3):
            tab.keyboard.press("Tab")
            focused.append(tab.evaluate("document.activeElement.id"))
        assert focused == ["language", "file", "microphone"]
        outline = "getComputedStyle(document.querySelector('label[for=file]')).outlineStyle"
        tab.keyboard.press("Shift+Tab")
        assert tab.evaluate(outline) == "solid"
        assert tab.get_by_label("Choose a recording, or drop it here").count() == 1
        keys = "import('./texts.js').then(m => Object.values(m.TEXTS).map(t => Object.keys(t).sort().join()))"
        english, spanish = tab.evaluate(keys)
        assert english == spanish
