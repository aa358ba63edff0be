"""What a sweep prints besides its runs' own lines: its progress, the best run so far, and at the end a table of results
and which runs failed.
"""

import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from hydra.core.utils import JobReturn
from hydra.experimental.callback import Callback
from omegaconf import DictConfig, OmegaConf

from speaker_count import files
from speaker_count.errors import UserError
from speaker_count.results import tables
from speaker_count.sweeping.estimates import PlannedRun, duration, total_seconds
from speaker_count.sweeping.outcome import JobOutcome
from speaker_count.training import secrets
from speaker_count.training.streams import say

OTHER_FOLDER = "free some space, or name another folder with hydra.run.dir= (one run) or hydra.sweep.dir= (a sweep)"


class Progress:
    """A line for each run that starts.

    Args:
        runs: those that a sweeper asks for now.
        first: how many it asked for before.
        jobs: how many run at a time.
        estimated: their estimates hold for where they run; else only what they take in proportion is known.
    """

    def __init__(self, runs: Sequence[PlannedRun], first: int, jobs: int, estimated: bool):
        self.runs, self.first, self.jobs, self.estimated = runs, first, jobs, estimated
        self.started: dict[str, float] = {}
        self.ended: dict[str, JobOutcome] = {}
        self._expected = self._taken = 0.0  # seconds, of the runs that ended

    def start(self, run: PlannedRun) -> str:
        """Note that a run starts; returns the line that says so."""
        self.started[run.name] = time.monotonic()
        parts = [f"run {self.first + len(self.started)} of {self.first + len(self.runs)}: {run.name}"]
        left = self._seconds_left()
        if left:
            parts.append(f"about {duration(left)} left")
        results = {name: outcome.result for name, outcome in self.ended.items() if outcome.result is not None}
        if results:
            clips = list(results.values())[-1].test_sha256  # scores on other clips cannot be compared with these
            accuracy = {
                name: result.last.test["accuracy"] for name, result in results.items() if result.test_sha256 == clips
            }
            best = max(accuracy, key=accuracy.__getitem__)
            parts.append(f"best so far: {best}, test accuracy {accuracy[best]:.3f}")
        return "; ".join(parts)

    def end(self, run: PlannedRun, outcome: JobOutcome) -> None:
        """Note that a run has ended."""
        self.ended[run.name] = outcome
        if run.seconds and outcome.result is not None:
            self._expected += run.seconds
            self._taken += time.monotonic() - self.started[run.name]

    def _seconds_left(self) -> float:
        if not self.estimated and not self._expected:
            return 0.0  # until a run has ended, nothing is known of that machine
        scale = self._taken / self._expected if self._expected else 1
        now = time.monotonic()
        left = [
            max(0.0, scale * run.seconds - (now - self.started.get(run.name, now)))
            for run in self.runs
            if run.name not in self.ended
        ]
        return total_seconds(left, self.jobs)


class SweepSummary(Callback):
    """Hydra's callback: before anything runs, whether its folder can be written; after a sweep, the table of its runs
    and which failed, and why. With another package's launcher, that launcher reports.
    """

    def __init__(self) -> None:
        self.outcomes: list[JobOutcome] = []

    def on_run_start(self, config: DictConfig, **kwargs: Any) -> None:
        """Check the run's folder."""
        _check(config.hydra.run.dir)
        if str(config.hydra.launcher.get("_target_")) == "hydra_plugins.speaker_count.Slurm":
            print("hydra/launcher=slurm is for sweeps: add --multirun", file=sys.stderr)
            sys.exit(2)

    def on_multirun_start(self, config: DictConfig, **kwargs: Any) -> None:
        """Check the sweep's folder."""
        _check(config.hydra.sweep.dir)

    def on_job_start(self, config: DictConfig, **kwargs: Any) -> None:
        """Mask secrets in what Hydra's sweeper wrote before its first job."""
        path = Path(config.hydra.sweep.dir, "multirun.yaml")
        if path.is_file():
            tree = OmegaConf.to_container(OmegaConf.load(path))
            text = OmegaConf.to_yaml(secrets.masked(tree))
            for value in secrets.values(tree):
                text = text.replace(value, secrets.MASK)  # Hydra joins the overrides to one string, too
            if secrets.masked(tree) != tree:
                files.write_text(path, text)

    def on_job_end(self, config: DictConfig, job_return: JobReturn, **kwargs: Any) -> None:
        """Collect the outcome that our launchers put beside a job's value."""
        outcome = getattr(job_return, "outcome", None)
        if outcome is not None:
            self.outcomes.append(outcome)

    def on_multirun_end(self, config: DictConfig, **kwargs: Any) -> None:
        """Print what the sweep gave; exit code 1 if a run failed."""
        finished = [outcome.result for outcome in self.outcomes if outcome.result is not None]
        failed = [outcome for outcome in self.outcomes if outcome.result is None]
        if finished:
            say(f"\n{tables.of_runs(tables.sweep(finished))}")
        for outcome in failed:
            print(f"failed: {outcome.name}: {outcome.failure} (see {outcome.log})", file=sys.stderr)
        if failed:
            print(f"{len(failed)} of {len(self.outcomes)} runs failed", file=sys.stderr)
            sys.exit(1)


def _check(folder: str) -> None:
    try:
        files.check_writable(folder, OTHER_FOLDER)
    except UserError as error:
        print(error, file=sys.stderr)
        sys.exit(2)
