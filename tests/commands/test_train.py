"""`speaker-count train` as a user gives it: alone and as a sweep, killed and resumed, refused and forced."""

import csv
import json
import os
import re
import shutil
import signal
from functools import partial
from pathlib import Path

import pyarrow.parquet as pq
import pytest
import torch

from speaker_count.training.run_folder import override_hash
from tests.conftest import SMALL, die

FOLDER = "multirun/single-folder-tree-paper"


@pytest.fixture
def small(tree):
    return (*SMALL, f"data.root={tree}", "logger=csv")


def only(folder: Path) -> Path:
    """The one run in a folder."""
    (run,) = (path for path in folder.iterdir() if path.is_dir())
    return run


def test_a_run_leaves_what_the_contract_says(command, small, tmp_path):
    done = command("train", *small, "model=m3", "seed=4")
    assert done.returncode == 0, done.stderr
    run = only(tmp_path / FOLDER)
    assert run.name.startswith("m3-seed4-")
    result = json.loads((run / "result.json").read_text())
    assert (result["schema"], result["model"], result["paper_name"], result["kind"]) == (1, "m3", "M3", "waveform")
    assert (result["parameters"], result["seed"], result["epochs"], result["last"]["epoch"]) == (5923, 4, 2, 2)
    assert result["data"]["speakers"] == {"train": 12, "validation": 6, "test": 6}
    assert result["mix"]["counts"] == [1, 2, 3]
    assert sum(map(sum, result["last"]["test"]["confusion"])) == 48

    rows = list(csv.DictReader((run / "metrics.csv").open()))
    assert [row["epoch"] for row in rows] == ["1", "2"]
    assert float(rows[1]["val/accuracy"]) == result["last"]["validation"]["accuracy"]
    assert float(rows[1]["train/loss"]) == result["last"]["train"]["loss"]
    best = max(float(row["val/accuracy"]) for row in rows)
    assert result["best"]["validation"]["accuracy"] == best

    table = pq.read_table(run / "predictions.parquet")
    assert table.column_names == [
        *("index", "count", "predicted", "p_1", "p_2", "p_3", "speakers", "utterances", "starts", "sexes")
    ]
    predictions = table.to_pylist()
    right = [row["count"] == row["predicted"] for row in predictions]
    assert sum(right) / 48 == pytest.approx(result["last"]["test"]["accuracy"])
    for row in predictions:
        assert len(row["speakers"]) == len(row["starts"]) == len(row["sexes"]) == row["count"]
        assert [utterance.split("-")[0] for utterance in row["utterances"]] == row["speakers"]
    assert {path.name for path in (run / "checkpoints").iterdir()} == {"best.ckpt", "last.ckpt"}
    assert "model=m3" in (run / ".hydra" / "overrides.yaml").read_text()
    assert "epoch 2 of 2" in (run / "train.log").read_text()


def test_finished_is_skipped_changed_is_refused_forced_is_moved_aside(command, small, tree, tmp_path):
    assert command("train", *small).returncode == 0
    run = only(tmp_path / FOLDER)
    written = (run / "result.json").stat().st_mtime_ns
    moved = shutil.copytree(tree, tmp_path / "elsewhere" / "tree")  # the same corpus in another place is the same run
    again = command("train", *SMALL, f"data.root={moved}", "logger=csv")
    assert again.returncode == 0
    assert "finished already" in again.stdout
    assert (run / "result.json").stat().st_mtime_ns == written
    shutil.rmtree(moved / "LibriSpeech" / "speech" / "100")
    refused = command("train", *SMALL, f"data.root={moved}", "logger=csv")
    assert refused.returncode == 2
    assert "holds another run: corpus=" in refused.stderr + refused.stdout
    assert "Traceback" not in refused.stderr + refused.stdout
    assert (run / "result.json").stat().st_mtime_ns == written

    assert command("train", *SMALL, f"data.root={moved}", "logger=csv", "force=true").returncode == 0
    folders = sorted(path for path in (tmp_path / FOLDER).iterdir() if path.is_dir())
    assert [path == run for path in folders] == [True, False]
    assert (folders[1] / "result.json").stat().st_mtime_ns == written
    assert (run / "result.json").stat().st_mtime_ns != written
    assert "epoch 2 of 2" in (run / "train.log").read_text()


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="needs a signal that cannot be caught")
def test_a_killed_run_ends_with_the_weights_of_an_undisturbed_one(command, small, tmp_path):
    """spec_2 has dropout, which draws random numbers in each step; a checkpoint is kept after each."""
    sizes = ("data.batch_size=16", "mix.clips.train=40", "mix.clips.validation=8", "mix.clips.test=8")
    often = ("train", *small, *sizes, "model=spec_2", "trainer.max_epochs=3", "checkpoint_minutes=0")
    undisturbed = tmp_path / "undisturbed"
    assert command(*often, f"hydra.run.dir={undisturbed}").returncode == 0

    for last in (5, 7):  # in the midst of the second epoch of three steps, and right after its end
        disturbed = tmp_path / f"killed-{last}"
        arguments = (*often, f"hydra.run.dir={disturbed}")
        assert command(*arguments, before=partial(die, last, signal.SIGKILL)).returncode == -signal.SIGKILL
        assert not (disturbed / "result.json").exists()
        assert "resuming from" in command(*arguments).stdout

        weights = [torch.load(run / "checkpoints" / "last.ckpt") for run in (undisturbed, disturbed)]
        assert weights[0]["global_step"] == weights[1]["global_step"] == 9
        for name, weight in weights[0]["state_dict"].items():
            assert torch.equal(weight, weights[1]["state_dict"][name]), name
        for name in ("metrics.csv", "predictions.parquet"):
            assert (undisturbed / name).read_bytes() == (disturbed / name).read_bytes(), name


