"""What is compared, by the sexes of a clip's speakers."""

import json
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from speaker_count import labels
from speaker_count.results.comparison import compare, in_paper_order
from speaker_count.results.record import RunResult
from tests.conftest import REPOSITORY

MEASURED = REPOSITORY / "multirun" / "measured" / "paper-librispeech_sample-paper" / "m5-seed0"


@pytest.mark.parametrize(
    ("sexes", "shown"), [("F", "F"), ("FM", "MF"), ("FMM", "MMF"), ("U", "sexes unknown"), ("FUM", "sexes unknown")]
)
def test_a_clip_is_named_by_its_sexes_where_all_are_known(sexes, shown):
    assert in_paper_order(sexes) == shown


def altered(folder: Path, columns: Mapping[str, np.ndarray]) -> Path:
    """A run whose result says that its net names the sexes, and whose predictions have these columns too."""
    folder.mkdir()
    values = json.loads((MEASURED / "result.json").read_text())
    values["net"]["loss"] = {"composition_weight": 0.5}
    (folder / "result.json").write_text(json.dumps(values))
    table = pq.read_table(MEASURED / "predictions.parquet")
    for name, column in columns.items():
        table = table.append_column(name, pa.array(column))
    pq.write_table(table, folder / "predictions.parquet")
    return folder


def test_probabilities_of_sexes_are_read_or_refused_with_one_note(tmp_path):
    number = len(pq.read_table(MEASURED / "predictions.parquet", columns=["count"]))
    whole = {f"c_{name}": np.full(number, 1 / 9) for name in labels.compositions((1, 2, 3))}
    whole["c_MF"] = np.full(number, 0.5)
    odd = [{}, {**whole, "c_F": np.full(number, np.nan)}, {**whole, "c_F": np.full(number, "much")}]
    for place, columns in enumerate([whole, *odd]):
        folder = altered(tmp_path / f"run{place}", columns)
        made = compare({folder: RunResult.read(folder)})
        (entry,) = made.entries
        if columns is whole:
            assert {*entry.composed[0].tolist()} == {"MF"}
            assert not made.notes
        else:
            assert not entry.composed
            (note,) = made.notes
            assert "its predictions cannot be used" in note
