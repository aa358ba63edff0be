"""Logs of counts by hour and weekday. Logs come from anywhere: rows that make no sense are named and skipped."""

import datetime
import math
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO, NamedTuple

import numpy as np

from speaker_count.errors import UserError
from speaker_count.inference.minutes import MINUTE, header
from speaker_count.inference.session import MOST_SPEAKERS

WEEKDAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
LONGEST_LINE = 4096  # bytes
YEARS = 2000, 2199
LEAST_SECONDS = 300.0  # that were logged of a peak or quiet hour; less says little about it
SPARE = 1.0  # s, by which a row may exceed a minute
MINUTES = datetime.timedelta(minutes=1)  # distances from UTC are whole ones
SHOWN = 40  # characters of a damaged row


class Minute(NamedTuple):
    """A row of a log: its beginning in local time, and the seconds at each count."""

    begin: datetime.datetime
    seconds: dict[int, float]


class Exceeded(NamedTuple):
    """A time in which each minute had more speakers than the limit: its beginning and end, in local time, for how many
    seconds there were more, and the most at once.
    """

    begin: datetime.datetime
    end: datetime.datetime
    seconds: float
    most: int


class Hour(NamedTuple):
    """One hour of the week: its weekday from 0 (Monday), the hour, and the mean number of speakers."""

    weekday: int
    hour: int
    mean: float


@dataclass
class Occupancy:
    """How many people spoke at which hours of the week.

    Attributes:
        limit: of speakers at once; what exceeds it is noted.
        seconds: at each count, `(7 weekdays from Monday, 24 hours, counts from 0)`.
        classes: the numbers of speakers that the logs distinguish.
        days: that were logged, in local time.
        above: the seconds at each count above the limit, by the beginnings of the minutes that have any.
        zones: the distances from UTC that the logs have.
    """

    limit: int | None = None
    seconds: np.ndarray = field(default_factory=lambda: np.zeros((7, 24, MOST_SPEAKERS + 1)))
    classes: set[int] = field(default_factory=set)
    days: set[datetime.date] = field(default_factory=set)
    above: dict[datetime.datetime, dict[int, float]] = field(default_factory=dict)
    zones: set[datetime.timedelta] = field(default_factory=set)

    def add(self, minute: Minute) -> None:
        """Add a row of a log; a minute may have several."""
        offset = minute.begin.utcoffset()
        assert offset is not None
        self.zones.add(offset)
        self.days.add(minute.begin.date())
        for count, seconds in minute.seconds.items():
            self.classes.add(count)
            self.seconds[minute.begin.weekday(), minute.begin.hour, count] += seconds
            if seconds and self.limit is not None and count > self.limit:
                together = self.above.setdefault(minute.begin, {})
                together[count] = together.get(count, 0.0) + seconds

    @property
    def means(self) -> np.ndarray:
        """The mean number of speakers, `(7, 24)`; NaN where nothing was logged."""
        return mean(self.seconds)

    def ranked(self) -> list[Hour]:
        """The hours of the week that were listened to for five minutes or more, from the busiest to the quietest."""
        means = self.means
        places = np.argwhere(self.seconds.sum(axis=2) >= LEAST_SECONDS)
        hours = [Hour(int(day), int(hour), float(means[day, hour])) for day, hour in places]
        return sorted(hours, key=lambda each: (-each.mean, each.weekday, each.hour))

    def exceeded(self) -> list[Exceeded]:
        """When there were more speakers than the limit, in the order of time.

        Raises:
            UserError: the logs do not count so high, or the limit is negative.
        """
        if self.limit is None or not 0 <= self.limit < max(self.classes):
            raise UserError(f"--limit {self.limit}: the logs count up to {max(self.classes)}: give a lower number")
        found: list[Exceeded] = []
        for begin in sorted(self.above):
            above = self.above[begin]
            one = Exceeded(begin, begin + datetime.timedelta(minutes=1), sum(above.values()), max(above))
            if found and found[-1].end == begin:
                last = found.pop()
                one = Exceeded(last.begin, one.end, last.seconds + one.seconds, max(last.most, one.most))
            found.append(one)
        return found


def mean(seconds: np.ndarray) -> np.ndarray:
    """The mean number of speakers from the seconds at each count, the last axis; NaN where there are none."""
    whole = seconds.sum(axis=-1)
    result: np.ndarray = np.divide(
        seconds @ np.arange(seconds.shape[-1]), whole, out=np.full(whole.shape, np.nan), where=whole > 0
    )
    return result


def read(path: str | Path, damaged: Callable[[str], None]) -> Iterator[Minute]:
    """The rows of a log that `speaker-count listen --log` wrote.

    Args:
        damaged: is called for each row that is skipped, with one line for the user.

    Raises:
        UserError: the file is missing, or no such log.
    """
    if os.path.exists(path) and not os.path.isfile(path):
        raise UserError(f"{path} is no regular file")
    try:
        file = open(path, "rb")  # noqa: SIM115 - closed below
    except (OSError, ValueError) as error:
        raise UserError(f"{path}: {getattr(error, 'strerror', None) or error}") from error
    with file:
        classes = _classes(file.readline(LONGEST_LINE))
        if not classes:
            raise UserError(f"{path} is no log of counts: `speaker-count listen --log FILE.csv` writes one")
        for number, line in enumerate(_lines(file), start=2):
            if line.strip():
                try:
                    yield _minute(line, classes)
                except ValueError as error:
                    shown = line[:SHOWN].decode("utf-8", "replace").strip()
                    damaged(f"{path}, line {number}: skipped, {error}: {shown}")


def _lines(file: BinaryIO) -> Iterator[bytes]:
    """Lines of a file, of one that is too long only the beginning."""
    while line := file.readline(LONGEST_LINE):
        rest = line
        while len(rest) == LONGEST_LINE and not rest.endswith(b"\n"):
            rest = file.readline(LONGEST_LINE)
        yield line


def _classes(line: bytes) -> list[int]:
    """The numbers of speakers that the first line of a log names; none: it is no such line."""
    words = line.decode("ascii", "replace").strip().split(",")
    numbers = [word.removeprefix("seconds_") for word in words[1:-1]]
    if not all(number.isascii() and number.isdigit() and len(number) <= 3 for number in numbers):
        return []
    classes = [int(number) for number in numbers]
    fits = classes == sorted({*classes}) and all(count <= MOST_SPEAKERS for count in classes)
    return classes if fits and ",".join(words) == header(classes) else []


def _minute(line: bytes, classes: Sequence[int]) -> Minute:
    """A row of a log.

    Raises:
        ValueError: it is none, and why.
    """
    words = line.decode("ascii", "replace").strip().split(",")
    if len(words) != len(classes) + 2:
        raise ValueError(f"it has {len(words)} of {len(classes) + 2} values")
    try:
        begin = datetime.datetime.fromisoformat(words[0])
        seconds = dict(zip(classes, map(float, words[1:-1]), strict=True))
        most = int(words[-1])
    except ValueError as error:
        raise ValueError("its values are no times and numbers") from error
    offset = begin.utcoffset()
    if (
        offset is None
        or offset % MINUTES
        or begin.second
        or begin.microsecond
        or not YEARS[0] <= begin.year <= YEARS[1]
    ):
        raise ValueError("its minute is none")
    if not all(math.isfinite(each) and each >= 0 for each in seconds.values()) or not (
        0 < sum(seconds.values()) <= MINUTE + SPARE
    ):
        raise ValueError("its seconds do not fit a minute")
    if most != max(count for count in classes if seconds[count]):
        raise ValueError("its seconds do not fit the most at once")
    return Minute(begin, seconds)
