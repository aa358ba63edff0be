"""What a sweep prints when a run starts: how far it is, how long the rest takes, and the best run so far."""

import time
from collections.abc import Sequence

from speaker_count.sweeping.estimates import PlannedRun, duration, total_seconds
from speaker_count.sweeping.outcome import JobOutcome


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
