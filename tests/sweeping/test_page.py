import html.parser
import io
import re
import shutil

import pyarrow.parquet as pq
import pytest
from PIL import Image

from speaker_count.results.record import RunResult
from tests.sweeping.conftest import rows_of

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)


@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium is installed")
@pytest.mark.parametrize(("scheme", "width"), [("light", 1200), ("dark", 360)])
def test_the_page_in_a_browser(reported, scheme, width):
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": width, "height": 800}, color_scheme=scheme)
        messages, requests = [], []
        page.on("console", lambda message: messages.append(message.text))
        page.on("pageerror", lambda error: messages.append(str(error)))
        page.on("request", lambda request: requests.append(request.url))
        page.goto((reported / "report" / "index.html").as_uri())
        page.wait_for_function("[...document.querySelectorAll('audio')].every(audio => audio.readyState > 0)")
        assert not messages
        assert all(url.startswith(("file:", "data:")) for url in requests)
        assert page.evaluate("[...document.images].filter(image => !image.naturalWidth).length") == 0
        assert page.evaluate("document.images.length") > 40
        durations = page.evaluate("[...document.querySelectorAll('audio')].map(audio => audio.duration)")
        assert len(durations) > 32
        assert durations == pytest.approx([1] * len(durations))
        assert page.evaluate("document.documentElement.scrollWidth") <= width  # wide tables scroll by themselves
        for table in (reported / "report" / "tables").glob("*.csv"):
            rows = page.locator(f"#table-{table.stem} tbody tr").count()
            assert rows == len(rows_of(reported, table.stem)), table.stem
        dark = page.evaluate("getComputedStyle(document.body).backgroundColor") != "rgb(255, 255, 255)"
        assert dark == (scheme == "dark")
        browser.close()


def colour_at_the_edge(page, box) -> tuple[int, ...]:
    """The colour of the page just within the right edge of a box, below its last line of text."""
    image = Image.open(io.BytesIO(page.screenshot(full_page=True))).convert("RGB")
    return image.getpixel((round(box["x"] + box["width"]) - 6, round(box["y"] + box["height"]) - 4))


@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium is installed")
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_tables_take_the_window_s_width_and_keep_their_first_column(reported, scheme):
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        for width in (360, 800, 1280, 1920):
            page = browser.new_page(viewport={"width": width, "height": 800}, color_scheme=scheme)
            page.goto((reported / "report" / "index.html").as_uri())
            assert page.evaluate("document.documentElement.scrollWidth") == width
            for table in page.locator(".wide").all():
                inner, outer = table.evaluate("e => [e.firstElementChild.getBoundingClientRect().width, e.clientWidth]")
                assert outer >= min(inner - 1, width - 33)  # no table is cut where there is space
                assert width < 1900 or outer >= inner - 1
            scores = page.locator("#table-results")
            frame, score = scores.locator("xpath=.."), scores.locator("tbody td").first.bounding_box()
            box = frame.bounding_box()
            assert re.fullmatch(r"0\.\d+ \[.*\]", scores.locator("tbody td").first.inner_text())
            assert score["x"] + score["width"] <= width  # also on a telephone
            hidden = frame.evaluate("e => e.scrollWidth - e.clientWidth")
            assert (hidden > 0) if width < 1000 else (width < 1900 or hidden == 0)
            paper = (255, 255, 255) if scheme == "light" else (13, 17, 23)
            assert (colour_at_the_edge(page, box) != paper) == (hidden > 0)  # a shadow: there is more
            frame.evaluate("e => e.scrollTo(e.scrollWidth, 0)")
            assert colour_at_the_edge(page, box) == paper
            for name in scores.locator("tr > :first-child").all():
                assert name.bounding_box()["x"] == pytest.approx(box["x"], abs=1)
                assert name.evaluate("e => getComputedStyle(e).backgroundColor") == f"rgb{paper}"
            page.close()
        browser.close()


class Ids(html.parser.HTMLParser):
    def __init__(self):
        super().__init__()
        self.ids, self.links = [], []

    def handle_starttag(self, tag, attrs):
        attrs = dict(attrs)
        self.ids += [attrs["id"]] if "id" in attrs else []
        self.links += [attrs["href"][1:]] if attrs.get("href", "").startswith("#") else []


def test_the_page_s_links_lead_somewhere_and_its_footer_tells_what_it_rests_on(reported):
    text = (reported / "report" / "index.html").read_text()
    page = Ids()
    page.feed(text)
    assert len(page.ids) == len(set(page.ids))
    assert page.links
    assert set(page.links) <= set(page.ids)
    result = RunResult.read(next(reported.glob("m5-*")))
    for value in (
        result.validation_sha256,
        result.test_sha256,
        result.versions["torch"],
        "speaker-count train",
    ):
        assert value in text


def test_the_most_confident_mistakes_are_in_the_listening_room(reported):
    best = next(row["net"] for row in rows_of(reported, "results") if row["distinguishable"] == "best")
    predictions = pq.read_table(sorted(reported.glob(f"{best}-*"))[0] / "predictions.parquet").to_pylist()
    wrong = [row for row in predictions if row["predicted"] != row["count"]]
    surest = max(wrong, key=lambda row: max(row["p_1"], row["p_2"], row["p_3"]))
    room = (reported / "report" / "index.html").read_text().split("Listening room")[1]
    first = re.search(r'<div class="card">.*?</div>', room, re.DOTALL)[0]
    assert f"test clip {surest['index']}<" in first
    assert first.count("<audio") == 1 + surest["count"]  # the clip, and each voice alone
    for utterance, start in zip(surest["utterances"], surest["starts"], strict=True):
        assert f"{utterance} from {start / 16_000:.2f} s" in first
