"""A search with Optuna: it learns from its runs, resumes where it was interrupted, and says what it cannot do."""

import os
import signal
import sqlite3
from functools import partial

import filelock
import optuna
import pytest
import yaml
from hydra.core.override_parser.overrides_parser import OverridesParser

from speaker_count.errors import UserError
from speaker_count.sweeping import search_space
from tests.conftest import SMALL, die

RATE = "model.learning_rate=tag(log,interval(1e-4,1e-2))"
QUICK = ("trainer.max_epochs=1", "evaluate_train=false", "logger=csv", "model=m3")


@pytest.fixture
def search(command, tree):
    """A search of a few seconds; arguments as of `command`."""
    base = ("train", "--multirun", *SMALL[:4], f"data.root={tree}", *QUICK, "hydra/sweeper=optuna", "threads=1")
    return partial(command, *base)


def study_of(folder):
    storage = f"sqlite:///{folder}/study.db"
    (name,) = optuna.get_all_study_names(storage)
    return optuna.load_study(study_name=name, storage=storage)


def trials(folder):
    return [(trial.params, trial.value) for trial in study_of(folder).trials]


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="needs a signal that cannot be caught")
def test_an_interrupted_search_resumes_and_asks_for_what_an_undisturbed_one_does(search, tmp_path):
    ask = (RATE, "hydra.sweeper.n_trials=4", "hydra.sweeper.sampler.n_startup_trials=2", "hydra/launcher=basic")
    killed = search(*ask, "hydra.sweep.dir=disturbed", before=partial(die, 8, signal.SIGKILL))  # in the third trial
    assert killed.returncode == -signal.SIGKILL
    states = [trial.state.name for trial in study_of(tmp_path / "disturbed").trials]
    assert states == ["COMPLETE", "COMPLETE", "RUNNING", "RUNNING"]
    again = search(*ask, "hydra.sweep.dir=disturbed")
    assert again.returncode == 0, again.stderr
    assert "2 of 4 trials of this search are done\n" in again.stdout

    whole = search(*ask, "hydra.sweep.dir=whole")
    assert whole.returncode == 0, whole.stderr
    assert trials(tmp_path / "disturbed") == trials(tmp_path / "whole")
    assert len({params["model.learning_rate"] for params, _ in trials(tmp_path / "whole")}) == 4

    third = search(*ask, "hydra.sweep.dir=whole", "hydra.sweeper.n_trials=5")
    assert third.returncode == 0, third.stderr
    assert trials(tmp_path / "whole")[:4] == trials(tmp_path / "disturbed")
    assert len(trials(tmp_path / "whole")) == 5


def test_trials_run_side_by_side_and_equal_ones_once(search, tmp_path):
    done = search("hydra.sweeper.n_trials=6", "hydra.sweeper.params={seed: 'range(0,2)'}", "optimized_metric=val/loss")
    assert done.returncode == 0, done.stderr
    folder = tmp_path / "multirun" / "default-folder-tree-paper"
    assert sorted(path.parent.name for path in folder.glob("*/result.json")) == [
        path.name for path in sorted(folder.iterdir()) if path.is_dir()
    ]
    assert len(list(folder.glob("*/result.json"))) == 2
    of_seed = {}
    for params, value in trials(folder):
        of_seed.setdefault(params["seed"], set()).add(value)
    assert sorted(of_seed) == [0, 1]
    assert all(len(values) == 1 for values in of_seed.values())
    best = min(value for values in of_seed.values() for value in values)  # a loss is minimized
    assert study_of(folder).best_value == best
    assert yaml.safe_load((folder / "optimization_results.yaml").read_text())["best_value"] == best
    assert f"best of 6 trials: m3-seed{study_of(folder).best_params['seed']}" in done.stdout


def test_a_trial_that_diverges_fails_for_good_and_the_others_count(search, tmp_path):
    ask = ("model.learning_rate=choice(1e-4,1e30)", "hydra.sweeper.n_trials=4", "hydra/sweeper/sampler=random")
    done = search(*ask)
    assert done.returncode == 1
    assert "the run diverged" in done.stderr
    folder = tmp_path / "multirun" / "default-folder-tree-paper"
    states = {trial.params["model.learning_rate"]: trial.state.name for trial in study_of(folder).trials}
    assert states == {"0.0001": "COMPLETE", "1e+30": "FAIL"}
    assert "with model.learning_rate=0.0001" in done.stdout
    again = search(*ask)
    assert (again.returncode, again.stderr) == (0, "")
    assert again.stdout.startswith("4 of 4 trials of this search are done\nbest of ")


