"""How a job of a sweep ended."""

import math
from dataclasses import dataclass
from pathlib import Path

from hydra.core.utils import JobReturn, JobStatus
from omegaconf import DictConfig

from speaker_count.errors import user_error
from speaker_count.results.record import RunResult


@dataclass(frozen=True)
class JobOutcome:
    """How a job ended.

    Attributes:
        name: of the run's folder.
        result: what the run gave, if it finished.
        failure: why it did not, in one line.
        log: the file with more about the failure.
    """

    name: str
    result: RunResult | None = None
    failure: str = ""
    log: str = ""

    @classmethod
    def of(cls, folder: Path, error: Exception | None = None) -> "JobOutcome":
        """The outcome of a run in its folder.

        Args:
            error: what it raised.
        """
        if error is None:
            return cls(folder.name, result=RunResult.read(folder))
        reason = str(user_error(error) or f"{type(error).__name__}: {error}").splitlines()[0]
        return cls(folder.name, failure=reason, log=str(folder / "train.log"))

    def to_hydra(self, config: DictConfig) -> "RunReturn":
        """As Hydra's sweepers take it: `optimized_metric` after the last epoch as a float, NaN where the run failed."""
        value = math.nan if self.result is None else self.result.last.value(config.optimized_metric)
        done = RunReturn(overrides=list(config.hydra.overrides.task), cfg=config, hydra_cfg=config, outcome=self)
        done.status, done.return_value = JobStatus.COMPLETED, value
        return done


@dataclass
class RunReturn(JobReturn):
    """Hydra's end of a job, with its outcome beside the value that sweepers see."""

    outcome: JobOutcome | None = None
