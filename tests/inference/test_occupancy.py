"""Logs by hour and weekday."""

import datetime

import numpy as np
import pytest

from speaker_count.errors import UserError
from speaker_count.inference import occupancy_tables
from speaker_count.inference.occupancy import Occupancy, read

FIRST = "minute,seconds_0,seconds_1,seconds_2,most"
MONDAY = "2026-11-23T"


def of(path, *rows, limit=None, first=FIRST):
    """The occupancy of a log with these rows, and what is said of damaged ones."""
    path.write_text("\n".join([first, *rows]) + "\n")
    occupancy, said = Occupancy(limit), []
    for minute in read(path, said.append):
        occupancy.add(minute)
    return occupancy, said


def test_means_by_hour_and_weekday_are_weighted_by_time(tmp_path):
    occupancy, said = of(
        tmp_path / "x.csv",
        f"{MONDAY}09:00+01:00,30,30,0,1",
        f"{MONDAY}09:30+01:00,0,0,20,2",
        "2026-11-24T23:59+01:00,0,60,0,1",
    )
    assert not said
    means = occupancy.means
    assert means[0, 9] == pytest.approx((30 + 40) / 80)
    assert means[1, 23] == 1
    assert np.isnan(means).sum() == 7 * 24 - 2
    lines = occupancy_tables.lines(occupancy)
    assert lines[0] == "2026-11-23 to 2026-11-24: 2.33 min on 2 days, local times as logged (UTC+01:00)"
    row = next(line for line in lines if line.startswith("09:00"))
    assert row.split() == ["09:00", "0.88", *["-"] * 6, "0.88", "62.5%", "25.0%", "2"]
    assert next(line for line in lines if line.startswith("10:00")).split()[1:] == ["-"] * 11
    assert max(map(len, lines)) < 80
    assert lines[-1] == "no hour was listened to for five minutes: no peak hours"


def test_peak_and_quiet_hours_were_listened_to_for_five_minutes(tmp_path):
    hours = {8: "0,60,0,1", 9: "0,0,60,2", 10: "60,0,0,0"}
    rows = [f"{MONDAY}{hour:02}:{minute:02}Z,{values}" for hour, values in hours.items() for minute in range(5)]
    occupancy, _ = of(tmp_path / "x.csv", *rows, f"{MONDAY}11:00Z,0,0,60,2")
    assert [(each.hour, each.mean) for each in occupancy.ranked()] == [(9, 2), (8, 1), (10, 0)]
    peak, quiet = occupancy_tables.lines(occupancy)[-2:]
    assert peak == "peak hours:  Mon 09:00 (2.00), Mon 08:00 (1.00), Mon 10:00 (0.00)"
    assert quiet.startswith("quiet hours: Mon 10:00 (0.00), ")


def test_a_limit_is_exceeded_from_the_first_to_the_last_minute_with_more(tmp_path):
    occupancy, _ = of(
        tmp_path / "x.csv",
        "2026-10-25T02:59+02:00,30,15,15,2",  # summer time ends here
        "2026-10-25T02:00+01:00,30,0,20,2",
        "2026-10-25T02:00+01:00,0,0,5,2",  # the same minute, heard in parts
        "2026-10-25T02:01+01:00,0,60,0,1",
        "2026-10-25T02:02+01:00,0,0,60,2",
        limit=1,
    )
    first, second = occupancy.exceeded()
    assert (first.seconds, first.most, first.end - first.begin) == (40, 2, datetime.timedelta(minutes=2))
    assert (second.seconds, second.begin.minute) == (60, 2)
    lines = occupancy_tables.limit_lines([first, second], 1)
    assert lines[0] == "more than 1 speaker: 2 times, 1.67 min in all"
    assert lines[2].split() == ["Sun", "2026-10-25", "02:02", "to", "02:03", "1.00", "min,", "at", "most", "2"]
    assert occupancy_tables.zone(occupancy) == "UTC+01:00, UTC+02:00"
    assert occupancy_tables.limit_lines([], 1) == ["never more than 1 speaker"]
    for limit in (-1, 2):
        with pytest.raises(UserError, match="the logs count up to 2"):
            of(tmp_path / "x.csv", f"{MONDAY}09:00Z,0,60,0,1", limit=limit)[0].exceeded()


def test_a_time_that_ends_on_another_day_says_which(tmp_path):
    def ends(*minutes: str) -> str:
        occupancy, _ = of(tmp_path / "x.csv", *(f"{minute}Z,0,0,60,2" for minute in minutes), limit=1)
        return occupancy_tables.limit_lines(occupancy.exceeded(), 1)[1].split(" to ")[1].rsplit("  ", 1)[0].strip()

    assert ends("2026-11-23T23:59") == "00:00"
    assert ends("2026-11-23T23:59", "2026-11-24T00:00") == "2026-11-24 00:01"


@pytest.mark.parametrize(
    ("row", "says"),
    [
        (f"{MONDAY}09:00+01:00,30,3", "it has 3 of 5 values"),
        (f"{MONDAY}09:00+01:00,30,30,0,1,5", "it has 6 of 5 values"),
        (f"{MONDAY}09:00+01:00,30,x,0,1", "no times and numbers"),
        (f"{MONDAY}09:00,30,30,0,1", "its minute is none"),
        (f"{MONDAY}09:00:30+01:00,30,30,0,1", "its minute is none"),
        (f"{MONDAY}09:00+01:00:00.5,30,30,0,1", "its minute is none"),
        ("0001-01-01T00:00+14:00,30,30,0,1", "its minute is none"),
        (f"{MONDAY}09:00Z,30,nan,0,1", "do not fit a minute"),
        (f"{MONDAY}09:00Z,30,40,0,1", "do not fit a minute"),
        (f"{MONDAY}09:00Z,-1,40,0,1", "do not fit a minute"),
        (f"{MONDAY}09:00Z,0,0,0,0", "do not fit a minute"),
        (f"{MONDAY}09:00Z,30,30,0,2", "do not fit the most"),
        ("\x1b[31m" + "9" * 100_000, "it has 1 of 5 values"),
        ("é\0,,,,", "no times and numbers"),
    ],
)
def test_a_damaged_row_is_named_and_skipped(tmp_path, row, says):
    good = f"{MONDAY}09:00Z,30,30,0,1"
    occupancy, (said,) = of(tmp_path / "x.csv", good, row, "", good)
    assert occupancy.seconds.sum() == 120
    assert "x.csv, line 3: skipped, " in said
    assert says in said
    assert len(said) < 300


@pytest.mark.parametrize(
    "first", ["", "minute,most", "minute,seconds_1,seconds_0,most", "minute,seconds_0,seconds_999,most", "\0", "a,b,c"]
)
def test_what_is_no_log_is_refused(tmp_path, first):
    with pytest.raises(UserError, match="is no log of counts"):
        of(tmp_path / "x.csv", first=first)
