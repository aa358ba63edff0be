"""Every utterance decoded once: one int16 memory map and an index of arrays, shared by all runs on a machine."""

import hashlib
import json
import logging
import os
import shutil
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path

import filelock
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import soundfile

from speaker_count.data import decoding
from speaker_count.data.activity import frame_length
from speaker_count.data.corpus import SEXES, SPLITS, Corpus
from speaker_count.errors import UserError

log = logging.getLogger(__name__)
FORMAT = 3  # of the pool's files; part of its key
NAMED_AT_ONCE = 65_536  # utterances whose names are Python objects at a time


class Pool:
    """Decoded speech, opened from its folder; it pickles to that folder's path, never to samples.

    Attributes:
        samples: `(samples,)` int16, all utterances one behind the other; a memory map.
        offsets, frames: `(utterances,)` int64, where in `samples` an utterance begins and how long it is.
        utterances: `(utterances,)` names, of variable width; read when they are asked for, which training never does.
        speaker: `(utterances,)` int32, the row of the utterance's speaker in `speakers`.
        speakers: `(speakers,)` names.
        sexes, splits: `(speakers,)` int8, indices into `SEXES` and `SPLITS`.
        sample_rate: in Hz.
        active_before: int32, of each utterance `frames // frame_length + 1` numbers as `activity.active_before` gives
            them, all behind one another; a memory map.
        activity_offsets: `(utterances,)` int64, where in `active_before` an utterance begins.
        frame_length: of a frame of activity, in samples.
        damaged: path and reason of each utterance that was left out.
        sha256: of the index: the corpus as every run names it, wherever its files lie.
    """

    def __init__(self, path: str | Path):
        self.path = Path(path)
        try:
            self._open()
        except (OSError, ValueError, KeyError) as error:  # pyarrow's errors are ValueErrors
            raise UserError(f"the pool {self.path} is damaged: delete that folder, and it is made again") from error

    def _open(self) -> None:
        description = json.loads((self.path / "pool.json").read_text())
        self.sample_rate: int = description["sample_rate"]
        self.damaged: list[dict[str, str]] = description["damaged"]
        self.samples_sha256: str = description["samples_sha256"]
        self.activity_sha256: str = description["activity_sha256"]
        self.sha256: str = description["sha256"]
        index = self.path / "index.parquet"
        if _sha256_of_file(index) != description["index_sha256"]:
            raise ValueError("the index is altered")
        by_name = ["speaker", "sex", "split"]
        table = pq.read_table(index, columns=[*by_name, "frames"], read_dictionary=by_name)
        table = table.unify_dictionaries().combine_chunks()
        column = {name: table[name].chunk(0) for name in table.column_names}
        self.frames = column["frames"].to_numpy()
        self.offsets = np.cumsum(self.frames) - self.frames
        self.speakers, place = np.unique(column["speaker"].dictionary.to_pylist(), return_inverse=True)
        self.speaker = place.astype(np.int32)[column["speaker"].indices]
        first = np.unique(self.speaker, return_index=True)[1]
        self.sexes = np.array([SEXES.index(sex) for sex in column["sex"].take(first).to_pylist()], np.int8)
        self.splits = np.array([SPLITS.index(split) for split in column["split"].take(first).to_pylist()], np.int8)
        del table, column
        pa.default_memory_pool().release_unused()  # Arrow would keep what reading took
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
        """Map samples and activity, or map them anew.

        Of all that was read through a map the system keeps page tables, 4 KB for 2 MB of samples, until it is closed.
        """
        # slices of an ndarray cost a third of slices of a memmap
        self.samples = np.asarray(np.memmap(self.path / "samples.int16", "<i2", "r"))
        self.active_before = np.asarray(np.memmap(self.path / "activity.int32", "<i4", "r"))

    @cached_property
    def utterances(self) -> np.ndarray:
        names = np.empty(len(self.frames), np.dtypes.StringDType())
        begin = 0
        with pq.ParquetFile(self.path / "index.parquet") as index:
            for (batch,) in index.iter_batches(NAMED_AT_ONCE, columns=["utterance"]):
                names[begin : begin + len(batch)] = batch.to_pylist()
                begin += len(batch)
        return names

    def __reduce__(self):
        return Pool, (self.path,)

    def active_share(self, utterances: np.ndarray, starts: np.ndarray, samples: int) -> np.ndarray:
        """How much of each crop the speaker is active in, from 0 to 1, in the shape of `utterances`, float32.

        Args:
            utterances: rows.
            starts: first sample of each crop within its utterance; counted from the beginning of its frame.
            samples: length of a crop.
        """
        length = max(1, samples // self.frame_length)
        first = starts // self.frame_length
        last = np.minimum(first + length, self.frames[utterances] // self.frame_length)
        begins = self.activity_offsets[utterances]
        active = self.active_before[begins + last] - self.active_before[begins + first]
        return (active / length).astype(np.float32)

    def verify(self) -> None:
        """Read all samples and their activity, and compare their SHA-256.

        Raises:
            UserError: they are not the ones that were decoded.
        """
        for name, expected in (("samples.int16", self.samples_sha256), ("activity.int32", self.activity_sha256)):
            if _sha256_of_file(self.path / name) != expected:
                raise UserError(f"the pool {self.path} is damaged: delete that folder, and it is made again")


def build(corpus: Corpus, cache: str | Path, sample_rate: int, force: bool = False) -> Path:
    """Decode `corpus` into a pool, unless it is there already.

    The pool's folder is named after what went in: each file's path, size, speaker, sex and split, the sample rate and
    the versions that decode. It appears whole or not at all; a second process waits for the first.

    Args:
        cache: the folder of pools.
        sample_rate: in Hz; utterances with another one are damaged.
        force: build even if it is there.

    Returns:
        The pool's folder.

    Raises:
        UserError: too many damaged utterances, a full disk, or a folder that cannot be written.
    """
    path = folder(corpus, cache, sample_rate)
    pools = path.parent
    if path.is_dir() and not force:
        return path
    try:
        pools.mkdir(parents=True, exist_ok=True)
        with _locked(path.with_suffix(".lock")):
            if force or not path.is_dir():  # it may have come while we waited
                _decode(corpus, path, sample_rate)
    except OSError as error:
        raise UserError(
            f"cannot write the pool of decoded speech below {pools}: {error.strerror or error}; "
            "free some space or name another folder with data.cache=DIR"
        ) from error
    return path


def folder(corpus: Corpus, cache: str | Path, sample_rate: int) -> Path:
    """Where a corpus's pool is, or will be."""
    versions = f"pool {FORMAT}, libsndfile {soundfile.__libsndfile_version__}, {sample_rate} Hz"
    files = pa.table({"path": corpus.paths, "size": corpus.sizes, **_speaker_columns(corpus)})
    return Path(cache).expanduser() / "pools" / _sha256_of_rows(files, f"{versions}\n")[:16]


def _speaker_columns(corpus: Corpus) -> dict[str, pa.Array]:
    """What is known of each utterance's speaker; every name is held once, and numbered."""
    rows = pa.array(corpus.speaker)
    sexes, splits = np.array(SEXES)[corpus.sexes], np.array(SPLITS)[corpus.splits]
    names = {"speaker": corpus.speakers, "sex": sexes, "split": splits}
    return {name: pa.DictionaryArray.from_arrays(rows, values) for name, values in names.items()}


def _sha256_of_rows(table: pa.Table, first: str = "") -> str:
    """Of the rows as lines, in which blanks stand between values, after a first line."""
    digest = hashlib.sha256(first.encode())
    for start in range(0, len(table), NAMED_AT_ONCE):
        columns = [column.cast(pa.string()) for column in table.slice(start, NAMED_AT_ONCE).columns]
        lines = pc.binary_join_element_wise(*columns, " ").to_pylist()
        digest.update(("\n" * (start > 0) + "\n".join(lines)).encode())
    return digest.hexdigest()


def _sha256_of_file(path: Path) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _locked(path: Path) -> filelock.BaseFileLock:
    lock = filelock.FileLock(path)
    try:
        return lock.acquire(blocking=False)
    except filelock.Timeout:
        log.warning("another process is building the pool of this corpus; waiting for it")
        return lock.acquire()


def _decode(corpus: Corpus, path: Path, sample_rate: int) -> None:
    partial = path.with_suffix(".partial")
    shutil.rmtree(partial, ignore_errors=True)  # of a process that was killed: we hold the lock
    partial.mkdir()
    try:
        frames = np.zeros(len(corpus.utterances), np.int64)
        damaged = []
        digests = [hashlib.sha256(), hashlib.sha256()]
        # appended in order with plain writes: on a full disk a write raises, where a memory map would kill the process
        with open(partial / "samples.int16", "wb") as speech, open(partial / "activity.int32", "wb") as activity:
            for row, decoded in enumerate(decoding.decoded(corpus, sample_rate)):
                if isinstance(decoded, str):
                    damaged.append({"path": corpus.paths[row].as_py(), "reason": decoded})
                    continue
                for file, digest, values in zip((speech, activity), digests, decoded, strict=True):
                    file.write(values.data)
                    digest.update(values.data)
                frames[row] = len(decoded[0])
            for file in (speech, activity):
                file.flush()
                os.fsync(file.fileno())
        _check_damaged(damaged, corpus)
        write_index(partial, corpus, frames, sample_rate, [digest.hexdigest() for digest in digests], damaged)
        shutil.rmtree(path, ignore_errors=True)  # of another build, where one is forced
        partial.rename(path)
    except BaseException:
        shutil.rmtree(partial, ignore_errors=True)
        raise


def _check_damaged(damaged: list[dict[str, str]], corpus: Corpus) -> None:
    allowed = max(3, len(corpus.paths) // 100)
    for entry in damaged[:10]:
        log.warning("left out: %s: %s", corpus.root / entry["path"], entry["reason"])
    if len(damaged) > 10:
        log.warning("left out: %d more", len(damaged) - 10)
    if len(damaged) > allowed or len(damaged) == len(corpus.paths):
        raise UserError(
            f"{len(damaged)} of the {len(corpus.paths)} utterances in {corpus.root} cannot be used (at most {allowed} "
            f"may be left out), {damaged[0]['path']} for one: {damaged[0]['reason']}. Repair or remove those files"
        )


def write_index(
    folder: Path,
    corpus: Corpus,
    frames: np.ndarray,
    sample_rate: int,
    sha256: Sequence[str] = ("", ""),
    damaged: Sequence[dict[str, str]] = (),
) -> None:
    """Write a pool's index and its description, beside samples and activity.

    Args:
        frames: `(utterances,)` int64, 0 for one that is left out.
        sha256: of samples and activity.
        damaged: as in `Pool`.
    """
    names = {name: column.cast(pa.string()) for name, column in _speaker_columns(corpus).items()}
    columns = {"utterance": corpus.utterances, "speaker": names["speaker"], "sex": names["sex"]}
    columns |= {"subset": corpus.subsets, "split": names["split"], "frames": frames}
    index = pa.table(columns).filter(pa.array(frames > 0))
    pq.write_table(index, folder / "index.parquet")
    description = {
        "format": FORMAT,
        "root": str(corpus.root.absolute()),
        "sample_rate": sample_rate,
        "sha256": _sha256_of_rows(index),
        "index_sha256": _sha256_of_file(folder / "index.parquet"),
        "samples_sha256": sha256[0],
        "activity_sha256": sha256[1],
        "damaged": list(damaged),
    }
    (folder / "pool.json").write_text(json.dumps(description, indent=1))
