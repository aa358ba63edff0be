"""What a run is, and whether its folder is its own."""

import contextlib
import json
import re
import threading
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace

import filelock
import pytest

from speaker_count import files
from speaker_count.errors import DivergedError, UserError
from speaker_count.results.record import diverged
from speaker_count.training import run_folder
from speaker_count.training.run_folder import RunFolder
from tests.conftest import REPOSITORY

MEASURED = REPOSITORY / "multirun" / "measured" / "paper-librispeech_sample-paper" / "m3-seed0"
WHAT = {"schema": run_folder.SCHEMA, "model": "m3", "seed": 1}


def claim(path, force=False, **changes):
    with RunFolder(path, {**WHAT, **changes}, force).claimed() as folder:
        return folder


def test_a_folder_that_another_process_makes_again_is_moved_aside_as_often_as_is_asked(tmp_path):
    """A run's folder is made before the run is claimed; several moves may share a second."""
    path = tmp_path / "run"
    ended = threading.Event()

    def make() -> None:
        while not ended.is_set():
            with contextlib.suppress(FileExistsError):
                path.mkdir()
            files.check_no_links(path)

    with ThreadPoolExecutor() as pool:
        other = pool.submit(make)
        try:
            for number in range(200):
                claim(path, force=True)
                (path / "result.json").write_text(str(number))
        finally:
            ended.set()
        other.result()
    kept = [(folder / "result.json").read_text() for folder in tmp_path.glob("run*/")]
    assert sorted(map(int, kept)) == [*range(200)]


def test_what_a_run_is():
    speech = SimpleNamespace(sha256="corpus's hash", samples_sha256="samples' hash")
    choices = {"data": "folder", "mix": "paper", "model": "m3", "trainer": "default"}
    config = {
        "seed": 3,
        "force": True,
        "threads": 2,
        "data": {"root": "/a", "cache": "/b", "batch_size": 8, "seed": 3},
        "model": {"net": {"width": 4}, "scheduler": None},
        "trainer": {"max_epochs": 2, "devices": 2, "accelerator": "gpu", "callbacks": [1]},
        "logger": {"mode": "online"},
        "hydra": {"run": {"dir": "x"}},
    }
    assert run_folder.identity(config, choices, speech) == {
        "schema": run_folder.SCHEMA,
        "data": "folder",
        "mix": "paper",
        "model": "m3",
        "corpus": "corpus's hash",
        "samples": "samples' hash",
        "seed": 3,
        "data.batch_size": 8,
        "model.net.width": 4,
        "trainer.max_epochs": 2,
        "trainer.callbacks": [1],
    }


def test_an_identity_in_eight_characters_does_not_depend_on_order():
    one, other = run_folder.short_hash({"a": 1, "b": 2}), run_folder.short_hash({"b": 2, "a": 1})
    assert one == other
    assert re.fullmatch("[0-9a-f]{8}", one)
    assert one != run_folder.short_hash({"a": 1, "b": 3})


def test_overrides_that_a_folder_s_name_shows_give_no_hash():
    shown = ["model=m3", "seed=1", "data=demo", "mix=paper", "experiment=paper", "data.root=/a", "hydra.run.dir=x"]
    assert run_folder.changes([*shown, "data.root=/a=b"]) == []
    assert run_folder.override_hash(shown) == ""
    changed = ["trainer.max_epochs=2", "+model.x=1", "~callbacks.lr_monitor", "optimizer@model.optimizer=sgd", "seed=1"]
    assert run_folder.changes(changed) == sorted(changed[:-1])
    assert re.fullmatch("-[0-9a-f]{8}", run_folder.override_hash(changed))
    assert run_folder.override_hash(changed) == run_folder.override_hash(changed[::-1])
    assert run_folder.override_hash(changed) != run_folder.override_hash(changed[1:])


@pytest.mark.parametrize(
    ("key", "outside"),
    [
        ("logger", True),
        ("logger.mode", True),
        ("hydra/launcher", True),
        ("loggers", False),
        ("data.root", True),
        ("data.roots", False),
        ("trainer.devices", True),
        ("trainer.precision", False),
    ],
)
def test_what_is_no_part_of_what_a_run_is(key, outside):
    assert run_folder.is_outside(key) is outside


def test_a_folder_belongs_to_one_run(tmp_path):
    path = tmp_path / "sweep" / "run"
    assert claim(path).result is None
    assert json.loads((path / "identity.json").read_text()) == WHAT
    assert claim(path).result is None  # the same run resumes
    with pytest.raises(UserError, match=r"holds another run: seed=1 there, 2 now; name another folder"):
        claim(path, seed=2)
    with pytest.raises(UserError, match=r"extra=None there, 5 now, seed=1 there, 2 now"):
        claim(path, seed=2, extra=5)
    for identity, version in (({"model": "m3"}, "version 0.1.0"), ({**WHAT, "schema": 1}, "another version")):
        (path / "identity.json").write_text(json.dumps(identity))
        with pytest.raises(UserError, match=f"was written by {version}"):
            claim(path)


