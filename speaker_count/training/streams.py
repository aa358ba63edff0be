"""The standard streams, which may be closed, be read by nobody any more, or lead to a full disk."""

import os
import sys

ERROR_STREAM = 2  # its descriptor


def open_closed() -> None:
    """Open each stream that is closed (`>&-`), to nowhere. A file that is opened later would get its number, and
    whatever libraries print would be written into it.
    """
    for descriptor, name in enumerate(("stdin", "stdout", "stderr")):
        if getattr(sys, name) is None:
            os.open(os.devnull, os.O_RDWR)  # takes the lowest free number, which is the stream's
            setattr(sys, name, os.fdopen(descriptor, "w" if descriptor else "r", closefd=False))


def hush_libraries() -> None:
    """Keep the error stream for this process's own lines. What libraries in C write there by themselves goes nowhere:
    libmpg123 on a cut file, ALSA where there is no sound card.
    """
    try:
        is_error_stream = sys.stderr.fileno() == ERROR_STREAM
    except (OSError, ValueError):  # it is no file, as in a notebook
        return
    if is_error_stream:
        sys.stderr.flush()
        own, encoding, errors = os.dup(ERROR_STREAM), sys.stderr.encoding, sys.stderr.errors
        sys.stderr = os.fdopen(own, "w", buffering=1, encoding=encoding, errors=errors)
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, ERROR_STREAM)
        os.close(nowhere)


def say(text: str) -> None:
    """Print a line at once. A run or a sweep continues where its output is not taken."""
    try:
        print(text, flush=True)
    except OSError:
        let_go()


def let_go() -> None:
    """Forget what the output does not take, and send the rest to nowhere: Python would try again when it ends, and show
    a traceback.
    """
    try:
        sys.stdout.flush()
    except OSError:
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, sys.stdout.fileno())
        os.close(nowhere)


def is_read() -> bool:
    """Whether there is still somebody, such as a terminal or a pager, to read the output."""
    try:
        print(flush=True)
    except BrokenPipeError:
        return False
    return True
