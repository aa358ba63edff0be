"""Build the pool of a corpus: decode every utterance once, or find the pool that was built of the same files.

The pools of a corpus begin with its key, the SHA-256 of its table: each file's path, size, speaker, sex and split, the
sample rate and the versions that decode. The bytes of the files tell these pools apart. A pool keeps a fingerprint of
each state of the files (sizes and times) whose bytes are known to be the pool's, so that they are read again only when
something about them has changed.
"""

import contextlib
import hashlib
import itertools
import logging
import os
import shutil
from collections import Counter
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import filelock
import joblib
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import soundfile

from speaker_count import files
from speaker_count.data import decoding
from speaker_count.data.corpus import Corpus, most_left_out
from speaker_count.data.pool import DESCRIPTION, FORMAT, NAMED_AT_ONCE, VERIFIED, sha256_of_file, states_of
from speaker_count.errors import UserError
from speaker_count.labels import SEXES, SPLITS

log = logging.getLogger(__name__)
FINGERPRINTS = "fingerprints.txt"


def build(corpus: Corpus, cache: str | Path, sample_rate: int, force: bool = False, resample: bool = False) -> Path:
    """Decode `corpus` into a pool, unless a pool of the same bytes exists already.

    A pool appears whole or not at all; a second process waits for the first.

    Args:
        cache: the folder of pools.
        sample_rate: in Hz.
        force: build the pool even if it exists.
        resample: as in `decoding.decoded`.

    Returns:
        The pool's folder.

    Raises:
        UserError: too many damaged utterances, a full disk, or a folder that cannot be written.
    """
    key, fingerprint = _key(corpus, cache, sample_rate, resample), _fingerprint(corpus)
    path = None if force else _find(corpus, key, fingerprint)
    if path is not None:
        _note(path, fingerprint)
        return path
    try:
        key.parent.mkdir(parents=True, exist_ok=True)
        with _locked(key.with_suffix(".lock")):
            # another process may have built it in the meantime
            path = None if force else _find(corpus, key, fingerprint)
            return path or _decode(corpus, key, sample_rate, resample)
    except OSError as error:
        raise UserError(
            f"cannot write the pool of decoded speech below {key.parent}: {error.strerror or error}; "
            "free some space or name another folder with data.cache=DIR"
        ) from error


def existing(corpus: Corpus, cache: str | Path, sample_rate: int, resample: bool = False) -> Path | None:
    """The folder of the pool of a corpus, if there is one; nothing is written."""
    return _find(corpus, _key(corpus, cache, sample_rate, resample), _fingerprint(corpus))


def _find(corpus: Corpus, key: Path, fingerprint: str) -> Path | None:
    pools = [path.parent for path in sorted(key.parent.glob(f"{key.name}-*/{FINGERPRINTS}"))]
    for path in pools:
        if fingerprint in (path / FINGERPRINTS).read_text().split():
            return path
    if not pools:
        return None
    log.info("files in %s changed after they were decoded: comparing what they hold", corpus.root)
    with ThreadPoolExecutor(joblib.cpu_count()) as threads:
        paths = corpus.paths if corpus.spans is None else corpus.paths.take(corpus.first_of_files())
        digests = threads.map(decoding.sha256_of, (corpus.root / path for path in _strings(paths)))
        path = _named(key, _sha256_of_bytes(digests))
    return path if path in pools else None


def _key(corpus: Corpus, cache: str | Path, sample_rate: int, resample: bool) -> Path:
    versions = f"pool {FORMAT}, libsndfile {soundfile.__libsndfile_version__}, {sample_rate} Hz"
    versions += f", {decoding.RESAMPLER}" if resample else ""
    spans = {} if corpus.spans is None else {"start": corpus.spans[:, 0], "end": corpus.spans[:, 1]}
    table = pa.table({"path": corpus.paths, "size": corpus.sizes, **_speaker_columns(corpus), **spans})
    return Path(cache).expanduser() / "pools" / _sha256_of_rows(table, f"{versions}\n")[:16]


def _named(key: Path, sha256_of_bytes: str) -> Path:
    return key.with_name(f"{key.name}-{sha256_of_bytes[:16]}")


def _sha256_of_bytes(digests: Iterable[bytes]) -> str:
    """The SHA-256 of the SHA-256 of each file."""
    whole = hashlib.sha256()
    for digest in digests:
        whole.update(digest)
    return whole.hexdigest()


def _fingerprint(corpus: Corpus) -> str:
    """The state of the files, without reading them."""
    modified, changed = corpus.times.T
    return _sha256_of_rows(pa.table({"path": corpus.paths, "size": corpus.sizes, "m": modified, "c": changed}))


def _note(path: Path, fingerprint: str) -> None:
    """Note that the files, in the state of this fingerprint, hold the bytes of this pool."""
    if fingerprint not in (path / FINGERPRINTS).read_text().split():
        with contextlib.suppress(OSError), open(path / FINGERPRINTS, "a") as file:  # a pool may be another user's
            file.write(f"{fingerprint}\n")


def _strings(column: pa.ChunkedArray) -> Iterable[str]:
    return itertools.chain.from_iterable(
        column[start : start + NAMED_AT_ONCE].to_pylist() for start in range(0, len(column), NAMED_AT_ONCE)
    )


