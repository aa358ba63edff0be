"""The processes that compute runs. They are forked from a server that has imported what a run needs, which takes
seconds.
"""

import functools
import multiprocessing
import os
import signal
import threading
import time
from typing import Final

METHOD: Final = "forkserver"
CONTEXT = multiprocessing.get_context(METHOD)
PRELOADED = "speaker_count.commands.preloaded"
PATIENCE = 10  # seconds that a process has to end in


@functools.cache
def start_server() -> None:
    """Start the server once, which imports while this process does something else, and ends with it."""
    os.environ["PYTHONSAFEPATH"] = "1"  # else the server would import files of the working directory first
    CONTEXT.set_forkserver_preload([PRELOADED])
    # its first process does nothing; starting it waits until the server has imported
    threading.Thread(target=CONTEXT.Process(target=os.getpid).start, daemon=True).start()


def end_with_parent(*signals: signal.Signals) -> None:
    """Send these signals to this process when its parent has ended, one after the other."""
    parent = multiprocessing.parent_process()
    if parent is None:
        return

    def wait() -> None:
        parent.join()
        for number in signals:
            os.kill(os.getpid(), number)
            time.sleep(PATIENCE)

    threading.Thread(target=wait, daemon=True).start()


def describe_exit_code(code: int | None) -> str:
    """A process's exit code, in words."""
    if code is None or code >= 0:
        return f"ended with exit code {code}"
    name = signal.Signals(-code).name
    return f"killed ({name}{', perhaps because memory ran out' if name == 'SIGKILL' else ''})"
