"""The README's pictures, made anew: the top of the report's page and the nets' accuracies, from the measured runs, and
the counts in a conversation.

    python -m tests.pictures

Needs Chromium. With the speech at hand (LIBRISPEECH=DIR or ../shared/librispeech-sample) the page has its baselines,
and the conversation is mixed; without, its picture stays as it is.
"""

import csv
import io
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Literal

import soundfile
from hydra.utils import instantiate
from PIL import Image
from playwright.sync_api import Browser, sync_playwright

from speaker_count.compose import compose
from speaker_count.data.conversations import converse
from speaker_count.inference.predictor import Predictor
from speaker_count.inference.timeline import summary, timeline
from speaker_count.results.tables import paper
from tests.conftest import REPOSITORY

MEASURED = REPOSITORY / "multirun" / "measured"
PICTURES = MEASURED / "pictures"
SPEECH = Path(os.environ.get("LIBRISPEECH", REPOSITORY.parent / "shared" / "librispeech-sample"))
BROWSERS = ("chromium", "chromium-browser", "google-chrome")
SCHEMES: tuple[Literal["light", "dark"], ...] = ("light", "dark")
CONVERSATION = 7, 45  # its number, and its seconds: one that is counted about as well as most
MOST_BYTES = 250_000  # a README should open quickly
FRAME = """<style>body {{ margin: 0; background: {paper}; color: {ink} }} div {{ zoom: 2; padding: 12px }}</style>
<div style="width: max-content">{svg}</div>"""


def make_report(folder: Path) -> Path:
    """Report a copy of the measured runs.

    Args:
        folder: where the copy is made.

    Returns:
        The folder of the report.
    """
    runs = folder / "measured"
    shutil.copytree(MEASURED, runs, ignore=shutil.ignore_patterns("report", "pictures"))
    command = [sys.executable, "-m", "speaker_count", "report", str(runs)]
    command += ["--root", str(SPEECH.absolute())] if SPEECH.is_dir() else []
    subprocess.run(command, cwd=REPOSITORY, check=True, stdout=subprocess.DEVNULL)
    return runs / "report"


def accuracy_figure(report: Path) -> str:
    """The figure, as SVG, of the clips on which all of the paper's nets were scored."""
    for table in sorted((report / "tables").glob("results*.csv")):
        with table.open() as lines:
            nets = {row["net"] for row in csv.DictReader(lines)}
        if nets.issuperset(paper()):
            text = (report / "figures" / f"{table.stem.replace('results', 'accuracy')}.svg").read_text()
            return text[text.index("<svg") :]
    sys.exit(f"no runs in {MEASURED} scored all of the paper's nets on the same clips")


def write(screenshot: bytes, path: Path) -> None:
    """Write a screenshot with as many colours as `MOST_BYTES` allow."""
    image = Image.open(io.BytesIO(screenshot)).convert("RGB")
    for colours in (256, 128, 64, 32, 16):
        image.quantize(colours, dither=Image.Dither.NONE).save(path, optimize=True)
        if path.stat().st_size < MOST_BYTES:
            break
    print(f"{path.relative_to(REPOSITORY)}: {image.width} x {image.height}, {path.stat().st_size / 1000:.0f} kB")


def take(browser: Browser, report: Path, scheme: Literal["light", "dark"]) -> None:
    """Take both pictures, the figure on the page's background."""
    page = browser.new_page(viewport={"width": 1280, "height": 800}, color_scheme=scheme)
    page.goto((report / "index.html").as_uri(), wait_until="load")
    write(page.screenshot(), PICTURES / f"report-{scheme}.png")
    ink, background = (page.evaluate(f"getComputedStyle(document.body).{key}") for key in ("color", "backgroundColor"))
    page.set_content(FRAME.format(paper=background, ink=ink, svg=accuracy_figure(report)))
    write(page.locator("div").screenshot(), PICTURES / f"accuracy-{scheme}.png")
    page.close()


def draw_conversation(folder: Path) -> None:
    """Count in a conversation of test speakers, and draw the counts beside the true ones."""
    config = compose(["data=librispeech_sample", f"data.root={SPEECH}"])
    data = instantiate(config.data, mix=config.mix, _convert_="all")
    data.setup()
    conversation = converse(data.pool, "test", *CONVERSATION)
    soundfile.write(folder / "meeting.wav", conversation.samples, conversation.sample_rate)
    prediction = Predictor().predict(folder / "meeting.wav")
    print(*summary(prediction), *timeline(prediction, 80), sep="\n")
    prediction.plot(folder / "predict.png", conversation.turns)
    write((folder / "predict.png").read_bytes(), PICTURES / "predict.png")


def main() -> None:
    """Make the report, and take its pictures."""
    chromium = next(filter(None, map(shutil.which, BROWSERS)), None)
    if chromium is None:
        sys.exit(f"no browser is installed; needed is one of {', '.join(BROWSERS)}")
    PICTURES.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        report = make_report(Path(folder))
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        for scheme in SCHEMES:
            take(browser, report, scheme)
        browser.close()
        if SPEECH.is_dir():
            draw_conversation(Path(folder))


if __name__ == "__main__":
    main()
