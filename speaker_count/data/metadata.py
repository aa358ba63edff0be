"""The table of a split's clips, which says where each clip comes from: written beside the files, and read back."""

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import pyarrow.parquet as pq

from speaker_count import files
from speaker_count.data.mixing import Mix
from speaker_count.data.planning import Plan
from speaker_count.data.pool import Speech
from speaker_count.data.sounds import GENERATED, Sounds
from speaker_count.labels import SEXES, UNKNOWN

COLUMNS = pa.schema(  # those that are read back
    {
        "Waveform": pa.string(),
        "Speakers": pa.int64(),
        "speaker_ids": pa.list_(pa.string()),
        "utterances": pa.list_(pa.string()),
        "starts": pa.list_(pa.int64()),
        "sexes": pa.string(),
        "activity": pa.list_(pa.float32()),
        "gains": pa.list_(pa.float32()),
        "scale": pa.float32(),
        "sha256": pa.string(),
    }
)


def wav_name(split: str, index: int) -> str:
    """The name of a clip's file, as in the paper: `Audio_Validation12.wav`."""
    return f"Audio_{split.capitalize()}{index}.wav"


def file_names(split: str) -> tuple[str, str]:
    """The names of the table's Parquet and CSV files."""
    return f"metadata_{split}.parquet", f"metadata_{split}.csv"


def of_plan(
    pool: Speech,
    split: str,
    counts: Sequence[int],
    plan: Plan,
    clipped: np.ndarray,
    sha256: Sequence[str],
    sounds: Sounds = GENERATED,
) -> pa.Table:
    """Where clips come from, one row per clip: the paper's columns (with capitals), and ours.

    The paper's: `Waveform` (the file), `Speakers` (how many), `Speakers Sex` (such as `MMF`; U is an unknown one), `F`
    and `M` (how many of each), `Speakers_Class` (the count's place in `counts`). Ours with one value per voice, in the
    order of the sum: `speaker_ids`, `utterances`, `starts` (samples), `sexes`, `activity` (share of the crop), `gains`.
    Ours with one value per clip: `scale` (the factor of the sum), `clipped` (samples beyond 16 bits), `sha256` (of the
    file). Clips that vary have those of `augmentation.Effects`, too, and splits with clips without a speaker
    `pause_utterance`, `pause_start` and `pause_length`.

    Args:
        plan: with the scale that rendering used.
        clipped: `(clips,)` int64.
        sha256: of each clip's file.
        sounds: those that the plan was drawn with; their columns hold the names of files.
    """
    women, men, unknown = ((plan.sexes == sex).sum(axis=1) for sex in range(len(SEXES)))
    heard = np.arange(plan.speakers.shape[1]) < plan.count[:, None]
    offsets = np.concatenate([[0], np.cumsum(plan.count)]).astype(np.int32)

    def voices(values: np.ndarray, unknown: np.ndarray | None = None) -> pa.Array:
        mask = None if unknown is None else unknown[heard]
        return pa.ListArray.from_arrays(offsets, pa.array(values[heard], mask=mask))

    in_order = (("M", pa.array(men)), ("F", pa.array(women)), (UNKNOWN, pa.array(unknown)))
    letters = [np.array(SEXES)[row[:count]] for row, count in zip(plan.sexes, plan.count.tolist(), strict=True)]
    columns = {
        "Waveform": [wav_name(split, index) for index in plan.index.tolist()],
        "Speakers": plan.count,
        "Speakers Sex": pc.binary_join_element_wise(*(pc.binary_repeat(letter, n) for letter, n in in_order), ""),
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
        **_varied(pool, plan, voices, sounds),
        "clipped": clipped,
        "sha256": sha256,
    }
    return pa.table(columns)


