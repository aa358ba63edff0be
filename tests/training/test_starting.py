"""Runs that start from the weights of others."""

import hashlib
import json
import shutil
import signal
from functools import partial

import pytest
import torch

import speaker_count
from tests.conftest import SMALL, die


@pytest.fixture
def before(finished_sweep):
    """A finished run of m5."""
    return next(finished_sweep.glob("m5-*"))


@pytest.fixture
def small(tree):
    return ("train", *SMALL, f"data.root={tree}", "logger=csv", "trainer.max_epochs=1", "hydra.run.dir=run")


def net_of(folder):
    return dict(speaker_count.load_run(folder).net.net.named_parameters())


def test_a_net_starts_from_the_weights_of_a_run(verb, small, before, tmp_path):
    code, _, err = verb(*small, f"model.weights={before}", "model.learning_rate=0")
    assert code == 0, err
    assert f"starting from the weights {before}\n" in (tmp_path / "run" / "train.log").read_text()
    old, new = net_of(before), net_of(tmp_path / "run")
    assert all(torch.equal(old[name], weight) for name, weight in new.items())
    # the dropout and the order of the clips are those of a run without
    result = json.loads((tmp_path / "run" / "result.json").read_text())
    assert "weights" not in result["net"]
    assert len(result["training"]["weights"]) == 64


def test_only_what_depends_on_other_counts_is_new(verb, small, before, tmp_path):
    code, _, err = verb(*small, f"model.weights={before}", "model.learning_rate=0", "mix.counts=[1,2,3,4]")
    assert code == 0, err
    assert f"starting from the weights {before}; new: classifier\n" in (tmp_path / "run" / "train.log").read_text()
    old, new = net_of(before), net_of(tmp_path / "run")
    differing = [name for name, weight in new.items() if not torch.equal(old[name], weight)]
    assert differing == ["classifier.weight", "classifier.bias"]


def test_as_many_other_counts_are_new_too(verb, small, before, tmp_path):
    assert verb(*small, f"model.weights={before}", "model.learning_rate=0", "mix.counts=[0,1,2]")[0] == 0
    assert "; new: classifier\n" in (tmp_path / "run" / "train.log").read_text()


def test_layers_of_other_targets_are_new_or_left_out(verb, small, tmp_path):
    log = tmp_path / "run" / "train.log"
    packaged = ("experiment=recommended", "model.weights=recommended", "mix.counts=[0,1,2,3]")
    assert verb(*small, *packaged)[0] == 0
    assert "starting from the weights recommended\n" in log.read_text()
    assert verb(*small, *packaged, "force=true", "model.loss.frame_weight=0", "model.loss.composition_weight=0")[0] == 0
    assert "; new: classifier; left out: frames\n" in log.read_text()


def test_weights_are_named_by_their_content(verb, small, before, tmp_path):
    assert verb(*small, f"model.weights={before}")[0] == 0
    identity = (tmp_path / "run" / "identity.json").read_text()
    assert str(before) not in identity
    checkpoint = (before / "checkpoints" / "last.ckpt").read_bytes()
    assert json.loads(identity)["model.weights"] == hashlib.sha256(checkpoint).hexdigest()
    moved = shutil.copytree(before, tmp_path / "moved")
    assert "is finished already" in verb(*small, f"model.weights={moved}")[1]
    code, _, err = verb(*small, "model.weights=m5")
    assert code == 2
    assert "holds another run: model.weights=" in err
    assert "model.weights" not in (before / "identity.json").read_text()  # no weights are no part of a run


def test_a_run_that_resumes_does_not_start_again(command, small, tmp_path):
    train = (*small, "model.weights=m5", "trainer.max_epochs=2")
    killed = command(*train, before=partial(die, 5, signal.SIGTERM))
    assert killed.returncode != 0
    assert "starting from the weights m5" in killed.stdout + killed.stderr
    resumed = command(*train)
    assert resumed.returncode == 0, resumed.stderr
    assert "resuming from" in resumed.stdout + resumed.stderr
    assert "starting from" not in resumed.stdout + resumed.stderr
    assert command(*train, "hydra.run.dir=whole").returncode == 0
    for name, weight in net_of(tmp_path / "whole").items():
        assert torch.equal(net_of(tmp_path / "run")[name], weight)


@pytest.mark.parametrize(
    ("overrides", "says"),
    [
        (["model.weights=m6"], "m6 is neither a run's folder nor the name of packaged weights (m5, recommended)"),
        (["model.weights=3"], "model.weights=3: expected a packaged name, a run's folder or a file of weights"),
        (["experiment=refined"], "RUN_DIR is neither a run's folder nor the name of packaged weights"),
        (["model.weights=m6.json"], "cannot read m6.json"),
        (["model.weights=m5", "model=m3"], "model.weights=m5: they are those of another net ("),
        (["model.weights=m5", "model=m11"], "model.weights=m5: they are those of another net ("),
        (["model.weights=recommended", "model=conv_tdnn", "model.net.width=8"], "there, (8, 480, 1) in this net)"),
    ],
)
def test_weights_of_another_form_are_refused_in_one_line(verb, small, overrides, says):
    code, _, err = verb(*small, *overrides)
    assert (code, len(err.splitlines())) == (2, 1)
    assert says in err


def test_a_forecast_refuses_weights_that_are_not_there(verb, tree):
    code, _, err = verb("forecast", *SMALL, f"data.root={tree}", "model.weights=m6")
    assert (code, len(err.splitlines())) == (2, 1)
    assert "m6 is neither" in err


def test_a_config_with_weights_gives_a_module_that_has_them():
    from hydra.utils import instantiate

    from speaker_count.compose import compose

    module = instantiate(compose(["model=m5", "model.weights=m5"]).model)
    expected = speaker_count.load_run("m5").net.net.state_dict()
    assert all(torch.equal(weight, expected[name]) for name, weight in module.net.state_dict().items())
