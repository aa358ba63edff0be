"""What is read of finished runs, those of version 0.1.0 among them."""

import json
import platform
import shutil
import subprocess

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch

import speaker_count
from speaker_count.errors import UserError
from speaker_count.results import record
from speaker_count.results.record import RunResult
from tests.conftest import REPOSITORY

MEASURED = REPOSITORY / "multirun" / "measured" / "paper-librispeech_sample-paper"


def test_a_sweep_as_a_table(finished_sweep):
    table = speaker_count.load_results(finished_sweep)
    assert sorted(table["model"]) == ["m3", "m5"]
    row = table[table["model"] == "m5"].iloc[0]
    result = json.loads((finished_sweep / row["folder"].rsplit("/", 1)[1] / "result.json").read_text())
    assert row["test_accuracy"] == result["last"]["test"]["accuracy"]
    assert row["validation_loss"] == result["last"]["validation"]["loss"]
    assert (row["parameters"], row["best_epoch"]) == (37_507, result["best"]["epoch"])
    with pytest.raises(UserError, match="no folder"):
        speaker_count.load_results(finished_sweep / "nothing")


def test_results_of_version_0_1_0_stay_readable():
    result = RunResult.read(MEASURED / "m5-seed0")
    assert result.written_by == "0.1.0"
    assert (result.model, result.last.epoch, result.last.test["accuracy"]) == ("m5", 10, pytest.approx(0.7661))
    assert "_target_" in json.loads((MEASURED / "m5-seed0" / "result.json").read_text())["mix"]
    assert "_target_" not in result.mix  # which class mixed the clips does not say which clips they are


def test_a_result_is_written_as_it_is_read(tmp_path):
    shutil.copy(MEASURED / "m3-seed0" / "result.json", tmp_path)
    result = RunResult.read(tmp_path)
    result.write(tmp_path / "result.json")
    assert RunResult.read(tmp_path) == result


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("{", "damaged"),
        ("[]", "schema None"),
        ('{"schema": 9}', "schema 9"),
        ('{"schema": 1}', "lacks best"),
    ],
)
def test_a_result_that_cannot_be_read_is_one_clear_line(tmp_path, text, says):
    (tmp_path / "result.json").write_text(text)
    with pytest.raises(UserError, match=says):
        RunResult.read(tmp_path)


def copied(folder, **changes):
    """A finished run in a folder, with changed values."""
    folder.mkdir(parents=True)
    values = json.loads((MEASURED / "m3-seed0" / "result.json").read_text())
    (folder / "result.json").write_text(json.dumps({**values, **changes}))
    return folder


def test_finished_runs_are_found_however_deep(tmp_path, caplog):
    deep, near = copied(tmp_path / "a" / "b" / "m3-seed0"), copied(tmp_path / "m3-seed1", seed=1)
    copied(tmp_path / "m3-seed0.2026-01-31_12-00-00")  # moved aside
    copied(tmp_path / "bad", seed=-1)
    found = record.finished(tmp_path)
    assert {path: result.seed for path, result in found.items()} == {deep: 0, near: 1}
    assert [line.getMessage().split(": ")[0] for line in caplog.records] == ["left out"]
    assert "seed=-1 has the wrong type or is out of range" in caplog.text


def test_a_folder_without_a_finished_run_says_why(tmp_path):
    with pytest.raises(UserError, match="no finished run in .*: give the command of the run or sweep again"):
        record.finished(tmp_path)
    copied(tmp_path / "bad", parameters=-5)
    with pytest.raises(UserError, match=r"no finished run in .* \(.*parameters=-5 has the wrong type"):
        record.finished(tmp_path)
    with pytest.raises(UserError, match=r"no folder .*: name that of a run or sweep"):
        record.finished(tmp_path / "nowhere")