def test_a_trial_that_failed_otherwise_is_tried_again(search, tmp_path):
    ask = (RATE, "hydra.sweeper.n_trials=1", "hydra.sweep.dir=sweep")
    failed = search(*ask, "+trainer.limit_test_batches=0")
    assert failed.returncode == 1
    (before,) = study_of(tmp_path / "sweep").trials
    assert before.state.name == "FAIL"
    again = search(*ask, "+trainer.limit_test_batches=0")
    assert again.returncode == 1
    assert "are done" not in again.stdout
    assert [trial.params for trial in study_of(tmp_path / "sweep").trials] == [before.params] * 2


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        ((RATE, "optimized_metric=val/f1"), "optimized_metric=val/f1: a run has val/accuracy, val/loss, val/mae, "),
        ((RATE, "optimized_metric=train/loss"), "optimized_metric=train/loss: a run has val/accuracy, "),
        ((), "hydra/sweeper=optuna has nothing to search: "),
        ((RATE, "hydra.sweeper.n_trials=0"), "hydra.sweeper.n_trials=0: expected a whole number, at least 1"),
        ((RATE, "hydra.sweeper.direction=up"), "hydra.sweeper.direction=up: expected maximize or minimize"),
        (("model.learning_rate=tag(log,interval(0,1))",), "model.learning_rate=tag(log,interval(0,1)): "),
        ((RATE, "hydra.sweeper.storage=nowhere"), "hydra.sweeper.storage=nowhere: Could not parse SQLAlchemy URL"),
        ((RATE, "hydra.sweeper.storage='x://me:secret@host/x'"), "hydra.sweeper.storage=x://***@host/x: Can't load"),
    ],
)
def test_what_cannot_be_searched_is_one_line_before_the_first_trial(search, tmp_path, arguments, line):
    done = search(*arguments)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith(line)
    assert len(done.stderr.splitlines()) == 1
    assert not list(tmp_path.glob("multirun/default-folder-tree-paper/m3-*"))


def test_a_storage_that_another_process_holds_is_one_line(search, tmp_path):
    ask = (RATE, "hydra.sweeper.study_name=mine", "hydra.sweep.dir=sweep")
    (tmp_path / "sweep").mkdir()
    with filelock.FileLock(tmp_path / "sweep" / ".mine.lock"):
        done = search(*ask)
    line = "another process is doing this search in sweep; wait for it, or stop it\n"
    assert (done.returncode, done.stderr) == (2, line)

    other = sqlite3.connect(tmp_path / "sweep" / "study.db", isolation_level=None)
    other.execute("begin exclusive")
    done = search(*ask)
    other.close()
    assert done.returncode == 2
    assert done.stderr.startswith("hydra.sweeper.storage=sqlite:///sweep/study.db: database is locked: another process")
    assert len(done.stderr.splitlines()) == 1


def test_without_optuna_it_says_what_to_install(search, tmp_path):
    (tmp_path / "optuna.py").write_text("raise ModuleNotFoundError(name='optuna')")
    path = os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")])
    done = search(RATE, PYTHONPATH=path)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.endswith(
        "hydra/sweeper=optuna needs optuna, which is not installed: pip install 'speaker-count[search]'\n"
    )


def space(*overrides):
    return search_space.divide(OverridesParser.create().parse_overrides(list(overrides)))


def test_values_mean_what_they_mean_to_hydra():
    found, fixed = space(
        "a=interval(1,5)", "b=tag(log,interval(1e-5,1e-2))", "c=int(interval(1,5))", "d=range(8,65,8)",
        "e=range(0.1,0.5,0.1)", "f=choice([1,2],[1,2,3])", "g=x,y", "seed=1,2", "seed=3", "~logger",
    )  # fmt: skip
    assert found == {
        "a": optuna.distributions.FloatDistribution(1, 5),
        "b": optuna.distributions.FloatDistribution(1e-5, 1e-2, log=True),
        "c": optuna.distributions.IntDistribution(1, 5),
        "d": optuna.distributions.IntDistribution(8, 64, step=8),
        "e": optuna.distributions.FloatDistribution(0.1, 0.4, step=0.1),
        "f": optuna.distributions.CategoricalDistribution(["[1,2]", "[1,2,3]"]),
        "g": optuna.distributions.CategoricalDistribution(["x", "y"]),
    }
    assert fixed == {"seed": "seed=3", "~logger": "~logger"}
    with pytest.raises(UserError, match=r"^a=range\(3,3\): "):
        space("a=range(3,3)")


def test_another_search_has_another_name_and_what_changes_no_result_has_not():
    def name(*overrides, metric="val/accuracy"):
        return search_space.name_of(*space("model=m3,m5", *overrides), metric, "MAXIMIZE")

    assert name() == name("data.root=/elsewhere", "threads=2", "+logger.name=x")
    assert len({name(), name("seed=1"), name("a=1,2"), name("model=m3,m11"), name(metric="val/mae")}) == 5
