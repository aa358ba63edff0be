"""Slurm, by its own commands."""

import re
import shutil
import subprocess
from collections.abc import Mapping
from typing import Any, NamedTuple

from speaker_count.errors import UserError

RUNNING = {"RUNNING", "SUSPENDED", "STOPPED"}
WAITING = {"PENDING", "REQUEUED", "REQUEUE_HOLD", "REQUEUE_FED", "SPECIAL_EXIT"}
BETWEEN = {"UNKNOWN", "CONFIGURING", "COMPLETING", "STAGE_OUT", "RESIZING", "SIGNALING", "PREEMPTED"}
FOREVER = {"PartitionTimeLimit", "DependencyNeverSatisfied"}  # others end when a node comes back
UP = {"idle", "mixed", "allocated", "completing", "reserved", "planned"}  # of nodes
# of sbatch, by the launcher's keys
OPTIONS = {"partition": "--partition={}", "timeout_min": "--time={}", "mem_gb": "--mem={}G"}
OPTIONS |= {"cpus_per_task": "--cpus-per-task={}", "gpus_per_node": "--gpus-per-node={}"}


class JobState(NamedTuple):
    """A job as squeue shows it: its state, why it waits, where it runs."""

    state: str
    reason: str = "None"
    nodes: str = ""

    @property
    def is_running(self) -> bool:
        """Whether it is on a node."""
        return self.state in RUNNING

    @property
    def waits(self) -> bool:
        """Whether it is in the queue."""
        return self.state in WAITING

    @property
    def waits_forever(self) -> bool:
        """Whether it is in the queue and Slurm will never run it."""
        return self.waits and self.reason in FOREVER

    @property
    def is_over(self) -> bool:
        """Whether it has ended."""
        return self.state not in RUNNING | WAITING | BETWEEN


UNKNOWN, GONE = JobState("UNKNOWN"), JobState("GONE")  # before squeue was asked; when Slurm has forgotten the job


def jobs() -> dict[str, JobState]:
    """The user's jobs, by their numbers; sacct would know more, but needs a data base."""
    lines = _answer("squeue", "--me", "-r", "-h", "-t", "all", "-o", "%i|%T|%r|%N").splitlines()
    return {number: JobState(*rest) for number, *rest in (line.strip().split("|") for line in lines)}


def cancel(job: str) -> None:
    """Take a job from the queue, or end it."""
    _answer("scancel", job)


def check(wish: Mapping[str, Any]) -> None:
    """Check that Slurm would accept a job. While nodes are down, Slurm cannot tell, and the job waits for them.

    Args:
        wish: what the job asks for, by the launcher's keys.

    Raises:
        UserError: it would not.
    """
    lines = _answer("sinfo", "-a", "-h", "-o", "%P|%l").splitlines()
    limits = {name: minutes(limit) for name, limit in (line.split("|") for line in lines)}
    default = next((name for name in limits if name.endswith("*")), "")
    allowed = {name.rstrip("*"): limit for name, limit in limits.items()}
    wanted = (wish["partition"] or default.rstrip("*")).split(",")
    if wanted != [""] and not allowed.keys() >= set(wanted):
        raise UserError(f"hydra.launcher.partition={wish['partition']}: Slurm has {', '.join(allowed)}")
    most = max((allowed[name] for name in wanted if name), default=float("inf"))
    if wish["timeout_min"] > most:  # Slurm itself would queue such a job for ever
        raise UserError(
            f"hydra.launcher.timeout_min={wish['timeout_min']}: the partition allows {most:.0f}; with fewer, a run "
            "saves its state, is requeued, and resumes"
        )
    states = {re.sub("[^a-z].*", "", state) for state in _answer("sinfo", "-h", "-o", "%T").splitlines()}
    if states - UP:
        return
    options = [option.format(wish[key]) for key, option in OPTIONS.items() if wish.get(key) is not None]
    for key, value in (wish.get("additional_parameters") or {}).items():
        options += [f"--{key.replace('_', '-')}" + ("" if value is True else f"={value}")] * (value is not False)
    _answer("sbatch", "--test-only", *options, "--wrap=true")


def minutes(limit: str) -> float:
    """A time limit as Slurm writes it: days-hours:minutes:seconds; leading parts may be missing."""
    if not limit[:1].isdigit():
        return float("inf")  # "infinite"
    days, _, rest = limit.rpartition("-")
    hours, whole, seconds = ([0, 0, 0] + [int(part) for part in rest.split(":")])[-3:]
    return 1440 * int(days or 0) + 60 * hours + whole + seconds / 60


def _answer(*command: str) -> str:
    """What a command of Slurm's prints.

    Raises:
        UserError: it fails, or there is no Slurm.
    """
    if shutil.which(command[0]) is None:
        raise UserError(
            f"hydra/launcher=slurm: there is no Slurm on this machine (no {command[0]}); "
            "hydra/launcher=processes runs a sweep's jobs side by side on this machine"
        )
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        lines = [line for line in done.stderr.splitlines() if line.strip()] or [f"exit code {done.returncode}"]
        why = lines[-1].removeprefix(f"{command[0]}: ").removeprefix("error: ").removeprefix("allocation failure: ")
        raise UserError(f"Slurm refuses ({command[0]}): {why}; change the request with hydra.launcher.KEY=VALUE")
    return done.stdout
