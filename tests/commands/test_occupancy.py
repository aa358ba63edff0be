"""Occupancy from logs, from the command line."""

import numpy as np
import pytest
import soundfile

FIRST = "minute,seconds_0,seconds_1,seconds_2,most\n"


@pytest.fixture
def logs(tmp_path):
    """Two logs of five minutes each; the second one has damaged rows, and was cut by a crash."""
    rows = "".join(f"2026-11-23T09:0{minute}+01:00,30,30,0,1\n" for minute in range(5))
    (tmp_path / "a.csv").write_text(FIRST + rows)
    rows = "".join(f"2026-11-24T10:0{minute}+01:00,0,0,60,2\n" for minute in range(5))
    (tmp_path / "b.csv").write_text(FIRST + rows + "x\n" * 12 + "2026-11-24T10:0")
    return tmp_path


def test_several_logs_are_one_table_and_damaged_rows_are_named(verb, logs):
    code, out, err = verb("occupancy", "a.csv", "b.csv", "./a.csv", "--limit", "1", "--plot", "x.png")
    assert code == 0
    lines = out.splitlines()
    assert lines[0].endswith("10.00 min on 2 days, local times as logged (UTC+01:00)")
    assert lines[-5:] == [
        "peak hours:  Tue 10:00 (2.00), Mon 09:00 (0.50)",
        "quiet hours: Mon 09:00 (0.50), Tue 10:00 (2.00)",
        "",
        "more than 1 speaker: 1 time, 5.00 min in all",
        "  Tue 2026-11-24 10:00 to 10:05     5.00 min, at most 2",
    ]
    said = err.splitlines()
    assert said[0] == "b.csv, line 7: skipped, it has 1 of 5 values: x"
    assert len(said) == 11
    assert said[-1] == "b.csv: 3 more rows are damaged and skipped"
    assert (logs / "x.png").read_bytes().startswith(b"\x89PNG")


def test_a_file_that_is_no_log_is_named_and_does_not_stop_the_others(verb, logs):
    (logs / "notes.csv").write_text("my notes\n")
    code, out, err = verb("occupancy", "notes.csv", "none.csv", "a.csv", ".")
    assert code == 1
    assert out.startswith("2026-11-23: 5.00 min on 1 day, ")
    assert err.splitlines() == [
        "notes.csv is no log of counts: `speaker-count listen --log FILE.csv` writes one",
        "none.csv: No such file or directory",
        ". is no regular file",
    ]
    assert verb("occupancy", "none.csv") == (1, "", "none.csv: No such file or directory\n")


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["a.csv", "--limit", "2"], "--limit 2: the logs count up to 2: give a lower number"),
        (["a.csv", "--plot", "x.txt"], "the name of a picture ends with .png, .svg, .pdf"),
        (["a.csv", "--plot", "none/x.png"], "there is no folder none"),
        (["empty.csv"], "the logs hold no counts"),
    ],
)
def test_a_mistake_is_one_line(verb, logs, words, says):
    (logs / "empty.csv").write_text(FIRST)
    code, out, err = verb("occupancy", *words)
    assert (code, out, len(err.splitlines())) == (2, "", 1)
    assert says in err


def test_a_log_of_listen_is_one_of_occupancy(verb, logs):
    soundfile.write(logs / "x.wav", np.zeros(90 * 16_000), 16_000)
    words = ("--from-file", "x.wav", "--fast", "--start", "2026-11-26T09:00Z", "--log", "x.csv")
    assert verb("listen", *words)[0] == 0
    code, out, err = verb("occupancy", "x.csv")
    assert (code, err) == (0, "")
    assert "0 speakers: 1.50 min (100.0%)" in out
