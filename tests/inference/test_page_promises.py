"""What the browser page promises: nothing leaves it, it opens without its server, and everybody can use it."""

import functools
import http.server
import itertools
import time

import pytest

from speaker_count.inference import page, serving
from tests.inference.browsing import (
    NEEDED,
    Quiet,
    chromium,
    folder,
    launch,
    opened,
    ready,
    running,
    status,
    stretches,
    url,
)

__all__ = ["chromium", "folder", "launch", "url"]  # fixtures
pytestmark = NEEDED
KEPT = """async () => { await navigator.serviceWorker.ready; return (await caches.keys()).length === 1
    && !!navigator.serviceWorker.controller && (await (await caches.open((await caches.keys())[0])).keys()).length; }"""


def wait_until(condition) -> None:
    for _ in range(200):
        if condition():
            return
        time.sleep(0.05)
    raise AssertionError("not in time")


def test_nothing_but_its_own_folder_can_be_reached_from_page_or_worker_on_any_server(chromium, folder):
    reached = []

    class Other(http.server.SimpleHTTPRequestHandler):
        def do_GET(self):
            reached.append(self.path)
            self.send_response(200)
            self.send_header("Access-Control-Allow-Origin", "*")
            self.end_headers()

        def do_POST(self):
            self.do_GET()

        def log_message(self, *_):
            pass

    other = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Other)
    plain = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=str(folder)))
    with running(other) as elsewhere, running(plain) as url:
        context = chromium.new_context()
        tab = context.new_page()
        tab.goto(url)
        ready(tab)
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
        tab.evaluate(f"document.body.append(Object.assign(new Audio('{elsewhere}'), {{preload: 'auto'}}))")
        tab.evaluate(f"navigator.sendBeacon('{elsewhere}', 'sound')")
        assert worker.evaluate("fetch(new URL('/net.json', location.origin)).then(r => r.ok)")
        time.sleep(0.3)
        context.close()
    assert not reached


def test_it_opens_and_counts_without_its_server_and_a_newer_page_is_seen_at_once(
    chromium, conversation, tmp_path, monkeypatch
):
    folder = tmp_path / "page"
    page.write(folder)
    server = serving.server(folder, 0)
    port = server.server_port
    with running(server) as url, opened(chromium, url) as (tab, messages):
        wait_until(lambda: tab.evaluate(KEPT) == len(page.KEPT))
        (old,) = tab.evaluate("caches.keys()")
        server.shutdown()
        server.server_close()
        tab.reload()
        ready(tab)
        tab.set_input_files("#file", conversation.path)
        status(tab, "at most")
        assert stretches(tab)
        assert not messages

        net = page.settings
        monkeypatch.setattr(page, "settings", lambda described: {**net(described), "counts": [1, 2, 3, 4]})
        page.write(folder)
        with running(serving.server(folder, port)):
            tab.reload()
            ready(tab)
            assert tab.evaluate("fetch('net.json').then(r => r.json()).then(s => s.counts)") == [1, 2, 3, 4]
            wait_until(lambda: tab.evaluate("caches.keys()") != [old] and tab.evaluate(KEPT) == len(page.KEPT))
        tab.reload()
        ready(tab)  # without a server again
        assert tab.evaluate("fetch('net.json').then(r => r.json()).then(s => s.counts)") == [1, 2, 3, 4]
        assert tab.evaluate("fetch('other.html').then(() => 'answered', () => 'refused')") == "refused"


def test_from_plain_http_nothing_is_kept_and_an_open_tab_counts_offline(launch, url, conversation):
    with (
        launch("--host-resolver-rules=MAP page.test 127.0.0.1") as browser,
        opened(browser, url.replace("127.0.0.1", "page.test")) as (tab, messages),
    ):
        assert tab.evaluate("navigator.serviceWorker") is None
        tab.context.set_offline(True)
        tab.set_input_files("#file", conversation.path)
        status(tab, "at most")
        tab.locator("#microphone").click()
        status(tab, "an https address")
        assert not messages


def luminance(colour: str) -> float:
    """Of WCAG 2, for `#rrggbb`."""
    parts = [int(colour[place : place + 2], 16) / 255 for place in (1, 3, 5)]
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_in_spanish_on_a_telephone_in_light_and_dark_with_enough_contrast(chromium, url, conversation, scheme):
    settings = {"locale": "es-MX", "viewport": {"width": 320, "height": 640}, "color_scheme": scheme}
    with opened(chromium, url, **settings) as (tab, messages):
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
        style = "name => getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim()"
        named = {name: luminance(tab.evaluate(style, name)) for name in ("ink", "faint", "accent", "wave", "band")}
        for name, ground in itertools.product(named, ("paper", "soft")):
            low, high = sorted((named[name], luminance(tab.evaluate(style, ground))))
            assert (high + 0.05) / (low + 0.05) >= (3 if name in ("wave", "band") else 4.5), (name, ground)
        assert not messages


def test_every_control_has_a_name_and_takes_the_keyboard(chromium, url, conversation):
    with opened(chromium, url) as (tab, _):
        tab.set_input_files("#file", conversation.path)
        status(tab, "at most")
        focused = []
        for _ in range(5):
            tab.keyboard.press("Tab")
            focused.append(tab.evaluate("document.activeElement.id || document.activeElement.tagName"))
            shown = "e => getComputedStyle(e.id === 'file' ? e.labels[0] : e).outlineStyle"
            assert tab.locator(":focus").evaluate(shown) in ("solid", "auto")
        assert focused == ["language", "file", "microphone", "save", "SUMMARY"]
        assert tab.get_by_label("Choose a recording, or drop it here").count() == 1
        keys = "import('./texts.js').then(m => Object.values(m.TEXTS).map(t => Object.keys(t).sort().join()))"
        english, spanish = tab.evaluate(keys)
        assert english == spanish