@pytest.mark.skipif(os.name != "posix", reason="needs signals")
@pytest.mark.parametrize(("name", "code"), [("SIGTERM", 128 + signal.SIGTERM), ("SIGINT", 1)])
def test_a_signal_ends_a_run_only_after_it_saved_its_step(command, small, tmp_path, name, code):
    arguments = ("train", *small, "data.batch_size=16", "model=m3", "hydra.run.dir=run")
    ended = command(*arguments, before=partial(die, 8, signal.Signals[name]))  # of epochs of six steps
    assert ended.returncode == code
    assert torch.load(tmp_path / "run" / "checkpoints" / "last.ckpt")["global_step"] == 8


MINE = """
from torch import nn

class Mine(nn.Module):
    def __init__(self, classes, width):
        super().__init__()
        self.convolution = nn.Conv1d(1, width, 64, 32)
        self.classifier = nn.Linear(width, classes)

    def forward(self, waveform):
        return self.classifier(self.convolution(waveform).relu().mean(2))

class Broken(Mine):
    def forward(self, waveform):
        raise ValueError("this net is broken")
"""


@pytest.fixture
def own_configs(tmp_path):
    """A user's own nets, good and bad, in a folder of their own."""
    folder = tmp_path / "mine" / "model"
    folder.mkdir(parents=True)
    (folder.parent / "my_nets.py").write_text(MINE)
    for name, class_name in (("mine", "Mine"), ("broken", "Broken")):
        (folder / f"{name}.yaml").write_text(
            "_target_: speaker_count.WaveformCounter\ncounts: ${mix.counts}\nlearning_rate: 0.01\n"
            f"net:\n  _target_: my_nets.{class_name}\n  _partial_: true\n  width: 8\n"
        )
    return folder.parent


def test_a_failed_run_of_a_sweep_of_own_nets_is_named_and_the_others_finish(
    command, verb, small, own_configs, tmp_path
):
    sweep = ("train", "--multirun", "--config-dir", own_configs, *small, "model=mine,broken,m3", "seed=0,1")
    done = command(*sweep)
    assert done.returncode == 1
    folder = tmp_path / "multirun" / "default-folder-tree-paper"
    runs = {path.name.rsplit("-", 1)[0]: path for path in folder.iterdir() if path.is_dir() and path.name[0] != "."}
    assert set(runs) == {f"{net}-seed{seed}" for net in ("mine", "broken", "m3") for seed in (0, 1)}
    finished = {name for name, path in runs.items() if (path / "result.json").is_file()}
    assert finished == {"mine-seed0", "mine-seed1", "m3-seed0", "m3-seed1"}
    assert "failed: broken-seed0" in done.stderr
    assert "ValueError: this net is broken" in done.stderr
    assert "failed: broken-seed1" in done.stderr
    assert "2 of 6 runs failed" in done.stderr
    began = re.findall(r"^run (\d) of 6: (\w+-seed\d)", done.stdout, re.MULTILINE)
    assert [number for number, _ in began] == list("123456")
    assert {name for _, name in began} == set(runs)  # those that begin together do so in any order
    assert "; best so far: mine-seed" in done.stdout
    assert " left" not in done.stdout  # there are too few clips to say how long they take
    assert 'raise ValueError("this net is broken")' in (runs["broken-seed0"] / "train.log").read_text()
    results = [json.loads((runs[f"mine-seed{seed}"] / "result.json").read_text()) for seed in (0, 1)]
    assert results[0]["test_sha256"] == results[1]["test_sha256"]  # seeds are compared on the same clips
    assert results[0]["last"]["train"]["loss"] != results[1]["last"]["train"]["loss"]
    assert results[0]["paper_name"] is None

    again = command(*sweep)
    assert again.returncode == 1
    assert again.stdout.count("is finished already") == 4

    code, _, err = verb("evaluate", runs["mine-seed0"], "mix.clips.test=30", "--config-dir", own_configs)
    assert code == 0, err