def _speaker_columns(corpus: Corpus) -> dict[str, pa.Array]:
    """Name, sex and split of each utterance's speaker; every name is stored once, and numbered."""
    rows = pa.array(corpus.speaker)
    sexes, splits = np.array(SEXES)[corpus.sexes], np.array(SPLITS)[corpus.splits]
    names = {"speaker": corpus.speakers, "sex": sexes, "split": splits}
    return {name: pa.DictionaryArray.from_arrays(rows, values) for name, values in names.items()}


def _sha256_of_rows(table: pa.Table, first: str = "") -> str:
    """The SHA-256 of a first line, and of the rows as lines with blanks between values."""
    digest = hashlib.sha256(first.encode())
    for start in range(0, len(table), NAMED_AT_ONCE):
        columns = [column.cast(pa.string()) for column in table.slice(start, NAMED_AT_ONCE).columns]
        lines = pc.binary_join_element_wise(*columns, " ").to_pylist()
        digest.update(("\n" * (start > 0) + "\n".join(lines)).encode())
    return digest.hexdigest()


def _locked(path: Path) -> contextlib.AbstractContextManager[filelock.BaseFileLock]:
    lock = filelock.FileLock(path)
    try:
        return lock.acquire(blocking=False)
    except filelock.Timeout:
        log.warning("another process is building the pool of this corpus; waiting for it")
        return lock.acquire()


def _decode(corpus: Corpus, key: Path, sample_rate: int, resample: bool) -> Path:
    partial = key.with_suffix(".partial")
    shutil.rmtree(partial, ignore_errors=True)  # left by a killed process: this process holds the lock
    partial.mkdir()
    try:
        frames = np.zeros(len(corpus.utterances), np.int64)
        damaged = []
        rates, mixed_down = Counter[int](), 0
        of_files, digests = [], [hashlib.sha256(), hashlib.sha256()]
        # plain writes in order: on a full disk a write raises an error, a memory map would kill the process
        with open(partial / "samples.int16", "wb") as speech, open(partial / "activity.int32", "wb") as activity:
            for row, (sha256, decoded, rate, channels) in enumerate(decoding.decoded(corpus, sample_rate, resample)):
                if corpus.spans is None or sha256:
                    of_files.append(sha256)
                if isinstance(decoded, str):
                    damaged.append({"path": corpus.paths[row].as_py(), "reason": decoded})
                    continue
                for file, digest, values in zip((speech, activity), digests, decoded, strict=True):
                    file.write(values.data)
                    digest.update(values.data)
                frames[row] = len(decoded[0])
                rates[rate] += 1
                mixed_down += channels > 1
            for file in (speech, activity):
                file.flush()
                os.fsync(file.fileno())
        _check_damaged(damaged, corpus, "" if resample else ", or convert them with data.resample=true")
        _say_converted(rates, mixed_down, sample_rate, "files" if corpus.spans is None else "utterances")
        write_index(partial, corpus, frames, sample_rate, [digest.hexdigest() for digest in digests], damaged)
        files.write_json(partial / VERIFIED, states_of(partial))
        (partial / FINGERPRINTS).write_text(f"{_fingerprint(corpus)}\n")
        path = _named(key, _sha256_of_bytes(of_files))
        shutil.rmtree(path, ignore_errors=True)  # left by an earlier build, if force=true
        partial.rename(path)
        return path
    except BaseException:
        shutil.rmtree(partial, ignore_errors=True)
        raise


def _say_converted(rates: Counter[int], mixed_down: int, sample_rate: int, what: str) -> None:
    """Say in one line how many files were resampled and mixed down, if any were.

    Args:
        what: whether they are files, or utterances in files.
    """
    of_all = f" of {rates.total():,} {what}"
    others = [(rate, number) for rate, number in rates.most_common() if rate != sample_rate]
    resampled = [f"{number:,}{of_all * (not place)} from {rate:,} Hz" for place, (rate, number) in enumerate(others)]
    said = [f"resampled {', '.join(resampled)}"] if resampled else []
    if mixed_down:
        said.append(f"mixed {mixed_down:,}{of_all} down to one channel")
    if said:
        log.info("; ".join(said))


def _check_damaged(damaged: list[dict[str, str]], corpus: Corpus, otherwise: str) -> None:
    allowed = most_left_out(len(corpus.paths))
    for entry in damaged[:10]:
        log.warning("left out: %s: %s", corpus.root / entry["path"], entry["reason"])
    if len(damaged) > 10:
        log.warning("left out: %d more", len(damaged) - 10)
    if len(damaged) > allowed or len(damaged) == len(corpus.paths):
        raise UserError(
            f"{len(damaged)} of the {len(corpus.paths)} utterances in {corpus.root} are damaged (at most {allowed} may "
            f"be left out). The first is {damaged[0]['path']}: {damaged[0]['reason']}. Repair or remove these files"
            f"{otherwise}"
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
        frames: `(utterances,)` int64, 0 for an utterance that is left out.
        sha256: hashes of samples and activity.
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
        "index_sha256": sha256_of_file(folder / "index.parquet"),
        "samples_sha256": sha256[0],
        "activity_sha256": sha256[1],
        "damaged": list(damaged),
    }
    files.write_json(folder / DESCRIPTION, description)
