"""Optimizers, schedules and callbacks, chosen by their groups."""

import csv
import functools
import json
import signal
from functools import partial

import pytest
import torch
from torch import nn

from speaker_count import WaveformCNN, WaveformCounter
from speaker_count.training.recipe import Recipe
from speaker_count.training.saved_state import read
from tests.conftest import SMALL, die, mix_of

TINY = ("mix.clips.train=36", "mix.clips.validation=12", "mix.clips.test=12", "data.batch_size=6", "model=m3")
SWA = "+trainer.callbacks=[{_target_: pytorch_lightning.callbacks.StochasticWeightAveraging, swa_lrs: 0.01}]"


@pytest.fixture
def train(command, tree):
    return partial(command, "train", SMALL[0], *TINY, f"data.root={tree}", "logger=csv")


def outcome(run):
    return [(run / name).read_bytes() for name in ("metrics.csv", "predictions.parquet")]


def test_without_its_callback_an_experiment_trains_all_the_same(train):
    done = train("experiment=recommended", "model=conv_tdnn", "trainer.max_epochs=1", "callbacks=none")
    assert done.returncode == 0, done.stderr
    assert "callbacks.weight_averaging has settings and no _target_" in done.stdout


def hung_up_on(step):
    """As `nohup` has it: the end of the terminal is ignored."""
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    die(step, signal.SIGHUP)


@pytest.mark.skipif(not hasattr(signal, "SIGHUP"), reason="no terminal that hangs up")
def test_a_signal_that_is_ignored_changes_nothing(train):
    done = train("trainer.max_epochs=1", before=partial(hung_up_on, 2))
    assert done.returncode == 0, done.stderr
    assert "saved: " not in done.stdout
    assert "test accuracy" in done.stdout


def trained(make_data, tmp_path, **settings):
    """A net after an epoch of six steps."""
    import pytorch_lightning as pl

    torch.manual_seed(0)
    data = make_data(mix=mix_of(train=36, validation=12, test=12), batch_size=6)
    module = WaveformCounter(
        partial(WaveformCNN, stages=[[8, 1]], pool_last_stage=True), learning_rate=0.01, **settings
    )
    trainer = pl.Trainer(
        max_epochs=1, logger=False, enable_checkpointing=False, enable_progress_bar=False, num_sanity_val_steps=0,
        enable_model_summary=False, accelerator="cpu", default_root_dir=tmp_path,
    )  # fmt: skip
    trainer.fit(module, data)
    return module


def test_by_default_a_net_is_trained_with_adam(make_data, tmp_path):
    ours = trained(make_data, tmp_path)
    named = trained(make_data, tmp_path, optimizer=torch.optim.Adam)
    other = trained(make_data, tmp_path, optimizer=torch.optim.SGD)
    weights = [[weight.detach().numpy().tobytes() for weight in net.parameters()] for net in (ours, named, other)]
    assert weights[0] == weights[1] != weights[2]


def test_a_schedule_by_steps_gets_their_number(make_data, tmp_path):
    cycle = functools.partial(torch.optim.lr_scheduler.OneCycleLR, max_lr=0.01)
    module = trained(make_data, tmp_path, scheduler={"scheduler": cycle, "interval": "step"})
    schedule = module.lr_schedulers()
    assert (schedule.total_steps, schedule.last_epoch) == (6, 6)


def test_a_compiled_net_has_the_weights_of_any_other(make_data, tmp_path):
    module = WaveformCounter(partial(WaveformCNN, stages=[[8, 1]], pool_last_stage=True), compile=True)
    module.setup("fit")
    assert all("_orig_mod" not in name for name in module.state_dict())


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (
            ["scheduler=plateau", "model.scheduler.monitor=val/f1"],
            "model.scheduler.monitor=val/f1: a run has the metrics",
        ),
        (
            ["callbacks=early_stopping", "callbacks.early_stopping.monitor=x"],
            "EarlyStopping.monitor=x: a run has the m",
        ),
        (["+model.optimizer.decay=1"], "model.optimizer: Adam.__init__() got an unexpected keyword argument 'decay'"),
        (["+model.weight_decay=1"], "SpeakerCounter.__init__() got an unexpected keyword argument 'weight_decay'"),
        (["optimizer=sgd", "model.optimizer.momentum=-1"], "model.optimizer: Invalid momentum value: -1"),
        (
            ["scheduler=cosine", "+model.scheduler.scheduler.steps=3"],
            "model.scheduler.scheduler: CosineAnnealingLR.__init",
        ),
        (["callbacks=lr_monitor"], "Cannot use `LearningRateMonitor` callback with `Trainer` that has no logger."),
        (["model.compile=3"], "model.compile=3: expected true or false"),
    ],
)
def test_what_does_not_fit_is_refused_in_one_line(train, overrides, message):
    refused = train(*overrides)
    assert refused.returncode == 2
    assert refused.stderr.startswith(message)
    assert refused.stderr.count("\n") == 1


def test_a_net_without_parameters_is_refused(make_data, tmp_path):
    class Fixed(nn.Module):
        def __init__(self, classes):
            super().__init__()

    module = WaveformCounter(Fixed)
    with pytest.raises(Exception, match="this net has no parameters to train"):
        module.configure_optimizers()


def test_what_changes_the_weights_is_part_of_what_a_run_is(train, tmp_path):
    plain = train("hydra.run.dir=run", "trainer.max_epochs=1")
    assert plain.returncode == 0, plain.stderr
    for change in (SWA, "callbacks=weight_averaging", "optimizer=adamw", "scheduler=cosine"):
        refused = train("hydra.run.dir=run", "trainer.max_epochs=1", change)
        assert refused.returncode == 2, change
        assert "holds another run" in refused.stderr


