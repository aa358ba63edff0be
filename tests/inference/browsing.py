"""The browser page in a real Chromium: one browser for a module's tests, and a fresh profile for each."""

import contextlib
import http.server
import re
import shutil
import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from speaker_count.inference import page, serving

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
LOADED = all((page.SOURCE / name).is_file() for name in page.RUNTIME)
NEEDED = [
    pytest.mark.skipif(CHROMIUM is None, reason="no Chromium is installed"),
    pytest.mark.skipif(not LOADED, reason="`make web-assets` was not run"),
]
PATIENCE = 20_000  # ms


class Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_):
        pass


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


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("web") / "page"
    page.write(folder)
    return folder


@pytest.fixture(scope="module")
def url(folder) -> Iterator[str]:
    with running(serving.server(folder, 0)) as url:
        yield url


@pytest.fixture(scope="module")
def launch():
    """Starts Chromium with more flags."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        yield lambda *flags: playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", *flags])


@pytest.fixture(scope="module")
def chromium(launch):
    with launch() as browser:
        yield browser


@contextlib.contextmanager
def opened(browser, url, **settings):
    """The page, ready to count, and what it said on its console; nothing but its own server was asked for anything."""
    context = browser.new_context(**settings)
    messages, asked = [], []
    context.on("console", lambda message: messages.append(message.text))
    context.on("weberror", lambda error: messages.append(str(error.error)))
    context.on("request", lambda request: asked.append(request.url))
    tab = context.new_page()
    tab.goto(url)
    ready(tab)
    yield tab, messages
    context.close()
    assert [each for each in asked if not each.startswith((url, f"blob:{url}", "data:"))] == []


def ready(tab) -> None:
    from playwright.sync_api import expect

    expect(tab.locator("#file")).to_be_enabled(timeout=PATIENCE)


def status(tab, pattern) -> str:
    """What the page says once it says something like that."""
    from playwright.sync_api import expect

    expect(tab.locator("#status")).to_have_text(re.compile(pattern), timeout=PATIENCE)
    return tab.locator("#status").inner_text()


def stretches(tab) -> list[tuple[float, float, int]]:
    """The table of the count over time: begin, end, speakers."""
    rows = tab.locator("#stretches tbody tr").evaluate_all(
        "rows => rows.map(row => [...row.cells].map(c => c.textContent))"
    )
    return [(float(begin), float(end), int(speakers)) for begin, end, speakers, _ in rows]


def at(parts, times) -> np.ndarray:
    """The count at each time."""
    begins = [begin for begin, _, _ in parts]
    return np.array([speakers for _, _, speakers in parts])[np.searchsorted(begins, times, side="right") - 1]


def drop(tab, *paths) -> None:
    """Drop files or folders on the page, as from the desktop."""
    devtools = tab.context.new_cdp_session(tab)
    box = tab.locator("#drop").bounding_box()
    data = {"items": [], "files": [str(path) for path in paths], "dragOperationsMask": 1}
    for kind in ("dragEnter", "dragOver", "drop"):
        where = {"x": box["x"] + 9, "y": box["y"] + 9}
        devtools.send("Input.dispatchDragEvent", {"type": kind, "data": data, **where})
