"""Clips as files: a folder that `speaker-count clips` writes, and from which a net can be trained.

`Audio_Train0.wav`, ... are the clips: 16 bits, mono, the numbers that training streams. `metadata_train.parquet` and
`.csv` tell where each comes from. `clips.json` tells what the folder is; the SHA-256 of the metadata stand in it once
all is there.
"""

import dataclasses
import hashlib
import json
import os
import shlex
import struct
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from tqdm import tqdm

from speaker_count.data import metadata
from speaker_count.data.corpus import SPLITS
from speaker_count.data.loader import Clips
from speaker_count.data.mixing import Mix, Plan
from speaker_count.errors import UserError

SCHEMA = 1
DESCRIPTION = "clips.json"
HEADER = struct.Struct("<4sI4s4sIHHIIHH4sI")
REQUIRED = {"arguments", "corpus_sha256", "speakers", "sample_rate", "mix", "metadata", "synthetic"}
AT_ONCE = 256  # clips that a thread takes


def wav_header(samples: int, sample_rate: int) -> bytes:
    """What stands before the samples in a 16-bit mono WAV file."""
    sizes = (16, 1, 1, sample_rate, 2 * sample_rate, 2, 16)  # PCM, one channel, two bytes a sample
    return HEADER.pack(b"RIFF", HEADER.size - 8 + 2 * samples, b"WAVE", b"fmt ", *sizes, b"data", 2 * samples)


def choices(mix: Mix, sample_rate: int) -> dict[str, Any]:
    """What decides which clips are made of some speech, by the key of the override that gives it."""
    values = dataclasses.asdict(mix)
    values |= {f"clips.{split}": values["clips"][split] for split in SPLITS}
    del values["name"], values["clips"]
    plain = {key: list(value) if isinstance(value, tuple) else value for key, value in values.items()}
    return {**{f"mix.{key}": value for key, value in plain.items()}, "data.sample_rate": sample_rate}


def overrides(wanted: Mapping[str, Any], given: Mapping[str, Any]) -> list[str]:
    """The overrides that turn the `choices` that are given into those that are wanted."""
    changed = {key: value for key, value in wanted.items() if value != given[key]}
    return [f"{key}={json.dumps(value, separators=(',', ':'))}" for key, value in changed.items()]


def read_description(folder: Path) -> dict[str, Any]:
    """What a folder's `clips.json` says; `mix` is a `Mix`.

    Raises:
        UserError: there is none, it is torn, or of another schema.
    """
    path = folder / DESCRIPTION
    try:
        description = json.loads(path.read_text())
        schema = description["schema"]
        if schema == SCHEMA:
            lacking = REQUIRED.difference(description)
            if lacking:
                raise ValueError(f"no {', '.join(sorted(lacking))}")
            description["mix"] = Mix(**description["mix"])
    except OSError as error:
        raise UserError(
            f"{folder} holds no clips: cannot read {path} ({error.strerror}). "
            f"`speaker-count clips data=... out={folder}` writes them"
        ) from error
    except (ValueError, KeyError, TypeError) as error:
        raise UserError(
            f"{path} is torn ({error}), so that nobody knows which clips these are: delete {folder}, and write it again"
        ) from error
    if schema != SCHEMA:
        raise UserError(f"{path} has schema {schema}, this version reads {SCHEMA}: write the clips to another folder")
    return description


