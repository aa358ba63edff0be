"""Eight processes at once where one would do: they share, wait or are refused, and what comes out is that of one."""

import base64
import csv
import json
import shutil
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from subprocess import CompletedProcess

import filelock
import pyarrow.parquet as pq
import pytest

from speaker_count.data import corpus
from speaker_count.data.pool import Pool
from tests.conftest import speaker_count

EIGHT = 8
SIZES = ("data=folder", "mix.clips.train=48", "mix.clips.validation=24", "mix.clips.test=24", "trainer.max_epochs=2")


@pytest.fixture
def at_once(tmp_path, tree, cache) -> Callable[..., list[CompletedProcess]]:
    """The same command of a verb eight times at once, or these commands; the pool is there already."""
    assert speaker_count(tmp_path, cache, "prepare", *SIZES, f"data.root={tree}").returncode == 0

    def start(commands: Sequence[Sequence[object]], folder: Path = cache) -> list[CompletedProcess]:
        with ThreadPoolExecutor(len(commands)) as threads:
            return list(threads.map(lambda words: speaker_count(tmp_path, folder, *words), commands))

    return start


@pytest.fixture
def small(tree):
    return (*SIZES, f"data.root={tree}")


def check_left(folder: Path) -> None:
    """Nothing is half done, and no lock is held."""
    left = [path for path in folder.rglob("*") if path.name.endswith(".partial")]
    assert not left
    for lock in folder.rglob("*.lock"):
        with filelock.FileLock(lock, blocking=False):
            pass


def files(folder: Path) -> dict[str, bytes]:
    found = {str(path.relative_to(folder)): path for path in folder.rglob("*") if path.is_file()}
    return {name: path.read_bytes() for name, path in found.items() if not name.endswith(".lock")}


def test_eight_processes_make_one_pool(at_once, small, tree, tmp_path, tally):
    done = at_once([("prepare", *small)] * EIGHT, tmp_path / "own")
    assert [each.returncode for each in done] == [0] * EIGHT, [each.stderr for each in done]
    # before it, each says whether the pool was there when it looked
    assert len({each.stdout.split("decoded in ")[-1] for each in done}) == 1
    (made,) = (path.parent for path in (tmp_path / "own").glob("pools/*/pool.json"))
    pool = Pool(made)
    pool.verify()
    assert pool.utterances.tolist() == corpus.index(tree).utterances.to_pylist()
    assert [path.suffix for path in made.parent.iterdir() if path != made] == [".lock"]
    for each in done:
        assert all("waiting for it" in line for line in each.stderr.splitlines())
    check_left(tmp_path / "own")
    tally(faults=EIGHT)


def test_eight_processes_do_one_run(at_once, command, small, tmp_path, tally):
    run = ("train", *small, "model=m3", "logger=csv")
    assert command(*run, "hydra.run.dir=alone").returncode == 0
    done = at_once([(*run, "hydra.run.dir=run")] * EIGHT)
    trained = [each for each in done if "epoch 2 of 2" in each.stdout]
    assert len(trained) == 1
    for each in done:
        if each.returncode:
            assert each.returncode == 2
            (line,) = each.stderr.splitlines()
            assert line.startswith("another process is running ")
        elif each not in trained:
            assert each.stdout.endswith("is finished already\n")
    for name in ("predictions.parquet", "metrics.csv", "identity.json", ".hydra/config.yaml"):
        assert (tmp_path / "run" / name).read_bytes() == (tmp_path / "alone" / name).read_bytes(), name
    log = (tmp_path / "run" / "train.log").read_text()
    assert log.count("epoch 2 of 2") == 1
    check_left(tmp_path)
    tally(faults=EIGHT)


def test_eight_processes_write_one_folder_of_clips(at_once, command, small, tmp_path, tally):
    clips = ("clips", *small, "mix.clips.train=600")  # so many that they meet
    assert command(*clips, "out=alone").returncode == 0
    done = at_once([(*clips, "out=clips", "workers=2")] * EIGHT)
    assert 0 in [each.returncode for each in done]
    for each in done:
        if each.returncode:
            assert each.returncode == 2
            (line,) = each.stderr.splitlines()
            assert line.startswith("another process is writing clips to clips; wait for it")
        else:
            assert " 648 written, 0 kept" in each.stdout or " 0 written, 648 kept" in each.stdout
    alone, written = files(tmp_path / "alone"), files(tmp_path / "clips")
    for description in (alone, written):
        description["clips.json"] = json.loads(description["clips.json"]) | {"arguments": None}
    assert written == alone
    check_left(tmp_path)
    tally(faults=EIGHT)


def test_eight_processes_make_one_report(at_once, command, small, tmp_path, tally):
    """All files are those of one of them: the page shows the figures that are beside it."""
    assert command("train", *small, "model=m3", "logger=csv", "hydra.run.dir=run").returncode == 0
    shutil.copytree(tmp_path / "run", tmp_path / "alone" / "run")
    empty = tmp_path / "empty"  # no speech: a report takes a second
    shutil.copytree(tmp_path / "run", tmp_path / "together" / "run")
    done = at_once([("report", "alone"), *[("report", "together")] * EIGHT], empty)
    assert [each.returncode for each in done] == [0] * len(done), [each.stderr for each in done]
    assert len({each.stdout for each in done[1:]}) == 1
    alone, together = (files(tmp_path / name / "report") for name in ("alone", "together"))
    assert together.keys() == alone.keys()
    page = together["index.html"]
    for name, content in together.items():
        if name.endswith(".svg"):  # drawn with names that differ each time, and part of the page
            assert base64.b64encode(content) in page, name
        elif not name.endswith(".html"):
            assert content == alone[name], name
    check_left(tmp_path)
    tally(faults=EIGHT)


def test_two_sweeps_on_one_corpus_give_what_one_gives(at_once, small, tmp_path, tally):
    """Neither has the pool yet. They share the runs of one folder, too: each run is done once."""
    options = ("logger=csv", "hydra.launcher.jobs=2", "threads=1")
    sweeps = [("train", "--multirun", *small, "model=m3", "seed=0,1", *options, f"hydra.sweep.dir={n}") for n in "ab"]
    done = at_once(sweeps, tmp_path / "own")
    assert [each.returncode for each in done] == [0, 0], [each.stderr for each in done]
    a, b = (sorted((tmp_path / name).glob("m3-*/")) for name in "ab")
    assert [run.name for run in a] == [run.name for run in b]
    assert len(a) == 2
    for one, other in zip(a, b, strict=True):
        assert pq.read_table(one / "predictions.parquet").equals(pq.read_table(other / "predictions.parquet"))
        rows = [list(csv.reader((run / "metrics.csv").open())) for run in (one, other)]
        assert rows[0] == rows[1]
    assert len(list((tmp_path / "own").glob("pools/*/pool.json"))) == 1
    check_left(tmp_path)

    again = at_once([(*sweeps[0], "force=true")] * 2, tmp_path / "own")
    assert {each.returncode for each in again} <= {0, 1}
    for each in again:
        failed = [line for line in each.stderr.splitlines() if line.startswith("failed: ")]
        assert [line for line in failed if "another process is running" not in line] == []
        assert "Traceback" not in each.stderr
    for run in a:
        assert pq.read_table(run / "predictions.parquet").equals(
            pq.read_table(tmp_path / "b" / run.name / "predictions.parquet")
        )
    check_left(tmp_path)
    tally(faults=4)