@pytest.mark.parametrize("text", ["", "{", "[1]", "7", "null"])
def test_a_damaged_identity_is_refused(tmp_path, text):
    (tmp_path / "identity.json").write_text(text)
    with pytest.raises(UserError, match="is damaged, so that it is unclear which run this is"):
        claim(tmp_path)
    assert run_folder.read_identity(tmp_path) == {}
    assert run_folder.read_identity(tmp_path / "nowhere") == {}


def test_a_folder_of_something_else_is_refused_and_kept(tmp_path):
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "thesis.txt").write_text("mine")
    with pytest.raises(UserError, match=r"holds something other than a run \(thesis.txt\)"):
        claim(tmp_path / "run")
    assert [path.name for path in (tmp_path / "run").iterdir()] == ["thesis.txt"]


def test_what_a_killed_start_left_does_not_matter(tmp_path):
    (tmp_path / "train.log").write_text("loading")
    (tmp_path / "identity.json.partial").write_text("{")
    claim(tmp_path)
    assert json.loads((tmp_path / "identity.json").read_text()) == WHAT


def test_force_moves_the_old_folder_aside(tmp_path):
    path = tmp_path / "run"
    claim(path)
    (path / "result.json").write_text("{}")
    assert claim(path, force=True, seed=2).result is None
    assert [entry.name for entry in path.iterdir()] == ["identity.json"]
    (aside,) = (entry for entry in tmp_path.iterdir() if entry.name.startswith("run."))
    assert re.fullmatch(r"run\.\d{4}-\d\d-\d\d_\d\d-\d\d-\d\d", aside.name)
    assert sorted(entry.name for entry in aside.iterdir()) == ["identity.json", "result.json"]


def test_force_moves_no_new_folder_aside(tmp_path):
    claim(tmp_path / "run", force=True)
    assert {entry.name for entry in tmp_path.iterdir()} == {"run", ".run.lock"}


def test_a_finished_run_gives_its_result(tmp_path):
    claim(tmp_path)
    (tmp_path / "result.json").write_bytes((MEASURED / "result.json").read_bytes())
    assert claim(tmp_path).result.model == "m3"


def test_two_processes_do_not_share_a_folder(tmp_path):
    path = tmp_path / "run"
    with (
        filelock.FileLock(tmp_path / ".run.lock", is_singleton=False),
        pytest.raises(UserError, match=f"another process is running {path}"),
    ):
        claim(path)
    claim(path)  # the lock is free again
    with filelock.FileLock(tmp_path / ".run.lock", timeout=0):
        pass


def test_how_many_epochs_were_done(tmp_path):
    assert run_folder.epochs_done(tmp_path) == 0
    (tmp_path / "metrics.csv").write_text("epoch,loss\n1,3\n2,2\n")
    assert run_folder.epochs_done(tmp_path) == 0  # there is nothing to resume from
    (tmp_path / "checkpoints").mkdir()
    (tmp_path / "checkpoints" / "last.ckpt").touch()
    assert run_folder.last_checkpoint(tmp_path) == tmp_path / "checkpoints" / "last.ckpt"
    assert run_folder.epochs_done(tmp_path) == 2
    (tmp_path / "metrics.csv").write_text("")
    assert run_folder.epochs_done(tmp_path) == 0


def test_a_diverged_run_leaves_a_note_until_it_is_run_again(tmp_path):
    run = tmp_path / "m5-seed0"
    run.mkdir()
    with pytest.raises(DivergedError), run_folder.marked_if_diverged(run):
        raise DivergedError("the loss is nan in epoch 2")
    assert diverged(tmp_path) == {"m5-seed0": "the loss is nan in epoch 2"}
    with pytest.raises(UserError), run_folder.marked_if_diverged(run):
        raise UserError("something else")
    assert diverged(tmp_path) == {}


@pytest.mark.parametrize(
    ("root", "name"),
    [
        (None, ""),
        ("/speech/My corpus", "-My_corpus"),
        ("/speech/VCTK/manifest.csv", "-VCTK"),
        ("/speech/vctk.parquet", "-vctk"),
        ("/speech/a.b", "-a.b"),
        ("/speech/日本", "-corpus"),
        ("/speech/" + "x" * 500, "-" + "x" * run_folder.MOST_LETTERS),
    ],
)
def test_the_name_of_a_corpus_of_one_s_own(root, name):
    assert run_folder.own_name(root) == name
