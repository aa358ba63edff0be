"""Seconds that commands take: to start, and to run a sweep with its jobs side by side or one after the other."""

import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import joblib
import pytorch_lightning as pl

from tests.benchmarks.peers import Measure, Row, compare, row

STARTS = 3
JOB_SECONDS = 60  # of a job of the sweep, at least
COMMAND = str(Path(sys.executable).with_name("speaker-count"))


class FirstStep(pl.Callback):
    """Ends the process after the first step of training."""

    def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx) -> None:
        os._exit(0)


def run(*arguments: str, **environment: str) -> tuple[float, int]:
    """Seconds that a command takes, and the peak memory, in bytes, of it and its processes together."""
    process = subprocess.Popen(
        [COMMAND, *arguments], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, env={**os.environ, **environment}
    )
    peak, over = 0, threading.Event()

    def watch() -> None:
        nonlocal peak
        wait = 0.2
        while not over.wait(wait):
            peak = max(peak, sum(map(held_by, family(process.pid))))
            wait = min(5, 1.2 * wait)  # reading the memory takes the system tens of milliseconds

    begin = time.perf_counter()
    watcher = threading.Thread(target=watch)
    watcher.start()
    output, _ = process.communicate()
    seconds = time.perf_counter() - begin
    over.set()
    watcher.join()
    if process.returncode:
        raise RuntimeError(f"{' '.join(arguments)}: {output.decode()}")
    return seconds, peak


def family(pid: int) -> Iterator[int]:
    """A process and its descendants (Linux)."""
    yield pid
    try:
        children = [int(child) for path in Path(f"/proc/{pid}/task").iterdir() for child in _words(path / "children")]
    except OSError:
        return
    for child in children:
        yield from family(child)


def held_by(pid: int) -> int:
    """A process's memory in bytes; shared memory is divided among the processes that share it (Linux)."""
    words = _words(Path(f"/proc/{pid}/smaps_rollup"))
    return 1024 * int(words[words.index("Pss:") + 1]) if "Pss:" in words else 0


def _words(path: Path) -> list[str]:
    try:
        return path.read_text().split()
    except OSError:
        return []


def starts(overrides: list[str]) -> list[Row]:
    """The times of `--help`, and of `train` up to its first step."""
    with tempfile.TemporaryDirectory() as folder:
        first_step = f"+trainer.callbacks=[{{_target_: {__name__}.{FirstStep.__name__}}}]"
        train = ("train", "model=m5", "logger=csv", "force=true", first_step, f"hydra.run.dir={folder}/run", *overrides)
        lines = []
        for what, arguments in (
            ("speaker-count --help", ("--help",)),
            ("speaker-count train, to its first step", train),
        ):
            taken = sorted(run(*arguments) for _ in range(STARTS))
            lines.append(row(what, taken[STARTS // 2][0], "s", max(peak for _, peak in taken)))
    return lines


def sweeps(overrides: list[str], clips_per_second: float) -> list[Row]:
    """The times of a sweep of two jobs of M5, each about a minute of training.

    Args:
        clips_per_second: at which M5 is trained.
    """
    clips = round(JOB_SECONDS * clips_per_second)
    sizes = (f"mix.clips.train={clips}", "mix.clips.validation=300", "mix.clips.test=300", "trainer.max_epochs=1")
    peak: dict[str, int] = {}

    def sweep(name: str, *how: str) -> Measure:
        def measure() -> float:
            with tempfile.TemporaryDirectory() as folder:
                where = f"hydra.sweep.dir={folder}/sweep"
                jobs = ("model=m5", "seed=0,1", "evaluate_train=false", "logger=csv")
                seconds, peak[name] = run("train", "--multirun", *jobs, *sizes, *overrides, where, *how)
            return seconds

        return measure

    basic = "hydra/launcher=basic"
    peers = {
        "side by side": sweep("side by side"),
        "one after the other, one thread": sweep("one thread", basic, "threads=1"),
        "one after the other, a thread on each core": sweep("all threads", basic, f"threads={joblib.cpu_count()}"),
    }
    lines = compare("sweep of two jobs", "s", peers, rounds=1, less_is_better=True)
    return [{**line, "peak_bytes": peak["side by side"]} for line in lines]
