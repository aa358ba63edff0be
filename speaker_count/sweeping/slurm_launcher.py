"""Hydra's launcher of `hydra/launcher=slurm`: each run of a sweep is a Slurm job; submitit submits them, all at once.

The command waits for them. Slurm is asked by squeue, which answers on every cluster (sacct needs a data base), and a
run's progress is read from its log. Slurm requeues a run that is preempted, or whose node dies, and the run resumes
from its last checkpoint.
"""

import contextlib
import datetime
import json
import logging
import signal
import socket
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import filelock
import submitit
from hydra.types import TaskFunction
from omegaconf import DictConfig
from submitit.helpers import DelayedSubmission

from speaker_count import files
from speaker_count.compose import plain
from speaker_count.errors import UserError, check_number
from speaker_count.sweeping import slurm
from speaker_count.sweeping.estimates import PlannedRun
from speaker_count.sweeping.launcher import SweepLauncher, do_job
from speaker_count.sweeping.outcome import JobOutcome
from speaker_count.sweeping.resources import Concurrency
from speaker_count.training.streams import say

LOOK, ASK = 0.5, 5.0  # seconds between looks at files, and between questions to Slurm
LATE = 15.0  # seconds until what a node wrote is seen here
LEAST = {"timeout_min": 1, "signal_delay_s": 1, "max_num_timeout": 0, "array_parallelism": 1}
LEAST |= {"cpus_per_task": 1, "gpus_per_node": 0, "mem_gb": 1}
# hydra-submitit-launcher's keys that submitit has for other clusters too; for the rest it wants the cluster's name
SHARED_KEYS = {"name", "timeout_min", "mem_gb", "nodes", "cpus_per_task", "gpus_per_node", "tasks_per_node"}
SHARED_KEYS |= {"stderr_to_stdout"}
TOO_OFTEN = "timed-out too many times"  # in submitit's message


@contextlib.contextmanager
def interrupt_held_back() -> Iterator[None]:
    """Let Ctrl-C take effect when the block ends: in this process, and in the commands that the block starts."""
    held: list[int] = []
    before = signal.signal(signal.SIGINT, lambda number, frame: held.append(number))
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})  # the commands inherit this, but no handler
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
        signal.signal(signal.SIGINT, before)
        if held:
            signal.raise_signal(signal.SIGINT)


class Task:
    """A run as a node computes it; submitit pickles it."""

    def __init__(self, task: TaskFunction, config: DictConfig):
        self.task, self.config, self.submitted = task, config, time.time()

    def __call__(self) -> JobOutcome:
        logging.getLogger("submitit").propagate = False  # it has a handler of its own
        signal.signal(signal.SIGTERM, _wait_for_the_end)
        launcher = self.config.hydra.launcher
        begun = Path(self.config.hydra.runtime.output_dir, "identity.json")
        if begun.is_file() and begun.stat().st_mtime > self.submitted:
            self.config.force = False  # it moved the old folder aside already; this one is its own
        outcome = do_job(self.task, self.config, launcher.cpus_per_task or 1)
        if not outcome.failure:
            return outcome
        why = outcome.failure
        if TOO_OFTEN in why:
            why = f"past its time limit more often than hydra.launcher.max_num_timeout={launcher.max_num_timeout}"
        return replace(outcome, failure=f"{why} (on {socket.gethostname()})")

    def checkpoint(self) -> DelayedSubmission:
        """What to submit when the job's time is up: the same; a run resumes by itself."""
        return DelayedSubmission(self)


def _wait_for_the_end(number: int, frame: Any) -> None:
    """Slurm sends SIGTERM to all processes of a job, W&B's among them, and then, perhaps minutes later, kills them: no
    run can continue in between, and Slurm would not requeue a run that ends by itself.
    """
    time.sleep(3600)
    sys.exit(128 + number)