class WavFolder:
    """Clips in files, opened by their metadata; it pickles to the folder's path.

    It takes the pool's place where clips are not mixed any more; of the speech, it has what the metadata name.

    Attributes:
        mix, sample_rate: how the clips were mixed.
        sha256: of the corpus, as in `Pool`.
        synthetic: whether the speech was made by a machine.
        drawn_from: by split, from how many speakers its clips were drawn.
        speakers, utterances: the names of those that are heard, sorted.
        plans: by split, with rows in `speakers` and `utterances` and the scale that was used.
    """

    def __init__(self, path: str | Path):
        self.path = Path(path)
        description = read_description(self.path)
        command = ["speaker-count", "clips", *description["arguments"], f"out={self.path}"]
        self._again = f"write them again with: {shlex.join(command)}"
        if description["metadata"] is None:
            raise UserError(f"{self.path} does not hold all of its clips yet; {self._again}")
        tables = {split: self._table(split, description["metadata"]) for split in SPLITS}
        self.mix, self.sample_rate = description["mix"], description["sample_rate"]
        self.sha256, self.drawn_from = description["corpus_sha256"], description["speakers"]
        self.synthetic: bool = description["synthetic"]
        self.samples = round(self.mix.clip_seconds * self.sample_rate)
        self.speakers, self.utterances = (
            metadata.names(tables.values(), column) for column in ("speaker_ids", "utterances")
        )
        self.plans = {
            split: metadata.plan(table, self.speakers, self.utterances, max(self.mix.counts), self.samples)
            for split, table in tables.items()
        }
        self._sha256_of = {
            name: sha256
            for table in tables.values()
            for name, sha256 in zip(table["Waveform"].to_pylist(), table["sha256"].to_pylist(), strict=True)
        }

    def __reduce__(self):
        return WavFolder, (self.path,)

    def _table(self, split: str, sha256: Mapping[str, str]) -> pa.Table:
        parquet, csv = metadata.file_names(split)
        contents = {}
        for name in (parquet, csv):
            try:
                contents[name] = (self.path / name).read_bytes()
            except FileNotFoundError as error:
                raise UserError(f"{self.path / name} is missing; {self._again}") from error
            if hashlib.sha256(contents[name]).hexdigest() != sha256[name]:
                raise UserError(f"{self.path / name} is altered; {self._again}")
        return pq.read_table(pa.BufferReader(contents[parquet]))

    def verify(self, mix: Mix, sample_rate: int) -> None:
        """See that these are the clips that are asked for; read them all, and compare their SHA-256.

        Raises:
            UserError: they were mixed otherwise, or some are missing or altered.
        """
        needed = overrides(choices(self.mix, self.sample_rate), choices(mix, sample_rate))
        if needed:
            raise UserError(f"{self.path} holds other clips than those asked for; give {' '.join(needed)}")
        names = list(self._sha256_of)
        slices = [names[start : start + AT_ONCE] for start in range(0, len(names), AT_ONCE)]
        damage: list[tuple[str, str]] = []
        with tqdm(total=len(names), desc="verifying", unit="clip", disable=None) as bar:
            for some, found in zip(slices, in_threads(self._damage, slices, cores()), strict=True):
                damage += found
                bar.update(len(some))
        told = []
        for kind in ("missing", "altered"):
            files = [name for name, how in damage if how == kind]
            if files:
                told.append(f"{len(files)} {'clip is' if len(files) == 1 else 'clips are'} {kind}, {files[0]} for one")
        if told:
            raise UserError(f"{self.path}: {'; '.join(told)}; {self._again}")

    def _damage(self, names: Sequence[str]) -> list[tuple[str, str]]:
        return [(name, clip) for name in names if isinstance(clip := self._load(name), str)]

    def _load(self, name: str) -> np.ndarray | str:
        """A clip, or what is wrong with its file."""
        size = HEADER.size + 2 * self.samples
        try:
            with open(f"{self.path}/{name}", "rb") as file:
                content = file.read(size + 1)  # not all of a file that grew
        except FileNotFoundError:
            return "missing"
        if len(content) != size or hashlib.sha256(content).hexdigest() != self._sha256_of[name]:
            return "altered"
        return np.frombuffer(content, "<i2", offset=HEADER.size)

    def read(self, split: str, index: int) -> np.ndarray:
        """A clip, `(samples,)` int16.

        Raises:
            UserError: its file is not there any more, or not as it was.
        """
        name = metadata.wav_name(split, index)
        clip = self._load(name)
        if isinstance(clip, str):
            raise UserError(f"{self.path / name} is {clip}; {self._again}")
        return clip


class WavClips(Clips):
    """The clips of one split, from their files; it pickles to the folder's path."""

    def __init__(self, folder: WavFolder, split: str):
        self.pool, self.split, self.mix, self.samples = folder, split, folder.mix, folder.samples

    @property
    def speakers(self) -> int:
        return self.pool.drawn_from[self.split]

    def plan_of(self, index: np.ndarray, epoch: int = 0, activity: bool = True) -> Plan:
        """The clips of these numbers, the same ones in every epoch."""
        return self.pool.plans[self.split][index]

    def render(self, plan: Plan) -> np.ndarray:
        """`(clips, samples)` int16."""
        clips = np.empty((len(plan), self.samples), np.int16)
        for row, index in enumerate(plan.index.tolist()):
            clips[row] = self.pool.read(self.split, index)
        return clips

    def sources(self, plan: Plan) -> list[np.ndarray]:
        raise UserError(f"{self.pool.path} holds clips, not the voices that they were mixed of")


def in_threads(function: Callable, items: Iterable, workers: int) -> Iterator:
    """As `map`, on several threads; where one fails, those that have not begun are left."""
    with ThreadPoolExecutor(workers) as threads:
        try:
            yield from threads.map(function, items)
        finally:
            threads.shutdown(cancel_futures=True)


def cores() -> int:
    """How many this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
