"""The memory of this process: how much it took at most, and how it keeps what a step frees."""

import contextlib
import ctypes
import os
import re
import resource
import sys
from pathlib import Path

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3  # of mallopt(3)


def keep_freed_memory() -> None:
    """Keep the memory that a step frees for the next step (glibc; elsewhere this does nothing).

    Else every step returns tens of megabytes to the system and takes them again, a page fault each 4 KB: a fifth of a
    small net's step, and more where processes do it side by side. The peak memory of a run stays the same.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None) if os.name == "posix" else None
    if mallopt is not None:
        for parameter in (M_TRIM_THRESHOLD, M_MMAP_THRESHOLD):
            mallopt(parameter, 2**31 - 1)


def reset_peak_memory() -> None:
    """Measure the peak anew from here, where the system can (Linux): some runs share a process."""
    with contextlib.suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")


def peak_memory_bytes() -> int:
    """The peak of resident memory since `reset_peak_memory`; elsewhere than on Linux, since the process began."""
    with contextlib.suppress(OSError):
        line = re.search(r"VmHWM:\s*(\d+) kB", Path("/proc/self/status").read_text())
        if line is not None:
            return int(line[1]) * 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
