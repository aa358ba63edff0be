"""Logs of counts per minute."""

import os
import subprocess
import sys
import time

import pytest

from speaker_count.errors import UserError
from speaker_count.inference.minutes import Log
from tests.conftest import REPOSITORY

FIRST = "minute,seconds_0,seconds_1,seconds_2,most\n"
NOON = 1_764_158_400  # 2025-11-26T12:00 UTC


@pytest.fixture(autouse=True)
def zone(monkeypatch):
    """A local time zone an hour ahead of UTC."""
    monkeypatch.setenv("TZ", "UTC-1")  # POSIX counts westwards
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


def fill(path, *counts, start=NOON, seconds=20.0):
    with Log(path, [0, 1, 2]) as log:
        for number, count in enumerate(counts):
            log.add(start + number * seconds, count, seconds)


def test_a_row_is_a_minute_in_local_time_and_the_begun_one_is_written_at_the_end(tmp_path):
    fill(tmp_path / "x.csv", 0, 1, 1, 2)
    assert (tmp_path / "x.csv").read_text() == (
        FIRST + "2025-11-26T13:00+01:00,20.0,40.0,0.0,1\n" + "2025-11-26T13:01+01:00,0.0,0.0,20.0,2\n"
    )


def test_a_row_is_there_as_soon_as_its_minute_is_over(tmp_path):
    with Log(tmp_path / "x.csv", [0, 1]) as log:
        log.add(NOON, 1, 30.0)
        assert (tmp_path / "x.csv").read_text() == "minute,seconds_0,seconds_1,most\n"
        log.add(NOON + 60, 1, 30.0)
        assert (tmp_path / "x.csv").read_text().endswith(",0.0,30.0,1\n")


def test_a_clock_that_is_set_back_gives_rows_of_a_minute_at_most(tmp_path):
    with Log(tmp_path / "x.csv", [0, 1]) as log:
        for _ in range(3):
            log.add(NOON, 1, 40.0)
    assert [line.split(",")[2] for line in (tmp_path / "x.csv").read_text().splitlines()[1:]] == ["40.0"] * 3


def test_a_cut_at_any_byte_costs_at_most_a_row(tmp_path):
    path = tmp_path / "x.csv"
    fill(path, 0)
    whole = path.read_bytes()
    for length in range(len(whole)):
        path.write_bytes(whole[:length])
        fill(path, 2)
        now = path.read_bytes()
        assert now.startswith(whole[:length])
        assert now.startswith(FIRST.encode())
        assert now.endswith(b"\n2025-11-26T13:00+01:00,0.0,0.0,20.0,2\n")


@pytest.mark.parametrize(
    "content", ["my notes", "minute,seconds_0,seconds_1,most\n", "minute,hours", FIRST[:-1] + ",more\n", "\n" * 100]
)
def test_other_content_is_left_as_it_is(tmp_path, content):
    path = tmp_path / "x.csv"
    path.write_text(content)
    with pytest.raises(UserError, match="it is left as it is: name another file"):
        Log(path, [0, 1, 2])
    assert path.read_text() == content


def test_a_log_that_another_process_writes_or_that_is_deleted_is_refused(tmp_path):
    path = tmp_path / "x.csv"
    script = f"from speaker_count.inference.minutes import Log; Log({str(path)!r}, [0, 1, 2])"
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY)}
    with Log(path, [0, 1, 2]) as log:
        other = subprocess.run([sys.executable, "-c", script], env=environment, capture_output=True, text=True)
        assert "another process writes to it" in other.stderr
        log.add(NOON, 1, 1.0)
        path.unlink()
        with pytest.raises(UserError, match="was deleted"):
            log.write()
    for name, says in (("", "no regular file"), ("none/x.csv", "No such file")):
        with pytest.raises(UserError, match=says):
            Log(tmp_path / name, [0, 1, 2])
