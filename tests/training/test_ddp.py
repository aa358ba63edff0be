"""One run on several devices, here two processes on a CPU: the same clips and scores, each file written once."""

import json
import os
import shutil
import signal
from functools import partial

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch

from tests.conftest import SMALL, die

DOOMED = """
import os, signal
from speaker_count.models.waveform import WaveformCNN

class Doomed(WaveformCNN):
    def forward(self, waveform):
        if os.environ.get("LOCAL_RANK") == "1":
            os.kill(os.getpid(), signal.SIGKILL)
        return super().forward(waveform)
"""
PLAIN = """
from torch import nn

class Plain(nn.Module):
    def __init__(self, classes, **sizes):
        super().__init__()
        self.convolution = nn.Conv1d(1, 8, 64, 32)
        self.classifier = nn.Linear(8, classes)

    def forward(self, waveform):
        return self.classifier(self.convolution(waveform).relu().mean(2))
"""
TWO = ("trainer=ddp", "trainer.devices=2", "logger=csv")


def result(folder):
    return json.loads((folder / "result.json").read_text())


def test_two_processes_train_and_are_tested_on_the_clips_of_one(command, tree, tmp_path):
    run = ("train", "model=spec_1", *SMALL, f"data.root={tree}", "mix.clips.test=33")
    for name, how in (("one", ("logger=csv",)), ("two", TWO)):
        done = command(*run, *how, f"hydra.run.dir={name}")
        assert done.returncode == 0, done.stderr
        assert len([line for line in done.stdout.splitlines() if line.startswith("epoch ")]) == 2
    one, two = (result(tmp_path / name) for name in ("one", "two"))
    for name in ("validation_sha256", "test_sha256", "identity"):
        assert one[name] == two[name]
    # spec_1 has seen few clips; what batch norm sees is another half for each process
    for split in ("train", "validation", "test"):
        assert one["last"][split]["loss"] == pytest.approx(two["last"][split]["loss"], abs=0.05)
    first, second = (pq.read_table(tmp_path / name / "predictions.parquet") for name in ("one", "two"))
    for column in ("index", "count", "speakers", "utterances", "starts", "sexes"):
        assert first[column] == second[column]
    assert sum(map(sum, two["last"]["test"]["confusion"])) == 33


def test_without_batch_norm_they_train_the_weights_of_one(command, tree, tmp_path):
    (tmp_path / "model").mkdir()
    (tmp_path / "plain_net.py").write_text(PLAIN)
    (tmp_path / "model" / "plain.yaml").write_text("defaults: [m3]\nnet:\n  _target_: plain_net.Plain\n")
    run = ("train", "--config-dir", tmp_path, "model=plain", *SMALL, f"data.root={tree}", "model.learning_rate=0.01")
    weights = []
    for name, how in (("one", ("logger=csv",)), ("two", TWO)):
        done = command(*run, *how, f"hydra.run.dir={name}")
        assert done.returncode == 0, done.stderr
        weights.append(torch.load(tmp_path / name / "checkpoints" / "last.ckpt")["state_dict"])
    for name in ("net.convolution.weight", "net.classifier.weight"):
        assert torch.allclose(weights[0][name], weights[1][name], atol=1e-5), name
    assert (result(tmp_path / "one")["processes"], result(tmp_path / "two")["processes"]) == (1, 2)


def test_two_processes_evaluate_as_one_does(command, finished_sweep, tmp_path):
    (run,) = finished_sweep.glob("m3-*")
    shutil.copytree(run, tmp_path / "run")
    tables, metrics = [], []
    for how in ((), ("trainer=ddp", "trainer.devices=2")):
        done = command("evaluate", "run", "mix.clips.test=65", "force=true", *how)
        assert done.returncode == 0, done.stderr
        newest = max((tmp_path / "run" / "evaluations").glob("*.json"), key=os.path.getmtime)
        metrics.append(json.loads(newest.read_text()))
        tables.append(pq.read_table(newest.with_suffix(".parquet")))
    one, two = metrics
    assert one["test_sha256"] == two["test_sha256"]
    assert one["test"]["confusion"] == two["test"]["confusion"]
    for name in ("loss", "accuracy", "mae"):
        assert one["test"][name] == pytest.approx(two["test"][name], abs=1e-6)
    for column in tables[0].column_names:
        if column.startswith("p_"):
            assert np.abs(tables[0][column].to_numpy() - tables[1][column].to_numpy()).max() < 1e-6
        else:
            assert tables[0][column] == tables[1][column]


