"""What is read of finished runs, those of version 0.1.0 among them."""

import json
import shutil

import pytest

import speaker_count
from speaker_count.errors import UserError
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
