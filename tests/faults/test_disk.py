"""Disks that are full, read-only or slow, or lose a folder: one line, nothing cut, and then the same command works."""

import csv
import json
import shutil
from functools import partial
from pathlib import Path

import pytest

from speaker_count.data.pool import Pool
from tests.conftest import speaker_count
from tests.faults import disks
from tests.faults.disks import FILLER, Disk

SIZES = ("data=folder", "mix.clips.train=64", "mix.clips.validation=24", "mix.clips.test=24", "trainer.max_epochs=2")
FULL = "No space left on device"


@pytest.fixture
def disk(tmp_path):
    """A disk of eight megabytes."""
    made = Disk(tmp_path / "disk", 8192)
    yield made
    disks.run("umount", "-l", made.path)


@pytest.fixture
def small(tree):
    return (*SIZES, f"data.root={tree}")


@pytest.fixture(scope="module")
def undisturbed(made_once, cache, tree) -> Path:
    """The folder of a finished run that nothing happened to; not to be changed."""

    def do(folder: Path) -> None:
        run = ("train", *SIZES, f"data.root={tree}", "model=m3", "logger=csv", "hydra.run.dir=run")
        done = speaker_count(folder, cache, *run)
        assert done.returncode == 0, done.stderr

    return made_once("undisturbed", do) / "run"


def one_line(done, *says: str) -> None:
    """A command ended with exit code 2, and one line that says why."""
    assert done.returncode == 2, done.stdout + done.stderr
    (line,) = done.stderr.splitlines()
    for words in says:
        assert words in line
    assert "Traceback" not in done.stdout


