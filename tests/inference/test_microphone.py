"""A microphone that is real to sounddevice and PortAudio: PulseAudio, whose microphone hears what is played."""

import shutil
import signal
import subprocess
import time

import pytest

import speaker_count
from tests.commands.test_listen import start

PROGRAMS = ("pulseaudio", "pactl", "paplay")
ALSA = "pcm.!default { type pulse }\nctl.!default { type pulse }\n"


@pytest.fixture
def room(tmp_path, monkeypatch):
    """A sound server with a microphone, `hall`, in a room where `paplay` can be heard."""
    sounddevice = pytest.importorskip(
        "sounddevice", reason="sounddevice needs PortAudio", exc_type=(ImportError, OSError)
    )
    missing = [name for name in PROGRAMS if shutil.which(name) is None]
    if missing:
        pytest.skip(f"no {', '.join(missing)}: apt-get install pulseaudio pulseaudio-utils libasound2-plugins")
    assert sounddevice.__version__
    for name in ("home", "run"):
        (tmp_path / name).mkdir(mode=0o700)
    (tmp_path / "home" / ".asoundrc").write_text(ALSA)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path / "run"))
    monkeypatch.setenv("PULSE_SERVER", f"unix:{tmp_path / 'pulse'}")
    modules = (
        f"module-native-protocol-unix socket={tmp_path / 'pulse'} auth-anonymous=1",
        "module-null-sink sink_name=room format=s16le rate=16000 channels=1",
        "module-remap-source master=room.monitor source_name=hall",
    )
    with open(tmp_path / "pulse.log", "w") as log:
        server = subprocess.Popen(
            ["pulseaudio", "-n", "--daemonize=no", "--exit-idle-time=-1", *(f"-L{module}" for module in modules)],
            stdout=log, stderr=log,
        )  # fmt: skip
    try:
        end = time.monotonic() + 20
        while subprocess.run(["pactl", "set-default-source", "hall"], capture_output=True).returncode:
            assert server.poll() is None, (tmp_path / "pulse.log").read_text()
            assert time.monotonic() < end, (tmp_path / "pulse.log").read_text()
            time.sleep(0.1)
        yield tmp_path
    finally:
        server.terminate()
        server.wait(20)


def rows(log) -> list[float]:
    """The seconds at each count of a log, all its rows together."""
    lines = [line.split(",")[1:5] for line in log.read_text().splitlines()[1:]]
    return [sum(map(float, column)) for column in zip(*lines, strict=True)]


def test_what_a_microphone_hears_is_counted_as_in_the_file_that_is_played(room, conversation):
    listening = start(room, "--log", "log.csv", stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert "0 speakers" in listening.stdout.readline()  # it has begun, and the room is silent
    subprocess.run(["paplay", conversation.path], check=True)
    time.sleep(2)
    listening.send_signal(signal.SIGINT)
    out, err = listening.communicate(timeout=20)
    assert (listening.returncode, err) == (0, "")
    assert "listened for 0:3" in out
    expected = speaker_count.predict(conversation.path).seconds()
    for count, seconds in enumerate(rows(room / "log.csv")[1:], start=1):  # of nobody there is more
        assert seconds == pytest.approx(expected[count], abs=1.5)


def test_microphones_are_listed_and_one_that_is_unplugged_ends_it_with_one_line(room):
    listed = start(room, "--list-devices", stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    out, err = listed.communicate(timeout=60)
    assert (listed.returncode, err) == (0, "")
    assert any(line.startswith("*") and "default" in line for line in out.splitlines())
    listening = start(room, "--log", "log.csv", stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert "0 speakers" in listening.stdout.readline()
    subprocess.run(["pactl", "unload-module", "module-remap-source"], check=True)
    subprocess.run(["pactl", "unload-module", "module-null-sink"], check=True)
    _, err = listening.communicate(timeout=30)
    assert listening.returncode == 2
    # PortAudio has lines of its own before it
    assert err.splitlines()[-1] == "the microphone default gives no sound any more: is it unplugged?"
    assert rows(room / "log.csv")[0] > 0
