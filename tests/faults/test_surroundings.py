"""Real commands in surroundings that are poor, closed or odd: they work, or say in one line what is missing."""

import json
import os
import resource
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from speaker_count.compose import quoted
from tests.conftest import speaker_count
from tests.faults.disks import Disk
from tests.faults.disks import run as run_program

COMMAND = Path(sys.executable).with_name("speaker-count")
SIZES = ("data=folder", "mix.clips.train=48", "mix.clips.validation=24", "mix.clips.test=24", "trainer.max_epochs=2")
ODD = "a b 'q' \"d\" %s %(x)s $HOME {x} \\ é日本\n[1]=,;#~ *?"
LIBFAKETIME = next(Path("/usr/lib").glob("*/faketime/libfaketimeMT.so.1"), None)


@pytest.fixture
def small(tree):
    return (*SIZES, f"data.root={tree}")


@pytest.fixture
def real(tmp_path, cache) -> Callable[..., subprocess.CompletedProcess]:
    """The command as a shell starts it; `shell` redirects its streams, a variable that is None is not set."""

    def start(*words: object, shell: str = "", limit: Callable[[], None] | None = None, **changes: str | None):
        environment = {key: value for key, value in os.environ.items() if not key.startswith(("WANDB_", "PYTHONUN"))}
        environment |= {"SPEAKER_COUNT_CACHE": str(cache), "OMP_NUM_THREADS": "1", **changes}
        script = f'set -o pipefail; "$@" {shell}'
        return subprocess.run(
            ["bash", "-c", script, "bash", *map(str, (COMMAND, *words))],
            cwd=tmp_path,
            env={key: value for key, value in environment.items() if value is not None},
            capture_output=True,
            text=True,
            preexec_fn=limit,
            timeout=200,
        )

    return start


@pytest.fixture(scope="module")
def finished(made_once, cache, tree) -> Path:
    """The folder of a finished run; not to be changed."""

    def do(folder: Path) -> None:
        done = speaker_count(folder, cache, "train", *SIZES, f"data.root={tree}", "model=m3", "logger=csv",
                             "hydra.run.dir=run")  # fmt: skip
        assert done.returncode == 0, done.stderr

    return made_once("surroundings", do) / "run"


def predictions(folder: Path) -> bytes:
    return (folder / "predictions.parquet").read_bytes()


def one_line(done: subprocess.CompletedProcess, says: str) -> None:
    assert done.returncode == 2, done.stdout + done.stderr
    (line,) = done.stderr.splitlines()
    assert says in line


def test_a_run_without_language_home_or_temporary_folder_is_the_same(real, small, finished, tmp_path, tally):
    poor = {"LANG": "C", "LC_ALL": "C", "HOME": None, "TMPDIR": str(tmp_path / "none"), "XDG_CACHE_HOME": None}
    done = real("train", *small, "model=m3", "hydra.run.dir='é'", **poor)
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr
    assert "é/result.json" in done.stdout
    assert "é/result.json" in (tmp_path / "é" / "train.log").read_text("utf-8")
    assert predictions(tmp_path / "é") == predictions(finished)
    tally(faults=5)


def test_a_home_that_does_not_exist_is_made_and_one_that_cannot_be_made_is_one_line(
    command, small, finished, tmp_path, tally
):
    """Pools are below it by default."""
    below = {"SPEAKER_COUNT_CACHE": "~/.cache/speaker_count"}
    home = tmp_path / "no" / "home"
    run = ("train", *small, "model=m3", "logger=csv", "hydra.run.dir=run")
    done = command(*run, HOME=str(home), **below)
    assert (done.returncode, done.stderr) == (0, "")
    assert predictions(tmp_path / "run") == predictions(finished)
    assert list(home.glob(".cache/speaker_count/pools/*/pool.json"))
    (tmp_path / "file").write_text("in the way")
    one_line(command("prepare", *small, HOME=str(tmp_path / "file"), **below), "data.cache=DIR")
    tally(faults=2)


def look_for_temporary_folder() -> None:
    """Let this process find the folder of temporary files anew: the one that it was forked from has found its own."""
    tempfile.tempdir = None


def test_a_checkpoint_needs_no_room_among_temporary_files(command, small, finished, tmp_path, tally):
    disk = Disk(tmp_path / "temporary", 32)
    try:
        run = ("train", *small, "model=m3", "logger=csv", "hydra.run.dir=run")
        done = command(*run, before=look_for_temporary_folder, TMPDIR=str(disk.path))
        assert (done.returncode, done.stderr) == (0, "")
    finally:
        run_program("umount", "-l", disk.path)
    assert predictions(tmp_path / "run") == predictions(finished)
    tally(faults=1)


