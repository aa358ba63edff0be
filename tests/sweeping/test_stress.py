"""Stress: the same clips for all nets, one property changed at a time, nothing computed twice."""

import csv
import json
import shutil

import numpy as np
import pytest

from speaker_count.data.mixing import Mix
from speaker_count.results import stress
from speaker_count.results.stress import Condition, Outcome
from speaker_count.sweeping.stress import changed
from tests.conftest import mix_of


@pytest.fixture
def runs(finished_sweep, tmp_path):
    """Copies of finished runs of m3 and m5."""
    return [shutil.copytree(path, tmp_path / path.name[:2]) for path in sorted(finished_sweep.glob("m*-seed0*"))]


def table(folder, name="stress"):
    with open(folder / "tables" / f"{name}.csv", newline="") as file:
        return {row["condition"]: row for row in csv.DictReader(file)}


def test_all_nets_hear_the_clips_on_which_evaluate_scores_them(verb, runs, tmp_path, cache):
    arguments = (*runs, "mix.clips.test=24", "--only", "mix,length,voices", "--out", tmp_path / "out")
    code, out, err = verb("stress", *arguments)
    assert code == 0, err
    rows = table(tmp_path / "out")
    for mix, condition in (("level_blind", "level-blind mix"), ("paper", "paper mix")):
        for run in runs:
            assert verb("evaluate", run, f"mix={mix}", "mix.clips.test=24")[0] == 0
            (path,) = (run / "evaluations").glob(f"*-{mix}-*.json")
            accuracy = json.loads(path.read_text())["test"]["accuracy"]
            assert float(rows[condition][f"{run.name} accuracy"]) == pytest.approx(accuracy, abs=1e-6)
    assert rows["clips of 1 s"]["m5 accuracy"] == rows["level-blind mix"]["m5 accuracy"]
    assert rows["clips of 2 s"]["m5 accuracy"] == ""  # every utterance has 1.5 s
    assert "clips of 2 s (only 0 test speakers have 2 s of speech)" in out
    assert "m5: clips of 0.25 s (the net takes no clips of 0.25 s)" in out
    assert "0 voices (the nets do not know this count)" in out
    errors = table(tmp_path / "out", "stress_voices")
    assert float(errors["5 voices"]["m5 error"]) >= 2
    assert {path.name for path in (tmp_path / "out" / "figures").glob("*.svg")} == {
        "stress.svg", "stress_length.svg", "stress_voices.svg",
    }  # fmt: skip

    kept = {path: path.stat().st_mtime_ns for path in (cache / "stress").iterdir()}
    assert verb("stress", runs[0], *arguments[2:])[0] == 0
    assert {path: path.stat().st_mtime_ns for path in (cache / "stress").iterdir()} == kept
    assert table(tmp_path / "out")["5 voices (says 3)"]["m3 accuracy"] == rows["5 voices (says 3)"]["m3 accuracy"]


def test_damaged_predictions_are_computed_again(verb, runs, tmp_path, cache):
    arguments = (runs[1], "mix.clips.test=12", "mix.seed=5", "--only", "gain", "--out", tmp_path / "out")
    before = {*(cache / "stress").glob("*")}
    assert verb("stress", *arguments)[0] == 0
    rows = table(tmp_path / "out")
    for path in {*(cache / "stress").glob("*")} - before:
        path.write_bytes(b"no predictions")
    assert verb("stress", *arguments)[0] == 0
    assert table(tmp_path / "out") == rows


def test_what_cannot_be_stressed_is_one_line(verb, runs, tmp_path):
    other = shutil.copytree(runs[0], tmp_path / "other")
    values = json.loads((other / "result.json").read_text())
    values["data"]["corpus_sha256"] = "0" * 64
    (other / "result.json").write_text(json.dumps(values))
    unfinished = shutil.copytree(runs[0], tmp_path / "unfinished")
    (unfinished / "result.json").unlink()
    for arguments, says in (
        ((unfinished,), "holds no finished run"),
        ((runs[0], "--only", "noise,loudness"), "--only loudness: no such axis; there are mix, gain, level, noise"),
        ((runs[0], runs[0]), "named twice"),
        ((runs[0], "mix.counts=[1,4]"), "asks for [4]"),
        ((runs[1], other), "does not hold the speech of other"),
    ):
        code, _, err = verb("stress", *arguments)
        assert (code, len(err.splitlines())) == (2, 1), err
        assert says in err


def test_runs_of_other_counts_need_the_counts_that_both_know(verb, runs, tmp_path, tree):
    more = ("train", "data=folder", f"data.root={tree}", "model=m3", "mix.counts=[0,1,2,3]", "logger=csv", "threads=1")
    small = ("mix.clips.train=32", "mix.clips.validation=32", "mix.clips.test=32", "trainer.max_epochs=1")
    assert verb(*more, *small, f"hydra.run.dir={tmp_path / 'zero'}")[0] == 0
    pair = (runs[0], tmp_path / "zero", "mix.clips.test=12", "--only", "mix", "--out", tmp_path / "out")
    code, _, err = verb("stress", *pair)
    assert (code, len(err.splitlines())) == (2, 1)
    assert "mix.counts=[1,2,3]" in err
    code, _, err = verb("stress", *pair, "mix.counts=[1,2,3]")
    assert code == 0, err


def test_one_property_of_the_test_clips_changes():
    base = mix_of(gain_db=[-5, 5], level_db=-26, augment={"splits": ["train"], "speed": 0.1})
    for condition in stress.conditions("level_blind"):
        mix = changed(base, condition.keys)
        assert isinstance(mix, Mix)
        effects = mix.augment_of("test")
        assert effects is None or effects.speed == 0
        own = {key: value for key, value in condition.keys.items() if key != "augment"}
        before, after = vars(base), {**vars(mix), "augment": base.augment}
        assert {key for key in after if after[key] != before[key]} <= {*own}
    joint = next(each for each in stress.conditions("paper") if "in a room" in each.name)
    effects = changed(base, joint.keys).augment_of("test")
    assert (effects.noise_share, list(effects.snr_db)) == (1, [15, 15])
    assert (effects.room_share, list(effects.reverberation_seconds)) == (1, [0.4, 0.4])


def test_more_voices_than_a_net_knows_are_its_most():
    outcome = Outcome(Condition("voices", "4 voices", 4.0), np.full(4, 4), np.arange(16).reshape(4, 4))
    outcome.predicted = {"a": np.array([3, 3, 3, 1]), "b": np.array([3, 3, 3, 3])}
    stress.score(outcome, "a", [1, 2, 3])
    assert (outcome.accuracy["a"].value, outcome.accuracy["b"].value) == (0.75, 1)
    assert outcome.difference["b"].value == 0.25


def test_without_speakers_there_is_no_interval():
    outcome = Outcome(Condition("voices", "0 voices", 0.0), np.zeros(2, int), np.full((2, 1), -1))
    outcome.predicted = {"a": np.array([0, 1])}
    stress.score(outcome, "a", [0, 1, 2])
    assert outcome.accuracy == {"a": 0.5}
