"""Read a run's predictions of its test clips, which may come from anywhere."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from speaker_count import labels
from speaker_count.labels import SEXES
from speaker_count.results.record import RunResult

MOST_COMPOSITIONS = 1000  # the names of more would take much memory, and a run may come from anywhere
TRACE = pa.schema(  # where each clip comes from
    {
        "speakers": pa.list_(pa.string()),
        "utterances": pa.list_(pa.string()),
        "starts": pa.list_(pa.int64()),
        "sexes": pa.string(),
    }
)


def compositions(result: RunResult) -> list[str]:
    """The columns with the probabilities of sexes and counts together; none, unless a run's net names them."""
    loss = result.net.get("loss")
    named = isinstance(loss, Mapping) and loss.get("composition_weight")
    named = named and sum(count + 1 for count in result.counts) <= MOST_COMPOSITIONS
    return [f"c_{sexes}" for sexes in labels.compositions(result.counts)] if named else []


def read(path: Path, result: RunResult) -> pa.Table:
    """True and predicted counts, and probabilities: the columns `count, predicted`, those of
    `labels.probability_names`, and those of `compositions`.

    Raises:
        OSError, ValueError, KeyError, TypeError, ArrowException: they cannot be read, or a value is missing or absurd.
    """
    names, composed = labels.probability_names(result.counts), compositions(result)
    written = names
    with open(path, "rb") as file:
        if not {*names} <= {*pq.read_schema(file).names}:  # before 0.3.0, classes had numbers from 1
            written = labels.probability_names(range(1, len(names) + 1))
    table = _read(path, ["count", "predicted", *written, *composed], result)
    table = table.rename_columns(["count", "predicted", *names, *composed])
    _check(table, result.counts)
    return table


def read_trace(path: Path, result: RunResult, count: np.ndarray) -> dict[str, list[Any]]:
    """The columns of `TRACE`, for predictions of clips with these true counts.

    Raises:
        OSError, ValueError, KeyError, TypeError, ArrowException: as `read`.
    """
    table = _read(path, TRACE.names, result).cast(TRACE)
    trace: dict[str, list[Any]] = table.to_pydict()
    if any([len(voices) for voices in column] != count.tolist() for column in trace.values()):
        raise ValueError("they do not name every voice of their clips")
    unnamed = any(pc.list_flatten(column).null_count for column in table.columns if pa.types.is_list(column.type))
    if unnamed or not {*"".join(trace["sexes"])} <= {*SEXES}:
        raise ValueError("they name a voice that nobody has")
    return trace


def _read(path: Path, columns: list[str], result: RunResult) -> pa.Table:
    with open(path, "rb") as file:  # given the path, pyarrow would fetch what looks like an address
        if pq.read_metadata(file).num_rows > result.mix["clips"]["test"]:  # a small file can hold any number of rows
            raise ValueError("they are of more clips than the run has")
        return pq.read_table(file, columns=columns)


def _check(table: pa.Table, counts: Sequence[int]) -> None:
    """Check the columns that scores are computed from: true and predicted counts, and probabilities.

    Raises:
        ValueError: there is no clip, a value is missing, or a value is absurd.
    """
    if not len(table):
        raise ValueError("there are none")
    for name in table.column_names:
        values, number = table[name], pa.types.is_floating if name[1] == "_" else pa.types.is_integer
        if values.null_count or not number(values.type):
            raise ValueError(f"the column {name} has missing values, or values that are no numbers")
    for name in ("count", "predicted"):
        if not np.isin(table[name].to_numpy(), counts).all():
            raise ValueError(f"the column {name} has other counts than {list(counts)}")
    probabilities = np.stack([table[name].to_numpy() for name in table.column_names[2:]])
    if not ((probabilities >= 0) & (probabilities <= 1.0001)).all():  # NaN is neither
        raise ValueError("some probabilities are NaN, or not between 0 and 1")