def limited(kind: int, most: int) -> None:
    resource.setrlimit(kind, (most, most))


def test_sixty_four_open_files_are_enough(command, small, finished, tmp_path, tally):
    """A sweep of two jobs at a time has the most open."""
    options = ("hydra.launcher.jobs=2", "threads=1", "hydra.sweep.dir=sweep")
    sweep = ("train", "--multirun", *small, "model=m3", "seed=0,1", *options)
    done = command(*sweep, before=partial(limited, resource.RLIMIT_NOFILE, 64))
    assert done.returncode == 0, done.stdout + done.stderr
    (same,) = (tmp_path / "sweep").glob("m3-seed0-*/result.json")
    assert predictions(same.parent) == predictions(finished)
    tally(faults=1)


@pytest.mark.parametrize("gigabytes", [1, 3])
def test_too_little_memory_is_one_line(real, small, tally, gigabytes):
    """So little that torch's libraries do not fit."""
    limit = partial(limited, resource.RLIMIT_AS, gigabytes * 10**9)
    one_line(real("prepare", *small, limit=limit), "not enough memory (")
    tally(faults=1)


def scarce() -> None:
    """Let this process take a little more memory than it has."""
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    limited(resource.RLIMIT_AS, 4096 * pages + 600 * 10**6)


def test_a_batch_that_does_not_fit_into_memory_is_one_line_and_a_smaller_one_fits(command, small, tmp_path, tally):
    options = ("train", *small, "model=m18", "logger=csv", "hydra.run.dir=run", "mix.clip_seconds=1.4")
    large = command(*options, "mix.clips.train=2048", "data.batch_size=2048", before=scarce)
    one_line(large, "not enough memory (")
    assert "smaller data.batch_size" in large.stderr
    done = command("train", *small, "model=m3", "logger=csv", "hydra.run.dir=fits", before=scarce)
    assert done.returncode == 0, done.stderr
    tally(faults=2)


def test_tables_fit_forty_columns(verb, monkeypatch, finished, tmp_path, tally):
    monkeypatch.setenv("COLUMNS", "40")
    monkeypatch.setenv("SPEAKER_COUNT_CACHE", str(tmp_path / "none"))
    run = shutil.copytree(finished, tmp_path / "run")
    code, out, _ = verb("report", run)
    assert code == 0
    assert "| m3" in out
    assert max(map(len, (line for line in out.splitlines() if not line.startswith("written: ")))) <= 40
    tally(faults=1)


def test_closed_streams_end_no_run_and_enter_no_file(real, small, finished, tmp_path, tally):
    """A file would get a closed stream's number, and what is printed."""
    options = ("logger=csv", "hydra.run.dir=run", "data.cache=cache")
    done = real("train", *small, "model=m3", *options, shell="<&- >&- 2>&-")
    assert done.returncode == 0
    assert predictions(tmp_path / "run") == predictions(finished)
    assert (tmp_path / "run" / "result.json").read_text().startswith("{")
    tally(faults=3)


def test_a_sweep_continues_where_nobody_takes_its_output(real, small, finished, tmp_path, tally):
    options = ("logger=csv", "hydra.launcher.jobs=1", "threads=1", "hydra.sweep.dir=sweep")
    done = real("train", "--multirun", *small, "model=m3", "seed=0,1", *options, shell="| head -c 1 >/dev/null")
    assert (done.returncode, done.stderr) == (0, "")
    assert len(list((tmp_path / "sweep").glob("*/result.json"))) == 2
    (same,) = (tmp_path / "sweep").glob("m3-seed0-*/result.json")
    assert predictions(same.parent) == predictions(finished)
    tally(faults=1)


def send_output(where: str) -> None:
    """Let what this process prints go to a file, or to a pipe that nobody reads."""
    reader, writer = os.pipe()
    os.close(reader)
    sys.stdout = os.fdopen(writer if where == "pipe" else os.open(where, os.O_WRONLY), "w")


def test_what_is_printed_to_nobody_or_to_a_full_disk_is_no_traceback(real, command, small, finished, tmp_path, tally):
    unread = real("forecast", *small, "model=m3", shell="| true")
    assert (unread.returncode, unread.stderr) == (141, "")
    one_line(real("prepare", *small, shell=">/dev/full"), "No space left on device")

    shutil.copytree(finished, tmp_path / "run")
    nowhere = {"SPEAKER_COUNT_CACHE": str(tmp_path / "none")}
    unread = command("report", "run", before=partial(send_output, "pipe"), **nowhere)
    assert (unread.returncode, unread.stderr) == (141, "")
    assert (tmp_path / "run" / "report" / "index.html").is_file()
    one_line(command("prepare", *small, before=partial(send_output, "/dev/full")), "No space left on device")
    for where in ("pipe", "/dev/full"):
        train = ("train", *small, "model=m3", "logger=csv", f"hydra.run.dir=new/{Path(where).name}")
        done = command(*train, before=partial(send_output, where))
        assert (done.returncode, done.stderr) == (0, "")
        assert predictions(tmp_path / "new" / Path(where).name) == predictions(finished)
    tally(faults=6)


