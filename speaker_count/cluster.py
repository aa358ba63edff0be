"""Hydra's launcher of `hydra/launcher=slurm`: each run of a sweep is a Slurm job; submitit submits them, all at once.

The command waits for them. Slurm is asked by squeue, which answers on every cluster (sacct needs a data base), and how
a run gets on is read from its log. A run that Slurm ends before its time, or whose node dies, waits in the queue again
and goes on from its last checkpoint.
"""

import contextlib
import datetime
import json
import logging
import signal
import socket
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import filelock
import submitit
from hydra.core.utils import JobReturn
from hydra.plugins.launcher import Launcher
from hydra.types import HydraContext, TaskFunction
from hydra_plugins.hydra_submitit_launcher.config import BaseQueueConf
from omegaconf import DictConfig, OmegaConf, open_dict
from submitit.core.utils import FailedJobError, pickle_load
from submitit.helpers import DelayedSubmission

from speaker_count import slurm
from speaker_count.errors import UserError, check_number
from speaker_count.launcher import do, findable, is_of, job_config, returned
from speaker_count.results import record

LOOK, ASK = 0.5, 5.0  # seconds between looks at files, and between questions to Slurm
LEAST = {
    "timeout_min": 1,
    "signal_delay_s": 1,
    "max_num_timeout": 0,
    "array_parallelism": 1,
    "cpus_per_task": 1,
    "gpus_per_node": 0,
    "mem_gb": 1,
}
LATE = 15.0  # seconds until what a node wrote is seen here
# of hydra-submitit-launcher's keys, those that submitit knows on other clusters too
COMMON_KEYS = OmegaConf.structured(BaseQueueConf).keys()
TOO_OFTEN = "timed-out too many times"  # submitit says


class Task:
    """A run, as it is done on a node; submitit pickles it."""

    def __init__(self, task: TaskFunction, config: DictConfig):
        self.task, self.config, self.submitted = task, config, time.time()

    def __call__(self) -> Any:
        logging.getLogger("submitit").propagate = False  # it has a handler of its own
        signal.signal(signal.SIGTERM, _wait_for_the_end)
        launcher = self.config.hydra.launcher
        begun = Path(self.config.hydra.runtime.output_dir, "identity.json")
        if begun.is_file() and begun.stat().st_mtime > self.submitted:
            self.config.force = False  # it moved the old folder aside already; what is there is its own
        value = do(self.task, self.config, launcher.cpus_per_task or 1)
        if TOO_OFTEN in value.get("failed", ""):
            value["failed"] = (
                f"past its time limit more often than hydra.launcher.max_num_timeout={launcher.max_num_timeout}"
            )
        if "failed" in value:
            value["failed"] += f" (on {socket.gethostname()})"
        return value

    def checkpoint(self) -> DelayedSubmission:
        """What is to be done when the job's time is up: the same; a run goes on by itself."""
        return DelayedSubmission(self)


def _wait_for_the_end(number: int, frame: Any) -> None:
    """Slurm sends SIGTERM to all processes of a job, W&B's among them, and then, perhaps minutes later, kills them: no
    run can go on in between, and one that ended by itself would not be queued again.
    """
    time.sleep(3600)
    sys.exit(128 + number)


class Run:
    """A run of a sweep, and its Slurm job."""

    def __init__(self, config: DictConfig, job: submitit.SlurmJob | None = None):
        self.config, self.job = config, job
        self.folder = Path(config.hydra.runtime.output_dir)
        self.job_is = slurm.UNKNOWN
        self.begun = self.is_running = self.waits = False
        self.over_since: float | None = None
        self.read = 0  # bytes of the log

    @property
    def name(self) -> str:
        return self.folder.name

    def news(self) -> list[str]:
        """What the run said since the last call: its own lines, without submitit's."""
        try:
            with open(self.job.paths.stdout, "rb") as log:
                log.seek(self.read)
                whole = log.read().rpartition(b"\n")[0]
        except OSError:
            return []
        self.read += len(whole) + 1 if whole else 0
        lines = whole.decode(errors="replace").splitlines()
        return [line for line in lines if line and not line.startswith("submitit ")]


