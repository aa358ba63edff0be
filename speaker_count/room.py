"""How many of a sweep's jobs this machine can run side by side."""

import contextlib
import os
import re
from pathlib import Path
from typing import NamedTuple

import torch

CGROUPS = Path("/sys/fs/cgroup")


class Room(NamedTuple):
    """So many jobs at a time, with so many threads each; `told` says why it is not more of them, where it is fewer."""

    jobs: int
    threads: int
    told: str = ""


def room(jobs: int, at_once: int | None = None, threads: int | None = None, job_bytes: int = 0) -> Room:
    """Room for jobs of one thread each on every core: on a CPU, small nets gain little from more threads. With fewer
    jobs than cores, each takes more threads; on an accelerator, they run one after the other.

    Args:
        jobs: how many there are to be done.
        at_once, threads: as the user wants it; None: as the machine allows.
        job_bytes: memory that each needs.
    """
    own = cores()
    wanted = at_once or (1 if torch.accelerator.is_available() else own // (threads or 1))
    wanted = max(1, min(wanted, jobs))
    free = free_memory()
    held = max(1, min(wanted, free // job_bytes)) if job_bytes and free is not None else wanted
    told = ""
    if held < wanted or (job_bytes and free is not None and free < job_bytes):
        told = (
            f"memory: a job needs about {job_bytes / 1e9:.1f} GB and {free / 1e9:.1f} GB are free: "
            f"{held} at a time, not {wanted}" + ("" if free >= job_bytes else "; even that may be too many")
        )
    return Room(held, threads or max(1, own // held), told)


def cores() -> int:
    """Those that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def free_memory() -> int | None:
    """Bytes that processes can still take here, by the system and by the control groups (Linux) that this process is
    in; None where the system does not say.
    """
    free = []
    with contextlib.suppress(OSError):
        free += [1024 * int(kilobytes) for kilobytes in _numbers(Path("/proc/meminfo"), "MemAvailable")]
    with contextlib.suppress(OSError):
        group = CGROUPS / Path("/proc/self/cgroup").read_text().rpartition("::")[2].strip().lstrip("/")
        for folder in (group, *group.parents):
            with contextlib.suppress(OSError, ValueError):  # of the outermost there is no limit, of others "max"
                limit, used = (int((folder / f"memory.{name}").read_text()) for name in ("max", "current"))
                free.append(limit - used + sum(_numbers(folder / "memory.stat", "inactive_file")))
    return max(0, min(free)) if free else None


def _numbers(path: Path, name: str) -> list[int]:
    return [int(number) for number in re.findall(rf"^{name}:?\s+(\d+)", path.read_text(), re.MULTILINE)]
