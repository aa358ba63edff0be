"""Processes that runs are computed in: forked from one that has imported what a run needs, which takes seconds."""

import multiprocessing
import os
import signal
import sys
import threading
import time
from multiprocessing import forkserver

METHOD = "spawn" if sys.platform == "win32" else "forkserver"
PATIENCE = 10  # seconds that a process has to end in
CONTEXT = multiprocessing.get_context(METHOD)


def begin() -> None:
    """Start the one that is forked from, if it is not there yet. It imports while its parent does something else, and
    ends with it.
    """
    if METHOD == "forkserver":
        forkserver.set_forkserver_preload(["speaker_count.train"])
        forkserver.ensure_running()


def end_with_parent(*signals: signal.Signals) -> None:
    """Let this process end when its parent is gone: it is nobody's any more. The signals come one after the other."""
    parent = multiprocessing.parent_process()

    def wait() -> None:
        parent.join()
        for number in signals:
            os.kill(os.getpid(), number)
            time.sleep(PATIENCE)

    threading.Thread(target=wait, daemon=True).start()


def told(code: int) -> str:
    """A process's exit code, in words."""
    if code >= 0:
        return f"ended with exit code {code}"
    name = signal.Signals(-code).name
    return f"killed ({name}{', perhaps for want of memory' if name == 'SIGKILL' else ''})"