def test_callbacks_are_added_to_those_of_a_run(train, tmp_path):
    done = train("callbacks=[weight_averaging,early_stopping]", SWA, "trainer.max_epochs=1", "hydra.run.dir=run")
    assert done.returncode == 0, done.stderr
    assert {path.name for path in (tmp_path / "run" / "checkpoints").iterdir()} == {"best.ckpt", "last.ckpt"}
    training = json.loads((tmp_path / "run" / "result.json").read_text())["training"]
    assert set(training["callbacks"]) == {"weight_averaging", "early_stopping"}
    assert training["optimizer"] == {"name": "Adam"}


@pytest.mark.parametrize(
    "changes",
    [
        ("callbacks=weight_averaging", "callbacks.weight_averaging.decay=0.9"),
        ("scheduler=one_cycle", "optimizer=adamw", "model.learning_rate=0.01"),
        ("trainer.accumulate_grad_batches=4", "trainer.gradient_clip_val=0.5"),
    ],
    ids=["averaged", "scheduled", "accumulated"],
)
@pytest.mark.parametrize("step", [5, 10])
def test_a_run_that_was_killed_ends_as_undisturbed(train, changes, step, tmp_path):
    changes = (*changes, "checkpoint_minutes=0", "trainer.max_epochs=2")
    assert train(*changes, "hydra.run.dir=whole").returncode == 0
    killed = train(*changes, "hydra.run.dir=cut", before=partial(die, step, signal.SIGKILL))
    assert killed.returncode == -signal.SIGKILL
    again = train(*changes, "hydra.run.dir=cut")
    assert again.returncode == 0, again.stderr
    assert "resuming from" in again.stdout
    assert outcome(tmp_path / "cut") == outcome(tmp_path / "whole")


def test_a_run_that_stopped_early_stays_stopped_when_it_resumes(train, tmp_path):
    """A learning rate of 0: no epoch is better than the first."""
    stopping = ("callbacks=early_stopping", "callbacks.early_stopping.patience=1", "model.learning_rate=0.0")
    longer = (*stopping, "trainer.max_epochs=5", "hydra.run.dir=run")
    done = train(*longer)
    assert done.returncode == 0, done.stderr
    result = json.loads((tmp_path / "run" / "result.json").read_text())
    assert result["epochs"] == result["last"]["epoch"] == 2
    (tmp_path / "run" / "result.json").unlink()  # as if it was killed while it was tested
    assert train(*longer).returncode == 0
    assert json.loads((tmp_path / "run" / "result.json").read_text())["epochs"] == 2


def test_more_epochs_continue_a_finished_run(train, tmp_path):
    assert train("trainer.max_epochs=3", "hydra.run.dir=elsewhere/whole").returncode == 0
    assert train("trainer.max_epochs=1", "hydra.run.dir=runs/one").returncode == 0
    before = {path: path.read_bytes() for path in (tmp_path / "runs" / "one").rglob("*") if path.is_file()}
    longer = train("trainer.max_epochs=3", "hydra.run.dir=runs/three")
    assert longer.returncode == 0, longer.stderr
    assert f"continuing {tmp_path / 'runs' / 'one'}, which ended after epoch 1" in longer.stdout
    assert outcome(tmp_path / "runs" / "three") == outcome(tmp_path / "elsewhere" / "whole")
    assert {path: path.read_bytes() for path in before} == before
    with open(tmp_path / "runs" / "three" / "metrics.csv") as file:
        assert [row["epoch"] for row in csv.DictReader(file)] == ["1", "2", "3"]


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ("scheduler=cosine", "its learning rate"),
        ("scheduler=one_cycle", "its learning rate"),
        (SWA, "one of its callb"),
    ],
)
def test_a_run_that_depends_on_its_end_is_not_continued(train, change, reason, tmp_path):
    assert train(change, "trainer.max_epochs=1", "hydra.run.dir=runs/one").returncode == 0
    longer = train(change, "trainer.max_epochs=2", "hydra.run.dir=runs/two")
    assert longer.returncode == 0, longer.stderr
    assert f"cannot be continued, because {reason}" in longer.stdout
    assert "continuing" not in longer.stdout
    assert read(tmp_path / "runs" / "two" / "checkpoints" / "last.ckpt")["epoch"] >= 1


def test_force_starts_at_the_first_epoch(train, tmp_path):
    assert train("trainer.max_epochs=1", "hydra.run.dir=runs/one").returncode == 0
    forced = train("trainer.max_epochs=2", "hydra.run.dir=runs/two", "force=true")
    assert forced.returncode == 0, forced.stderr
    assert "continuing" not in forced.stdout
    assert "epoch 1 of 2" in forced.stdout


def test_a_recipe_says_how_a_net_is_trained_in_names():
    model = {
        "optimizer": {"_target_": "torch.optim.AdamW", "_partial_": True, "weight_decay": 0.1},
        "scheduler": None,
        "compile": False,
    }
    callbacks = {"stop": {"_target_": "a.b.EarlyStopping", "patience": 2}}
    recipe = Recipe(
        {"model": model, "trainer": {"max_epochs": 3, "precision": None}, "callbacks": callbacks}, {}, [], dict
    )
    assert recipe.training() == {
        "optimizer": {"name": "AdamW", "weight_decay": 0.1},
        "compile": False,
        "max_epochs": 3,
        "callbacks": {"stop": {"name": "EarlyStopping", "patience": 2}},
    }