def test_runs_that_have_begun_and_those_that_diverged(tmp_path):
    for name in ("cut", "lost", "old.2026-01-31_12-00-00"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "identity.json").write_text("{}")
        (tmp_path / name / record.DIVERGED).write_text(json.dumps({"message": name * 300}))
    done = copied(tmp_path / "done")
    (done / "identity.json").write_text("{}")
    (done / record.DIVERGED).write_text('{"message": "once"}')
    (tmp_path / "cut" / record.DIVERGED).write_text('{"message": "two\\nlines"}')
    assert record.unfinished(tmp_path) == ["cut", "lost"]
    assert record.diverged(tmp_path) == {"lost": ("lost" * 300)[:500]}
    assert (record.is_finished(done), record.is_finished(tmp_path / "cut")) == (True, False)
    for odd in ("{", "[]", "7", "{}", '{"message": 7}', '"text"', "[" * 100_000):
        (tmp_path / "cut" / record.DIVERGED).write_text(odd)
        assert list(record.diverged(tmp_path)) == ["lost"]


def test_every_run_is_a_row(tmp_path):
    copied(tmp_path / "m3-seed0", changes=["a=1", "b=2"], fit_seconds=90)
    (row,) = speaker_count.load_results(tmp_path).to_dict("records")
    result = RunResult.read(tmp_path / "m3-seed0")
    assert row["folder"] == str(tmp_path / "m3-seed0")
    assert (row["model"], row["kind"], row["seed"], row["epochs"], row["parameters"]) == ("m3", "waveform", 0, 10, 5923)
    assert (row["data"], row["mix"], row["changes"], row["minutes"]) == ("librispeech_sample", "paper", "a=1 b=2", 1.5)
    assert (row["clips_per_second"], row["test_sha256"]) == (result.clips_per_second, result.test_sha256)
    assert (row["best_epoch"], row["best_test_accuracy"]) == (result.best.epoch, result.best.test["accuracy"])
    for split in ("train", "validation", "test"):
        for metric in ("loss", "accuracy", "mae"):
            assert row[f"{split}_{metric}"] == result.last.of(split)[metric]
    assert row["test_ece"] is None  # an older run, without its predictions
    shutil.copy(MEASURED / "m3-seed0" / "predictions.parquet", tmp_path / "m3-seed0")
    (row,) = speaker_count.load_results(tmp_path).to_dict("records")
    assert row["test_ece"] == pytest.approx(0.0318, abs=1e-4)
    by_count = [row[f"test_mae_{count}"] for count in (1, 2, 3)]
    assert np.average(by_count, weights=[3333, 3334, 3333]) == pytest.approx(row["test_mae"], abs=1e-4)


def test_what_a_result_says_of_its_clips():
    result = RunResult.read(MEASURED / "m3-seed0")
    assert (result.counts, result.clip_samples) == ([1, 2, 3], 16_000)
    assert result.last.of("running") is result.last.running
    assert result.last.value("val/accuracy") == result.last.validation["accuracy"]
    assert result.last.value("running/loss") == result.last.running["loss"]
    assert result.last.value("test/accuracy_2") == result.last.test["accuracy_2"]
    assert np.isnan(result.last.value("val/nothing"))


def test_predictions_are_written_whole_or_not_at_all(tmp_path):
    columns = {"index": [0, 1], "speakers": [["a"], ["a", "b"]]}
    record.write_predictions(tmp_path / "p.parquet", columns)
    assert pq.read_table(tmp_path / "p.parquet").to_pydict() == columns
    with pytest.raises(Exception, match="length"):
        record.write_predictions(tmp_path / "p.parquet", {"index": [0], "count": [1, 2]})
    assert pq.read_table(tmp_path / "p.parquet").to_pydict() == columns
    assert [path.name for path in tmp_path.iterdir()] == ["p.parquet"]


def test_a_result_says_which_code_made_it():
    made = record.provenance()
    if (REPOSITORY / ".git").exists():
        head = subprocess.run(
            ["git", "-C", REPOSITORY, "rev-parse", "HEAD"], capture_output=True, text=True, check=True
        )
        assert made["commit"] == head.stdout.strip()
    else:
        assert made["commit"] is None
    assert made["versions"]["python"] == platform.python_version()
    assert made["versions"]["torch"].split("+")[0] == torch.__version__.split("+")[0]
    assert set(made["versions"]) == {"python", *record.PACKAGES}
