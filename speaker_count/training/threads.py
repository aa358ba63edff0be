"""With how many CPU threads a run computes: chosen once, and noted in its folder.

Sums over another number of threads are rounded otherwise, and the weights differ: a run keeps its number, also when it
resumes on another machine.
"""

import contextlib
import json
import logging
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import torch

from speaker_count import files
from speaker_count.data.datamodule import ClipDataModule
from speaker_count.errors import UserError, check_number
from speaker_count.training import ddp
from speaker_count.training.recipe import Recipe
from speaker_count.training.throughput import Throughput, measure

log = logging.getLogger(__name__)
NOTE = "threads.json"
MOST = 1024  # more are a mistake, and the system may refuse them
LEAST_CLIPS = 2000  # no trial for a training on fewer clips: it would take as long
TRIAL_SECONDS = 0.25  # with each number of threads; longer where three steps take longer
GAIN = 1.2  # how much faster several threads must be: when a core is busy, they wait for each other


def check(threads: object) -> None:
    """Check a number of threads from a config; None is one, too.

    Raises:
        UserError: it is none.
    """
    if threads is not None:
        check_number("threads", threads, int, 1)
        if not isinstance(threads, int) or threads > MOST:
            raise UserError(f"threads={threads}: at most {MOST}")


def noted(folder: Path) -> int | None:
    """With how many threads a run began; None where its folder does not say."""
    with contextlib.suppress(OSError, ValueError, TypeError, KeyError, RecursionError, UserError):
        threads = json.loads((folder / NOTE).read_text())["threads"]
        check(threads)
        return int(threads)
    return None


def fastest(measured: Callable[[float], Throughput], seconds: float) -> tuple[int, dict[int, Throughput]]:
    """Try one thread, and as many as torch has now.

    Args:
        measured: measures the throughput for so many seconds, or for a few steps.
        seconds: with each number of threads.

    Returns:
        The better number of threads, and the throughput with each.
    """
    most = torch.get_num_threads()
    rates = {}
    for threads, duration in ((1, 0.0), (most, seconds), (1, seconds)):  # what is measured first is slow
        with using(threads):
            rates[threads] = measured(duration)
    return most if rates[most].train > GAIN * rates[1].train else 1, rates


@contextlib.contextmanager
def using(threads: int | None) -> Iterator[None]:
    """Compute with so many threads for a while; None: with as many as before."""
    before = torch.get_num_threads()
    torch.set_num_threads(threads or before)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def settle(recipe: Recipe, data: ClipDataModule, folder: Path, ranks: int) -> int:
    """The number of threads of a run, which its folder notes from now on.

    It is the config's; else the one noted; else one, or as many as torch has, if a short trial is faster with them.
    Several ranks share torch's threads without a trial.
    """
    wanted, before = recipe.values["threads"], noted(folder)
    rates: dict[int, Throughput] = {}
    threads = wanted or before
    if threads is None:
        threads = torch.get_num_threads()
        if threads > 1 and ranks == 1 and ddp.is_on_cpu(recipe.values["trainer"]):
            threads, rates = _tried(recipe, data)
    if threads != before:
        trained = {str(number): round(rate.train, 1) for number, rate in rates.items()}
        files.write_json(folder / NOTE, {"threads": threads, "clips_per_second": trained})
        if trained:
            found = ", ".join(f"{rate:.0f} clips/s with {number}" for number, rate in trained.items())
            log.info("threads=%s: in a short trial, the net trained on %s", threads, found)
    return threads


def _tried(recipe: Recipe, data: ClipDataModule) -> tuple[int, dict[int, Throughput]]:
    if recipe.values["trainer"]["max_epochs"] * data.mix.clips["train"] >= LEAST_CLIPS:
        with contextlib.suppress(Exception):  # what is wrong with a net, the run itself says
            measured = partial(measure, recipe.module(), recipe, data, evaluated=False)
            return fastest(measured, TRIAL_SECONDS)
    return 1, {}
