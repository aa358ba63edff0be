"""Results that are absurd, and predictions that are: each is left out with one line, and the others are reported."""

import json
import shutil
from functools import partial

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from speaker_count.results.record import finished
from tests.conftest import REPOSITORY

MEASURED = REPOSITORY / "multirun" / "measured" / "paper-librispeech_sample-paper" / "m5-seed0"
ABSURD = {
    "negative seconds": ("fit_seconds", -1),
    "no seconds": ("fit_seconds", None),
    "seconds in words": ("fit_seconds", "long"),
    "a count below 0": ("net/counts", [-1, 2, 3]),
    "true as a count": ("net/counts", [True, 2, 3]),
    "one count": ("net/counts", [1]),
    "a number with 400 digits": ("parameters", 10**400),
    "a net that fits in no memory": ("net/net/stages", [[10**9, 1]]),
    "a clip of a century": ("mix/clip_seconds", 3e9),
    "no clips": ("mix/clips", None),
    "no test scores": ("last/test", {}),
    "scores in a list": ("best/test", [1]),
    "a null accuracy": ("last/test/accuracy", None),
    "a confusion of words": ("last/test/confusion", [["a"] * 3] * 3),
    "a small confusion matrix": ("last/test/confusion", [[1]]),
    "no speakers": ("data/speakers", {}),
    "a name in a list": ("data/name", ["x"]),
    "an escape in a change": ("changes", ["\x1b[31mred"]),
    "a dictionary among the changes": ("changes", [1, {}]),
    "null as a net": ("model", "null"),
    "a hash that is a number": ("test_sha256", 7),
    "versions in a list": ("versions", [1]),
    "a baseline": ("kind", "baseline"),
    "an escape in the paper's name": ("paper_name", "\x1b[31mM5"),
    "a hash that is no text": ("test_sha256", "\ud800"),
    "a metric with 400 digits": ("last/test/mae", 10**400),
}


@pytest.fixture
def report(verb, tmp_path, monkeypatch):
    """`speaker-count report` where there is no pool, which spares it the baselines."""
    monkeypatch.setenv("SPEAKER_COUNT_CACHE", str(tmp_path / "no pools"))
    return partial(verb, "report")


def two_runs(folder):
    """Copies of a measured run, the second with another seed."""
    for name, seed in (("whole", 0), ("odd", 1)):
        shutil.copytree(MEASURED, folder / name)
        values = json.loads((folder / name / "result.json").read_text())
        (folder / name / "result.json").write_text(json.dumps({**values, "seed": seed}))
    return folder / "odd"


@pytest.mark.parametrize("name", ABSURD)
def test_an_absurd_result_is_left_out_with_one_line(tmp_path, caplog, name):
    odd = two_runs(tmp_path)
    values = json.loads((odd / "result.json").read_text())
    *parents, last = ABSURD[name][0].split("/")
    node = values
    for key in parents:
        node = node[key]
    node[last] = ABSURD[name][1]
    (odd / "result.json").write_text(json.dumps(values))
    assert [folder.name for folder in finished(tmp_path)] == ["whole"]
    (line,) = caplog.messages
    assert line.startswith(f"left out: {odd / 'result.json'} is not a run's result: ")
    assert len(line) < 400 + len(str(odd))


def test_a_list_as_deep_as_memory_is_one_line(tmp_path, caplog):
    odd = two_runs(tmp_path)
    (odd / "result.json").write_text("[" * 200_000)
    assert [folder.name for folder in finished(tmp_path)] == ["whole"]
    assert "is damaged" in caplog.text


def change(table, name, values, kind=None):
    return table.set_column(table.column_names.index(name), name, pa.array(values, kind))


@pytest.mark.parametrize(
    "damage", ["null", "nan", "text", "other count", "no voice", "dates", "missing", "empty", "garbage"]
)
def test_odd_predictions_leave_the_run_without_an_interval(report, tmp_path, damage):
    odd = two_runs(tmp_path)
    path = odd / "predictions.parquet"
    table = pq.read_table(path)
    size = len(table)
    if damage == "garbage":
        path.write_bytes(b"PAR1" + bytes(range(256)) * 40)
    else:
        odd_table = {
            "null": lambda: change(table, "predicted", [None, *table["predicted"].to_pylist()[1:]]),
            "nan": lambda: change(table, "p_1", np.full(size, np.nan)),
            "text": lambda: change(table, "count", ["1"] * size),
            "other count": lambda: change(table, "predicted", [9] * size),
            "no voice": lambda: change(table, "speakers", [None] * size, pa.list_(pa.string())),
            "dates": lambda: change(table, "speakers", [[2**31 - 1]] * size, pa.list_(pa.date32())),
            "missing": lambda: table.drop_columns(["p_2"]),
            "empty": lambda: table.slice(0, 0),
        }[damage]()
        pq.write_table(odd_table, path)
    shutil.copy(path, tmp_path / "whole")  # the first run that is read is the odd one, too
    code, out, err = report(tmp_path)
    assert code == 0, err
    assert "odd: no interval, because its predictions cannot be used (" in out.replace("\n", " ")
    assert "Traceback" not in err


def test_as_many_clips_as_nobody_has_do_not_hang(report, tmp_path):
    values = json.loads((MEASURED / "result.json").read_text())
    values["mix"]["clips"]["train"] = 10**13
    shutil.copytree(MEASURED, tmp_path / "run")
    (tmp_path / "run" / "result.json").write_text(json.dumps(values))
    code, out, err = report(tmp_path)
    assert code == 0, err
    assert "nothing to listen to: a split has more than 100,000,000 clips" in out.replace("\n", " ")


def test_what_a_user_overrides_is_no_formula(report, tmp_path):
    two_runs(tmp_path)
    values = json.loads((tmp_path / "odd" / "result.json").read_text())
    (tmp_path / "odd" / "result.json").write_text(json.dumps({**values, "changes": [r"model.x=$\frac$ \input{y}"]}))
    code, _, err = report(tmp_path)
    assert code == 0, err
    assert r"\input" not in (tmp_path / "report" / "tables" / "results.tex").read_text()
