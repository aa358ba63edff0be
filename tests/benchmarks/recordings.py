"""The speed of counting in recordings: of ten seconds, from the shell to the answer, and of an hour."""

import tempfile
from pathlib import Path

import numpy as np
import soundfile

from speaker_count.data.datamodule import ClipDataModule
from tests.benchmarks import commands
from tests.benchmarks.peers import Row, row

SHORT, LONG = 10, 3600  # seconds
DRAWN = 600  # of clips that recordings are made of


def rows(data: ClipDataModule) -> list[Row]:
    """The seconds that ten seconds take, and how many times real time an hour is counted at."""
    clips = data.clips["test"]
    speech = clips.render(clips.plan(0, min(DRAWN, len(clips)))).reshape(-1)
    lines = []
    with tempfile.TemporaryDirectory() as folder:
        for seconds, times in ((SHORT, commands.STARTS), (LONG, 1)):
            path = Path(folder, f"{seconds}.flac")
            soundfile.write(path, np.resize(speech, seconds * data.sample_rate), data.sample_rate)
            taken, peak = sorted(commands.run("predict", str(path)) for _ in range(times))[times // 2]
            if seconds == SHORT:
                lines.append(row(f"speaker-count predict, {SHORT} s of sound", taken, "s", peak))
            else:
                lines.append(row("speaker-count predict, an hour", LONG / taken, "times real time", peak))
    return lines