def _varied(pool: Speech, plan: Plan, voices: Callable[..., pa.Array], sounds: Sounds) -> dict[str, Any]:
    """The columns of `augmentation.Effects`, and where pauses come from, of clips that have them."""
    columns: dict[str, Any] = {}
    files = {"noise_file": sounds.noise, "response_file": sounds.responses}
    for name, values in [] if plan.effects is None else plan.effects.columns():
        named = files.get(name)
        silent = None if named is None else values < 0
        if named is not None:
            values = named.utterances[values].astype(object)
        if values.ndim == 3:
            columns |= {f"{name}_{n}": voices(values[..., n]) for n in range(values.shape[2])}
        else:
            columns[name] = voices(values, silent) if values.ndim == 2 else pa.array(values, mask=silent)
    if plan.pause is not None:
        utterances, starts, lengths = plan.pause.T
        names = pool.utterances[utterances].astype(object)
        columns["pause_utterance"] = pa.array(names, pa.string(), mask=lengths == 0)
        columns |= {"pause_start": starts, "pause_length": lengths}
    return columns


def contents(table: pa.Table) -> tuple[bytes, bytes]:
    """The contents of the table's files: Parquet, and CSV with the values of a list joined by spaces.

    Names come from the corpus: in the CSV file, one that a spreadsheet would compute has an apostrophe before it.
    """
    parquet, csv = pa.BufferOutputStream(), pa.BufferOutputStream()
    pq.write_table(table, parquet)
    joined = [
        pc.binary_join(column.cast(pa.list_(pa.string())), " ") if pa.types.is_list(column.type) else column
        for column in table.columns
    ]
    for place in map(table.column_names.index, ("speaker_ids", "utterances")):
        joined[place] = pc.replace_substring_regex(joined[place], f"({files.FORMULA})", r"'\1")
    unquoted = pyarrow.csv.WriteOptions(quoting_style="needed")
    pyarrow.csv.write_csv(pa.table(joined, table.column_names), csv, unquoted)
    return parquet.getvalue().to_pybytes(), csv.getvalue().to_pybytes()


def read(content: bytes, split: str, mix: Mix) -> pa.Table:
    """The columns of `COLUMNS`, from the contents of the Parquet file.

    Raises:
        ValueError, KeyError, ArrowException: it is not the table of a split's clips of this mix.
    """
    table = pq.read_table(pa.BufferReader(content), columns=COLUMNS.names).select(COLUMNS.names).cast(COLUMNS)
    lists = [column for column in table.columns if pa.types.is_list(column.type)]
    if any(column.null_count for column in (*table.columns, *map(pc.list_flatten, lists))):
        raise ValueError("a value is missing")
    clips = mix.clips[split]
    if len(table) != clips or table["Waveform"].to_pylist() != [wav_name(split, index) for index in range(clips)]:
        raise ValueError(f"it does not list the {clips} clips of the {split} split in their order")
    count = table["Speakers"].to_numpy()
    if not np.isin(count, mix.counts).all():
        raise ValueError(f"it has other numbers of speakers than {list(mix.counts)}")
    for voices in (*map(pc.list_value_length, lists), pc.utf8_length(table["sexes"])):
        if not np.array_equal(voices, count):
            raise ValueError("it does not name every voice of its clips")
    if not {*"".join(table["sexes"].to_pylist())} <= {*SEXES}:
        raise ValueError(f"it has other sexes than {' and '.join(SEXES)}")
    return table


def names(tables: Iterable[pa.Table], column: str) -> np.ndarray:
    """The distinct values in a column of lists, sorted."""
    return np.unique(np.concatenate([_flat(table, column).astype(str) for table in tables]))


def plan(table: pa.Table, speakers: np.ndarray, utterances: np.ndarray, most: int, samples: int) -> Plan:
    """The plan that a table was written from, with the scale that rendering used.

    Args:
        speakers, utterances: sorted names; the plan's rows are positions in them.
        most: the largest number of voices in a clip.
        samples: length of a clip.
    """
    count = np.array(table["Speakers"])
    heard = np.arange(most) < count[:, None]

    def voices(values: np.ndarray, silent: int, kind: type) -> np.ndarray:
        padded: np.ndarray = np.full(heard.shape, silent, kind)
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
    """The values of a column of lists, concatenated."""
    values: np.ndarray = pc.list_flatten(table[column]).to_numpy(zero_copy_only=False)
    return values
