"""Live counts, from the command line: a file takes the path of a microphone."""

import os
import pty
import signal
import subprocess
import sys

import numpy as np
import pytest
import soundfile

import speaker_count
from speaker_count.inference import timeline
from tests.conftest import REPOSITORY, buzz

RATE = 16_000
FIRST = "minute,seconds_0,seconds_1,seconds_2,seconds_3,most"


@pytest.fixture
def sound(tmp_path):
    """Ten seconds: a buzz in noise, which is counted as one speaker, silence, and the buzz again."""
    samples = buzz(10)
    samples[3 * RATE : 6 * RATE] = 0
    soundfile.write(tmp_path / "x.wav", samples, RATE)
    return tmp_path / "x.wav"


def start(folder, *words: str, ignored: int | None = None, **keys) -> subprocess.Popen:
    """`speaker-count listen` in a process of its own."""
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY), "TERM": "xterm", "PYTHONIOENCODING": "utf-8"}
    command = [sys.executable, "-m", "speaker_count", "listen", *words]

    def before() -> None:
        if ignored is not None:
            signal.signal(ignored, signal.SIG_IGN)

    return subprocess.Popen(command, cwd=folder, env=environment, preexec_fn=before, **keys)


def test_the_counts_and_the_log_are_those_of_predict(verb, sound, tmp_path):
    words = ("listen", "--from-file", "x.wav", "--fast", "--log", "x.csv", "--start", "2026-11-26T09:00:55Z")
    code, out, err = verb(*words)
    assert (code, err) == (0, "")
    predicted = speaker_count.predict(sound)
    counts = predicted.counts
    assert {*counts} == {0, 1}
    lines = out.splitlines()
    changes = lines[: lines.index("listened for 0:10")]
    assert len(changes) == 1 + np.count_nonzero(np.diff(counts))
    assert [int(line.split()[2]) for line in changes] == counts[np.flatnonzero(np.diff(counts, prepend=-1))].tolist()
    first, *rows = (tmp_path / "x.csv").read_text().splitlines()
    assert first == FIRST
    assert lines[-4:] == timeline.summary(predicted)[1:5]
    times, seconds = predicted.times, np.diff(predicted.edges)
    for row, minute in zip(rows, (times < 5, times >= 5), strict=True):
        expected = [seconds[minute & (counts == count)].sum() for count in range(4)]
        assert [float(value) for value in row.split(",")[1:5]] == expected
        assert int(row.split(",")[5]) == counts[minute].max()
    assert verb(*words)[0] == 0
    assert len((tmp_path / "x.csv").read_text().splitlines()) == 5  # appended, below the same first line
    assert sorted(path.name for path in tmp_path.iterdir()) == ["x.csv", "x.wav"]  # and no sound


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_ctrl_c_is_how_it_ends_and_the_begun_minute_is_logged(sound, tmp_path, number):
    process = start(tmp_path, "--from-file", "x.wav", "--log", "x.csv", stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert process.stdout.readline()  # it counts
    process.send_signal(number)
    out, err = process.communicate(timeout=30)
    assert (process.returncode, err) == (0, b"")
    assert out.decode().splitlines()[-5].startswith("listened for 0:0")
    assert len((tmp_path / "x.csv").read_text().splitlines()) >= 2


def test_nohup_lets_it_outlive_its_terminal(sound, tmp_path):
    process = start(tmp_path, "--from-file", "x.wav", stdout=subprocess.PIPE, ignored=signal.SIGHUP)
    assert process.stdout.readline()
    process.send_signal(signal.SIGHUP)
    assert process.stdout.readline()  # silence, seconds later
    process.send_signal(signal.SIGTERM)
    assert process.wait(30) == 0
    process.stdout.close()


def test_a_terminal_sees_one_view_that_is_drawn_again(sound, tmp_path):
    master, slave = pty.openpty()
    process = start(tmp_path, "--from-file", "x.wav", "--fast", stdout=slave, stderr=slave)
    os.close(slave)
    written = b""
    try:
        while part := os.read(master, 2**16):
            written += part
    except OSError:  # the other end is closed
        pass
    os.close(master)
    assert process.wait(30) == 0
    text = written.decode()
    assert text.count("\x1b[6F") >= 30  # 3, 2, 1 and 0 speakers, the axis, and the count now
    assert "█" in text
    assert text.endswith("%\r\n")


def test_it_runs_where_torch_and_all_that_trains_are_not_installed(sound, tmp_path):
    script = (
        "import sys\n"
        "for name in ('torch', 'torchaudio', 'pytorch_lightning', 'hydra', 'omegaconf', 'wandb', 'pandas', 'pyarrow',\n"
        "             'scipy', 'sklearn', 'safetensors', 'onnx', 'matplotlib', 'sounddevice'):\n"
        "    sys.modules[name] = None\n"
        "from speaker_count.cli import main\n"
        "main()\n"
    )
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY)}
    for words in (("listen", "--from-file", "x.wav", "--fast", "--log", "x.csv"), ("occupancy", "x.csv")):
        command = [sys.executable, "-c", script, *words]
        done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)
        assert (done.returncode, done.stderr) == (0, "")


def test_a_reader_who_leaves_ends_it(sound, tmp_path):
    process = start(tmp_path, "--from-file", "x.wav", "--log", "x.csv", stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    process.stdout.readline()
    process.stdout.close()
    assert process.stderr.read() == b""
    assert process.wait(30) == 128 + 13
    assert len((tmp_path / "x.csv").read_text().splitlines()) >= 2


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["--from-file", "none.wav"], "none.wav: No such file"),
        (["--from-file", "notes.csv"], "notes.csv is no sound that can be read"),
        (["--from-file", "x.wav", "--log", "notes.csv"], "it is left as it is: name another file"),
        (["--from-file", "x.wav", "--log", "none/x.csv"], "--log none/x.csv: No such file"),
        (["--from-file", "x.wav", "--log", "."], "--log .: it is no regular file"),
        (["--from-file", "x.wav", "--device", "1"], "name two sources of sound"),
        (["--from-file", "x.wav", "--start", "noon"], "--start noon: expected a time such as"),
        (["--from-file", "x.wav", "--start", "0001-01-01T00:00Z", "--log", "x.csv"], "of the years 2000 to"),
        (["--from-file", "x.wav", "--start", "9999-12-31T23:59:59Z", "--log", "x.csv"], "of the years 2000 to"),
        (["--from-file", "x.wav", "--log", "x" * 300], "File name too long"),
        (["--from-file", "x.wav", "--channel", "2", "--log", "x.csv"], "x.wav has no channel 2"),
        (["--fast"], "are for a recording"),
        (["--hop", "9"], "hop=9: expected"),
        (["--run", ".", "--weights", "x.onnx"], "name two nets"),
    ],
)
def test_a_mistake_is_one_line(verb, sound, tmp_path, words, says):
    (tmp_path / "notes.csv").write_text("my notes\n")
    code, out, err = verb("listen", *words)
    assert (code, out, len(err.splitlines())) == (2, "", 1)
    assert says in err
    assert (tmp_path / "notes.csv").read_text() == "my notes\n"
    assert not (tmp_path / "x.csv").exists() or (tmp_path / "x.csv").read_text() == f"{FIRST}\n"
