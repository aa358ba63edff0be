"""Seconds of speech decoded per second: building the pool beside plain decoding of the same files."""

import tempfile
import time
from pathlib import Path

import joblib
import soundfile

from speaker_count.data.datamodule import ClipDataModule
from speaker_count.data.pool import Pool
from speaker_count.data.pool_builder import build
from tests.benchmarks.peers import Measure, Row, compare, on_cores
from tests.benchmarks.streaming import paths

ROUNDS = 5


def rows(data: ClipDataModule) -> list[Row]:
    """Compare builds of the pool with plain decoding.

    Args:
        data: set up.
    """
    assert isinstance(data.pool, Pool)
    listed = data.source.index()
    files = paths(data)
    seconds = data.pool.frames.sum() / data.sample_rate

    def built(cores: int) -> Measure:
        def measure() -> float:
            with tempfile.TemporaryDirectory(dir=data.cache) as folder, on_cores(cores):
                begin = time.perf_counter()
                build(listed, Path(folder), data.sample_rate)
                return seconds / (time.perf_counter() - begin)

        return measure

    def decoded() -> float:
        with on_cores(1):
            begin = time.perf_counter()
            for path in files:
                soundfile.read(path, dtype="int16")
            return seconds / (time.perf_counter() - begin)

    unit = "times real time"
    lines = compare("pool", unit, {"build on one core": built(1), "soundfile, plain decoding": decoded}, ROUNDS)
    if joblib.cpu_count() > 1:
        lines += compare("pool", unit, {"build on two cores": built(2), "build on one core": built(1)}, ROUNDS)
    return lines
