"""A sweep's jobs side by side: the same results, one build of the pool, and none of them affects another."""

import os
import platform
import signal
import subprocess
import sys
from pathlib import Path

import filelock
import joblib
import pytest

from speaker_count.sweeping import resources
from speaker_count.sweeping.resources import Concurrency, concurrency, free_memory
from tests.conftest import SMALL

TWO = ("hydra.launcher.jobs=2", "threads=1", "logger=csv")
DOOMED = """
import os, signal
from speaker_count.models.waveform import WaveformCNN

class Doomed(WaveformCNN):
    def forward(self, waveform):
        os.kill(os.getpid(), signal.SIGKILL)
"""


def runs(folder):
    return {path.name: path for path in sorted(folder.iterdir()) if path.is_dir()}


def test_side_by_side_and_one_after_the_other_give_the_same(command, tree, tmp_path):
    sweep = ("train", "--multirun", *SMALL, f"data.root={tree}", "model=m3,spec_1", "seed=0,1")
    cache = tmp_path / "cache"
    together = command(*sweep, *TWO, "hydra.sweep.dir=together", SPEAKER_COUNT_CACHE=str(cache))
    assert together.returncode == 0, together.stderr
    assert len([path for path in (cache / "pools").iterdir() if path.is_dir()]) == 1
    assert "waiting for it" not in together.stdout + together.stderr  # the pool was there before the jobs began
    assert together.stdout.index("run 2 of 4: ") < together.stdout.index("test accuracy")
    epochs = [line.split(" | ")[0] for line in together.stdout.splitlines() if " | epoch 2 of 2" in line]
    assert sorted(epochs) == list(runs(tmp_path / "together"))

    alone = command(*sweep, "logger=csv", "hydra/launcher=basic", "hydra.sweep.dir=alone")
    assert alone.returncode == 0, alone.stderr
    assert " | epoch" not in alone.stdout
    one, other = (runs(tmp_path / name) for name in ("together", "alone"))
    assert list(one) == list(other)
    for name, folder in one.items():
        for file in ("metrics.csv", "predictions.parquet"):
            assert (folder / file).read_bytes() == (other[name] / file).read_bytes(), (name, file)


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="needs a signal that cannot be caught")
def test_a_job_killed_by_the_system_is_named_and_does_not_affect_the_others(command, tree, tmp_path):
    nets = tmp_path / "own"
    (nets / "model").mkdir(parents=True)
    (nets / "doomed_net.py").write_text(DOOMED)
    (nets / "model" / "doomed.yaml").write_text("defaults: [m3]\nnet:\n  _target_: doomed_net.Doomed\n")
    sweep = ("train", "--multirun", "--config-dir", nets, *SMALL, f"data.root={tree}", "model=doomed,m3,m5", *TWO)
    done = command(*sweep)
    assert done.returncode == 1
    (line,) = (line for line in done.stderr.splitlines() if line.startswith("failed: "))
    assert line.startswith("failed: doomed-seed0-")
    assert ": killed (SIGKILL, perhaps because memory ran out) (see " in line
    assert "killed" in Path(line.split("(see ")[1][:-1]).read_text()
    assert "1 of 3 runs failed" in done.stderr
    folder = tmp_path / "multirun" / "default-folder-tree-paper"
    finished = [name for name, run in runs(folder).items() if (run / "result.json").is_file()]
    assert [name[:2] for name in finished] == ["m3", "m5"]


@pytest.mark.skipif(not hasattr(os, "killpg"), reason="needs groups of processes")
@pytest.mark.parametrize("how", ["interrupted", "killed"])
def test_no_job_outlives_its_sweep(command, cache, tree, tmp_path, how):
    longer = ("mix.clips.train=2000", "trainer.max_epochs=200", "evaluate_train=false")
    sweep = ("train", "--multirun", *SMALL, f"data.root={tree}", *longer, "model=m3", "seed=0,1", *TWO)
    process = subprocess.Popen(
        [Path(sys.executable).with_name("speaker-count"), *sweep],
        cwd=tmp_path,
        env={**os.environ, "SPEAKER_COUNT_CACHE": str(cache)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    trained = set()
    for line in process.stdout:  # until both train
        trained |= {line.split(" | ")[0]} if " | epoch " in line else set()
        if len(trained) == 2:
            break
    if how == "interrupted":
        os.killpg(process.pid, signal.SIGINT)  # as a terminal does
    else:
        process.kill()
    rest = process.stdout.read()
    code = process.wait(60)
    if how == "interrupted":
        assert code == 130
        assert "Traceback" not in rest
        assert rest.endswith("interrupted: the same command resumes from the runs' last checkpoints\n")
    for name in trained:
        with filelock.FileLock(tmp_path / "multirun" / "default-folder-tree-paper" / f".{name}.lock", timeout=30):
            pass  # a job holds it for as long as it lives
    again = command(*sweep[:-1], "trainer.max_epochs=2", "force=true", "mix.clips.train=96")
    assert again.returncode == 0, again.stderr


def test_as_many_jobs_as_cores_and_as_memory_allows():
    own = joblib.cpu_count()
    assert concurrency(10 * own, jobs=own) == (own, 1, "")
    assert concurrency(1, jobs=4) == (1, own, "")
    assert concurrency(10 * own, threads=own).jobs == 1
    assert concurrency(0).jobs == 1
    left = concurrency(10 * own, to_do=1)
    assert (left.jobs, left.threads) == (1, concurrency(10 * own).threads)  # the last run computes as the first ones
    free = free_memory()
    if free is None:
        pytest.skip("this system does not say how much memory is free")
    few = concurrency(10, jobs=10, job_bytes=free // 3)
    assert 2 <= few.jobs <= 4
    assert few.threads == max(1, own // 10)
    assert f"{few.jobs} at a time, not 10" in few.note
    none = concurrency(10, jobs=10, threads=1, job_bytes=10**15)
    assert isinstance(none, Concurrency)
    assert (none.jobs, none.threads) == (1, 1)
    assert "even that may be too many" in none.note


def test_a_control_group_s_limit_counts(tmp_path):
    """Its files as Linux writes them, of version 2; which version runs here is not for a test to choose."""
    inner = tmp_path / "job" / "step"
    inner.mkdir(parents=True)
    for folder, limit, used, cache in ((inner, "max", 10**9, 0), (inner.parent, 3 * 10**9, 2 * 10**9, 5 * 10**8)):
        (folder / "memory.max").write_text(f"{limit}\n")
        (folder / "memory.current").write_text(f"{used}\n")
        (folder / "memory.stat").write_text(f"anon 1\ninactive_file {cache}\nactive_file 7\n")
    assert list(resources.free_in_groups(inner, *resources.MEMORY_GROUPS[""])) == [1_500_000_000]


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="needs the C library of GNU")
def test_memory_that_a_step_frees_serves_the_next_one():
    steps = """
import resource
import torch
from speaker_count.training.memory import keep_freed_memory
keep_freed_memory()
for step in range(20):
    if step == 10:
        before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    held = [torch.ones(10**6), torch.ones(10**7)]
    del held
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""
    faults = subprocess.run([sys.executable, "-c", steps], capture_output=True, text=True, check=True).stdout
    assert int(faults) < 1000  # a step alone has 10,742 pages
