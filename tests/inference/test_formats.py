"""A prediction as text: for people, and for other programs."""

import csv
import json

import pytest

from speaker_count.inference import formats, timeline
from speaker_count.inference.scoring import Reference
from tests.inference.test_scoring import prediction_of

COUNTS = [0, 1, 1, 2, 3, 3, 1, 0, 2, 0]


def test_json_has_the_keys_that_other_programs_rely_on():
    (line,) = formats.lines(prediction_of(COUNTS, "new\nline.wav"), "json", True)
    values = json.loads(line)
    keys = "file, sample_rate, window_seconds, hop_seconds, labels, times, counts, probabilities"
    assert list(values) == keys.split(", ")
    assert (values["file"], values["counts"]) == ("new\nline.wav", COUNTS)
    assert values["times"][:2] == [0.5, 1.5]
    assert values["probabilities"][0] == [1, 0, 0, 0]


def test_csv_has_a_row_for_each_window_and_computes_nothing():
    given = list(formats.lines(prediction_of(COUNTS, "=1+1,new\nline.wav"), "csv", True))
    rows = list(csv.reader("\n".join(given).splitlines(keepends=True)))
    assert rows[0] == ["file", "time", "count", "p_0", "p_1", "p_2", "p_3"]
    assert rows[1] == ["'=1+1,new\nline.wav", "0.500", "0", "1.0000", "0.0000", "0.0000", "0.0000"]
    assert len(rows) == 11
    assert len(list(formats.lines(prediction_of(COUNTS), "csv", False))) == 10


@pytest.mark.parametrize("name", ["talk.wav", "a new\tname.wav"])
def test_rttm_says_how_many_and_can_be_read_again(tmp_path, name):
    prediction = prediction_of(COUNTS, name)
    lines = list(formats.lines(prediction, "rttm", True))
    assert lines[0].split() == ["SPEAKER", formats.recording_id(name), "1", "1.000", "6.000", "<NA>", "<NA>", "voice1",
                                "<NA>", "<NA>"]  # fmt: skip
    assert len(lines) == 5
    (tmp_path / "x.rttm").write_text("\n".join(lines))
    assert Reference(tmp_path / "x.rttm").score(prediction).accuracy == 1
    assert not list(formats.lines(prediction_of([0, 0]), "rttm", True))


def test_audacity_labels_are_the_stretches_of_one_count():
    lines = list(formats.lines(prediction_of([0, 1, 1, 2]), "audacity", True))
    assert lines == ["0.000\t1.000\t0 speakers", "1.000\t3.000\t1 speakers", "3.000\t4.000\t2 speakers"]


def test_the_summary_has_minutes_the_most_and_the_share_of_overlap():
    lines = timeline.summary(prediction_of(COUNTS * 12, "new\nline\x1b[31m.wav"))
    assert lines[0] == "new\\nline\\x1b[31m.wav: 2:00"
    assert lines[1].split() == ["0", "speakers", "36.0", "s", "30.0%"]
    assert timeline.summary(prediction_of(COUNTS * 60))[1].split() == ["0", "speakers", "3.00", "min", "30.0%"]
    assert lines[-1] == "  at most 3 at once; overlap in 57.1% of the speech"
    assert timeline.summary(prediction_of([0, 0]))[-1] == "  at most 0 at once; overlap in 0.0% of the speech"


def test_the_timeline_is_as_high_as_the_count_that_lasts_longest():
    lines = timeline.timeline(prediction_of([0, 1, 2, 3]), 25)
    assert lines == [
        " 3 │               █████",
        " 2 │          ██████████",
        " 1 │     ███████████████",
        " 0 │────────────────────",
        "    0:00    0:02    0:04",
    ]
    assert max(map(len, timeline.timeline(prediction_of(COUNTS * 1000), 80))) < 80
    timeline.timeline(prediction_of([1]), 5)  # narrower than anything


def test_a_short_overlap_is_seen_in_the_timeline_of_a_long_recording():
    # 12 s in a column of 20: half of it, less and less, one second, and all of them three
    columns = [[2] * 6 + [1] * 6, [2] * 5 + [1] * 7, [2] * 3 + [0] * 9, [2] * 1 + [1] * 11, [3] * 12, [0] * 12]
    recording = prediction_of([count for column in columns for count in column] + [1] * 14 * 12)
    assert timeline.timeline(recording, 25)[:3] == [" 3 │    █", " 2 │█▓▒░█", " 1 │██▒██ ██████████████"]
    lines = timeline.timeline(recording, 25, "ascii")
    assert lines[1:4] == [" 2 |#+:.#", " 1 |##:## ##############", " 0 |" + 20 * "-"]


@pytest.mark.parametrize(
    ("seconds", "shown"), [(0.4, "0:00"), (59.6, "1:00"), (3599.7, "1:00:00"), (36_000, "10:00:00")]
)
def test_times_are_shown_as_a_clock_does(seconds, shown):
    assert timeline.clock(seconds) == shown


def test_a_prediction_is_one_short_line_in_python_whatever_its_name():
    shown = "Prediction(new\\nline\\x1b[31m.wav, 20:00, 1,200 windows, at most 3 speakers)"
    assert repr(prediction_of(COUNTS * 120, "new\nline\x1b[31m.wav")) == shown
    assert repr(prediction_of([0, 1], None)) == "Prediction(recording, 0:02, 2 windows, at most 1 speaker)"
