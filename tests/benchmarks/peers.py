"""Measurements of peers in turns: the speed of a shared machine drifts, but for all peers alike."""

import contextlib
import os
import pickle
import statistics
from collections.abc import Callable, Iterator, Sequence
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import torch

from speaker_count.training.memory import peak_memory_bytes, reset_peak_memory
from speaker_count.training.processes import CONTEXT

Measure = Callable[[], float]
Row = dict[str, Any]


def compare(what: str, unit: str, peers: dict[str, Measure], rounds: int, less_is_better: bool = False) -> list[Row]:
    """Compare ours, which is the first of the peers, with each other peer.

    A figure is the median of the rounds, a ratio the median of the rounds' ratios; above 1, ours is better.
    """
    measured: dict[str, list[float]] = {name: [] for name in peers}
    peak: dict[str, int] = {}
    for _ in range(rounds):
        for name, measure in peers.items():
            reset_peak_memory()
            measured[name].append(measure())
            peak[name] = max(peak.get(name, 0), peak_memory_bytes())
    (ours, figures), *others = measured.items()
    rows = []
    for name, others_figures in others:
        ratios = [b / a if less_is_better else a / b for a, b in zip(figures, others_figures, strict=True)]
        rows.append(
            {
                **row(f"{what}: {ours}", statistics.median(figures), unit, peak[ours]),
                "peer": name,
                "theirs": statistics.median(others_figures),
                "ratio": statistics.median(ratios),
            }
        )
    return rows


def row(what: str, figure: float, unit: str, peak_bytes: int | None = None) -> Row:
    """A figure without a peer."""
    return {
        "what": what,
        "ours": figure,
        "unit": unit,
        "peak_bytes": peak_bytes,
        "peer": "",
        "theirs": None,
        "ratio": None,
    }


@contextlib.contextmanager
def apart(measure: Measure) -> Iterator[Measure]:
    """The same measurement in a process of its own, with one thread and the system's default handling of memory.

    Args:
        measure: can be pickled.
    """
    here, remote = CONTEXT.Pipe()
    # as bytes: each tensor would take a file descriptor
    process = CONTEXT.Process(target=_answer, args=(pickle.dumps(measure), remote), daemon=True)
    process.start()

    def asked() -> float:
        here.send(None)
        return here.recv()

    yield asked
    process.terminate()
    process.join()


def _answer(pickled: bytes, asks: Connection) -> None:
    measure: Measure = pickle.loads(pickled)
    torch.set_num_threads(1)
    while True:
        asks.recv()
        asks.send(measure())


@contextlib.contextmanager
def on_cores(number: int) -> Iterator[None]:
    """Keep this thread, and the threads that it starts, on this number of cores (Linux; elsewhere on all cores)."""
    if not hasattr(os, "sched_setaffinity"):
        yield
        return
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, sorted(before)[-number:])
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def with_speech_at_hand(overrides: Sequence[str]) -> list[str]:
    """The overrides; without `data` among them, real speech where LibriSpeech is on this machine, else data=demo."""
    if any(override.startswith("data=") for override in overrides):
        return list(overrides)
    near = Path(__file__).parents[3] / "shared" / "librispeech-sample"
    if "LIBRISPEECH" not in os.environ and near.is_dir():
        os.environ["LIBRISPEECH"] = str(near)
    return [*overrides, "data=librispeech_sample" if "LIBRISPEECH" in os.environ else "data=demo"]
