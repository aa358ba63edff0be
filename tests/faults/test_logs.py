"""Logs of counts: a full disk, a kill at any moment, bytes that are damaged."""

import contextlib
import os
import subprocess
import sys
import time

import numpy as np
import pytest
import soundfile

from speaker_count.errors import UserError
from speaker_count.inference.minutes import Log
from speaker_count.inference.occupancy import Occupancy, read
from speaker_count.inference.occupancy_tables import lines
from tests.conftest import REPOSITORY
from tests.faults import disks
from tests.faults.disks import Disk

RATE = 16_000
NOON = 1_764_158_400
KILLS, MUTATIONS = 5, 400


def listen(folder, *words: str) -> subprocess.Popen:
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY)}
    command = [sys.executable, "-m", "speaker_count", "listen", "--from-file", "x.wav", *words]
    return subprocess.Popen(
        command, cwd=folder, env=environment, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )


def rows(path) -> tuple[int, list[str]]:
    """How many rows a log has, and what is said of damaged ones."""
    said: list[str] = []
    return len(list(read(path, said.append))), said


@pytest.fixture
def sound(tmp_path):
    """Ten minutes of silence."""
    soundfile.write(tmp_path / "x.wav", np.zeros(600 * RATE, np.int16), RATE)
    return tmp_path


def test_a_full_disk_is_one_line_and_the_log_is_continued(sound, tally):
    disk = Disk(sound / "disk", 64)
    try:
        path = disk.path / "x.csv"
        with Log(path, [0, 1, 2, 3]) as log:
            for minute in range(90):  # nearly a block of the disk
                log.add(NOON + 60 * minute, 0, 60)
        disk.fill()
        process = listen(sound, "--fast", "--log", str(path))
        _, err = process.communicate(timeout=120)
        assert (process.returncode, len(err.splitlines())) == (2, 1)
        assert "No space left on device" in err
        disk.free()
        process = listen(sound, "--fast", "--log", str(path))
        assert (process.communicate(timeout=120)[1], process.returncode) == ("", 0)
        whole, damaged = rows(path)
        assert whole >= 90 + 10
        assert len(damaged) <= 1
    finally:
        disks.run("umount", "-l", disk.path)
    tally(faults=1)


def test_a_kill_at_any_moment_costs_at_most_a_row(sound, tally):
    random = np.random.default_rng(0)
    before = b""
    for _ in range(KILLS):
        process = listen(sound, "--fast", "--log", "x.csv")
        assert process.stdout.readline()
        time.sleep(random.uniform(0, 0.5))
        process.kill()
        process.communicate()
        now = (sound / "x.csv").read_bytes()
        assert now.startswith(before)
        before = now
    assert len(rows(sound / "x.csv")[1]) <= KILLS
    tally(faults=KILLS)


def test_a_damaged_log_is_read_or_refused_in_one_line(tmp_path, tally):
    random = np.random.default_rng(0)
    with Log(tmp_path / "whole.csv", [0, 1, 2, 3]) as log:
        for minute in range(20):
            log.add(NOON + 60 * minute, minute % 4, 60)
    whole = (tmp_path / "whole.csv").read_bytes()
    for _ in range(MUTATIONS):
        content = bytearray(whole)
        for _ in range(random.integers(1, 20)):
            content[random.integers(len(content))] = random.choice([0, 10, 44, 45, 57, 255, random.integers(256)])
        (tmp_path / "x.csv").write_bytes(content)
        occupancy, said = Occupancy(1), []
        with contextlib.suppress(UserError):  # its first line is damaged
            for minute in read(tmp_path / "x.csv", said.append):
                occupancy.add(minute)
        assert all("skipped" in line for line in said)
        assert np.isfinite(occupancy.seconds).all()
        if occupancy.days:
            assert lines(occupancy)
            occupancy.exceeded()
    tally(inputs=MUTATIONS)