@pytest.mark.skipif(LIBFAKETIME is None, reason="needs libfaketime (Debian: faketime)")
def test_a_clock_that_jumps_back_a_day_changes_no_result(real, small, finished, tmp_path, tally):
    """It jumps after the first epoch. The clock that never jumps, by which durations are measured, stays."""
    clock = tmp_path / "clock"
    clock.write_text("+0")
    watch = f"until [ -e {tmp_path}/run/checkpoints/best.ckpt ]; do sleep 0.05; done; echo -1d > {clock}"
    settings = {"LD_PRELOAD": str(LIBFAKETIME), "FAKETIME_TIMESTAMP_FILE": str(clock), "FAKETIME_NO_CACHE": "1"}
    settings |= {"DONT_FAKE_MONOTONIC": "1"}
    with subprocess.Popen(["timeout", "100", "bash", "-c", watch]):
        run = ("train", *small, "model=m3", "logger=csv", "hydra.run.dir=run", "trainer.max_epochs=8")
        done = real(*run, **settings)
    assert (done.returncode, done.stderr) == (0, "")
    days = [line[1:11] for line in (tmp_path / "run" / "train.log").read_text().splitlines()]
    assert days[-1] < days[0]
    result = json.loads((tmp_path / "run" / "result.json").read_text())
    assert result["epochs"] == 8
    rows = [(folder / "metrics.csv").read_text().splitlines() for folder in (tmp_path / "run", finished)]
    assert rows[0][:3] == rows[1][:3]
    assert 0 < result["fit_seconds"] < 1000
    assert result["clips_per_second"] > 0
    tally(faults=1)


def test_a_folder_that_was_deleted_under_the_command_is_one_line(cache, small, tmp_path, tally):
    for words in (("prepare", *small), ("train", "--multirun", *small, "model=m3")):
        (tmp_path / "gone").mkdir()
        script = 'rmdir ../gone; exec "$@" 2>&1'
        done = subprocess.run(
            ["bash", "-c", script, "bash", COMMAND, *words], cwd=tmp_path / "gone", capture_output=True, text=True
        )
        assert done.returncode == 2
        assert done.stdout == "the working directory was deleted: go to another one with cd\n"
    tally(faults=2)


@pytest.mark.parametrize("name", [ODD, "x" * 200], ids=["odd", "long"])
def test_any_name_of_a_folder_will_do(tree, finished, tmp_path, tally, name):
    place = tmp_path / name
    shutil.copytree(tree, place / "tree")
    do = partial(speaker_count, place, place / "cache")
    speech = (f"data.root={quoted(place / 'tree')}", f"data.cache={quoted(place / 'cache')}")
    prepared = do("prepare", *SIZES, *speech)
    assert (prepared.returncode, prepared.stderr) == (0, "")
    assert do("forecast", *SIZES, *speech, "model=m3").returncode == 0
    trained = do("train", *SIZES, *speech, "model=m3", "logger=csv", f"hydra.run.dir={quoted(place / 'run')}")
    assert (trained.returncode, trained.stderr) == (0, "")
    assert predictions(place / "run") == predictions(finished)
    assert "is finished already" in do("train", *SIZES, *speech, "model=m3", "hydra.run.dir=run").stdout
    assert do("evaluate", place / "run", "mix.clips.test=30").returncode == 0
    assert do("report", place / "run", SPEAKER_COUNT_CACHE="none").returncode == 0
    clips = do("clips", *SIZES, *speech, f"out={place / 'clips'}")
    assert (clips.returncode, clips.stderr) == (0, "")
    tally(faults=8)


def test_the_command_that_clips_names_works_in_a_folder_of_any_name(tree, finished, cache, tmp_path, tally):
    do = partial(speaker_count, tmp_path, cache)
    out = do("clips", *SIZES, f"data.root={tree}", f"out={tmp_path / ODD}").stdout
    named = out[out.index("train from them: ") :].removeprefix("train from them: ")
    words = subprocess.run(["bash", "-c", f"printf '%s\\0' {named}"], capture_output=True, text=True).stdout.split("\0")
    trained = do(*words[1:-1], "model=m3", "logger=csv", "trainer.max_epochs=2", "hydra.run.dir=run")
    assert trained.returncode == 0, trained.stderr
    assert predictions(tmp_path / "run") == predictions(finished)
    tally(faults=1)
