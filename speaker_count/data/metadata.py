"""The table of a split's clips: where each comes from, as written beside the files and as read again."""

from collections.abc import Iterable, Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import pyarrow.parquet as pq

from speaker_count.data.corpus import SEXES
from speaker_count.data.mixing import Plan
from speaker_count.data.pool import Pool


def wav_name(split: str, index: int) -> str:
    """Of a clip's file, as in the paper: `Audio_Validation12.wav`."""
    return f"Audio_{split.capitalize()}{index}.wav"


def file_names(split: str) -> tuple[str, str]:
    """Of the table's files."""
    return f"metadata_{split}.parquet", f"metadata_{split}.csv"


def of_plan(
    pool: Pool, split: str, counts: Sequence[int], plan: Plan, clipped: np.ndarray, sha256: Sequence[str]
) -> pa.Table:
    """Where clips come from, a row each: the paper's columns (with capitals), and ours.

    `Waveform` (the file), `Speakers` (how many), `Speakers Sex` (such as `MMF`), `F` and `M` (how many of each),
    `Speakers_Class` (the count's place in `counts`); and with one value a voice, in the order in which they are
    summed, `speaker_ids`, `utterances`, `starts` (samples), `sexes`, `activity` (share of the crop) and `gains`;
    `scale` (what the sum was multiplied with), `clipped` (samples that went beyond 16 bits), `sha256` (of the file).

    Args:
        plan: with the scale that was used.
        clipped: `(clips,)` int64.
    """
    women, men = ((plan.sexes == sex).sum(axis=1) for sex in range(len(SEXES)))
    heard = np.arange(plan.speakers.shape[1]) < plan.count[:, None]
    offsets = np.concatenate([[0], np.cumsum(plan.count)]).astype(np.int32)

    def voices(values: np.ndarray) -> pa.Array:
        return pa.ListArray.from_arrays(offsets, pa.array(values[heard]))

    letters = [np.array(SEXES)[row[:count]] for row, count in zip(plan.sexes, plan.count.tolist(), strict=True)]
    columns = {
        "Waveform": [wav_name(split, index) for index in plan.index.tolist()],
        "Speakers": plan.count,
        "Speakers Sex": ["M" * m + "F" * f for f, m in zip(women.tolist(), men.tolist(), strict=True)],
        "F": women,
        "M": men,
        "Speakers_Class": np.searchsorted(counts, plan.count),
        "speaker_ids": voices(pool.speakers[plan.speakers]),
        "utterances": voices(pool.utterances[plan.utterances].astype(object)),
        "starts": voices(plan.starts),
        "sexes": ["".join(row) for row in letters],
        "activity": voices(plan.activity),
        "gains": voices(plan.gains),
        "scale": plan.scale,
        "clipped": clipped,
        "sha256": sha256,
    }
    return pa.table(columns)


def contents(table: pa.Table) -> tuple[bytes, bytes]:
    """Of the table's files: Parquet, and CSV with the values of a list joined by spaces."""
    parquet, csv = pa.BufferOutputStream(), pa.BufferOutputStream()
    pq.write_table(table, parquet)
    joined = [
        pc.binary_join(column.cast(pa.list_(pa.string())), " ") if pa.types.is_list(column.type) else column
        for column in table.columns
    ]
    unquoted = pyarrow.csv.WriteOptions(quoting_style="needed")
    pyarrow.csv.write_csv(pa.table(joined, table.column_names), csv, unquoted)
    return parquet.getvalue().to_pybytes(), csv.getvalue().to_pybytes()


def names(tables: Iterable[pa.Table], column: str) -> np.ndarray:
    """All that stand in a column of lists, sorted."""
    return np.unique(np.concatenate([_flat(table, column).astype(str) for table in tables]))


def plan(table: pa.Table, speakers: np.ndarray, utterances: np.ndarray, most: int, samples: int) -> Plan:
    """The plan that a table was made of; its scale is the one that was used.

    Args:
        speakers, utterances: sorted names, whose rows are the plan's.
        most: voices that a clip can have.
        samples: length of a clip.
    """
    count = np.array(table["Speakers"])
    heard = np.arange(most) < count[:, None]

    def voices(values: np.ndarray, silent: int, kind: type) -> np.ndarray:
        padded = np.full(heard.shape, silent, kind)
        padded[heard] = values
        return padded

    letters = np.array(list("".join(table["sexes"].to_pylist())))
    return Plan(
        index=np.arange(len(table)),
        count=count,
        speakers=voices(np.searchsorted(speakers, _flat(table, "speaker_ids").astype(str)), -1, np.int32),
        utterances=voices(np.searchsorted(utterances, _flat(table, "utterances").astype(str)), -1, np.int32),
        starts=voices(_flat(table, "starts"), -1, np.int64),
        sexes=voices(np.searchsorted(SEXES, letters), -1, np.int8),
        activity=voices(_flat(table, "activity"), 0, np.float32),
        gains=voices(_flat(table, "gains"), 0, np.float32),
        scale=np.array(table["scale"]),
        samples=samples,
    )


def _flat(table: pa.Table, column: str) -> np.ndarray:
    """The values of a column of lists, one behind the other."""
    return pc.list_flatten(table[column]).to_numpy(zero_copy_only=False)
