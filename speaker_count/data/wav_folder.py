"""Clips as files: a folder that `speaker-count clips` writes, and that nets can be trained from.

`Audio_Train0.wav`, ... are the clips: 16 bits, mono, the samples that training streams. `metadata_train.parquet` and
`.csv` say where each clip comes from. `clips.json` describes the folder, and holds the SHA-256 of the metadata once the
folder is complete.
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

import joblib
import numpy as np
import pyarrow as pa
from tqdm import tqdm

from speaker_count.data import metadata
from speaker_count.data.clips import Clips
from speaker_count.data.mixing import Mix
from speaker_count.data.planning import Plan
from speaker_count.data.sounds import ROOTS
from speaker_count.errors import UserError
from speaker_count.labels import SPLITS

SCHEMA = 1
DESCRIPTION = "clips.json"
HEADER = struct.Struct("<4sI4s4sIHHIIHH4sI")
FIELDS: dict[str, Any] = {
    "arguments": list,
    "corpus_sha256": str,
    "speakers": dict,
    "sample_rate": int,
    "mix": dict,
    "metadata": dict | None,
    "synthetic": bool,
}
MOST_SAMPLES = 2**31 - HEADER.size  # of a clip: a WAV file counts its bytes in 32 bits
AT_ONCE = 256  # clips that a thread takes at a time


def wav_header(samples: int, sample_rate: int) -> bytes:
    """The header of a 16-bit mono WAV file.

    Args:
        samples: number of samples that follow.
        sample_rate: in Hz.
    """
    sizes = (16, 1, 1, sample_rate, 2 * sample_rate, 2, 16)  # PCM, one channel, two bytes a sample
    return HEADER.pack(b"RIFF", HEADER.size - 8 + 2 * samples, b"WAVE", b"fmt ", *sizes, b"data", 2 * samples)


def choices(mix: Mix, sample_rate: int) -> dict[str, Any]:
    """The values that determine the clips of a corpus and of recorded sounds, by the keys of their overrides."""
    values = dataclasses.asdict(mix)
    if mix.augment is not None:
        values["augment"] = {key: value for key, value in values["augment"].items() if key not in ROOTS.values()}
    values |= {f"clips.{split}": values["clips"][split] for split in SPLITS}
    del values["name"], values["clips"]
    plain = {key: list(value) if isinstance(value, tuple) else value for key, value in values.items()}
    return {**{f"mix.{key}": value for key, value in plain.items()}, "data.sample_rate": sample_rate}


def overrides(wanted: Mapping[str, Any], given: Mapping[str, Any]) -> list[str]:
    """The overrides that turn the `choices` in `given` into those in `wanted`."""
    changed = {key: value for key, value in wanted.items() if value != given[key]}
    return [f"{key}={json.dumps(value, separators=(',', ':'))}" for key, value in changed.items()]


def read_description(folder: Path) -> dict[str, Any]:
    """The values in a folder's `clips.json`; `mix` is a `Mix`.

    Raises:
        UserError: the file is missing, damaged, or of another schema.
    """
    path = folder / DESCRIPTION
    try:
        description: dict[str, Any] = json.loads(path.read_text())
        schema = description["schema"]
        if schema == SCHEMA:
            _check(description)
            description["mix"] = Mix(**description["mix"])
            if description["mix"].clip_seconds * description["sample_rate"] > MOST_SAMPLES:
                raise ValueError("a clip is longer than a WAV file can be")
    except OSError as error:
        raise UserError(
            f"{folder} holds no clips: cannot read {path} ({error.strerror}). "
            f"`speaker-count clips data=... out={folder}` writes them"
        ) from error
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise UserError(f"{path} is damaged ({error}): delete {folder} and write the clips again") from error
    if schema != SCHEMA:
        raise UserError(f"{path} has schema {schema}, this version reads {SCHEMA}: write the clips to another folder")
    return description


def _check(description: Mapping[str, Any]) -> None:
    """Check the values that are relied on; `Mix` checks its own.

    Raises:
        ValueError: some are missing or of another kind.
    """
    lacking = FIELDS.keys() - description
    if lacking:
        raise ValueError(f"no {', '.join(sorted(lacking))}")
    odd = [key for key, kind in FIELDS.items() if not isinstance(description[key], kind)]
    if not odd:
        names = [name for split in SPLITS for name in metadata.file_names(split)]
        fits = {
            "arguments": all(isinstance(word, str) for word in description["arguments"]),
            "speakers": all(isinstance(description["speakers"].get(split), int) for split in SPLITS),
            "sample_rate": 1 <= description["sample_rate"] <= MOST_SAMPLES,
            "metadata": description["metadata"] is None or description["metadata"].keys() >= {*names},
        }
        odd = [key for key in fits if not fits[key]]
    if odd:
        raise ValueError(f"no valid {', '.join(odd)}")


class WavFolder:
    """Clips in files, opened by their metadata; it pickles to the folder's path.

    It takes the pool's place if clips are read instead of mixed. It knows speakers and utterances only by the names in
    the metadata.

    Attributes:
        path: the folder.
        mix, sample_rate: how the clips were mixed; in Hz.
        samples: length of a clip.
        sha256: of the corpus, as in `Pool`.
        samples_sha256: of the metadata, which hold the SHA-256 of each clip.
        synthetic: whether the speech is a synthesiser's.
        drawn_from: by split, the number of speakers that the clips were drawn from.
        speakers, utterances: the names of those in the clips, sorted.
        plans: by split, with rows in `speakers` and `utterances` and the scale that rendering used.

    Raises:
        UserError: the folder holds no clips, is incomplete, or its metadata are missing or altered.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        description = read_description(self.path)
        command = shlex.join(["speaker-count", "clips", *description["arguments"], f"out={self.path}"])
        self._repair = f"to repair the folder, run: {command}"
        if description["metadata"] is None:
            raise UserError(f"{self.path} does not hold all of its clips yet; to complete it, run: {command}")
        self.mix: Mix = description["mix"]
        tables = {split: self._table(split, description["metadata"]) for split in SPLITS}
        self.sample_rate: int = description["sample_rate"]
        self.sha256: str = description["corpus_sha256"]
        self.samples_sha256 = hashlib.sha256(json.dumps(description["metadata"], sort_keys=True).encode()).hexdigest()
        self.drawn_from: dict[str, int] = description["speakers"]
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

    def __reduce__(self) -> tuple[Any, ...]:
        return WavFolder, (self.path,)

    def _table(self, split: str, sha256: Mapping[str, str]) -> pa.Table:
        parquet, csv = metadata.file_names(split)
        contents = {}
        for name in (parquet, csv):
            try:
                contents[name] = (self.path / name).read_bytes()
            except FileNotFoundError as error:
                raise UserError(f"{self.path / name} is missing; {self._repair}") from error
            if hashlib.sha256(contents[name]).hexdigest() != sha256[name]:
                raise UserError(f"{self.path / name} is altered; {self._repair}")
        try:
            return metadata.read(contents[parquet], split, self.mix)
        except (ValueError, KeyError, pa.ArrowException) as error:
            reason = str(error).splitlines()[0]
            raise UserError(f"{self.path / parquet} is damaged ({reason}); {self._repair}") from error

    def verify(self, mix: Mix, sample_rate: int) -> None:
        """Check that the clips are those of a mix; read all of them, and compare their SHA-256.

        Raises:
            UserError: they were mixed differently, or some are missing or altered.
        """
        needed = overrides(choices(self.mix, self.sample_rate), choices(mix, sample_rate))
        if needed:
            raise UserError(f"the clips in {self.path} were mixed differently; to use them, add {' '.join(needed)}")
        names = list(self._sha256_of)
        slices = [names[start : start + AT_ONCE] for start in range(0, len(names), AT_ONCE)]
        damage: list[tuple[str, str]] = []
        with tqdm(total=len(names), desc="verifying", unit="clip", disable=None) as bar:
            for some, found in zip(slices, in_threads(self._damage, slices, joblib.cpu_count()), strict=True):
                damage += found
                bar.update(len(some))
        problems = []
        for kind in ("missing", "altered"):
            files = [name for name, how in damage if how == kind]
            if files:
                clips = f"1 clip is {kind} ({files[0]})"
                problems.append(clips if len(files) == 1 else f"{len(files)} clips are {kind} ({files[0]}, ...)")
        if problems:
            raise UserError(f"{self.path}: {'; '.join(problems)}; {self._repair}")

    def _damage(self, names: Sequence[str]) -> list[tuple[str, str]]:
        return [(name, clip) for name in names if isinstance(clip := self._load(name), str)]

    def _load(self, name: str) -> np.ndarray | str:
        """A clip, or what is wrong with its file."""
        size = HEADER.size + 2 * self.samples
        try:
            with open(f"{self.path}/{name}", "rb") as file:
                if os.fstat(file.fileno()).st_size != size:
                    return "altered"
                content = file.read()
        except (FileNotFoundError, IsADirectoryError):
            return "missing"
        if len(content) != size or hashlib.sha256(content).hexdigest() != self._sha256_of[name]:
            return "altered"
        return np.frombuffer(content, "<i2", offset=HEADER.size)

    def read(self, split: str, index: int) -> np.ndarray:
        """A clip, `(samples,)` int16.

        Raises:
            UserError: its file is missing or altered.
        """
        name = metadata.wav_name(split, index)
        clip = self._load(name)
        if isinstance(clip, str):
            raise UserError(f"{self.path / name} is {clip}; {self._repair}")
        return clip


