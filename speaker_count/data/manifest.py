"""A corpus by its manifest: a table that names the files, whatever their tree and their names.

CSV or Parquet, one row per utterance, with the columns `path` (relative to the manifest's folder) and `speaker` and,
where they are known, `sex`, `split`, and `start` and `end` in seconds of an utterance that is a part of its file.
"""

import logging
import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import pyarrow.parquet as pq

from speaker_count.data.corpus import Corpus, most_left_out
from speaker_count.data.splits import by_speaker
from speaker_count.errors import UserError, first_line, printable
from speaker_count.labels import SEXES, SPLITS, UNKNOWN

log = logging.getLogger(__name__)
TEXTS, SECONDS = ("path", "speaker", "sex", "split"), ("start", "end")
COLUMNS = (*TEXTS, *SECONDS)
COLUMNS_IN_WORDS = "path and speaker and, where known, sex, split, start, end (seconds)"
# VCTK has F and M, Common Voice the longer ones
SEX_OF = {"f": "F", "female": "F", "female_feminine": "F", "m": "M", "male": "M", "male_masculine": "M"}
NOT_SAID = ("", "u", "unknown", "other")
SPLIT_OF = {**{split: split for split in SPLITS}, "dev": "validation", "valid": "validation", "val": "validation"}


def index(path: str | Path) -> Corpus:
    """List the utterances of a manifest, and divide their speakers into splits.

    With a column `split`, it decides; otherwise speakers are divided by `splits.by_speaker`. Other columns are
    named and ignored. Files are not opened; a few that are missing are left out when the corpus is decoded.

    Raises:
        UserError: the file is no such table, lacks a column or a value, names a speaker in two splits or with two
            sexes, or names too many files that do not exist.
    """
    path = Path(path).expanduser()
    rows = _printable(_read(path), path)
    _check_values(rows, path)
    # whatever the order of its rows, a manifest is the same corpus
    rows = rows.take(_order(rows))
    utterances = _utterances(rows)
    _check_unique(utterances, path)
    numbered = rows["speaker"].combine_chunks().dictionary_encode()
    speakers, speaker = np.array(numbered.dictionary.to_pylist()), numbered.indices.to_numpy()
    sexes = _of_speakers(
        _sexes(rows["sex"], path), speaker, speakers, SEXES, f"{path} lists speaker {{}} as {{}} and as {{}}"
    )
    sexes[sexes < 0] = SEXES.index(UNKNOWN)
    in_two = f"{path} has speaker {{}} in the {{}} and the {{}} split; no speaker may be in two"
    splits = _of_speakers(_splits(rows["split"], path), speaker, speakers, SPLITS, in_two)
    sizes, times = _states(rows["path"], path)
    spans = np.stack([rows[name].to_numpy() for name in SECONDS], axis=1)  # NaN where a value is missing
    return Corpus(
        root=path.parent,
        utterances=utterances,
        paths=rows["path"],
        subsets=pa.chunked_array([pa.repeat("manifest", len(rows))]),
        sizes=sizes,
        times=times,
        speaker=speaker,
        speakers=speakers,
        sexes=sexes,
        splits=by_speaker(speakers, sexes) if (splits < 0).all() else splits,
        spans=None if np.isnan(spans).all() else spans,
    )


def _read(path: Path) -> pa.Table:
    """The columns of `COLUMNS`; one that the manifest lacks is empty."""
    if not path.is_file():
        what = "is a folder" if path.is_dir() else "does not exist"
        raise UserError(
            f"{path} {what}: data.root=FILE names a manifest, a CSV or Parquet file with {COLUMNS_IN_WORDS}"
        )
    try:
        table = _read_parquet(path) if path.suffix.lower() in (".parquet", ".pq") else _read_csv(path)
        columns = {}
        for names, kind in ((TEXTS, pa.string()), (SECONDS, pa.float64())):
            for name in names:
                found = name in table.column_names
                columns[name] = table[name].cast(kind) if found else pa.chunked_array([pa.nulls(len(table), kind)])
    except (OSError, ValueError, pa.ArrowException) as error:  # a ValueError: text that is not UTF-8
        raise UserError(f"cannot read the manifest {path}: {first_line(error)}") from error
    if not len(table):
        raise UserError(f"the manifest {path} has no rows")
    return pa.table(columns)


