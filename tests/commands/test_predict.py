"""Counts in recordings, from the command line."""

import argparse
import json
import os
import shutil
import subprocess
import sys

import pytest
import soundfile

import speaker_count
from speaker_count.commands import counting
from speaker_count.inference.predictor import HOP, SILENCE_DB, SMOOTH
from tests.conftest import REPOSITORY, buzz

RATE = 16_000


@pytest.fixture
def sound(tmp_path):
    """Three seconds of a buzz in noise."""
    soundfile.write(tmp_path / "x.wav", buzz(3), RATE)
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


def test_a_folder_is_a_line_a_file_and_their_total(verb, sound, tmp_path):
    (tmp_path / "talks").mkdir()
    for name in ("a\x1b.wav", "b.wav"):
        shutil.copy(sound, tmp_path / "talks" / name)
    (tmp_path / "talks" / "c.wav").write_text("hello")
    code, out, err = verb("predict", "talks")
    assert (code, len(err.splitlines())) == (1, 1)
    assert [line.split() for line in out.splitlines()] == [
        ["length", "0", "1", "2", "3", "most", "file"],
        ["0:03", "0:00", "0:03", "0:00", "0:00", "1", "talks/a\\x1b.wav"],
        ["0:03", "0:00", "0:03", "0:00", "0:00", "1", "talks/b.wav"],
        ["0:06", "0:00", "0:06", "0:00", "0:00", "1", "total", "of", "2"],
    ]
    assert len({line.rindex("  ") for line in out.splitlines()}) == 1  # columns
    assert verb("predict", *["x.wav"] * 11)[1].count("x.wav") == 11
    assert verb("predict", *["x.wav"] * 10)[1].count("at most 1 at once") == 10


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
        (["x.wav", "--reference", "none.rttm"], "none.rttm: No such file or directory"),
        (["x.wav", "--reference", "."], ". is no RTTM file"),
        (["x.wav", "--reference", "x.wav"], "it is no text in UTF-8"),
        (["x.wav", "x.wav", "--plot", "x.png"], "--plot draws one recording, and these are 2"),
        (["x.wav", "--plot", "x.txt"], "the name of a picture ends with .png, .svg, .pdf"),
        (["x.wav", "--plot", "none/x.png"], "there is no folder none"),
        (["x.wav", "--plot", "folder.png"], "--plot folder.png: it is a folder"),
        (["x.wav", "--plot", f"{'x' * 251}.png"], ".png: File name too long"),
        (["x.wav", "--plot", "/proc/x.png"], "--plot /proc/x.png: No such file or directory"),
        (["x.wav", "--channel", "0"], "channel=0: expected 1 or more"),
        (["empty"], "empty holds no file of sound"),
    ],
)
def test_a_mistake_is_one_line_before_anything_is_read(verb, sound, tmp_path, words, says):
    (tmp_path / "empty").mkdir()
    (tmp_path / "folder.png").mkdir()
    code, out, err = verb("predict", *words)
    assert (code, out, len(err.splitlines())) == (2, "", 1)
    assert says in err
    assert sorted(path.name for path in tmp_path.iterdir()) == ["empty", "folder.png", "x.wav"]


def test_a_channel_that_is_not_there_is_named(verb, sound):
    said = "x.wav has no channel 3: it has one channel\n"
    assert verb("predict", "x.wav", "--channel", "3") == (1, "", said)


def test_the_standard_input_is_a_recording_too(sound):
    content = sound.read_bytes()
    done = run(sound.parent, "-", "--format", "json", input=content)
    assert done.returncode == 0, done.stderr
    values = json.loads(done.stdout)
    assert values["file"] == "-"
    assert values["counts"] == speaker_count.predict(sound).counts.tolist()
    with open(sound, "rb") as file:
        assert json.loads(run(sound.parent, "-", "--format", "json", stdin=file).stdout) == values
    assert run(sound.parent, "-", input=content).stdout.startswith(b"standard input: 0:03\n")
    done = run(sound.parent, "-", input=b"")
    assert (done.returncode, done.stdout, done.stderr) == (1, b"", b"standard input is empty\n")


def test_it_writes_nothing_outside_of_its_folder(sound, tmp_path):
    home = tmp_path / "home"
    home.mkdir()
    places = ("HOME", "TMPDIR", "XDG_CACHE_HOME", "XDG_CONFIG_HOME", "XDG_STATE_HOME")
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY), **dict.fromkeys(places, str(home))}
    environment.pop("ORT_DISABLE_TELEMETRY", None)
    command = [sys.executable, "-m", "speaker_count", "predict", "x.wav"]
    assert subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True).returncode == 0
    assert list(home.iterdir()) == []  # onnxruntime would note what it ran on there, to be sent


def test_a_cut_mp3_is_one_line_and_the_error_stream_has_no_other(sound, tmp_path):
    soundfile.write(tmp_path / "x.mp3", soundfile.read(sound)[0], RATE)
    content = (tmp_path / "x.mp3").read_bytes()
    (tmp_path / "cut.mp3").write_bytes(content[: len(content) // 2])
    (tmp_path / "header.mp3").write_bytes(content[:40])
    done = run(tmp_path, "cut.mp3", "header.mp3")
    assert done.returncode == 1
    first, second = done.stderr.decode().splitlines()  # libmpg123 would add lines of its own
    assert first.startswith("cut.mp3 is truncated: it has ")
    assert second == "header.mp3 is no sound that can be read (its header is damaged)"


@pytest.mark.skipif(os.getuid() != 0, reason="only root can become somebody else")
def test_a_folder_that_cannot_be_read_is_named_and_the_rest_is_counted(sound, tmp_path):
    (tmp_path / "all" / "closed").mkdir(parents=True)
    shutil.copy(sound, tmp_path / "all" / "x.wav")
    (tmp_path / "all" / "closed").chmod(0)
    for folder in (tmp_path, *tmp_path.parents[:-2]):
        folder.chmod(folder.stat().st_mode | 0o055)
    script = (
        "import os\nfrom pathlib import Path\nfrom speaker_count.inference import audio\n"
        "from speaker_count.errors import UserError\nos.setuid(65534)\n"
        "for path in audio.found(Path('all')):\n"
        "    try:\n        with audio.opened(path): print(path)\n    except UserError as error: print(error)"
    )
    command = [sys.executable, "-c", script]
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY)}
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert done.stdout.splitlines() == ["all/closed: Permission denied", "all/x.wav"], done.stderr


def test_a_picture_without_matplotlib_is_one_line(verb, sound, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    code, out, err = verb("predict", "x.wav", "--plot", "x.png")
    assert (code, out, err) == (
        2,
        "",
        "--plot needs matplotlib, which is not installed: pip install 'speaker-count[plot]'\n",
    )
