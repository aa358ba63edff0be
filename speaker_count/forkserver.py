"""The process that a sweep's jobs are forked from, once it has imported what a run needs, which takes seconds."""

import sys
from multiprocessing import forkserver

METHOD = "spawn" if sys.platform == "win32" else "forkserver"


def begin() -> None:
    """Start it, if it is not there yet. It imports while its parent does something else, and ends with it."""
    if METHOD == "forkserver":
        forkserver.set_forkserver_preload(["speaker_count.train"])
        forkserver.ensure_running()
