import csv
import json
import shutil

import numpy as np
import pytest

from speaker_count.report import baselines, finished
from speaker_count.results import tables
from speaker_count.results.record import read_result
from tests.conftest import make_tree, mix_of


def test_the_table_stands_beside_the_paper_s(verb, finished_sweep, tmp_path):
    sweep = shutil.copytree(finished_sweep, tmp_path / "sweep")
    code, out, err = verb("report", sweep)
    assert code == 0, err
    rows = list(csv.DictReader((sweep / "report" / "tables" / "sweep.csv").open()))
    assert [row["net"] for row in rows] == ["m3", "m5", "majority class", "level (RMS)"]
    (run,) = sweep.glob("m5-*")
    m5, result = rows[1], read_result(run)
    assert float(m5["test accuracy"]) == result["last"]["test"]["accuracy"]
    assert float(m5["clips/s"]) == result["clips_per_second"]
    assert float(m5["paper's validation accuracy"]) == pytest.approx(0.7937)
    assert float(m5["paper's train loss"]) == pytest.approx(0.3844)
    difference = result["last"]["validation"]["accuracy"] - 0.7937
    assert float(m5["validation accuracy difference"]) == pytest.approx(difference)
    assert float(rows[2]["test accuracy"]) == pytest.approx(1 / 3)
    assert float(rows[2]["test loss"]) == pytest.approx(np.log(3))

    text = (sweep / "report" / "tables" / "sweep.md").read_text()
    assert text in out
    assert "| m5 " in text
    assert f"{result['last']['test']['accuracy']:.3f}" in text
    assert "12 / 6 / 6 speakers" in text
    assert "synthetic" not in text.lower()


def test_without_the_corpus_the_rest_is_reported(verb, finished_sweep, tmp_path):
    sweep = shutil.copytree(finished_sweep, tmp_path / "sweep")
    for path in sweep.glob("*/result.json"):
        result = json.loads(path.read_text())
        result["data"]["root"] = "/nowhere"
        path.write_text(json.dumps(result))
    code, out, err = verb("report", sweep)
    assert code == 0, err
    assert "No baselines" in out
    assert "| m5 " in out
    assert "level (RMS)" not in out


def test_runs_on_other_clips_stand_in_another_table(finished_sweep, tmp_path, verb):
    sweep = shutil.copytree(finished_sweep, tmp_path / "sweep")
    path = next(sweep.glob("m3-*")) / "result.json"
    result = json.loads(path.read_text())
    result["mix"]["seed"] = 1
    path.write_text(json.dumps(result))
    _, text, _ = verb("report", sweep)
    assert text.count("## data=folder") == 2


def test_no_finished_run_is_told_and_torn_ones_are_left_out(verb, finished_sweep, tmp_path):
    for folder in (tmp_path, tmp_path / "nothing"):
        code, _, err = verb("report", folder)
        assert code == 2
        assert "no f" in err
        assert "Traceback" not in err
    sweep = shutil.copytree(finished_sweep, tmp_path / "sweep")
    (next(sweep.glob("m3-*")) / "result.json").write_text('{"schema":')
    aside = next(sweep.glob("m5-*"))
    shutil.copytree(aside, aside.with_name(f"{aside.name}.2026-01-01_00-00-00"))
    assert [result["model"] for result in finished(sweep)] == ["m5"]


def test_the_level_alone_is_what_the_baseline_hears(make_data, tmp_path):
    """Where one speaker is four times as loud as a mean of three, the level tells them apart."""
    data = make_data(make_tree(tmp_path), mix=mix_of(train=300, test=150, counts=(1, 3)))
    majority, level = baselines(data)
    assert majority["test accuracy"] == 0.5
    assert level["test accuracy"] > 0.9
    assert 0 < level["test loss"] < 0.5


def test_a_table_in_markdown():
    rows = [
        {"net": "a", "test accuracy": 0.51234, "parameters": 12345, "loss difference": -0.1},
        {"net": "bcd", "test accuracy": None, "parameters": 7, "loss difference": 0.25},
    ]
    columns = {"net": "net", "parameters": "parameters", "test accuracy": "acc", "loss difference": "diff"}
    assert tables.markdown(rows, columns).splitlines() == [
        "| net | parameters |   acc |   diff |",
        "| --- | ---------: | ----: | -----: |",
        "| a   |     12,345 | 0.512 | -0.100 |",
        "| bcd |          7 |       | +0.250 |",
    ]
