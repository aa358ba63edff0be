"""Runs that cannot learn, values that no run can have, and what a run that was killed at its start leaves."""

import json
import os
import shutil

import pytest
import soundfile

from speaker_count.data import corpus, decoding
from tests.conftest import RATE, SMALL, make_tree


@pytest.fixture
def small(tree):
    return ("train", *SMALL, f"data.root={tree}", "logger=csv", "model=m3")


def test_a_diverged_run_stops_is_named_and_shown_in_the_report(command, verb, small, tmp_path):
    sweep = ("train", "--multirun", *small[1:], "model.learning_rate=1e30,1e-4", "hydra.sweep.dir=sweep")
    done = command(*sweep)
    assert done.returncode == 1
    (failed,) = (line for line in done.stderr.splitlines() if line.startswith("failed: "))
    assert "the run diverged: the loss is nan in epoch 1, step 2 (training clips " in failed
    assert "a lower model.learning_rate may help" in failed
    (folder,) = (path.parent for path in (tmp_path / "sweep").glob("*/diverged.json"))
    assert not (folder / "result.json").exists()
    code, out, err = verb("report", tmp_path / "sweep")
    assert code == 0, err
    assert f"Diverged: {folder.name}: the run diverged: the loss is nan" in out.replace("\n", " ")
    assert "Not finished" not in out
    again = command(*sweep)  # it does not become a finished run
    assert again.returncode == 1
    assert again.stdout.count("is finished already") == 1


@pytest.mark.parametrize(
    ("mistake", "line"),
    [
        ("seed=4294967296", "seed=4294967296: expected a whole number below 4294967296"),
        ("+trainer.precision=nonsense", "trainer: "),
        ("+trainer.limit_train_batches=0", "trainer.limit_train_batches=0: a run needs some clips of each split"),
        ("+trainer.limit_test_batches=0", "trainer.limit_test_batches=0: a run needs some clips of each split"),
        ("mix.clip_seconds=0.001", "mix.clip_seconds=0.001: a clip is too short for this net ("),
        ("mix.counts=2", "mix.counts=2: expected increasing numbers of speakers"),
        ("mix.clips=5", "mix.clips=5: expected a number for each split, such as mix.clips.train=1000"),
        ("mix.counts=[true,2]", "mix.counts=[True, 2]: expected increasing numbers of speakers"),
    ],
)
def test_a_value_that_no_run_can_have_is_one_line(command, small, mistake, line):
    done = command(*small, mistake)
    assert done.returncode == 2
    (said,) = done.stderr.splitlines()
    assert said.startswith(line)


def test_all_devices_of_a_machine_without_an_accelerator_are_its_processor(command, small, tmp_path):
    done = command(*small, "trainer.devices=-1", "hydra.run.dir=run")
    assert done.returncode == 0, done.stderr
    assert json.loads((tmp_path / "run" / "result.json").read_text())["processes"] == 1


def test_a_folder_that_a_killed_start_left_can_be_used(command, small, tmp_path):
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "identity.json.partial").write_text('{"schema"')
    (tmp_path / "run" / "train.log").write_text("")
    done = command(*small, "hydra.run.dir=run")
    assert done.returncode == 0, done.stderr


def test_a_forged_header_is_left_out_with_its_reason(tmp_path):
    """The header of a FLAC file says how many samples follow, in 36 bits."""
    root = make_tree(tmp_path, utterances=3)
    path = next((root / "LibriSpeech" / "speech").rglob("*.flac"))
    content = bytearray(path.read_bytes())
    content[21] |= 0x0F  # behind "fLaC" and a block's header: sizes, rate, channels, bits, and 36 bits of samples
    content[22:26] = b"\xff" * 4
    path.write_bytes(content)
    assert soundfile.info(path).frames == 2**36 - 1
    listed = corpus.index(root)
    reasons = [each.speech for each in decoding.decoded(listed, RATE) if isinstance(each.speech, str)]
    assert reasons == ["its header claims 1,193 h of speech"]


def test_a_speaker_s_folder_whose_name_is_not_text_is_left_out(tmp_path, caplog):
    root = make_tree(tmp_path)
    speech = root / "LibriSpeech" / "speech"
    shutil.copytree(os.fsencode(next(speech.iterdir())), os.fsencode(speech) + b"/\xff\xfe")
    listed = corpus.index(root)
    assert len(listed.speakers) == 24
    assert "its name is not printable" in caplog.text
