"""What Hydra calls before a run or a sweep, and after a sweep. A single run imports this, too, before it says that it
loads: hence nothing that takes seconds.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hydra.core.utils import JobReturn
from hydra.experimental.callback import Callback
from omegaconf import DictConfig, OmegaConf

from speaker_count import files
from speaker_count.errors import UserError
from speaker_count.training import secrets
from speaker_count.training.streams import say

if TYPE_CHECKING:
    from speaker_count.sweeping.outcome import JobOutcome

OTHER_FOLDER = "free some space, or name another folder with hydra.run.dir= (one run) or hydra.sweep.dir= (a sweep)"


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
            from speaker_count.results import tables

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