class WavClips(Clips):
    """The clips of one split, from their files; they pickle to the folder's path.

    Attributes:
        folder: the folder that holds the files.
    """

    def __init__(self, folder: WavFolder, split: str) -> None:
        self.folder, self.split, self.mix, self.samples = folder, split, folder.mix, folder.samples

    @property
    def speakers(self) -> int:
        """The number of speakers that the clips were drawn from."""
        return self.folder.drawn_from[self.split]

    def plan_of(self, index: np.ndarray, epoch: int = 0, activity: bool = True) -> Plan:
        """As `Clips.plan_of`; files hold the same clips in every epoch, and their activity."""
        return self.folder.plans[self.split][index]

    def render(self, plan: Plan) -> np.ndarray:
        """`(clips, samples)` int16."""
        clips = np.empty((len(plan), self.samples), np.int16)
        for row, index in enumerate(plan.index.tolist()):
            clips[row] = self.folder.read(self.split, index)
        return clips

    def active_voices(self, plan: Plan, frames: int) -> np.ndarray:
        """Raises UserError: files hold clips, not when their voices are active."""
        raise UserError(
            f"{self.folder.path} holds mixed clips, not when their voices are active: train with "
            "model.loss.frame_weight=0, or on clips that are mixed"
        )

    def sources(self, plan: Plan) -> list[np.ndarray]:
        """Raises UserError: files hold clips, not their voices."""
        raise UserError(f"{self.folder.path} holds mixed clips, not their separate voices")


def in_threads(function: Callable, items: Iterable, workers: int) -> Iterator:
    """As `map`, on several threads; after an error, the remaining items are cancelled."""
    with ThreadPoolExecutor(workers) as threads:
        try:
            yield from threads.map(function, items)
        finally:
            threads.shutdown(cancel_futures=True)