def test_a_user_s_mistake_is_one_line_and_exit_code_2(command, tmp_path):
    done = command("train", "data=folder", f"data.root={tmp_path / 'nowhere'}", "logger=csv")
    assert done.returncode == 2
    lines = (done.stdout + done.stderr).strip().splitlines()
    assert len(lines) == 1
    assert "does not exist" in lines[0]
    assert "data=demo" in lines[0]


def test_within_a_sweep_a_mistake_is_that_run_s_failure(command, small):
    done = command("train", "--multirun", *small, "model=m3", "mix.counts=[1,2],[1,99]")
    assert done.returncode == 1
    assert "asks for 99 at a time" in done.stderr
    assert "1 of 2 runs failed" in done.stderr
    assert "| m3 " in done.stdout


def test_hydra_reports_a_misspelt_key(command, verb):
    done = command("train", "trainer.max_epoch=3")
    assert done.returncode == 1
    assert "Could not override 'trainer.max_epoch'" in done.stderr
    code, _, err = verb("prepare", "dta=demo")
    assert code == 1
    assert "dta" in err
    assert "Traceback" not in err


def test_a_checkpoint_of_another_net_is_refused(command, small, tmp_path):
    folders = ("hydra.sweep.dir=.", "hydra.sweep.subdir=${hydra.runtime.choices.model}")
    done = command("train", "--multirun", *small, "model=m5,m3", *folders)
    assert done.returncode == 0, done.stderr
    shutil.copy(tmp_path / "m5" / "checkpoints" / "last.ckpt", tmp_path / "m3" / "checkpoints")
    (tmp_path / "m3" / "result.json").unlink()
    done = command("train", *small, "model=m3", "hydra.run.dir=m3")
    assert done.returncode == 2
    assert "is that of another net" in done.stdout + done.stderr


def test_a_folder_of_the_user_s_own_is_left_alone(command, small, tmp_path):
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis" / "metrics.csv").write_text("the only copy")
    done = command("train", *small, "hydra.run.dir=thesis")
    assert done.returncode == 2
    assert "holds something other than a run" in done.stderr
    assert (tmp_path / "thesis" / "metrics.csv").read_text() == "the only copy"


@pytest.mark.parametrize(
    "override",
    ["mix.counts=[1.5,2]", "mix.seed=abc", "mix.clips.test=1.5", "data.batch_size=x", "mix.clip_seconds=abc"],
)
def test_a_value_of_the_wrong_kind_is_one_line(verb, tree, override):
    code, _, err = verb("prepare", "data=folder", f"data.root={tree}", override)
    assert code == 2
    assert err.startswith(override.split("=")[0])
    assert len(err.strip().splitlines()) == 1


def test_a_run_refuses_to_return_a_metric_that_it_will_not_have(verb, small, tmp_path):
    run = ("train", *small, "model=m3", "logger=csv", "evaluate_train=false", "hydra.run.dir=run")
    code, _, err = verb(*run, "optimized_metric=train/loss")
    assert code == 2
    assert err.startswith("optimized_metric=train/loss: a run has val/accuracy, val/loss, val/mae, val/accuracy_1, ")
    assert not (tmp_path / "run" / "identity.json").exists()


def test_the_folder_s_hash_knows_what_makes_another_run():
    assert override_hash(["optimized_metric=val/loss", "~logger"]) == ""
    assert override_hash(["model=m5", "seed=3", "data=demo", "experiment=paper", "mix=paper"]) == ""
    assert override_hash(["data.root=/x", "data.cache=/y", "logger.mode=online", "logger=csv", "force=true"]) == ""
    assert override_hash(["trainer.devices=2", "hydra.run.dir=x", "hydra/launcher=joblib", "hydra.mode=RUN"]) == ""
    a, b = "model.learning_rate=0.1", "trainer.max_epochs=3"
    assert override_hash([a, b]) == override_hash([b, "seed=1", a])
    assert len({override_hash([]), override_hash([a]), override_hash([b]), override_hash([a, b])}) == 4
    assert len(override_hash(["+trainer.limit_train_batches=2", *["mix.seed=1"] * 100])) == 9