def _read_csv(path: Path) -> pa.Table:
    with pyarrow.csv.open_csv(path) as reader:
        known = _known(reader.schema.names, path)
    types = {**dict.fromkeys(TEXTS, pa.string()), **dict.fromkeys(SECONDS, pa.float64())}
    converting = pyarrow.csv.ConvertOptions(
        include_columns=known, column_types=types, null_values=[""], strings_can_be_null=True
    )
    return pyarrow.csv.read_csv(path, convert_options=converting)


def _read_parquet(path: Path) -> pa.Table:
    return pq.read_table(path, columns=_known(pq.read_schema(path).names, path))


def _known(names: Sequence[str], path: Path) -> list[str]:
    """The columns that are read.

    Raises:
        UserError: one is missing, or there twice.
    """
    missing = [name for name in ("path", "speaker") if name not in names]
    if missing:
        found = printable(", ".join(names))
        raise UserError(
            f"the manifest {path} has no column {' and no column '.join(missing)}: it needs {COLUMNS_IN_WORDS}; found "
            f"{found:.200}"
        )
    known = [name for name in names if name in COLUMNS]
    if len(known) > len({*known}):
        raise UserError(f"the manifest {path} has a column twice: {', '.join(known)}")
    ignored = [name for name in names if name not in COLUMNS]
    if ignored:
        log.info("%s: columns that are ignored: %s", path, printable(", ".join(ignored))[:200])
    return known


def _printable(rows: pa.Table, path: Path) -> pa.Table:
    """The rows whose names can be printed; the others are left out."""
    fine = pc.and_(*(pc.fill_null(pc.utf8_is_printable(rows[name]), True) for name in ("path", "speaker")))
    odd = rows.filter(pc.invert(fine))
    for row in odd.slice(0, 10).to_pylist():
        log.warning("left out: %r of speaker %r in %s: a name is not printable", row["path"], row["speaker"], path)
    if len(odd) == len(rows):
        raise UserError(f"the manifest {path} has no row whose names can be printed")
    return rows.filter(fine) if len(odd) else rows


def _check_values(rows: pa.Table, path: Path) -> None:
    start, end = (rows[name] for name in SECONDS)
    known = (name for name in ("path", "speaker", "split") if rows[name].null_count < len(rows) or name != "split")
    wrong = {f"has no {name}": pc.is_null(rows[name]) for name in known}
    wrong["has a start or an end that is no number of seconds"] = pc.or_kleene(
        pc.invert(pc.is_finite(pc.fill_null(start, 0))), pc.invert(pc.is_finite(pc.fill_null(end, 0)))
    )
    wrong["has a negative start"] = pc.less(start, 0)
    wrong["ends before it starts"] = pc.less_equal(end, pc.fill_null(start, 0))
    for what, where in wrong.items():
        place = pc.index(where, True).as_py()
        if place >= 0:
            row = ", ".join(
                f"{name} {value}" for name, value in rows.slice(place, 1).to_pylist()[0].items() if value is not None
            )
            raise UserError(f"the manifest {path}: row {place + 1} {what} ({row:.200})")


def _order(rows: pa.Table) -> np.ndarray:
    """`(rows,)` places of the rows, by speaker, path, start and end, in a third of the time of Arrow's sort."""
    keys = [rows[name].to_numpy() for name in reversed(SECONDS) if rows[name].null_count < len(rows)]
    for name in ("path", "speaker"):
        numbered = rows[name].combine_chunks().dictionary_encode()
        rank = np.empty(len(numbered.dictionary), np.int64)
        rank[pc.sort_indices(numbered.dictionary)] = np.arange(len(rank))
        keys.append(rank[numbered.indices.to_numpy()])
    return np.lexsort(keys)


