"""How many jobs of a sweep fit on this machine at a time, and the memory that they have."""

import contextlib
import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import joblib
import torch

CGROUPS = Path("/sys/fs/cgroup")
# by what a line of /proc/self/cgroup calls them, in version 2 and in version 1: limit, use, what of it is cache
MEMORY_GROUPS = {
    "": ("memory.max", "memory.current", "inactive_file"),
    "memory": ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"),
}


class Concurrency(NamedTuple):
    """How many jobs run at a time, and how many threads each may take; `note`: why there are fewer jobs than cores."""

    jobs: int
    threads: int
    note: str = ""


def concurrency(
    runs: int,
    jobs: int | None = None,
    threads: int | None = None,
    job_bytes: int = 0,
    ranks: int = 1,
    to_do: int | None = None,
) -> Concurrency:
    """One job of one thread for each core: on a CPU, small nets gain little from more threads. In a sweep of fewer runs
    than cores, each may take more; on an accelerator, they run one after the other.

    The threads depend on what the sweep is, not on what is left of it nor on free memory: a sweep that was interrupted
    ends as an undisturbed one.

    Args:
        runs: of the sweep.
        jobs, threads: as the user wants it; None: as the machine allows.
        job_bytes: memory that each needs.
        ranks: of each; they share its threads.
        to_do: how many of the runs are not finished; None: all.
    """
    cores = joblib.cpu_count()  # it heeds affinity and the control group's quota
    wanted = jobs or (1 if torch.accelerator.is_available() else cores // (threads or ranks))
    wanted = max(1, min(wanted, runs))
    threads = threads or max(1, cores // wanted)
    wanted = wanted if to_do is None else max(1, min(wanted, to_do))
    free = free_memory()
    if not job_bytes or free is None:
        return Concurrency(wanted, threads)
    fit = max(1, min(wanted, free // job_bytes))
    note = ""
    if fit < wanted or free < job_bytes:
        note = (
            f"memory: a job needs about {job_bytes / 1e9:.1f} GB and {free / 1e9:.1f} GB are free: "
            f"{fit} at a time, not {wanted}" + ("" if free >= job_bytes else "; even that may be too many")
        )
    return Concurrency(fit, threads, note)


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
                free += free_in_groups(CGROUPS / controllers / path.lstrip("/"), *MEMORY_GROUPS[controllers])
    return max(0, min(free)) if free else None


def free_in_groups(group: Path, limit: str, used: str, reclaimable: str) -> Iterator[int]:
    """Bytes that are free in a control group, and in each one around it that has a limit."""
    for folder in (group, *group.parents):
        with contextlib.suppress(OSError, ValueError):  # the outermost has no limit, others may have "max"
            most, now = (int((folder / name).read_text()) for name in (limit, used))
            yield most - now + sum(_numbers(folder / "memory.stat", reclaimable))


def _numbers(path: Path, name: str) -> list[int]:
    return [int(number) for number in re.findall(rf"^{name}:?\s+(\d+)", path.read_text(), re.MULTILINE)]
