"""How many of a sweep's jobs this machine can run side by side, and how each holds its memory."""

import contextlib
import ctypes
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import torch

CGROUPS = Path("/sys/fs/cgroup")
# by what a line of /proc/self/cgroup calls them, in version 2 and in version 1: limit, use, what of it is cache
MEMORY_GROUPS = {
    "": ("memory.max", "memory.current", "inactive_file"),
    "memory": ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"),
}


M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3  # of mallopt(3)


class Room(NamedTuple):
    """So many jobs at a time, with so many threads each; `told` says why it is not more of them, where it is fewer."""

    jobs: int
    threads: int
    told: str = ""


def room(
    jobs: int, at_once: int | None = None, threads: int | None = None, job_bytes: int = 0, processes: int = 1
) -> Room:
    """Room for jobs of one thread each on every core: on a CPU, small nets gain little from more threads. With fewer
    jobs than cores, each takes more threads; on an accelerator, they run one after the other.

    Args:
        jobs: how many there are to be done.
        at_once, threads: as the user wants it; None: as the machine allows.
        job_bytes: memory that each needs.
        processes: of each; they share its threads.
    """
    own = cores()
    wanted = at_once or (1 if torch.accelerator.is_available() else own // (threads or processes))
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
        free += [1024 * kilobytes for kilobytes in _numbers(Path("/proc/meminfo"), "MemAvailable")]
        for line in Path("/proc/self/cgroup").read_text().splitlines():
            _, controllers, path = line.split(":", 2)
            if controllers in MEMORY_GROUPS:
                free += _free_in_groups(CGROUPS / controllers / path.lstrip("/"), *MEMORY_GROUPS[controllers])
    return max(0, min(free)) if free else None


def _free_in_groups(group: Path, limit: str, used: str, reclaimable: str) -> Iterator[int]:
    for folder in (group, *group.parents):
        with contextlib.suppress(OSError, ValueError):  # the outermost has no limit, others may have "max"
            most, now = (int((folder / name).read_text()) for name in (limit, used))
            yield most - now + sum(_numbers(folder / "memory.stat", reclaimable))


def _numbers(path: Path, name: str) -> list[int]:
    return [int(number) for number in re.findall(rf"^{name}:?\s+(\d+)", path.read_text(), re.MULTILINE)]


def keep_freed_memory() -> None:
    """Let this process keep the memory that a step frees, for the next step (glibc; elsewhere nothing happens).

    Else every step gives back tens of megabytes and gets them again, a page fault each 4 KB: a fifth of a small net's
    step, and more where processes do it side by side. The most memory that a run holds stays the same.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None) if os.name == "posix" else None
    if mallopt is not None:
        for parameter in (M_TRIM_THRESHOLD, M_MMAP_THRESHOLD):
            mallopt(parameter, 2**31 - 1)
