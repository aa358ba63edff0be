"""The command before it knows its verb."""

import subprocess
import sys

import pytest

from speaker_count import cli

COMMAND = [sys.executable, "-m", "speaker_count"]


@pytest.mark.parametrize("columns", [60, 80])
def test_the_help_has_every_verb_and_fits_the_terminal(monkeypatch, columns):
    monkeypatch.setenv("COLUMNS", str(columns))
    out = subprocess.run([*COMMAND, "--help"], capture_output=True, text=True, check=True).stdout
    assert max(map(len, out.splitlines())) < columns
    assert [line.split()[0] for line in out.splitlines() if line.startswith("  ") and line[2] != " "] == [*cli.VERBS]


def test_a_reader_of_the_help_who_leaves_sees_no_traceback(monkeypatch):
    monkeypatch.setenv("PYTHONUNBUFFERED", "1")
    process = subprocess.Popen([*COMMAND, "--help"], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    process.stdout.close()
    assert process.stderr.read() == b""
    process.stderr.close()
    assert process.wait(30) == cli.UNREAD
