"""What Hydra's launchers of a sweep have in common: a sweeper asks for runs, and here they are composed, estimated,
started the longest first, and reported.
"""

import contextlib
import sys
from abc import abstractmethod
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch
from hydra.core.utils import JobReturn, JobRuntime, run_job, setup_globals
from hydra.plugins.launcher import Launcher
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig, open_dict

from speaker_count.compose import find_own_nets
from speaker_count.errors import UserError
from speaker_count.sweeping import estimates, requirements
from speaker_count.sweeping.estimates import PlannedRun
from speaker_count.sweeping.outcome import JobOutcome
from speaker_count.sweeping.progress import Progress
from speaker_count.sweeping.resources import Concurrency
from speaker_count.training import threads
from speaker_count.training.quiet import quiet
from speaker_count.training.streams import say

INTERRUPTED = 130  # exit code after Ctrl-C


class SweepLauncher(Launcher):
    """Hydra's launcher of a sweep. Hydra's callbacks are called in this process.

    Attributes:
        trial_seconds: how long each net is tried at most, to estimate its runs.
        is_remote: runs are computed elsewhere: estimates give their order, not their time.
    """

    trial_seconds = 1.0
    is_remote = False

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        self.hydra_context, self.task_function, self.config = hydra_context, task_function, config
        self.tried: estimates.Tried = {}  # nets, also by an earlier batch of the sweep
        self.returns: dict[str, JobReturn] = {}
        find_own_nets(config.hydra)
        quiet()

    def launch(self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int) -> Sequence[JobReturn]:
        """Do the runs of these overrides.

        Returns:
            A `RunReturn` for each, in their order.
        """
        configs = [self._compose(initial_job_idx + place, list(each)) for place, each in enumerate(job_overrides)]
        runs = [estimates.plan(config, Path(config.hydra.runtime.output_dir)) for config in configs]
        if not runs:
            say("the sweeper asks for no runs")
            return []
        try:
            self.check()
            concurrency = self._estimate(runs)
            self.progress = Progress(runs, initial_job_idx, concurrency.jobs, not self.is_remote)
            for data in requirements.corpora(run.data for run in runs if run.data and not run.finished):
                with contextlib.suppress(Exception):  # each run says what is wrong
                    data.prepare_data()
            self.run_all(sorted(runs, key=lambda run: -run.seconds), concurrency)
        except UserError as error:
            print(error, file=sys.stderr)
            sys.exit(2)
        except KeyboardInterrupt:
            print(self.interrupted(), file=sys.stderr)
            sys.exit(INTERRUPTED)
        return [self.returns[config.hydra.job.id] for config in configs]

    def check(self) -> None:
        """See that the jobs can be launched.

        Raises:
            UserError: they cannot.
        """

    def limit(self, concurrency: Concurrency, runs: int) -> Concurrency:
        """How many jobs run at a time, given how many fit on this machine."""
        return concurrency

    @abstractmethod
    def run_all(self, runs: Sequence[PlannedRun], concurrency: Concurrency) -> None:
        """Do these runs, the first ones first; `started` and `ended` are called for each."""

    @abstractmethod
    def interrupted(self) -> str:
        """What to say after Ctrl-C."""

    def started(self, run: PlannedRun) -> None:
        """Say that a run starts."""
        if len(self.progress.runs) > 1 or self.progress.first or self.is_remote:
            say(self.progress.start(run))
        self.hydra_context.callbacks.on_job_start(config=run.config, task_function=self.task_function)

    def ended(self, run: PlannedRun, outcome: JobOutcome) -> None:
        """Note how a run ended."""
        self.progress.end(run, outcome)
        done = self.returns[run.config.hydra.job.id] = outcome.to_hydra(run.config)
        self.hydra_context.callbacks.on_job_end(config=run.config, job_return=done)

    def _compose(self, number: int, overrides: list[str]) -> DictConfig:
        config = self.hydra_context.config_loader.load_sweep_config(self.config, overrides)
        with open_dict(config):
            config.hydra.job.id, config.hydra.job.num = str(number), number
            folder = Path(config.hydra.sweep.dir, config.hydra.sweep.subdir)
            config.hydra.runtime.output_dir = str(folder.absolute())
        return config

    def _estimate(self, runs: Sequence[PlannedRun]) -> Concurrency:
        several = len(runs) > 1
        least_clips = threads.LEAST_CLIPS if several else float("inf")
        fits = estimates.estimate(runs, self.trial_seconds, least_clips, self.tried)
        concurrency = self.limit(fits, len(runs))
        if several and not self.is_remote and any(run.throughput for run in runs):
            say(f"{estimates.table(runs, concurrency)}\n")
        if several and concurrency.note:
            say(concurrency.note)
        return concurrency


def _ignore(**kwargs: object) -> None: ...


def do_job(task: TaskFunction, config: DictConfig, most_threads: int) -> JobOutcome:
    """Do a job in this process.

    Args:
        config: with the `hydra` node.
        most_threads: that it may take.
    """
    torch.set_num_threads(most_threads)
    setup_globals()
    JobRuntime.instance().set("name", config.hydra.job.name)
    raised: list[Exception] = []

    def attempt(task_config: DictConfig) -> None:
        try:
            task(task_config)
        except Exception as error:  # whatever made the run fail
            raised.append(error)

    silent: Any = SimpleNamespace(on_job_start=_ignore, on_job_end=_ignore)  # the sweep's process calls Hydra's
    context = HydraContext(config_loader=silent, callbacks=silent)
    run_job(attempt, config, "hydra.sweep.dir", "hydra.sweep.subdir", context)
    return JobOutcome.of(Path(config.hydra.runtime.output_dir), *raised)
