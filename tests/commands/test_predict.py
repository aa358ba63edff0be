"""Counts in recordings, from the command line."""

import argparse
import json
import os
import shutil
import subprocess
import sys

import numpy as np
import pytest
import soundfile

import speaker_count
from speaker_count.commands import counting
from speaker_count.inference.predictor import HOP, SILENCE_DB, SMOOTH
from tests.conftest import REPOSITORY

RATE = 16_000


@pytest.fixture
def sound(tmp_path):
    """Three seconds of a hum in some noise."""
    random = np.random.default_rng(0)
    samples = 0.1 * np.sin(np.arange(3 * RATE) * 0.07) + random.normal(0, 0.01, 3 * RATE)
    soundfile.write(tmp_path / "x.wav", samples, RATE)
    return tmp_path / "x.wav"


def run(folder, *words: str, **keys) -> subprocess.CompletedProcess:
    """`speaker-count predict` in a process of its own."""
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY), "COLUMNS": "80", "PYTHONIOENCODING": "utf-8"}
    command = [sys.executable, "-m", "speaker_count", "predict", *words]
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, **keys)


def test_it_prints_a_summary_and_a_timeline(verb, sound):
    code, out, err = verb("predict", "x.wav")
    assert (code, err) == (0, "")
    lines = out.splitlines()
    assert lines[0] == "x.wav: 0:03"
    assert [line.split()[0] for line in lines[1:5]] == ["0", "1", "2", "3"]
    assert lines[5].startswith("  at most ")
    assert lines[-1].split() == ["0:00", "0:02", "0:03"]


def test_json_is_what_python_gives(verb, sound):
    code, out, _ = verb("predict", sound, "--format", "json", "--hop", "0.5", "--no-smooth")
    assert code == 0
    assert json.loads(out) == speaker_count.predict(sound, hop=0.5, smooth=0).to_dict()


def test_the_options_have_the_defaults_of_python():
    parser = argparse.ArgumentParser()
    counting.add_settings(parser)
    given = parser.parse_args([])
    assert (given.hop, given.smooth, given.silence, given.smoothing) == (HOP, SMOOTH, SILENCE_DB, True)


def test_one_bad_file_is_named_and_does_not_stop_the_rest(verb, sound, tmp_path):
    (tmp_path / "folder").mkdir()
    shutil.copy(sound, tmp_path / "folder" / "y.wav")
    (tmp_path / "folder" / "text.flac").write_text("hello")
    code, out, err = verb("predict", "none.wav", "folder", "x.wav", "--format", "json")
    assert code == 1
    assert [json.loads(line)["file"] for line in out.splitlines()] == ["folder/y.wav", "x.wav"]
    first, second = err.splitlines()
    assert first == "none.wav: No such file or directory"
    assert second.startswith("folder/text.flac is no sound that can be read")


@pytest.mark.parametrize("name", ["-x.wav", "new\nline.wav", "--format", "x\x1b[31m.wav", "é\udcff.wav"])
def test_any_name_of_a_file_is_a_name(verb, sound, tmp_path, name):
    shutil.copy(sound, tmp_path / name)
    code, out, err = verb("predict", name)
    assert (code, err) == (0, "")
    assert len(out.splitlines()[0]) < 40
    assert out.splitlines()[0].isprintable()
    assert out.splitlines()[0].endswith(": 0:03")


def test_what_a_terminal_cannot_show_of_a_name_is_a_code(sound):
    names = ["é.wav", "\udcff.wav"]
    for name in names:
        shutil.copy(sound, sound.parent / name)
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY), "PYTHONIOENCODING": "ascii"}
    command = [sys.executable, "-m", "speaker_count", "predict", *names, "--format"]
    for form in ("text", "csv", "rttm"):
        done = subprocess.run([*command, form], cwd=sound.parent, env=environment, capture_output=True)
        assert done.returncode == 0, done.stderr
        assert done.stdout.isascii()


def test_the_reference_scores_and_the_plot_is_a_file(verb, sound, tmp_path):
    (tmp_path / "x.rttm").write_text("SPEAKER x 1 0 3 <NA> <NA> hum <NA> <NA>\n")
    code, out, err = verb("predict", "x.wav", "--reference", "x.rttm", "--plot", "x.png")
    assert (code, err) == (0, "")
    assert "against the reference: right " in out
    assert (tmp_path / "x.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["x.wav", "--hop", "3"], "hop=3: expected 0.05 to 1 s"),
        (["x.wav", "--weights", "x.wav"], "x.wav is no net to count with"),
        (["x.wav", "--weights", "none.onnx"], "cannot read none.onnx"),
        (["x.wav", "--run", "."], "--run .: there is neither a finished run nor "),
        (["x.wav", "--run", ".", "--weights", "x.onnx"], "name two nets"),
        (["x.wav", "--reference", "none.rttm"], "none.rttm is no RTTM file"),
        (["x.wav", "--reference", "x.wav"], "it is no text in UTF-8"),
        (["x.wav", "x.wav", "--plot", "x.png"], "--plot draws one recording, and these are 2"),
        (["x.wav", "--plot", "x.txt"], "the name of a picture ends with .png, .svg, .pdf"),
        (["x.wav", "--plot", "none/x.png"], "there is no folder none"),
        (["empty"], "empty holds no file of sound"),
    ],
)
def test_a_mistake_is_one_line_before_anything_is_read(verb, sound, tmp_path, words, says):
    (tmp_path / "empty").mkdir()
    code, out, err = verb("predict", *words)
    assert (code, out, len(err.splitlines())) == (2, "", 1)
    assert says in err
    assert sorted(path.name for path in tmp_path.iterdir()) == ["empty", "x.wav"]


def test_the_standard_input_is_a_recording_too(sound):
    content = sound.read_bytes()
    done = run(sound.parent, "-", "--format", "json", input=content)
    assert done.returncode == 0, done.stderr
    values = json.loads(done.stdout)
    assert values["file"] == "-"
    assert values["counts"] == speaker_count.predict(sound).counts.tolist()
    with open(sound, "rb") as file:
        assert json.loads(run(sound.parent, "-", "--format", "json", stdin=file).stdout) == values
    done = run(sound.parent, "-", input=b"")
    assert (done.returncode, done.stdout, done.stderr) == (1, b"", b"standard input is empty\n")


def test_a_picture_without_matplotlib_is_one_line(verb, sound, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    code, out, err = verb("predict", "x.wav", "--plot", "x.png")
    assert (code, out, err) == (
        2,
        "",
        "--plot needs matplotlib, which is not installed: pip install 'speaker-count[plot]'\n",
    )
