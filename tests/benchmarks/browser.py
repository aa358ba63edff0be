"""The speed of the browser page in Chromium: its size, how soon it is ready, the first count of ten seconds, the time
that a window takes, and with --minutes a long recording, with the memory of the page's process.

    python -m tests.benchmarks.browser [--minutes 60] [--channels 2] [--sample-rate 44100] [--json FILE]

The sound is noise whose level changes: what is counted does not change what counting costs.
"""

import argparse
import os
import statistics
import tempfile
import threading
from pathlib import Path
from typing import Any

import numpy as np
import soundfile

from speaker_count.files import write_json
from speaker_count.inference import page, serving
from speaker_count.inference.session import Session, packaged
from speaker_count.results.tables import markdown
from tests.benchmarks.commands import family, held_by
from tests.inference.browsing import CHROMIUM, ready

TIMES = 5  # that ten seconds are counted; the median is told
SHORT, MIDDLE = 10, 60  # seconds of sound
# what is seen: from the choice of a file to the first row of the table, to the end, and when the page stood still
WATCH = """() => {
    const chosen = () => (window.seen = {still: 0, begin: performance.now()});
    document.getElementById("file").addEventListener("change", chosen, true);
    const note = (key) => (seen[key] ??= performance.now() - seen.begin);
    const look = new MutationObserver(() => {
        const shares = [...document.querySelectorAll("#results:not([hidden]) #summary td")];
        if (shares.some((share) => /[1-9]/.test(share.textContent))) note("first");
        if (document.querySelector("#whole:not([hidden]) #stretches td")) note("whole");
    });
    look.observe(document.body, {childList: true, subtree: true, attributes: true});
    let last = performance.now();
    const tick = () => {
        const now = performance.now();
        seen.still = Math.max(seen.still, now - last - 20);
        last = now;
    };
    chosen();
    setInterval(tick, 20);
}"""


def write_noise(path: Path, seconds: float, sample_rate: int, channels: int) -> Path:
    """A minute of noise again and again, as FLAC."""
    samples = np.random.default_rng(0).normal(0, 0.1, (MIDDLE * sample_rate, channels))
    samples *= np.abs(np.sin(np.arange(len(samples)) / sample_rate))[:, None]
    with soundfile.SoundFile(path, "w", sample_rate, channels) as file:
        for begin in range(0, int(seconds), MIDDLE):
            file.write(samples[: int(min(MIDDLE, seconds - begin) * sample_rate)])
    return path


def counted(tab: Any, path: Path) -> tuple[dict[str, float], int]:
    """Count in a file: milliseconds to what was seen, and the peak memory of the page's process, in bytes."""
    tab.set_input_files("#file", path)
    peak, seen = 0, {}
    while "whole" not in seen:
        tab.wait_for_timeout(100)
        renderers = [pid for pid in family(os.getpid()) if b"--type=renderer" in command(pid)]
        peak = max([peak, *map(held_by, renderers)])
        seen = tab.evaluate("seen")
    return seen, peak


def command(pid: int) -> bytes:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:  # it has ended
        return b""


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n\n")[0])
    parser.add_argument("--minutes", type=float, help="also count in a recording as long as that")
    parser.add_argument("--channels", type=int, default=1, help="of that recording (%(default)s)")
    parser.add_argument("--sample-rate", type=int, default=16_000, help="of that recording (%(default)s)")
    parser.add_argument("--json", type=Path, help="also write the figures to this file")
    arguments = parser.parse_args()
    from playwright.sync_api import sync_playwright

    figures: dict[str, float] = {"load at the beginning": os.getloadavg()[0]}
    with tempfile.TemporaryDirectory() as name, sync_playwright() as playwright:
        folder = Path(name, "page")
        figures["size of all files (MB)"] = page.write(folder) / 1e6
        server = serving.server(folder, 0)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        tab = browser.new_page()
        tab.goto(f"http://127.0.0.1:{server.server_port}/")
        ready(tab)
        figures["opened and ready (s)"] = tab.evaluate("performance.now()") / 1e3
        tab.evaluate(WATCH)
        short = write_noise(Path(name, "short.flac"), SHORT, 16_000, 1)
        figures["first count of 10 s of sound (s)"] = (
            statistics.median(counted(tab, short)[0]["first"] for _ in range(TIMES)) / 1e3
        )
        seen, _ = counted(tab, write_noise(Path(name, "middle.flac"), MIDDLE, 16_000, 1))
        net = page.settings(Session(packaged(), threads=1).described)
        windows = 1 + (MIDDLE * net["sample_rate"] - net["clip_samples"]) // net["hop_samples"]
        figures["a window (ms)"] = (seen["whole"] - seen["first"]) / windows
        if arguments.minutes:
            long = Path(name, "long.flac")
            write_noise(long, 60 * arguments.minutes, arguments.sample_rate, arguments.channels)
            seen, peak = counted(tab, long)
            figures[f"{arguments.minutes:g} minutes: first count (s)"] = seen["first"] / 1e3
            figures[f"{arguments.minutes:g} minutes: whole (s)"] = seen["whole"] / 1e3
            figures["the longest that the page stood still (s)"] = seen["still"] / 1e3
            figures["peak memory of the page's process (MB)"] = peak / 1e6
        browser.close()
        server.shutdown()
    figures["load at the end"] = os.getloadavg()[0]
    if arguments.json:
        write_json(arguments.json, figures)
    rows = [
        {"what": what, "figure": f"{figure:,.0f}" if figure >= 100 else f"{figure:.3g}"}
        for what, figure in figures.items()
    ]
    print(markdown(rows, {"what": "what", "figure": "figure"}))


if __name__ == "__main__":
    main()
