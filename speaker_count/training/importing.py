"""The imports that take seconds: torch and Lightning."""

import contextlib
import gc
import sys
from collections.abc import Iterator


@contextlib.contextmanager
def importing() -> Iterator[None]:
    """While they are imported, say so in a terminal, and collect no garbage: among a million objects that all stay, it
    takes a quarter of the time. Later collections leave these objects out, too, and forked processes share them.
    """
    if "torch" in sys.modules:
        yield
        return
    if sys.stderr.isatty():
        print("loading ...", file=sys.stderr)
    gc.disable()
    try:
        yield
        gc.freeze()
    finally:
        gc.enable()