class SubmittedRun:
    """A run, and its Slurm job."""

    def __init__(self, run: PlannedRun, job: submitit.Job[JobOutcome]):
        self.run, self.job, self.state = run, job, slurm.UNKNOWN
        self.has_started = self.is_running = self.is_waiting = False
        self.over_since: float | None = None
        self.read = 0  # bytes of the log

    def new_lines(self) -> list[str]:
        """What the run printed since the last call: its own lines, without submitit's."""
        try:
            with open(self.job.paths.stdout, "rb") as log:
                log.seek(self.read)
                whole = log.read().rpartition(b"\n")[0]
        except OSError:
            return []
        self.read += len(whole) + 1 if whole else 0
        lines = whole.decode(errors="replace").splitlines()
        return [line for line in lines if line and not line.startswith("submitit ")]

    def outcome(self) -> JobOutcome | None:
        """How the run ended, or why it never will; None while it may still end."""
        if self.job.paths.result_pickle.is_file():  # then submitit has no need to ask sacct
            error = self.job.exception()
            return self.job.result() if error is None else self._failure(str(error).strip().splitlines()[-1])
        if self.state.waits_forever:
            with contextlib.suppress(UserError):
                slurm.cancel(self.job.job_id)
            return self._failure(f"Slurm would never run it ({self.state.reason}); it was taken from the queue")
        if self.over_since is None or time.monotonic() - self.over_since < LATE:
            return None
        launcher = self.run.config.hydra.launcher
        limits = {
            "TIMEOUT": f"past its time limit (hydra.launcher.timeout_min={launcher.timeout_min})",
            "OUT_OF_MEMORY": f"took more memory than hydra.launcher.mem_gb={launcher.mem_gb}",
        }
        why = limits.get(self.state.state, f"Slurm job {self.job.job_id} ended without a result ({self.state.state})")
        if not self.job.paths.stdout.is_file():
            where = self.state.nodes or "its node"
            why += f": {where} wrote nothing to {self.job.paths.folder}; do the nodes share that folder?"
        return self._failure(why)

    def _failure(self, why: str) -> JobOutcome:
        return JobOutcome(self.run.name, failure=why, log=str(self.job.paths.stderr))


