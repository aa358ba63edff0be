"""A checkpoint from anywhere is data: it calls nothing, fetches nothing, and is that of the run or refused."""

import contextlib
import http.server
import os
import shutil
import signal
import threading
from functools import partial
from pathlib import Path

import pytest
import torch

import speaker_count
from speaker_count.errors import UserError
from speaker_count.training.checkpoints import AtomicCheckpointIO
from tests import conftest
from tests.conftest import SMALL, die
from tests.faults.hostile_checkpoints import ABSURD, BOMBS, PICKLES, Payload, changed, load

STEPS = "data.batch_size=16"  # six an epoch


@pytest.fixture
def canary(tmp_path):
    return tmp_path / "canary"


@pytest.fixture
def finished(finished_sweep, tmp_path):
    """A copy of a finished run of m5."""
    return shutil.copytree(next(finished_sweep.glob("m5-*")), tmp_path / "finished")


@pytest.fixture(scope="session")
def cut_off(made_once, cache, tree):
    """A run of m3 that ended within its second epoch; not to be changed."""

    def fill(folder):
        train = ("train", *SMALL, STEPS, f"data.root={tree}", "logger=csv", "model=m3", "hydra.run.dir=run")
        conftest.speaker_count(folder, cache, *train, before=partial(die, 8, signal.SIGTERM))

    return made_once("cut_off", fill) / "run"


@pytest.fixture
def unfinished(cut_off, tmp_path):
    return shutil.copytree(cut_off, tmp_path / "unfinished")


@pytest.fixture
def resume(verb, tree, unfinished):
    run = ("train", *SMALL, STEPS, f"data.root={tree}", "logger=csv", "model=m3", f"hydra.run.dir={unfinished}")
    return partial(verb, *run)


def assert_refused(outcome, path):
    code, _, errors = outcome
    assert code == 2, errors
    assert len(errors.splitlines()) == 1
    assert errors.strip().isprintable()
    assert str(path) in errors
    assert "copy" in errors or "is that of another net" in errors  # what to do


@pytest.mark.parametrize("form", PICKLES)
def test_a_pickle_that_calls_code_is_refused(verb, finished, unfinished, resume, canary, form, tally):
    for run in (finished, unfinished):
        for name in ("last.ckpt", "best.ckpt"):
            PICKLES[form](run / "checkpoints" / name, Payload(canary))
    with contextlib.suppress(RuntimeError):  # there is nothing else in a bare pickle
        torch.load(finished / "checkpoints" / "last.ckpt", weights_only=False)
    assert canary.exists()  # it does call code
    canary.unlink()
    assert_refused(verb("evaluate", finished), finished / "checkpoints" / "last.ckpt")
    for name in ("last", "best"):
        with pytest.raises(UserError, match="something other than plain values and tensors|no checkpoint"):
            speaker_count.load_run(finished, checkpoint=name)
    assert_refused(resume(), unfinished / "checkpoints" / "last.ckpt")
    assert not canary.exists()
    tally(inputs=4)


@pytest.mark.parametrize("form", ABSURD)
def test_a_damaged_or_absurd_file_is_refused(finished, unfinished, resume, form, tally):
    for path in (finished / "checkpoints" / "best.ckpt", unfinished / "checkpoints" / "last.ckpt"):
        ABSURD[form](path)
    with pytest.raises(UserError, match="best.ckpt"):
        speaker_count.load_run(finished, checkpoint="best")
    last = unfinished / "checkpoints" / "last.ckpt"
    if last.is_file():  # else the run starts again
        assert_refused(resume(), last)
        assert not (unfinished / "result.json").exists()
    tally(inputs=2)


@pytest.mark.parametrize("form", BOMBS)
def test_a_bomb_is_refused_before_it_is_unpacked(finished, form, tally):
    BOMBS[form](finished / "checkpoints" / "last.ckpt")
    with pytest.raises(UserError, match="it unpacks to more than the file holds"):
        speaker_count.load_run(finished)
    tally(inputs=1)


def test_a_pipe_is_not_waited_for(finished, tally):
    path = finished / "checkpoints" / "last.ckpt"
    path.unlink()
    os.mkfifo(path)
    with pytest.raises(UserError, match="it is no regular file"):
        speaker_count.load_run(finished)
    tally(inputs=1)