def _utterances(rows: pa.Table) -> pa.ChunkedArray:
    """Names of the utterances: their paths, and the seconds of those that are a part of a file."""
    if all(rows[name].null_count == len(rows) for name in SECONDS):
        return rows["path"]
    seconds = [pc.fill_null(rows[name].cast(pa.string()), "") for name in SECONDS]
    parts = pc.binary_join_element_wise(rows["path"], pc.binary_join_element_wise(*seconds, "-"), "@")
    whole = pc.and_(*(pc.is_null(rows[name]) for name in SECONDS))
    return pc.if_else(whole, rows["path"], parts)


def _check_unique(utterances: pa.ChunkedArray, path: Path) -> None:
    counted = pc.value_counts(utterances)
    if len(counted) < len(utterances):
        twice = counted.field("values").filter(pc.greater(counted.field("counts"), 1))[0].as_py()
        raise UserError(f"the manifest {path} lists {twice} more than once; remove all but one of its rows")


def _sexes(column: pa.ChunkedArray, path: Path) -> pa.ChunkedArray:
    """`F`, `M`, or null where the sex is not known."""
    words = pc.utf8_lower(pc.utf8_trim_whitespace(column))
    odd = [word for word in words.unique().to_pylist() if word is not None and word not in (*SEX_OF, *NOT_SAID)]
    if odd:
        log.warning("%s: sexes that are taken as unknown: %s", path, printable(", ".join(sorted(odd)))[:200])
    return _renamed(words, SEX_OF)


def _splits(column: pa.ChunkedArray, path: Path) -> pa.ChunkedArray:
    words = pc.utf8_lower(pc.utf8_trim_whitespace(column))
    odd = [word for word in words.unique().to_pylist() if word is not None and word not in SPLIT_OF]
    if odd:
        raise UserError(f"the manifest {path} has the split {min(odd)!r:.80}: expected {', '.join(SPLITS)}")
    return _renamed(words, SPLIT_OF)


def _renamed(words: pa.ChunkedArray, names: dict[str, str]) -> pa.ChunkedArray:
    return pc.take(pa.array(names.values(), pa.string()), pc.index_in(words, pa.array(names.keys(), pa.string())))


def _of_speakers(
    values: pa.ChunkedArray, speaker: np.ndarray, speakers: np.ndarray, known: Sequence[str], problem: str
) -> np.ndarray:
    """The value of each speaker, `(speakers,)` int8: an index into `known`, or -1 where no row has one.

    Raises:
        UserError: a speaker has two; `problem` says so, with the speaker's name and the two.
    """
    found = np.full(len(speakers), -1, np.int8)
    for number, name in enumerate(known):
        here = np.unique(speaker[pc.fill_null(pc.equal(values, name), False).to_numpy()])
        other = here[found[here] >= 0]
        if len(other):
            raise UserError(problem.format(speakers[other[0]], known[found[other[0]]], name))
        found[here] = number
    return found


def _states(paths: pa.ChunkedArray, manifest: Path) -> tuple[np.ndarray, np.ndarray]:
    """Size and times of each row's file, as in `Corpus`; a missing file has size 0.

    Raises:
        UserError: too many are missing.
    """
    numbered = paths.combine_chunks().dictionary_encode()
    names, root = numbered.dictionary.to_pylist(), str(manifest.parent)
    states, missing = np.zeros((len(names), 3), np.int64), []
    for row, name in enumerate(names):
        try:
            found = os.stat(os.path.join(root, name))
        except (OSError, ValueError):  # there may be a letter in it that no path has
            missing.append(name)
        else:
            states[row] = found.st_size, found.st_mtime_ns, found.st_ctime_ns
    if len(missing) > most_left_out(len(names)) or len(missing) == len(names):
        raise UserError(
            f"{len(missing):,} of the {len(names):,} files in the manifest {manifest} do not exist, such as "
            f"{missing[0]:.200}: paths are relative to the folder {manifest.parent}"
        )
    of_rows = states[numbered.indices.to_numpy()]
    return of_rows[:, 0], of_rows[:, 1:]