@findable
class Slurm(Launcher):
    """A Slurm job for each run. Hydra's callbacks are called in this process.

    Args:
        seconds: how long each run is expected to take: the longest is the first in the queue. None: in their order.
        parameters: as `conf/hydra/launcher/slurm.yaml` tells them.
    """

    def __init__(self, seconds: Sequence[float] | None = None, **parameters: Any):
        self.seconds, self.parameters = seconds, parameters

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        self.hydra_context, self.task_function, self.config = hydra_context, task_function, config

    def launch(self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int) -> Sequence[JobReturn]:
        """What each run returned, in their order; `{"failed": why, "job": name, "log": path}` where Slurm ended it."""
        numbers = range(initial_job_idx, initial_job_idx + len(job_overrides))
        runs = [Run(job_config(self, *job)) for job in zip(numbers, job_overrides, strict=True)]
        runs.sort(key=lambda run: -self.seconds[run.config.hydra.job.num] if self.seconds else 0)
        ended: dict[int, JobReturn] = {}
        finished = [run for run in runs if (run.folder / "result.json").is_file() and not run.config.force]
        for run in finished:  # it only says so, or why it is another run
            self._ends(run, do(self.task_function, run.config, 1), ended)
        waiting = [run for run in runs if run not in finished]
        try:
            self._submit(waiting)
            self._wait(waiting, ended)
        except UserError as error:
            print(error, file=sys.stderr)
            sys.exit(2)
        except KeyboardInterrupt:
            jobs = " ".join(sorted({run.job.job_id.split("_")[0] for run in waiting if run.job}))
            print(
                f"interrupted: the jobs go on, and the same command waits for them again; scancel {jobs} ends them",
                file=sys.stderr,
            )
            sys.exit(128 + signal.SIGINT)
        return [ended[number] for number in numbers]

    def _submit(self, runs: Sequence[Run]) -> None:
        """Find the jobs of a command that was interrupted, or that is still there; submit the others, as one array."""
        noted = Path(self.config.hydra.launcher.submitit_folder).absolute()
        before = signal.signal(signal.SIGINT, signal.SIG_IGN)  # between sbatch and its note, jobs would be lost
        try:
            with filelock.FileLock(noted / ".lock"):
                self._find_or_submit(runs, noted)
        finally:
            signal.signal(signal.SIGINT, before)

    def _find_or_submit(self, runs: Sequence[Run], noted: Path) -> None:
        known = slurm.jobs()
        for run in runs:
            path = noted / f"{run.name}.json"
            before = json.loads(path.read_text()) if path.is_file() else {"job": None}
            if before["job"] in known and before["run"] == str(run.folder) and not known[before["job"]].is_over:
                run.job = submitit.SlurmJob(before["folder"], before["job"])
                print(f"{run.name} is Slurm job {run.job.job_id} already", flush=True)
        new = [run for run in runs if run.job is None]
        if not new:
            return
        executor = _executor(self.config.hydra)
        try:
            jobs = executor.submit_array([Task(self.task_function, run.config) for run in new])
        except FailedJobError as error:
            raise UserError(f"Slurm did not take the jobs: {str(error).strip().splitlines()[-1]}") from error
        for run, job in zip(new, jobs, strict=True):
            run.job = job
            note = {"run": str(run.folder), "job": job.job_id, "folder": str(executor.folder)}
            record.write_json(noted / f"{run.name}.json", note)
        print(f"submitted to Slurm: {len(new)} jobs, {jobs[0].job_id.split('_')[0]}", flush=True)

    def _wait(self, runs: Sequence[Run], ended: dict[int, JobReturn]) -> None:
        asked = -ASK
        left = list(runs)
        while left:
            if time.monotonic() - asked >= ASK:
                asked = time.monotonic()
                with contextlib.suppress(UserError):  # a controller that is away comes back
                    known = slurm.jobs()
                    for run in left:
                        self._look(run, known.get(run.job.job_id, slurm.GONE))
            for run in list(left):
                value = self._result(run)
                for line in run.news():
                    print(f"{run.name} | {line}", flush=True)
                if value is not None:
                    left.remove(run)
                    self._ends(run, value, ended)
            time.sleep(LOOK)

    def _look(self, run: Run, seen: slurm.Job) -> None:
        """Note how a run's job is, and say what is new."""
        run.over_since = (run.over_since or time.monotonic()) if seen.is_over else None
        if seen.is_running and not run.is_running:
            self._begins(run)
            run.is_running = True
            print(f"{run.name} | runs as Slurm job {run.job.job_id} on {seen.nodes}", flush=True)
            run.waits = False
        elif seen.waits:
            if not run.waits and seen.reason != "None":  # one that changes while it waits is nobody's news
                again = "again " if run.begun else ""
                print(f"{run.name} | waits {again}in Slurm's queue ({seen.reason})", flush=True)
                run.waits = True
            run.is_running = False
        run.job_is = seen

    def _result(self, run: Run) -> dict[str, Any] | None:
        """What a run returned, or why it never will; None: it is not at its end."""
        if run.job.paths.result_pickle.is_file():
            outcome, value = pickle_load(run.job.paths.result_pickle)
            return value if outcome == "success" else self._failed(run, value.strip().splitlines()[-1])
        if run.job_is.waits_forever:
            with contextlib.suppress(UserError):
                slurm.cancel(run.job.job_id)
            return self._failed(run, f"Slurm would never run it ({run.job_is.reason}); it was taken from the queue")
        if run.over_since is None or time.monotonic() - run.over_since < LATE:
            return None
        launcher = run.config.hydra.launcher
        limits = {
            "TIMEOUT": f"past its time limit (hydra.launcher.timeout_min={launcher.timeout_min})",
            "OUT_OF_MEMORY": f"took more memory than hydra.launcher.mem_gb={launcher.mem_gb}",
        }
        why = limits.get(run.job_is.state, f"Slurm job {run.job.job_id} ended without a result ({run.job_is.state})")
        if not run.job.paths.stdout.is_file():
            where = run.job_is.nodes or "its node"
            why += f": {where} wrote nothing to {run.job.paths.folder}; do the nodes share that folder?"
        return self._failed(run, why)

    def _failed(self, run: Run, why: str) -> dict[str, Any]:
        return {"failed": why, "job": run.name, "log": str(run.job.paths.stderr)}

    def _begins(self, run: Run) -> None:
        if not run.begun:
            self.hydra_context.callbacks.on_job_start(config=run.config, task_function=self.task_function)
            run.begun = True

    def _ends(self, run: Run, value: Any, ended: dict[int, JobReturn]) -> None:
        self._begins(run)
        done = ended[run.config.hydra.job.num] = returned(run.config, value)
        self.hydra_context.callbacks.on_job_end(config=run.config, job_return=done)