def test_classes_that_a_checkpoint_names_are_not_built(verb, finished, unfinished, resume, tmp_path, canary, tally):
    (tmp_path / "payload.py").write_text(f"open({str(canary)!r}, 'w')\n")
    names = {"_class_path": "payload.Net", "_instantiator": "payload.build", "_target_": "payload.run"}
    for path in (finished / "checkpoints" / "last.ckpt", unfinished / "checkpoints" / "last.ckpt"):
        kinds = {"hparams_name": "payload", "hparams_type": "payload.Type", "hyper_parameters": names}
        changed(path, {**kinds, "datamodule_hyper_parameters": names, "ClipDataModule": names})
    assert verb("evaluate", finished)[0] == 0
    assert resume()[0] == 0
    assert not canary.exists()
    tally(inputs=2)


@pytest.fixture
def server():
    """An HTTP server on loopback, and the requests that it got."""
    requests = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            requests.append(self.path)
            self.send_error(404)

        do_HEAD = do_GET  # noqa: N815

        def log_message(self, *arguments):
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as listening:
        threading.Thread(target=listening.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{listening.server_port}", requests
        listening.shutdown()


def test_an_address_is_a_path_and_nothing_is_fetched(verb, finished, resume, server, tmp_path, tally):
    address, requests = server
    for place in (address, "s3://bucket", "memory://a", "simplecache::http://127.0.0.1:9"):
        for command in ("evaluate", "report"):
            code, _, errors = verb(command, f"{place}/run")
            assert (code, len(errors.splitlines())) == (2, 1)
        with pytest.raises(UserError, match="holds no finished run"):
            speaker_count.load_run(f"{place}/run")
        with pytest.raises(UserError, match="cannot read the checkpoint"):
            AtomicCheckpointIO().load_checkpoint(f"{place}/run/last.ckpt")
    for override in (f"data.root={address}/speech", "data.root=s3://bucket/speech"):
        code, _, errors = verb("evaluate", finished, override)
        assert (code, len(errors.splitlines())) == (2, 1)
    local = Path(f"{address}/run")  # folders of that name in the working directory
    shutil.copytree(finished, local)
    assert local.resolve().is_relative_to(tmp_path)
    assert speaker_count.load_run(f"{address}/run").counts == [1, 2, 3]
    (local / "predictions.parquet").unlink()
    assert verb("report", f"{address}/run")[0] == 0
    assert not requests
    tally(inputs=14)


def test_a_link_is_followed_but_what_it_leads_to_is_not_written(unfinished, resume, tmp_path, tally):
    """Checkpoints may lie on another disk; a link in a received folder may lead anywhere."""
    path, elsewhere = unfinished / "checkpoints" / "last.ckpt", tmp_path / "elsewhere.ckpt"
    shutil.move(path, elsewhere)
    path.symlink_to(elsewhere)
    before = elsewhere.read_bytes()
    code, _, errors = resume()
    assert code == 0, errors
    assert elsewhere.read_bytes() == before
    assert not path.is_symlink()
    tally(inputs=1)


STATES = {
    "callbacks": "words",
    "callbacks/EpochTable/rows": [],
    "callbacks/EpochTable/rows/0": {"epoch": [1]},
    "callbacks/EpochTable/seconds": {"fit": 1.0, "train": float("nan")},
    "callbacks/Checkpoints": 7,
    "callbacks/Checkpoints/best": "high",
    "loops": None,
    "loops/fit_loop/epoch_progress": 3,
    "loops/fit_loop/epoch_progress/current/processed": 99,
    "loops/fit_loop/epoch_loop.batch_progress/current/completed": 10**9,
    "loops/fit_loop/state_dict/combined_loader": [{"epoch": 1, "batch": 10**9}],
    "optimizer_states": [],
    "optimizer_states/0/param_groups/0/lr": "fast",
    "optimizer_states/0/state/0/exp_avg": torch.zeros(2),
    "ranks": [],
    "ranks/0/random_state": torch.zeros(3),
    "pytorch-lightning_version": "new",
}


def place(tree, path):
    """The node above a place in a tree, and the place's key in it."""
    *parents, last = (int(key) if key.isdigit() else key for key in path.split("/"))
    for key in parents:
        tree = tree[key]
    return tree, last


@pytest.mark.parametrize("path", STATES)
def test_a_state_that_is_not_the_run_s_is_refused(unfinished, resume, path, tally):
    checkpoint = load(unfinished / "checkpoints" / "last.ckpt")
    node, key = place(checkpoint, path)
    node[key] = STATES[path]
    torch.save(checkpoint, unfinished / "checkpoints" / "last.ckpt")
    code, _, errors = resume()
    assert (code, len(errors.splitlines())) == (2, 1), errors
    assert "put another copy of it there; without the file, the run starts again" in errors
    assert not (unfinished / "result.json").exists()
    tally(inputs=1)