class SlurmLauncher(SweepLauncher):
    """A Slurm job for each run.

    Args:
        settings: see `conf/hydra/launcher/slurm.yaml`.
    """

    trial_seconds = 0.2
    is_remote = True

    def __init__(self, **settings: Any):
        self.settings: dict[str, Any] = {key: plain(value) for key, value in settings.items()}
        self.folder = Path(settings["submitit_folder"]).absolute()
        self.submitted: list[SubmittedRun] = []

    def check(self) -> None:
        for key, least in LEAST.items():
            if self.settings[key] is not None:
                check_number(f"hydra.launcher.{key}", self.settings[key], int, least)
        delay, minutes = self.settings["signal_delay_s"], self.settings["timeout_min"]
        if delay >= 60 * minutes:
            raise UserError(
                f"hydra.launcher.signal_delay_s={delay}: a run would get the signal to end before it starts; it has "
                f"{60 * minutes} seconds (hydra.launcher.timeout_min={minutes})"
            )
        files.check_writable(self.folder, "name another folder with hydra.launcher.submitit_folder=")
        if self.settings["nodes"] != 1 or self.settings["tasks_per_node"] != 1:
            raise UserError("hydra.launcher.nodes and tasks_per_node are 1: a run is one task, on one machine")
        slurm.check(self.settings)

    def limit(self, concurrency: Concurrency, runs: int) -> Concurrency:
        return Concurrency(min(self.settings["array_parallelism"], runs), 1)

    def interrupted(self) -> str:
        jobs = " ".join(sorted({each.job.job_id.split("_")[0] for each in self.submitted}))
        return f"interrupted: the jobs continue, and the same command waits for them again; scancel {jobs} ends them"

    def run_all(self, runs: Sequence[PlannedRun], concurrency: Concurrency) -> None:
        for run in (run for run in runs if run.finished):  # it only says so, or why it is another run
            self.started(run)
            self.ended(run, do_job(self.task_function, run.config, 1))
        # interrupted between sbatch and the note of its answer, jobs would be lost
        with interrupt_held_back(), filelock.FileLock(self.folder / ".lock"):
            self.submitted = self._find_or_submit([run for run in runs if not run.finished])
        self._wait()

    def _find_or_submit(self, runs: Sequence[PlannedRun]) -> list[SubmittedRun]:
        """Find the jobs of a command that was interrupted, or that still waits; submit the others, as one array."""
        known = slurm.jobs()
        found = []
        for run in runs:
            path = self.folder / f"{run.name}.json"
            note = json.loads(path.read_text()) if path.is_file() else {"job": ""}
            if note["job"] in known and note["run"] == str(run.folder) and not known[note["job"]].is_over:
                found.append(SubmittedRun(run, submitit.SlurmJob(note["folder"], note["job"])))
                say(f"{run.name} is Slurm job {note['job']} already")
        new = [run for run in runs if run not in [each.run for each in found]]
        if not new:
            return found
        executor = self._executor()
        try:
            jobs = executor.submit_array([Task(self.task_function, run.config) for run in new])
        except RuntimeError as error:  # submitit raises nothing else
            raise UserError(f"Slurm did not take the jobs: {str(error).strip().splitlines()[-1]}") from error
        for run, job in zip(new, jobs, strict=True):
            note = {"run": str(run.folder), "job": job.job_id, "folder": str(executor.folder)}
            files.write_json(self.folder / f"{run.name}.json", note)
        plural = "s" * (len(new) > 1)
        say(f"submitted to Slurm: {len(new)} job{plural}, {jobs[0].job_id.split('_')[0]}")
        return [*found, *(SubmittedRun(run, job) for run, job in zip(new, jobs, strict=True))]

    def _executor(self) -> submitit.AutoExecutor:
        """submitit's executor, with a folder for each submission, because Slurm reuses job numbers."""
        own = {"submitit_folder", "max_num_timeout"}
        values = {key: value for key, value in self.settings.items() if value is not None and key not in own}
        if "cpus_per_task" in values:  # srun does not take it from sbatch since Slurm 22.05
            values["srun_args"] = [f"--cpus-per-task={values['cpus_per_task']}"]
        values["name"] = values["name"] or Path(self.config.hydra.sweep.dir).name
        folder = self.folder / f"{datetime.datetime.now():%Y-%m-%d_%H-%M-%S}"
        limit = self.settings["max_num_timeout"]
        executor = submitit.AutoExecutor(folder, cluster="slurm", slurm_max_num_timeout=limit)
        names = {key: key if key in SHARED_KEYS else f"slurm_{key}" for key in values}
        executor.update_parameters(**{names[key]: value for key, value in values.items()})
        return executor

    def _wait(self) -> None:
        asked = -ASK
        left = list(self.submitted)
        while left:
            if time.monotonic() - asked >= ASK:
                asked = time.monotonic()
                with contextlib.suppress(UserError):  # a controller that is away comes back
                    known = slurm.jobs()
                    for each in left:
                        self._look(each, known.get(each.job.job_id, slurm.GONE))
            for each in list(left):
                outcome = each.outcome()
                for line in each.new_lines():
                    say(f"{each.run.name} | {line}")
                if outcome is not None:
                    left.remove(each)
                    self._start_once(each)
                    self.ended(each.run, outcome)
            time.sleep(LOOK)

    def _look(self, each: SubmittedRun, seen: slurm.JobState) -> None:
        """Note how a run's job is, and say what is new."""
        each.over_since = (each.over_since or time.monotonic()) if seen.is_over else None
        if seen.is_running and not each.is_running:
            self._start_once(each)
            each.is_running, each.is_waiting = True, False
            say(f"{each.run.name} | runs as Slurm job {each.job.job_id} on {seen.nodes}")
        elif seen.waits:
            if not each.is_waiting and seen.reason != "None":  # a reason that changes while it waits is no news
                state = "requeued" if each.has_started else "waits in Slurm's queue"
                say(f"{each.run.name} | {state} ({seen.reason})")
                each.is_waiting = True
            each.is_running = False
        each.state = seen

    def _start_once(self, each: SubmittedRun) -> None:
        if not each.has_started:
            self.started(each.run)
            each.has_started = True