@pytest.mark.parametrize("launcher", ["processes", "basic"])
def test_a_sweep_of_such_runs_writes_each_folder_once(command, tree, tmp_path, launcher):
    done = command(
        "train", "--multirun", *SMALL, f"data.root={tree}", "model=m3", "seed=0,1", *TWO, f"hydra/launcher={launcher}"
    )
    assert done.returncode == 0, done.stderr
    folders = [path for path in (tmp_path / "multirun" / "default-folder-tree-paper").iterdir() if path.is_dir()]
    assert len(folders) == 2
    for folder in folders:
        assert (folder / "train.log").read_text().count("epoch 2 of 2: ") == 1
        assert len((folder / "metrics.csv").read_text().splitlines()) == 3
        assert result(folder)["epochs"] == 2


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="needs a signal that cannot be caught")
def test_a_killed_run_ends_with_the_weights_of_an_undisturbed_one(command, tree, tmp_path):
    run = ("train", "model=spec_2", *SMALL, f"data.root={tree}", *TWO)  # it has dropout
    whole = command(*run, "hydra.run.dir=whole")
    assert whole.returncode == 0, whole.stderr
    killed = command(*run, "hydra.run.dir=cut", before=partial(die, 5, signal.SIGKILL))  # in the second epoch
    assert killed.returncode == -signal.SIGKILL
    again = command(*run, "hydra.run.dir=cut")
    assert again.returncode == 0, again.stderr
    assert "resuming from " in again.stdout
    for name in ("metrics.csv", "predictions.parquet"):
        assert (tmp_path / "whole" / name).read_bytes() == (tmp_path / "cut" / name).read_bytes()


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="needs a signal that cannot be caught")
def test_a_process_that_the_system_kills_is_named(command, tree, tmp_path):
    (tmp_path / "model").mkdir()
    (tmp_path / "doomed_net.py").write_text(DOOMED)
    (tmp_path / "model" / "doomed.yaml").write_text("defaults: [m3]\nnet:\n  _target_: doomed_net.Doomed\n")
    run = ("train", "--config-dir", tmp_path, "model=doomed", *SMALL, f"data.root={tree}", *TWO, "hydra.run.dir=run")
    done = command(*run)
    assert done.returncode == 1
    log = (tmp_path / "run" / "train.log").read_text()
    assert "RuntimeError: rank 1 of 2: killed (SIGKILL, perhaps because memory ran out)" in log


DIVIDED = "cannot be divided among 2 ranks: choose a multiple of 2"


@pytest.mark.parametrize(
    ("mistake", "line"),
    [
        ("data.batch_size=33", f"data.batch_size=33 {DIVIDED}"),
        ("mix.clips.train=97", f"mix.clips.train=97: the last batch {DIVIDED}"),
        ("trainer.strategy=auto", "trainer.devices=2: several devices need trainer=ddp"),
        ("trainer.devices=0", "trainer.devices=0: expected a whole number, at least 1"),
    ],
)
def test_what_cannot_be_divided_is_one_line(verb, tree, mistake, line):
    code, _, errors = verb("train", "model=m3", *SMALL, f"data.root={tree}", *TWO, mistake)
    assert (code, errors) == (2, f"{line}\n")


@pytest.mark.skipif(torch.accelerator.is_available(), reason="this machine has a GPU")
def test_a_gpu_that_is_not_there_is_one_line(verb, tree, finished_sweep):
    mistake = (*TWO, "trainer.sync_batchnorm=true")
    code, _, errors = verb("train", "model=m3", *SMALL, f"data.root={tree}", *mistake)
    assert (code, errors) == (2, "trainer.sync_batchnorm=true: torch synchronises batch norm on GPUs only\n")
    line = "trainer.accelerator=gpu, trainer.devices=1: torch finds none here; "
    code, _, errors = verb("train", "model=m3", *SMALL, f"data.root={tree}", "trainer=gpu", "logger=csv")
    assert (code, errors[: len(line)]) == (2, line)
    code, _, errors = verb("evaluate", next(finished_sweep.glob("m3-*")), "trainer=gpu")
    assert (code, errors[: len(line)]) == (2, line)
