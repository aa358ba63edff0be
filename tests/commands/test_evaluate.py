import json
import re
import shutil
from dataclasses import replace

import pyarrow.parquet as pq
import pytest

from speaker_count.compose import rebuild
from speaker_count.errors import UserError
from speaker_count.models.waveform import WaveformCNN
from speaker_count.results.record import RunResult
from speaker_count.training.counters import WaveformCounter
from tests.conftest import make_tree


@pytest.fixture
def run(finished_sweep, tmp_path):
    """A copy of a finished run of m5."""
    (original,) = (path for path in finished_sweep.iterdir() if path.name.startswith("m5"))
    return shutil.copytree(original, tmp_path / "m5")


def test_the_same_clips_give_the_same_figures_again(verb, run):
    result = RunResult.read(run)
    code, _, err = verb("evaluate", run)
    assert code == 0, err
    evaluation = json.loads((run / "evaluations" / "folder-tree-paper.json").read_text())
    assert evaluation["test_sha256"] == result.test_sha256
    before = dict(result.last.test)
    assert evaluation["test"].pop("confusion") == before.pop("confusion")
    assert evaluation["test"] == pytest.approx(before, abs=1e-6)
    code, _, err = verb("evaluate", run)
    assert code == 2
    assert "force=true" in err
    assert verb("evaluate", run, "force=true")[0] == 0
    assert len(list((run / "evaluations").glob("*.json"))) == 2  # the old one is kept


def test_another_corpus_and_mix(verb, run, tmp_path):
    other = make_tree(tmp_path / "other", women=14, men=14, seconds=2)
    code, out, err = verb("evaluate", run, f"data.root={other}", "mix.clips.test=30", "mix.counts=[1,3]")
    assert code == 0, err
    (path,) = (run / "evaluations").glob("*.json")
    evaluation = json.loads(path.read_text())
    lines = {line[:24].strip(): line[24:] for line in out.splitlines()}
    for name, metric in (("accuracy", "accuracy"), ("calibration error", "ece"), ("mean absolute error", "mae")):
        assert lines[name].startswith(f"{evaluation['test'][metric]:.3f}")
    assert lines["by true count"] == "1: {mae_1:.2f}, 3: {mae_3:.2f}".format(**evaluation["test"])
    heard = evaluation["test"]["accuracy_heard"], evaluation["test"]["heard_share"]
    assert re.fullmatch(r"{:.3f} \[.*\]  on {:.1%} of the clips".format(*heard), lines["every speaker heard"])
    assert out.splitlines()[-1] == str(path)
    assert (evaluation["mix"]["counts"], evaluation["mix"]["clips"]["test"]) == ([1, 3], 30)
    assert evaluation["data"]["speakers"]["train"] == 28 - 12
    assert [sum(row) for row in evaluation["test"]["confusion"]] == [15, 0, 15]
    assert pq.read_table(path.with_suffix(".parquet")).num_rows == 30


def test_what_cannot_be_evaluated_is_one_line(verb, run, tmp_path):
    for arguments, says in (
        ((tmp_path / "nothing",), "holds no finished run"),
        ((run, "mix.counts=[1,4]"), "asks for [4]"),
    ):
        code, _, err = verb("evaluate", *arguments)
        assert code == 2
        assert says in err
        assert "Traceback" not in err
    (run / "result.json").write_text('{"schema": 1, "model"')
    assert "is damaged" in verb("evaluate", run)[2]


def test_the_installed_config_of_a_net_says_which_classes_are_built(run):
    values = json.loads((run / "result.json").read_text())
    for node in (values["net"], values["net"]["net"]):
        node["_target_"] = "os.system"
    (run / "result.json").write_text(json.dumps(values))
    result = RunResult.read(run)
    assert type(rebuild(result)) is WaveformCounter
    assert type(rebuild(result).net) is WaveformCNN
    with pytest.raises(UserError, match="--config-dir"):
        rebuild(replace(result, model="never_heard_of"))


def test_several_runs_are_an_ensemble_too(verb, finished_sweep, tmp_path):
    runs = [
        shutil.copytree(path, tmp_path / "sweep" / path.name)
        for path in sorted(finished_sweep.iterdir())
        if (path / "result.json").is_file()
    ]
    code, out, err = verb("evaluate", *runs, "mix.clips.test=30")
    assert code == 0, err
    (path,) = (tmp_path / "sweep" / "ensembles").glob("*.json")
    whole = json.loads(path.read_text())
    assert whole["runs"] == [run.name for run in runs]
    *_, last = out.partition("ensemble of 2 nets, data=folder-tree, mix=paper\n")
    assert f"\naccuracy                {whole['test']['accuracy']:.3f} [" in last
    assert last.endswith(f"{path}\n")
    assert {"ece", "mae_1", "accuracy_heard"} <= whole["test"].keys()
    parts = [pq.read_table(next((run / "evaluations").glob("*.parquet"))).to_pandas() for run in runs]
    both = pq.read_table(path.with_suffix(".parquet")).to_pandas()
    for name in ("p_1", "p_2", "p_3"):
        assert both[name].to_numpy() == pytest.approx((parts[0][name] + parts[1][name]).to_numpy() / 2)
    assert (both["predicted"] == 1 + both[["p_1", "p_2", "p_3"]].to_numpy().argmax(axis=1)).all()
    assert whole["test"]["accuracy"] == pytest.approx((both["predicted"] == both["count"]).mean())
    assert whole["test"]["mae"] == pytest.approx((both["predicted"] - both["count"]).abs().mean())
    assert verb("report", tmp_path / "sweep")[0] == 0  # it is no run


def test_runs_of_other_clips_or_counts_are_no_ensemble(verb, run, tmp_path):
    other = shutil.copytree(run, tmp_path / "other")
    values = json.loads((other / "result.json").read_text())
    values["mix"]["seed"] = 5
    (other / "result.json").write_text(json.dumps(values))
    code, _, err = verb("evaluate", run, other)
    assert (code, len(err.splitlines())) == (2, 1)
    assert "these runs were not tested on the same clips" in err
    assert not (tmp_path / "ensembles").exists()