def is_asked(hydra: DictConfig) -> bool:
    """Whether a config's `hydra` node has this launcher."""
    return is_of(hydra.launcher, Slurm)


def settle(launcher: DictConfig, seconds: Sequence[float]) -> None:
    """Write into the config of `Slurm` how long each run is expected to take."""
    with open_dict(launcher):
        launcher.seconds = list(seconds)


def check(hydra: DictConfig) -> None:
    """See that Slurm would take a sweep's jobs, before anything is submitted.

    Args:
        hydra: the config's node of that name.

    Raises:
        UserError: it would not, or there is none.
    """
    launcher = hydra.launcher
    for key, least in LEAST.items():
        if launcher[key] is not None:
            check_number(f"hydra.launcher.{key}", launcher[key], int, least)
    if launcher.signal_delay_s >= 60 * launcher.timeout_min:
        raise UserError(
            f"hydra.launcher.signal_delay_s={launcher.signal_delay_s}: a run would be told to end before it "
            f"begins; it has {60 * launcher.timeout_min} seconds (hydra.launcher.timeout_min={launcher.timeout_min})"
        )
    folder = Path(launcher.submitit_folder).absolute()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=folder).close()
    except OSError as error:
        raise UserError(
            f"cannot write to {folder}: {error.strerror}; name another folder with hydra.launcher.submitit_folder="
        ) from error
    if launcher.nodes != 1 or launcher.tasks_per_node != 1:
        raise UserError("hydra.launcher.nodes and tasks_per_node are 1: a run is one task, on one machine")
    most = slurm.time_limit(launcher.partition)
    if launcher.timeout_min > most:
        raise UserError(
            f"hydra.launcher.timeout_min={launcher.timeout_min}: the partition allows {most:.0f}; with fewer, a run "
            "saves its state, waits in the queue again, and goes on"
        )
    slurm.check(_executor(hydra)._executor._make_submission_file_text("true", "check"))


def _executor(hydra: DictConfig) -> submitit.AutoExecutor:
    values = OmegaConf.to_container(hydra.launcher, resolve=True)
    # one for each submission: the numbers of jobs come again
    folder = Path(values.pop("submitit_folder")).absolute() / f"{datetime.datetime.now():%Y-%m-%d_%H-%M-%S}"
    often = values.pop("max_num_timeout")
    values.pop("seconds", None)
    if values["cpus_per_task"]:  # srun does not take it from sbatch since Slurm 22.05
        values["srun_args"] = [f"--cpus-per-task={values['cpus_per_task']}"]
    del values["_target_"]
    values["name"] = values["name"] or Path(hydra.sweep.dir).name
    executor = submitit.AutoExecutor(folder, cluster="slurm", slurm_max_num_timeout=often)
    executor.update_parameters(
        **{key if key in COMMON_KEYS else f"slurm_{key}": value for key, value in values.items() if value is not None}
    )
    return executor
