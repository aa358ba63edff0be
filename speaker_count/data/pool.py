"""The pool: every utterance decoded once into one int16 memory map with an index, shared by all runs on a machine."""

import contextlib
import hashlib
import json
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from speaker_count import files
from speaker_count.data.activity import frame_length
from speaker_count.errors import UserError
from speaker_count.labels import SEXES, SPLITS

FORMAT = 4  # of the pool's files
DESCRIPTION, VERIFIED = "pool.json", "verified.json"
FIELDS = {
    "sample_rate": int,
    "damaged": list,
    "sha256": str,
    "index_sha256": str,
    "samples_sha256": str,
    "activity_sha256": str,
}
TEXTS = ("utterance", "speaker", "sex", "subset", "split")
INDEX = pa.schema([*((name, pa.string()) for name in TEXTS), ("frames", pa.int64())])
MOST_HERTZ = 10**9
NAMED_AT_ONCE = 65_536  # utterances whose names are Python objects at a time


class Speech(Protocol):
    """The speech that clips are made of, decoded (`Pool`) or only named (`WavFolder`).

    Attributes:
        path: the folder that holds it.
        sha256, samples_sha256: of the corpus's index and of its samples, by which every run names the speech, wherever
            its files lie.
        speakers, utterances: names.
    """

    @property
    def path(self) -> Path: ...
    @property
    def sha256(self) -> str: ...
    @property
    def samples_sha256(self) -> str: ...
    @property
    def speakers(self) -> np.ndarray: ...
    @property
    def utterances(self) -> np.ndarray: ...


