"""What a run shows while it trains: a bar in a terminal, lines elsewhere."""

import os
import re
import signal
import subprocess
import sys
from functools import partial
from pathlib import Path

import pytest

from speaker_count.training import progress
from tests.conftest import SMALL


def soon(seconds: float) -> None:
    """Let a line of progress be due after so many seconds."""
    progress.MINUTE = seconds


def test_without_a_terminal_a_run_says_how_far_it_is_how_fast_and_its_loss(command, tree, tmp_path):
    run = ("train", *SMALL, f"data.root={tree}", "model=m3", "logger=csv", "hydra.run.dir=run")
    done = command(*run, before=partial(soon, 0))
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    trained = [line for line in lines if re.fullmatch(r"epoch \d of 2, \d+ %: \d+ clips/s, loss \d\.\d{3}", line)]
    assert [line.split(":")[0] for line in trained] == [f"epoch {e} of 2, {p} %" for e in (1, 2) for p in (33, 67, 100)]
    evaluated = [line.split(":")[0] for line in lines if "evaluation" in line]
    assert evaluated[:5] == [f"epoch 1 of 2, evaluation, {share} %" for share in (20, 40, 60, 80, 100)]
    assert [line.split(":")[0] for line in lines if line.startswith("test, ")][:2] == ["test, 50 %", "test, 100 %"]
    assert trained[0] in (tmp_path / "run" / "train.log").read_text()


def test_a_minute_passes_between_two_lines(command, tree):
    assert progress.MINUTE == 60
    done = command("train", *SMALL, f"data.root={tree}", "model=m3", "logger=csv")
    assert "clips/s, loss" not in done.stdout


@pytest.mark.skipif(os.name != "posix", reason="needs a pseudo-terminal")
def test_the_bar_counts_epochs_from_1_shows_the_loss_and_mixes_with_no_line(tree, cache, tmp_path):
    import pty
    import termios

    long = ("mix.clips.train=960", "trainer.max_epochs=200", "evaluate_train=false", "threads=1")
    terminal, stream = pty.openpty()
    termios.tcsetwinsize(stream, (40, 100))
    process = subprocess.Popen(
        [Path(sys.executable).with_name("speaker-count"), "train", *SMALL, f"data.root={tree}", "logger=csv", *long],
        cwd=tmp_path,
        env={**os.environ, "SPEAKER_COUNT_CACHE": str(cache), "TERM": "xterm"},
        stdin=stream,
        stdout=stream,
        stderr=stream,
    )
    os.close(stream)
    shown, interrupted = "", False
    while True:
        try:
            shown += os.read(terminal, 65536).decode(errors="replace")
        except OSError:  # the terminal's end, on Linux
            break
        if not interrupted and re.search(r"epoch [2-9] of 200: +[1-5]\d%", shown):  # in the midst of an epoch
            process.send_signal(signal.SIGINT)
            interrupted = True
    assert process.wait(60) == 1
    assert shown.startswith("loading ...")
    assert re.search(r"epoch 1 of 200: +\d+%\|.*loss=\d\.\d{3}\]", shown)
    assert re.search(r"validation: +\d+%\|", shown)
    assert "Epoch" not in shown
    assert "v_num" not in shown
    for line in (r"epoch 1 of 200: accuracy running 0\.", "saved: the same command resumes"):
        assert re.search(rf"[\r\n]{line}[^\r\n|]*\r?\n", shown), shown[-2000:]
    assert "Traceback" not in shown
