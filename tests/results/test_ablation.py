"""What each ingredient brings: ablations beside the whole recipe, in the report of their sweep."""

import csv
import json
import shutil

import pytest


def test_a_report_of_ablations_says_what_each_ingredient_brings(verb, finished_sweep, tmp_path):
    m3, m5 = sorted(finished_sweep.glob("m*-seed0*"))
    for run, choice, changed in ((m5, "full", {}), (m5, "without_fresh_clips", {"seed": 7}), (m3, "m3", {})):
        folder = shutil.copytree(run, tmp_path / "sweep" / choice)
        values = json.loads((folder / "result.json").read_text())
        values["changes"] = [*values["changes"], f"ablation={choice}"]
        values["mix"] |= changed  # runs of one study vary in their training clips, and are compared
        (folder / "result.json").write_text(json.dumps(values))
    code, out, err = verb("report", tmp_path / "sweep")
    assert code == 0, err
    assert "What each ingredient brings: The recipe without one ingredient at a time" in out
    with open(tmp_path / "sweep" / "report" / "tables" / "ablation.csv", newline="") as file:
        rows = {row["recipe"]: row for row in csv.DictReader(file)}
    assert next(iter(rows)) == "full"
    assert {*rows} == {"full", "without fresh clips", "m3"}
    assert rows["without fresh clips"]["verdict"] == "not distinguishable"
    for name in ("without fresh clips", "m3"):
        apart = float(rows[name]["test accuracy"]) - float(rows["full"]["test accuracy"])
        assert float(rows[name]["difference"]) == pytest.approx(apart)


def test_a_report_of_other_runs_has_no_such_section(verb, finished_sweep, tmp_path):
    shutil.copytree(finished_sweep, tmp_path / "sweep")
    code, out, _ = verb("report", tmp_path / "sweep")
    assert code == 0
    assert "ingredient" not in out
