"""What Slurm says, by its own commands."""

import re
import shutil
import subprocess
import tempfile
from typing import NamedTuple

from speaker_count.errors import UserError

RUNNING = {"RUNNING", "SUSPENDED", "STOPPED"}
WAITING = {"PENDING", "REQUEUED", "REQUEUE_HOLD", "REQUEUE_FED", "SPECIAL_EXIT"}
BETWEEN = {"UNKNOWN", "CONFIGURING", "COMPLETING", "STAGE_OUT", "RESIZING", "SIGNALING", "PREEMPTED"}
FOREVER = {"PartitionTimeLimit", "DependencyNeverSatisfied"}  # others end when a node comes back


class Job(NamedTuple):
    """A job as squeue tells it: its state, why it waits, where it runs."""

    state: str
    reason: str = "None"
    nodes: str = ""

    @property
    def is_running(self) -> bool:
        return self.state in RUNNING

    @property
    def waits(self) -> bool:
        return self.state in WAITING

    @property
    def waits_forever(self) -> bool:
        return self.waits and self.reason in FOREVER

    @property
    def is_over(self) -> bool:
        return self.state not in RUNNING | WAITING | BETWEEN


UP = {"idle", "mixed", "allocated", "completing", "reserved", "planned"}  # of nodes
UNKNOWN, GONE = Job("UNKNOWN"), Job("GONE")  # before it was asked for, and when Slurm has forgotten it


def jobs() -> dict[str, Job]:
    """The user's jobs, by their numbers; sacct would know more, but needs a data base."""
    lines = _answer("squeue", "--me", "-r", "-h", "-t", "all", "-o", "%i|%T|%r|%N").splitlines()
    return {number: Job(*rest) for number, *rest in (line.strip().split("|") for line in lines)}


def cancel(job: str) -> None:
    """Take a job from the queue, or end it."""
    _answer("scancel", job)


def check(script: str) -> None:
    """See that Slurm would take a job; while nodes are away, it cannot tell, and the job is left to wait for them.

    Raises:
        UserError: it would not.
    """
    states = {re.match("[a-z]*", state)[0] for state in _answer("sinfo", "-h", "-o", "%T").splitlines()}
    if states - UP:
        return
    with tempfile.NamedTemporaryFile("w", suffix=".sh") as file:
        file.write(script)
        file.flush()
        _answer("sbatch", "--test-only", file.name)


def time_limit(partitions: str | None) -> float:
    """The minutes that a partition, or the most generous of several (`a,b`), allows a job; None: the default one.

    Raises:
        UserError: there is no partition of that name.
    """
    lines = _answer("sinfo", "-a", "-h", "-o", "%P|%l").splitlines()
    limits = {name: minutes(limit) for name, limit in (line.split("|") for line in lines)}
    by_name = {name.rstrip("*"): limit for name, limit in limits.items()}
    if partitions is None:
        return max((limit for name, limit in limits.items() if name.endswith("*")), default=float("inf"))
    unknown = [name for name in partitions.split(",") if name not in by_name]
    if unknown:
        raise UserError(f"hydra.launcher.partition={partitions}: Slurm has {', '.join(by_name)}")
    return max(by_name[name] for name in partitions.split(","))


def minutes(limit: str) -> float:
    """A time limit as Slurm writes it: days-hours:minutes:seconds, of which the first ones may be missing."""
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
            f"hydra/launcher=slurm: there is no Slurm on this machine (no {command[0]}); on this machine alone, "
            "hydra/launcher=processes runs a sweep's jobs side by side"
        )
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        said = [line for line in done.stderr.splitlines() if line.strip()] or [f"exit code {done.returncode}"]
        why = said[-1].removeprefix(f"{command[0]}: ").removeprefix("error: ").removeprefix("allocation failure: ")
        raise UserError(f"Slurm says no ({command[0]}): {why}; what is asked for is in hydra.launcher")
    return done.stdout
