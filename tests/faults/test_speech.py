"""Speech that changes under a run: files replaced, samples altered."""

import json
import shutil

import numpy as np
import pytest
import soundfile

from tests.conftest import RATE, SMALL, speaker_count


@pytest.fixture
def train(tree, tmp_path):
    """Trains in one folder, with a tree and a cache of its own; returns the process."""
    root = shutil.copytree(tree, tmp_path / "tree")
    run = ("train", *SMALL, f"data.root={root}", "logger=csv", "model=m3", "hydra.run.dir=run")
    return lambda *overrides: speaker_count(tmp_path, tmp_path / "cache", *run, *overrides)


def alter_samples(folder):
    """Alter one sample of the only pool in a cache; returns the pool's folder."""
    (path,) = folder.glob("pools/*/samples.int16")
    with open(path, "r+b") as file:
        file.seek(1000)
        (byte,) = file.read(1)
        file.seek(1000)
        file.write(bytes([byte ^ 1]))
    return path.parent


def test_files_replaced_by_others_of_the_same_length_are_another_run(train, tmp_path, tally):
    original = next((tmp_path / "tree" / "LibriSpeech" / "speech").rglob("*.flac"))
    replaced = original.with_suffix(".wav")
    soundfile.write(replaced, np.full(2 * RATE, 100, np.int16), RATE)
    original.unlink()
    assert train().returncode == 0
    soundfile.write(replaced, np.full(2 * RATE, 101, np.int16), RATE)
    tally(faults=1)
    done = train()
    assert done.returncode == 2
    (line,) = (line for line in done.stderr.splitlines() if "holds another run" in line)
    assert ": samples=" in line  # and nothing else
    assert "corpus=" not in line


def test_altered_samples_give_no_result(train, tmp_path, tally):
    assert train("trainer.max_epochs=1", "hydra.run.dir=first").returncode == 0
    pool = alter_samples(tmp_path / "cache")
    tally(faults=1)
    done = train()
    assert done.returncode == 2
    assert f"the pool {pool} is damaged: delete this folder" in done.stderr
    assert not (tmp_path / "run" / "result.json").exists()
    shutil.rmtree(pool)
    assert train().returncode == 0
    assert json.loads((tmp_path / "run" / "result.json").read_text())["data"]["samples_sha256"]


def test_altered_samples_give_no_clips_and_no_evaluation(train, tmp_path, tally):
    assert train().returncode == 0
    pool = alter_samples(tmp_path / "cache")
    for arguments in (("evaluate", "run"), ("clips", *SMALL[:4], f"data.root={tmp_path / 'tree'}", "out=clips")):
        tally(faults=1)
        done = speaker_count(tmp_path, tmp_path / "cache", *arguments)
        assert done.returncode == 2
        assert f"the pool {pool} is damaged: delete this folder" in done.stderr
    assert not (tmp_path / "run" / "evaluations").exists()