def contents(folder: Path) -> dict[str, bytes]:
    found = {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    return {name: content for name, content in found.items() if name != FILLER and not name.endswith(".lock")}


def check_kept(folder: Path, before: Path) -> None:
    """What was there before is there, all of it; only a log may have grown."""
    now = contents(folder)
    for name, content in contents(before).items():
        assert now[name].startswith(content) if name.endswith(".log") else now[name] == content, name
    assert not [name for name in now if name.endswith(".partial")]


@pytest.mark.parametrize(
    "name",
    ["identity.json", "overrides.yaml", "last.ckpt", "metrics.csv", "best.ckpt", "predictions.parquet", "result.json"],
)
def test_a_run_whose_disk_is_full_says_so_and_ends_as_if_it_had_not_been(
    command, small, disk, undisturbed, tmp_path, tally, name
):
    run = ("train", *small, "model=m3", "logger=csv", f"hydra.run.dir={disk.path / 'run'}")
    full = command(*run, before=partial(disks.when_written, name, "fill", disk.path, tmp_path / "before"))
    one_line(full, FULL, name)
    check_kept(disk.path, tmp_path / "before")
    assert not (disk.path / "run" / "result.json").exists()
    disk.free()
    again = command(*run)
    assert again.returncode == 0, again.stderr
    for file in ("predictions.parquet", "metrics.csv"):
        assert (disk.path / "run" / file).read_bytes() == (undisturbed / file).read_bytes()
    tally(faults=1)


def test_an_overwritten_epoch_is_the_old_one_where_the_disk_is_full(command, small, disk, tmp_path, tally):
    """A resumed run writes its config, its metrics and its checkpoints again, over those that are there."""
    run = ("train", *small, "model=m3", "logger=csv", f"hydra.run.dir={disk.path / 'run'}")
    assert command(*run).returncode == 0
    (disk.path / "run" / "result.json").unlink()
    full = command(*run, before=partial(disks.when_written, "config.yaml", "fill", disk.path, tmp_path / "before"))
    one_line(full, FULL, "config.yaml")
    check_kept(disk.path, tmp_path / "before")
    disk.free()
    assert command(*run).returncode == 0
    tally(faults=1)


def test_a_log_that_cannot_be_written_ends_no_run(command, small, disk, tally):
    log = disk.path / "run" / "train.log"
    log.parent.mkdir()
    log.touch()
    disks.run("mount", "--bind", "/dev/full", log)
    done = command("train", *small, "model=m3", "logger=csv", f"hydra.run.dir={log.parent}")
    disks.run("umount", log)
    assert (done.returncode, done.stderr) == (0, "")
    assert "epoch 2 of 2" in done.stdout
    tally(faults=1)


@pytest.mark.parametrize("harm", ["when it begins", "before it has written its end"])
def test_a_run_is_not_finished_while_the_log_of_wandb_is_cut(command, small, disk, tmp_path, tally, harm):
    """W&B itself says nothing of it."""
    run = ("train", *small, "model=m3", f"logger.save_dir={disk.path}", "hydra.run.dir=run")
    if harm == "when it begins":
        disk.fill()
        full = command(*run)
    else:
        full = command(*run, before=partial(disks.before_wandb_finishes, disk.path))
    one_line(full, FULL, str(disk.path))
    assert not (tmp_path / "run" / "result.json").exists()
    disk.free()
    again = command(*run)
    assert again.returncode == 0, again.stderr
    assert (tmp_path / "run" / "result.json").is_file()
    assert list((disk.path / "wandb").glob("offline-run-*/run-*.wandb"))
    tally(faults=1)


def test_a_sweep_on_a_full_disk_names_the_runs_and_finishes_later(command, small, disk, tally):
    disk.change("size=160k")  # one run's files, and not another's
    options = ("logger=csv", "hydra.launcher.jobs=1", f"hydra.sweep.dir={disk.path / 'sweep'}")
    sweep = ("train", "--multirun", *small, "model=m3", "seed=1,2", *options)
    full = command(*sweep)
    assert full.returncode == 1, full.stderr
    assert "Traceback" not in full.stdout + full.stderr
    failed = [line for line in full.stderr.splitlines() if line.startswith("failed: ")]
    assert len(failed) == 2
    assert all(FULL in line for line in failed)
    disk.change("size=8m")
    again = command(*sweep)
    assert again.returncode == 0, again.stderr
    tally(faults=2)


@pytest.mark.parametrize("kilobytes", [8, 400, 1800, 2280])
def test_a_pool_is_whole_or_not_there(command, small, disk, cache, tally, kilobytes):
    disk.change(f"size={kilobytes}k")
    prepare = ("prepare", *small, f"data.cache={disk.path}")
    one_line(command(*prepare), "cannot write the pool", FULL, "data.cache=DIR")
    assert not contents(disk.path)
    disk.change("size=8m")
    again = command(*prepare)
    assert again.returncode == 0, again.stderr
    (made,) = (path.parent for path in disk.path.glob("pools/*/pool.json"))
    assert Pool(made).samples_sha256 in [Pool(path.parent).samples_sha256 for path in cache.glob("pools/*/pool.json")]
    tally(faults=1)


@pytest.mark.parametrize("kilobytes", [4, 400, 3640])
def test_clips_are_whole_or_not_there(verb, small, disk, tmp_path, tally, kilobytes):
    assert verb("clips", *small, "out=whole")[0] == 0
    disk.change(f"size={kilobytes}k")
    clips = ("clips", *small, f"out={disk.path / 'clips'}")
    code, _, err = verb(*clips)
    assert (code, err.count("\n")) == (2, 1), err
    assert f"cannot write the clips to {disk.path / 'clips'}: {FULL}" in err
    whole, written = contents(tmp_path / "whole"), contents(disk.path / "clips")
    assert all(content == whole[name] for name, content in written.items() if name != "clips.json")
    disk.change("size=8m")
    assert verb(*clips)[0] == 0
    written = contents(disk.path / "clips")
    assert written.keys() == whole.keys()
    assert all(content == whole[name] for name, content in written.items() if name != "clips.json")
    tally(faults=1)


@pytest.mark.parametrize("name", ["results.csv", "accuracy.png"])
def test_a_report_on_a_full_disk_keeps_the_old_one(command, undisturbed, disk, tmp_path, tally, name):
    nowhere = {"SPEAKER_COUNT_CACHE": str(tmp_path / "none")}  # without speech, it is made in a second
    sweep = disk.path / "sweep"
    shutil.copytree(undisturbed, sweep / "first")
    assert command("report", sweep, **nowhere).returncode == 0
    before = contents(sweep / "report")
    second = shutil.copytree(undisturbed, sweep / "second")
    result = json.loads((second / "result.json").read_text())
    (second / "result.json").write_text(json.dumps({**result, "seed": 1, "identity": "00000000"}))
    harm = partial(disks.when_written, name, "fill", disk.path, tmp_path / "before")
    full = command("report", sweep, before=harm, **nowhere)
    one_line(full, FULL, name)
    check_kept(disk.path, tmp_path / "before")
    (old,) = (content for path, content in before.items() if Path(path).name == name)
    assert next((sweep / "report").rglob(name)).read_bytes() == old
    disk.free()
    assert command("report", sweep, **nowhere).returncode == 0
    (row,) = csv.DictReader((sweep / "report" / "tables" / "results.csv").open())
    assert row["seeds"] == "2"
    tally(faults=1)


def test_an_evaluation_on_a_full_disk_leaves_the_run_as_it_was(command, undisturbed, disk, tmp_path, tally):
    run = shutil.copytree(undisturbed, disk.path / "run")
    disk.fill()
    evaluate = ("evaluate", run, "mix.clips.test=30")
    one_line(command(*evaluate), FULL)
    assert contents(run) == contents(undisturbed)
    disk.free()
    assert command(*evaluate).returncode == 0
    before = contents(run)
    disk.fill()
    one_line(command(*evaluate, "force=true"), FULL)
    assert sorted(contents(run).values()) == sorted(before.values())  # under whichever names
    disk.free()
    assert command(*evaluate, "force=true").returncode == 0
    tally(faults=2)


def test_a_read_only_disk_is_one_line(command, small, undisturbed, disk, tally):
    run = shutil.copytree(undisturbed, disk.path / "run")
    before = contents(disk.path)
    disk.change("ro")
    commands = {
        ("train", *small, "model=m3", f"hydra.run.dir={disk.path / 'new'}"): "hydra.run.dir=",
        ("train", *small, "model=m3", f"hydra.run.dir={run}"): "hydra.run.dir=",
        ("train", "--multirun", *small, "model=m3", f"hydra.sweep.dir={disk.path / 'new'}"): "hydra.sweep.dir=",
        ("prepare", *small, f"data.cache={disk.path}"): "data.cache=DIR",
        ("clips", *small, f"out={disk.path / 'clips'}"): "out=DIR",
        ("evaluate", run, "mix.clips.test=20"): str(run),
        ("report", disk.path): str(disk.path),
    }
    for words, says in commands.items():
        one_line(command(*words), "Read-only file system", says)
    assert contents(disk.path) == before
    disk.change("rw")
    for words in list(commands)[3:6]:
        assert command(*words).returncode == 0
    tally(faults=len(commands))


def test_a_run_whose_folder_is_deleted_ends_and_leaves_nothing(command, small, undisturbed, tmp_path, tally):
    run = ("train", *small, "model=m3", "logger=wandb", "hydra.run.dir=run")
    one_line(command(*run, before=partial(disks.when_stepping, 1, tmp_path / "run")), "was deleted meanwhile")
    assert not (tmp_path / "run").exists()
    again = command(*run)
    assert again.returncode == 0, again.stderr
    assert (tmp_path / "run" / "metrics.csv").read_bytes() == (undisturbed / "metrics.csv").read_bytes()
    tally(faults=1)


@pytest.mark.parametrize("name", ["identity.json", "predictions.parquet"])
def test_a_folder_that_is_deleted_at_any_moment_is_one_line(command, small, tmp_path, tally, name):
    run = ("train", *small, "model=m3", "logger=csv", "hydra.run.dir=run")
    harm = partial(disks.when_written, name, "delete", tmp_path / "run", tmp_path / "before")
    one_line(command(*run, before=harm), str(tmp_path / "run"), "was deleted meanwhile: give the command again")
    assert not (tmp_path / "run").exists()
    assert command(*run).returncode == 0
    tally(faults=1)


def test_clips_and_reports_whose_folder_is_deleted_are_one_line(command, small, undisturbed, tmp_path, tally):
    clips = ("clips", *small, "out=clips", "workers=1")
    harm = partial(disks.when_written, "Audio_Train9.wav", "delete", tmp_path / "clips", tmp_path / "before")
    one_line(command(*clips, before=harm), "clips was deleted meanwhile: give the command again")
    assert command(*clips).returncode == 0
    shutil.copytree(undisturbed, tmp_path / "run")
    report = ("report", "run")
    harm = partial(disks.when_written, "index.html", "delete", tmp_path / "run" / "report", tmp_path / "before-2")
    nowhere = {"SPEAKER_COUNT_CACHE": str(tmp_path / "none")}
    one_line(command(*report, before=harm, **nowhere), "report was deleted meanwhile: give the command again")
    assert command(*report, **nowhere).returncode == 0
    tally(faults=2)


def test_a_slow_disk_changes_no_result(command, small, undisturbed, tmp_path, tally):
    with disks.slow_disk(tmp_path, bytes_per_second=200_000) as (slow, group):  # a run writes four times 96 kB
        run = ("train", *small, "model=m3", "logger=csv", f"hydra.run.dir={slow / 'run'}")
        done = command(*run, before=partial(disks.join, group))
        assert (done.returncode, done.stderr) == (0, "")
        results = [json.loads((folder / "result.json").read_text()) for folder in (slow / "run", undisturbed)]
        assert results[0]["last"] == results[1]["last"]
        assert contents(slow / "run")["predictions.parquet"] == contents(undisturbed)["predictions.parquet"]
    tally(faults=1)
