"""Configs composed outside a Hydra program: the runs of a sweep are those that Hydra itself would start."""

import sys
from pathlib import Path
from typing import ClassVar

import pytest
from hydra.core.plugins import Plugins
from hydra.core.utils import JobReturn, JobStatus
from hydra.plugins.launcher import Launcher
from omegaconf import OmegaConf, open_dict

from speaker_count.compose import compose_grid

PLUGIN = "hydra_plugins.recorder"  # Hydra takes a launcher from no other package


class Recorder(Launcher):
    """Notes what Hydra asks for, and starts nothing."""

    asked: ClassVar[list[tuple[dict, str]]] = []

    def setup(self, *, hydra_context, task_function, config):
        self.loader, self.config = hydra_context.config_loader, config

    def launch(self, job_overrides, initial_job_idx):
        for number, overrides in enumerate(job_overrides, start=initial_job_idx):
            config = self.loader.load_sweep_config(self.config, list(overrides))
            with open_dict(config):
                config.hydra.job.num, config.hydra.job.id = number, str(number)
            self.asked.append(run_of(config, Path(config.hydra.sweep.dir, config.hydra.sweep.subdir)))
        ended = JobReturn(status=JobStatus.COMPLETED)
        ended.return_value = 0.5
        return [ended] * len(job_overrides)


def run_of(config, folder):
    """A run's own config and its folder."""
    own = OmegaConf.masked_copy(config, [key for key in config if key != "hydra"])
    return OmegaConf.to_container(own), str(folder)


@pytest.mark.parametrize(
    "overrides",
    [
        ["model=m3,m5", "seed=0,1,2"],
        ["seed=range(3)", "model=glob(spec_*)", "mix.counts=[1,2],[1,2,3]"],
        ["experiment=paper"],
        ["experiment=paper", "model=m3,m18", "model.learning_rate=1e-4,3e-4"],
        ["experiment=paper", "model=m5"],
        ["model=m5", "seed=choice(4,7)", "+trainer.limit_train_batches=1,2", "hydra.sweep.dir=mine"],
    ],
)
def test_the_runs_of_a_sweep_are_those_that_hydra_starts(verb, monkeypatch, overrides):
    """Both in Hydra's order, whose first key changes slowest."""
    monkeypatch.setitem(sys.modules, PLUGIN, sys.modules[__name__])
    monkeypatch.setattr(Recorder, "__module__", PLUGIN)
    Plugins.instance().register(Recorder)
    Recorder.asked.clear()
    target = f"hydra.launcher._target_={PLUGIN}.Recorder"
    code, _, errors = verb("train", "--multirun", "hydra/launcher=basic", target, *overrides)
    assert code == 0, errors
    ours = [run_of(config, folder) for config, folder in compose_grid(overrides, multirun=True)]
    assert ours == Recorder.asked


def test_a_user_s_own_nets_are_among_all_nets(tmp_path):
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "wide.yaml").write_text("defaults: [m3]\n")
    names = [folder.name for _, folder in compose_grid(["model=glob(*,exclude=[c*,m*,spec_*])"], tmp_path)]
    assert names == ["wide-seed0"]


def test_runs_that_another_sweeper_chooses_cannot_be_forecast(verb, tmp_path):
    (tmp_path / "hydra" / "sweeper").mkdir(parents=True)
    (tmp_path / "hydra" / "sweeper" / "search.yaml").write_text("_target_: search.Sweeper\n")
    code, _, errors = verb("forecast", "--multirun", "--config-dir", tmp_path, "hydra/sweeper=search", "model=m3,m5")
    assert (code, len(errors.splitlines())) == (2, 1)
    assert errors.startswith("hydra/sweeper=search chooses its runs while it sweeps")