class Pool:
    """Decoded speech, opened from its folder; it pickles to the folder's path, never to samples.

    Attributes:
        path: the folder.
        samples: `(samples,)` int16, all utterances concatenated; a memory map.
        offsets, frames: `(utterances,)` int64, an utterance's first sample in `samples`, and its length.
        speaker: `(utterances,)` int32, the row of the utterance's speaker in `speakers`.
        speakers: `(speakers,)` names.
        sexes, splits: `(speakers,)` int8, indices into `SEXES` and `SPLITS`.
        sample_rate: in Hz.
        active_before: int32, the numbers of `activity.active_before`, `frames // frame_length + 1` for each utterance,
            concatenated; a memory map.
        activity_offsets: `(utterances,)` int64, an utterance's first position in `active_before`.
        frame_length: length of a frame of activity, in samples.
        damaged: path and reason of each utterance that was left out.
        sha256: of the index.
        samples_sha256, activity_sha256: of the files, for `verify`.

    Raises:
        UserError: the pool is damaged.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        try:
            self._open()
        except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:  # pyarrow's errors are ValueErrors
            raise self._damage() from error

    def _damage(self) -> UserError:
        return UserError(f"the pool {self.path} is damaged: delete this folder, and the next command builds it again")

    def _open(self) -> None:
        description = json.loads((self.path / DESCRIPTION).read_text())
        if not all(isinstance(description[key], kind) for key, kind in FIELDS.items()):
            raise ValueError("the description is altered")
        self.sample_rate: int = description["sample_rate"]
        self.damaged: list[dict[str, str]] = description["damaged"]
        self.samples_sha256: str = description["samples_sha256"]
        self.activity_sha256: str = description["activity_sha256"]
        self.sha256: str = description["sha256"]
        index = self.path / "index.parquet"
        if sha256_of_file(index) != description["index_sha256"]:
            raise ValueError("the index is altered")
        if pq.read_schema(index).remove_metadata() != INDEX:
            raise ValueError("the index has other columns")
        by_name = ["speaker", "sex", "split"]
        table = pq.read_table(index, columns=[*by_name, "frames"], read_dictionary=by_name)
        table = table.unify_dictionaries().combine_chunks()
        if not len(table) or any(values.null_count for values in table.columns):
            raise ValueError("the index lacks values")
        column = {name: table[name].chunk(0) for name in table.column_names}
        self.frames = column["frames"].to_numpy()
        if self.frames.min() < 1 or not 1 <= self.sample_rate <= MOST_HERTZ:
            raise ValueError("the index has absurd values")
        self.offsets = np.cumsum(self.frames) - self.frames
        self.speakers, place = np.unique(column["speaker"].dictionary.to_pylist(), return_inverse=True)
        self.speaker = place.astype(np.int32)[column["speaker"].indices]
        first = np.unique(self.speaker, return_index=True)[1]
        self.sexes = np.array([SEXES.index(sex) for sex in column["sex"].take(first).to_pylist()], np.int8)
        self.splits = np.array([SPLITS.index(split) for split in column["split"].take(first).to_pylist()], np.int8)
        del table, column
        pa.default_memory_pool().release_unused()  # Arrow would keep the memory that reading took
        samples = self.path / "samples.int16"
        if samples.stat().st_size != 2 * self.frames.sum():
            raise ValueError("samples are missing")
        self.frame_length = frame_length(self.sample_rate)
        counted = self.frames // self.frame_length + 1
        self.activity_offsets = np.cumsum(counted) - counted
        activity = self.path / "activity.int32"
        if activity.stat().st_size != 4 * counted.sum():
            raise ValueError("activity is missing")
        self.map()

    def map(self) -> None:
        """Map samples and activity, or map them again.

        The system keeps page tables of everything read through a map, 4 KB for 2 MB of samples, until the map is
        closed.
        """
        # slicing an ndarray costs a third of slicing a memmap
        self.samples = np.asarray(np.memmap(self.path / "samples.int16", "<i2", "r"))
        self.active_before = np.asarray(np.memmap(self.path / "activity.int32", "<i4", "r"))

    @cached_property
    def utterances(self) -> np.ndarray:
        """`(utterances,)` names, of variable width; read at the first use, as training needs none of them."""
        names: np.ndarray = np.empty(len(self.frames), np.dtypes.StringDType())
        begin = 0
        try:
            with pq.ParquetFile(self.path / "index.parquet") as index:
                for (batch,) in index.iter_batches(NAMED_AT_ONCE, columns=["utterance"]):
                    names[begin : begin + len(batch)] = batch.to_pylist()
                    begin += len(batch)
        except (OSError, ValueError, TypeError) as error:
            raise self._damage() from error
        return names

    def __reduce__(self) -> tuple[Any, ...]:
        return Pool, (self.path,)

    def read(self, utterance: int) -> np.ndarray:
        """The samples of an utterance, `(frames,)` int16, by its row."""
        begin = self.offsets[utterance]
        return self.samples[begin : begin + self.frames[utterance]]

    def active_share(self, utterances: np.ndarray, starts: np.ndarray, samples: int) -> np.ndarray:
        """The share of each crop in which its speaker is active, from 0 to 1, in the shape of `utterances`, float32.

        Args:
            utterances: rows.
            starts: first sample of each crop within its utterance, rounded down to a whole frame.
            samples: length of a crop.
        """
        length = max(1, samples // self.frame_length)
        first = starts // self.frame_length
        last = np.minimum(first + length, self.frames[utterances] // self.frame_length)
        begins = self.activity_offsets[utterances]
        active = self.active_before[begins + last] - self.active_before[begins + first]
        share: np.ndarray = (active / length).astype(np.float32)
        return share

    def active_frames(self, utterances: np.ndarray, starts: np.ndarray, lengths: np.ndarray, frames: int) -> np.ndarray:
        """Whether the speaker is active in each of a crop's frames, of equal length, bool, `(..., frames)`.

        Args:
            utterances: rows, of any shape.
            starts, lengths: first sample within the utterance and samples of each crop, of the same shape.
        """
        edges = starts[..., None] + lengths[..., None] * np.arange(frames + 1) // frames
        whole = self.frames[utterances] // self.frame_length
        counted = self.activity_offsets[utterances][..., None] + np.minimum(
            edges // self.frame_length, whole[..., None]
        )
        active: np.ndarray = np.diff(self.active_before[counted], axis=-1) > 0
        return active

    def verify(self, again: bool = False) -> None:
        """Read all samples and their activity, and compare their SHA-256.

        This is done once: the pool notes the size and times of what was verified, and is verified again when they
        change.

        Args:
            again: verify them even if nothing has changed.

        Raises:
            UserError: they differ from what was decoded.
        """
        states = states_of(self.path)
        if not again and states == self._verified():
            return
        for name, expected in zip(states, (self.samples_sha256, self.activity_sha256), strict=True):
            if sha256_of_file(self.path / name) != expected:
                raise self._damage()
        with contextlib.suppress(OSError):  # a pool that cannot be written is verified each time
            files.write_json(self.path / VERIFIED, states)

    def _verified(self) -> Any:
        """What was verified last; None if nothing was."""
        with contextlib.suppress(OSError, ValueError):
            return json.loads((self.path / VERIFIED).read_text())
        return None


def states_of(folder: Path) -> dict[str, list[int]]:
    """Size, and times of modification and change in nanoseconds, of a pool's samples and activity."""
    stats = {name: (folder / name).stat() for name in ("samples.int16", "activity.int32")}
    return {name: [stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns] for name, stat in stats.items()}


def sha256_of_file(path: Path) -> str:
    """The SHA-256 of a file, in hexadecimal digits."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def is_speech_of(speech: Speech, recorded: Mapping[str, Any]) -> bool:
    """Whether a run was made of this speech.

    Args:
        recorded: the `data` of the run's result; a result of 0.1.0 names the index only.
    """
    return _names(recorded, speech.samples_sha256) == (speech.sha256, speech.samples_sha256)


def _names(recorded: Mapping[str, Any], otherwise: str) -> tuple[str, str]:
    return recorded["corpus_sha256"], recorded.get("samples_sha256", otherwise)


def find(cache: str | Path, recorded: Mapping[str, Any]) -> Path | None:
    """The folder of the pool that a run was made of, among those in a cache.

    Args:
        cache: the folder of pools.
        recorded: as in `is_speech_of`.
    """
    for path in sorted(Path(cache).expanduser().glob(f"pools/*/{DESCRIPTION}")):
        with contextlib.suppress(OSError, ValueError, KeyError, TypeError, RecursionError):  # a damaged one is no run's
            held = json.loads(path.read_text())
            names = (held["sha256"], held["samples_sha256"])
            if held["format"] == FORMAT and _names(recorded, names[1]) == names:
                return path.parent
    return None
