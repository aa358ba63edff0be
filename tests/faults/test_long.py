"""Long work: many runs and millions of clips leave nothing behind, and take no more and more memory."""

import gc
import json
import multiprocessing
import os
import threading
from pathlib import Path

import pytest

from speaker_count.data.loader import ClipLoader
from tests.conftest import mix_of

RUNS = 50
CLIPS = 2_000_000
PROC = Path("/proc/self")


def left_open() -> tuple[int, set[str], int]:
    """The number of open files, the names of threads, and the number of child processes."""
    threads = {thread.name for thread in threading.enumerate()}
    children = (PROC / "task" / str(os.getpid()) / "children").read_text().split()
    return len(list((PROC / "fd").iterdir())), threads, len(children) + len(multiprocessing.active_children())


def resident_bytes() -> int:
    return int((PROC / "statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


@pytest.mark.skipif(not PROC.exists(), reason="needs /proc")
def test_two_million_clips_take_no_more_memory_than_a_tenth_of_them(make_data, tally):
    """Clips of 50 ms: what they cost besides their samples is that of longer ones."""
    data = make_data(mix=mix_of(train=CLIPS, clip_seconds=0.05))
    gc.collect()
    before = left_open()
    seen, memory = 0, []
    for batch in ClipLoader(data.clips["train"], 256, order_seed=0):
        seen += len(batch["count"])
        if seen // (CLIPS // 20) > len(memory):
            memory.append(resident_bytes())
    assert seen == CLIPS
    after_a_tenth = memory[1]
    assert max(memory[2:]) < after_a_tenth + 4 * CLIPS, [round(each / 1e6) for each in memory]  # not a number a clip
    gc.collect()
    assert left_open() == before
    tally(faults=1)


@pytest.mark.skipif(not PROC.exists(), reason="needs /proc")
def test_fifty_runs_in_one_sweep_all_finish_and_leave_nothing(command, tree, tmp_path, tally):
    """The sweep's process counts its files and processes after each run."""
    sizes = ("mix.clips.train=6", "mix.clips.validation=6", "mix.clips.test=6", "mix.clip_seconds=0.3")
    speech = ("data=folder", f"data.root={tree}", *sizes, "data.batch_size=6", "trainer.max_epochs=1")
    options = ("logger=csv", "evaluate_train=false", "hydra.launcher.jobs=1", "hydra.sweep.dir=sweep")
    seeds = f"seed={','.join(map(str, range(RUNS)))}"
    sweep = ("train", "--multirun", *speech, *options, "model=m3", seeds)
    done = command(*sweep, before=count_after_each_run)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("epoch 1 of 1") == RUNS
    runs = [json.loads(path.read_text()) for path in (tmp_path / "sweep").glob("*/result.json")]
    assert sorted(run["seed"] for run in runs) == list(range(RUNS))
    assert len({run["test_sha256"] for run in runs}) == 1
    counts = [json.loads(line) for line in (tmp_path / "counts").read_text().splitlines()]
    assert len(counts) == RUNS
    early, last = counts[RUNS // 10], counts[-1]
    assert last["files"] <= early["files"]
    assert last["processes"] <= early["processes"]
    assert last["threads"] <= early["threads"]
    assert last["bytes"] < 1.05 * early["bytes"]
    tally(faults=1)


def count_after_each_run() -> None:
    """Let this process note in a file what it has open after each run."""
    from speaker_count.sweeping.launcher import SweepLauncher

    ended, log = SweepLauncher.ended, Path("counts").absolute()

    def counting(self, run, outcome):
        ended(self, run, outcome)
        files, threads, processes = left_open()
        counted = {"files": files, "threads": len(threads), "processes": processes, "bytes": resident_bytes()}
        with log.open("a") as file:
            file.write(json.dumps(counted) + "\n")

    SweepLauncher.ended = counting
