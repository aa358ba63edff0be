"""Clips per second: streamed from the pool, beside other ways to the same clips."""

import tempfile
import time
from collections.abc import Iterable, Iterator
from functools import reduce
from pathlib import Path

import numpy as np
import soundfile

from speaker_count.data import corpus
from speaker_count.data.datamodule import ClipDataModule
from speaker_count.data.draws import permutation
from speaker_count.data.planning import Plan
from speaker_count.data.pool import Pool
from speaker_count.labels import FULL_SCALE
from tests.benchmarks.peers import Measure, Row, compare

STREAMED = 32_000  # clips per round
READ = 640  # clips per round of the slow ways
WRITTEN = 8_000  # clips as pre-mixed files
ROUNDS = 4


def rate(sizes: Iterable[int]) -> float:
    begin, total = time.perf_counter(), sum(sizes)
    return total / (time.perf_counter() - begin)


def rows(data: ClipDataModule) -> list[Row]:
    """On clips in the order of the loader's first epoch.

    Args:
        data: set up, with `STREAMED` training clips.
    """
    plan = data.clips["train"].plan_of(permutation(f"order/{data.seed}/0", STREAMED))
    with tempfile.TemporaryDirectory() as folder:
        peers = {
            "train_dataloader()": lambda: rate(len(batch["count"]) for batch in data.train_dataloader()),
            "bare loop over the samples": lambda: rate(bare(data, plan)),
            "pre-mixed WAV files": pre_mixed(data, plan, Path(folder)),
            "soundfile, seek and read in FLAC": from_flac(data, plan),
        }
        try:
            peers["lhotse, cuts mixed from FLAC"] = lhotse(data, plan)
        except ImportError:
            print("left out: lhotse is not installed; pip install -e .[bench]")
        return compare("streaming", "clips/s", peers, ROUNDS)


def bare(data: ClipDataModule, plan: Plan) -> Iterator[int]:
    """The formula without anything around it."""
    assert isinstance(data.pool, Pool)
    pool, samples = data.pool.samples, data.clips["train"].samples
    begins = (data.pool.offsets[plan.utterances] + plan.starts).tolist()
    counts = plan.count.tolist()
    total = np.empty(samples, np.float32)
    for start in range(0, len(plan), data.batch_size):
        batch = np.empty((min(data.batch_size, len(plan) - start), samples), np.int16)
        for row in range(len(batch)):
            count, voices = counts[start + row], begins[start + row]
            np.copyto(total, pool[voices[0] : voices[0] + samples])
            for begin in voices[1:count]:
                np.add(total, pool[begin : begin + samples], out=total)
            np.divide(total, np.float32(count), out=total)
            np.rint(total, out=total)
            np.copyto(batch[row], total, casting="unsafe")
        yield len(batch)


def pre_mixed(data: ClipDataModule, plan: Plan, folder: Path) -> Measure:
    samples, rate_ = data.clips["train"].samples, data.sample_rate
    written = plan[:WRITTEN]
    files = [str(folder / f"{number}.wav") for number in range(len(written))]
    for start in range(0, len(written), 128):
        for file, clip in zip(files[start:], data.clips["train"].render(written[start : start + 128]), strict=False):
            soundfile.write(file, clip, rate_, subtype="PCM_16")

    def batches() -> Iterator[int]:
        for start in range(0, len(files), data.batch_size):
            batch = np.empty((min(data.batch_size, len(files) - start), samples), np.int16)
            for row, file in enumerate(files[start : start + data.batch_size]):
                batch[row] = soundfile.read(file, dtype="int16")[0]
            yield len(batch)

    return lambda: rate(batches())


def paths(data: ClipDataModule) -> list[str]:
    """The file of each of the pool's utterances."""
    listed = data.source.index()
    files = dict(zip(listed.utterances.to_pylist(), listed.paths.to_pylist(), strict=True))
    return [str(corpus.find_root(data.root) / files[name]) for name in data.pool.utterances.tolist()]


def from_flac(data: ClipDataModule, plan: Plan) -> Measure:
    files, samples = paths(data), data.clips["train"].samples

    def clips() -> Iterator[int]:
        for row in range(READ):
            total = np.zeros(samples, np.float32)
            for utterance, begin in zip(plan.utterances[row], plan.starts[row], strict=True):
                if utterance >= 0:
                    total += soundfile.read(files[utterance], samples, begin, dtype="int16")[0]
            np.rint(total / plan.count[row]).astype(np.int16)
            yield 1

    return lambda: rate(clips())


def lhotse(data: ClipDataModule, plan: Plan) -> Measure:
    from lhotse import Recording

    cuts = [Recording.from_file(path).to_cut() for path in paths(data)]
    seconds = data.clips["train"].samples / data.sample_rate

    def clips() -> Iterator[int]:
        for row in range(READ):
            voices = [
                cuts[utterance].truncate(offset=begin / data.sample_rate, duration=seconds)
                for utterance, begin in zip(plan.utterances[row], plan.starts[row], strict=True)
                if utterance >= 0
            ]
            mixture = reduce(lambda sum_, voice: sum_.mix(voice), voices).load_audio() / len(voices)
            np.rint(FULL_SCALE * mixture).astype(np.int16)
            yield 1

    return lambda: rate(clips())
