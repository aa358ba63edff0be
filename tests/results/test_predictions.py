"""A run's predictions, as this version writes them and as those before it did."""

import dataclasses

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from speaker_count.results import predictions, record
from tests.conftest import REPOSITORY

MEASURED = REPOSITORY / "multirun" / "measured" / "paper-librispeech_sample-paper" / "m5-seed0"


def test_probabilities_are_named_by_counts_also_where_an_older_version_numbered_the_classes(tmp_path):
    (run,) = record.finished(MEASURED).values()
    run = dataclasses.replace(run, net={**run.net, "counts": [0, 1, 2]})
    columns = {"count": [0, 2], "predicted": [0, 1]}
    probabilities = np.array([[0.7, 0.2, 0.1], [0.1, 0.5, 0.4]])
    for names in (("p_0", "p_1", "p_2"), ("p_1", "p_2", "p_3")):
        pq.write_table(pa.table({**columns, **dict(zip(names, probabilities.T, strict=True))}), tmp_path / "it.parquet")
        table = predictions.read(tmp_path / "it.parquet", run)
        assert table.column_names == ["count", "predicted", "p_0", "p_1", "p_2"]
        np.testing.assert_array_equal(np.stack(table.columns[2:], axis=1), probabilities)
