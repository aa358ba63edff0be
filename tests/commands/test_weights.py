import json
import shutil
from dataclasses import replace

import numpy as np
import pyarrow.parquet as pq
import pytest

import speaker_count
from speaker_count import weights
from speaker_count.results.record import RunResult


@pytest.fixture
def run(finished_sweep, tmp_path):
    """A copy of a finished run of m5."""
    return shutil.copytree(next(finished_sweep.glob("m5-*")), tmp_path / "mine")


def test_without_a_run_it_lists_the_packaged_ones(verb):
    assert verb("weights") == (0, "m5\nrecommended\n", "")


def test_a_run_s_weights_are_two_files_that_count_as_it_does_but_calibrated(verb, run, tree, tmp_path):
    code, out, err = verb("weights", run, "shared")
    assert code == 0, err
    lines = out.splitlines()
    assert lines[-4].startswith("temperature ")
    assert lines[-4].endswith("fitted on 48 validation clips")
    loss = RunResult.read(run).last.validation["loss"]
    assert f"before: loss {loss:.4f}, calibration error " in lines[-3]
    assert lines[-2].startswith("after:  loss ")
    assert lines[-1] == "shared.safetensors (0.15 MB), shared.json"
    assert str(tree) not in (tmp_path / "shared.json").read_text()

    before, after = speaker_count.load_run(run), speaker_count.load_run(tmp_path / "shared.json")
    clips = np.random.default_rng(0).integers(-9000, 9000, (8, 16_000)).astype(np.int16)
    expected = before.predict(clips) ** (1 / after.result.temperature)
    expected /= expected.sum(axis=1, keepdims=True)
    np.testing.assert_allclose(after.predict(clips), expected, atol=1e-5)
    assert after.result.temperature != 1
    assert after.result.last == before.result.last


def test_of_the_weights_that_a_run_started_from_only_the_name_is_given_away(verb, run, tmp_path):
    result = RunResult.read(run)
    start = f"model.weights={tmp_path / 'secret' / 'first'}"
    changed = replace(result, command=f"{result.command} '{start}'", changes=[*result.changes, start])
    changed.write(run / "result.json")
    assert verb("weights", run, "shared")[0] == 0
    written = json.loads((tmp_path / "shared.json").read_text())
    assert written["command"].split()[-1] == written["changes"][-1] == "model.weights=first"
    assert "secret" not in (tmp_path / "shared.json").read_text()


def test_written_files_are_replaced_only_by_force(verb, run, tmp_path):
    assert verb("weights", run)[0] == 0
    content = (run / "mine.safetensors").read_bytes()
    (run / "mine.json").unlink()
    code, _, err = verb("weights", run)
    assert (code, len(err.splitlines())) == (2, 1)
    assert "mine.safetensors exists: name another file, or give force=true" in err
    assert verb("weights", run, "force=true")[0] == 0
    assert (run / "mine.safetensors").read_bytes() == content  # the same run gives the same bytes
    (tmp_path / "folder").mkdir()
    assert verb("weights", run, "folder")[0] == 0
    assert {path.name for path in (tmp_path / "folder").iterdir()} == {"mine.json", "mine.safetensors"}


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["nowhere"], "nowhere holds no finished run"),
        (["mine", "a name"], "a name cannot be a name of weights"),
        (["mine", "out", "mix.counts=[1,9]"], "mix.counts asks for [9]"),
    ],
)
def test_what_cannot_be_written_is_one_line(verb, run, words, says):
    code, _, err = verb("weights", *words)
    assert (code, len(err.splitlines())) == (2, 1)
    assert says in err


def test_weights_are_evaluated_as_a_run_is_but_calibrated_and_elsewhere(verb, run, tmp_path):
    assert verb("weights", run, "shared.json")[0] == 0
    sha256 = json.loads((tmp_path / "shared.json").read_text())["sha256"]
    code, out, err = verb("evaluate", "shared.json")
    assert code == 0, err
    (path,) = (tmp_path / "multirun" / "evaluations").glob("*/*.json")
    assert path.parent.name == f"shared-{sha256[:8]}"
    assert out.splitlines()[-1] == str(path.relative_to(tmp_path))
    test, before = json.loads(path.read_text())["test"], RunResult.read(run).last.test
    assert test["confusion"] == before["confusion"]
    assert test["accuracy"] == before["accuracy"]
    assert test["loss"] != pytest.approx(before["loss"], abs=1e-4)
    columns = pq.read_table(path.with_suffix(".parquet")).to_pandas()
    true = columns[["p_1", "p_2", "p_3"]].to_numpy()[np.arange(48), columns["count"] - 1]
    assert test["loss"] == pytest.approx(-np.log(true).mean(), abs=1e-4)

    code, _, err = verb("evaluate", "shared.json")
    assert (code, "force=true" in err) == (2, True)
    assert verb("evaluate", "shared.json", "m5", run, "mix.clips.test=30", "data=folder", "data.root=none")[0] == 2


def test_packaged_weights_are_evaluated_on_speech_that_is_named(verb, tree, tmp_path):
    words = ("data=folder", f"data.root={tree}", "mix=paper", "mix.clips.test=30")
    code, _, err = verb("evaluate", "m5", "recommended", *words)
    assert code == 2  # these two are no ensemble, after each was evaluated
    assert "an ensemble needs nets with the same classes" in err
    evaluated = sorted((tmp_path / "multirun" / "evaluations").glob("*/*.json"))
    assert [path.parent.name for path in evaluated] == weights.names()
    table = pq.read_table(evaluated[1].with_suffix(".parquet")).to_pandas()
    counts = table[["p_0", "p_1", "p_2", "p_3"]].to_numpy()
    composed = table[[name for name in table if name.startswith("c_")]].to_numpy()
    np.testing.assert_allclose(counts[:, 3], composed[:, -4:].sum(axis=1), atol=1e-5)
    assert not any(weights.FOLDER.rglob("*.parquet"))


def test_weights_whose_speech_is_not_there_say_so(verb, tmp_path, monkeypatch):
    monkeypatch.setenv("LIBRISPEECH", str(tmp_path / "none"))
    monkeypatch.setenv("SPEAKER_COUNT_CACHE", str(tmp_path / "pools"))
    code, _, err = verb("evaluate", "m5")
    assert (code, len(err.splitlines())) == (2, 1)
    assert "is not among your pools: name it with data.root=" in err
    for ending in (weights.TENSORS, weights.DESCRIPTION):
        shutil.copy(weights.FOLDER / f"m5{ending}", tmp_path / f"own{ending}")
    values = json.loads((tmp_path / "own.json").read_text())
    values["data"] |= {"name": "manifest-own", "source": "manifest", "utterance_list": None}
    (tmp_path / "own.json").write_text(json.dumps(values))
    code, _, err = verb("evaluate", "own.json")
    assert (code, len(err.splitlines())) == (2, 1)
    assert "data=manifest-own, is not among your pools: name it with data.root=, or other speech with data=NAME" in err
