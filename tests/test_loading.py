"""A finished run in Python, and what version 0.1.0 left."""

import json
import shutil

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch

import speaker_count
from speaker_count.data.datamodule import ClipDataModule
from speaker_count.errors import UserError
from tests.conftest import REPOSITORY, SMALL


@pytest.fixture
def run_dir(finished_sweep, tmp_path):
    """A copy of a finished run of m5."""
    return shutil.copytree(next(finished_sweep.glob("m5-*")), tmp_path / "m5")


def test_a_loaded_run_predicts_what_was_predicted_when_it_was_tested(run_dir, cache):
    run = speaker_count.load_run(run_dir)
    assert (run.counts, run.labels) == ([1, 2, 3], ["1 speaker", "2 speakers", "3 speakers"])
    assert (run.sample_rate, run.clip_samples) == (16_000, 16_000)
    assert not run.net.training
    data = ClipDataModule.of_run(run.result.data, run.result.mix, cache)
    data.setup()
    clips = data.clips["test"].render(data.clips["test"].plan())
    table = pq.read_table(run_dir / "predictions.parquet")
    expected = np.stack([table[f"p_{number}"].to_numpy() for number in (1, 2, 3)], axis=1)
    np.testing.assert_allclose(run.predict(clips), expected, atol=1e-5)
    np.testing.assert_allclose(run.predict(clips / np.float32(32_768)), expected, atol=1e-5)  # floats in [-1, 1)
    np.testing.assert_allclose(run.predict(torch.from_numpy(clips[3])), expected[3], atol=1e-5)  # one clip


def test_a_net_that_distinguishes_sexes_counts(command, tree, cache, tmp_path):
    train = ("train", *SMALL, f"data.root={tree}", "model=m3", "model.loss.composition_weight=1", "logger=csv")
    done = command(*train, "trainer.max_epochs=1", "hydra.run.dir=run")
    assert done.returncode == 0, done.stderr
    run = speaker_count.load_run(tmp_path / "run")
    data = ClipDataModule.of_run(run.result.data, run.result.mix, cache)
    data.setup()
    clips = data.clips["test"].render(data.clips["test"].plan())
    table = pq.read_table(tmp_path / "run" / "predictions.parquet")
    expected = np.stack([table[f"p_{number}"].to_numpy() for number in (1, 2, 3)], axis=1)
    np.testing.assert_allclose(run.predict(clips), expected, atol=1e-5)


def test_the_best_epoch_s_net_can_be_loaded_too(run_dir):
    best = speaker_count.load_run(run_dir, checkpoint="best")
    weights = torch.load(run_dir / "checkpoints" / "best.ckpt")["state_dict"]
    assert torch.equal(best.net.net.classifier.weight, weights["net.classifier.weight"])
    with pytest.raises(UserError, match="expected 'last' or 'best'"):
        speaker_count.load_run(run_dir, checkpoint="first")


@pytest.mark.parametrize(
    ("clips", "says"),
    [
        (np.zeros(8_000, np.int16), r"clips of 16000 samples \(1 s at 16000 Hz\)"),
        (np.zeros((2, 1, 16_000), np.int16), r"the shape \(2, 1, 16000\)"),
        (np.zeros((2, 16_000), np.int64), "expected int16, or floats"),
    ],
)
def test_clips_that_the_net_cannot_take_are_refused(run_dir, clips, says):
    run = speaker_count.load_run(run_dir)
    with pytest.raises(ValueError, match=says):
        run.predict(clips)


def test_a_checkpoint_of_version_0_1_0_is_refused_by_name(verb, run_dir):
    path = run_dir / "checkpoints" / "last.ckpt"
    checkpoint = torch.load(path)
    del checkpoint["speaker_count"]  # 0.1.0 did not write it
    torch.save(checkpoint, path)
    with pytest.raises(UserError, match="written by version 0.1.0"):
        speaker_count.load_run(run_dir)
    code, _, errors = verb("evaluate", run_dir)
    assert code == 2
    assert "was written by version 0.1.0 of speaker-count: use it with that version" in errors
    assert len(errors.splitlines()) == 1


def test_a_run_folder_of_version_0_1_0_is_refused_by_name(verb, run_dir, tree):
    path = run_dir / "identity.json"
    identity = json.loads(path.read_text())
    del identity["schema"]  # 0.1.0 did not write it
    path.write_text(json.dumps(identity))
    run = ("train", *SMALL, f"data.root={tree}", "model=m5", "logger=csv", f"hydra.run.dir={run_dir}")
    code, _, errors = verb(*run)
    assert code == 2
    assert "was written by version 0.1.0 of speaker-count" in errors
    assert "force=true" in errors
    assert len(errors.splitlines()) == 1


def test_the_lines_of_the_readme_work_as_they_stand(finished_sweep, tree, cache, tmp_path, monkeypatch, capsys):
    """But for the folders of the demo, whose synthesizer is slow."""
    text = (REPOSITORY / "multirun" / "README.md").read_text()
    lines = text.split("## From Python")[1].split("```python\n")[1].split("```")[0]
    (run,) = finished_sweep.glob("m5-*")
    for old, new in (
        ("~/.cache/speaker_count/demo", tree),
        ("~/.cache/speaker_count", cache),
        ("multirun/demo-demo-paper", finished_sweep),
        ("m5-seed0", run.name),
    ):
        assert old in lines
        lines = lines.replace(old, str(new))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MPLBACKEND", "agg")
    exec(lines, {})
    out = capsys.readouterr().out
    assert out.startswith("{'1 speaker': ")
    assert "test_accuracy" in out
    assert (tmp_path / "clip.png").stat().st_size > 5000
