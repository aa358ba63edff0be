"""Counts as they come: a view that rolls in a terminal, and lines elsewhere."""

import datetime
import os
import shutil
from collections import Counter, deque
from collections.abc import Sequence
from typing import TextIO

from speaker_count.inference import timeline
from speaker_count.inference.predictor import Moment

WIDTH = 80  # columns of a terminal, at most
COLUMN = 1.0  # s
REDRAWN = 0.2  # s of sound between two drawings, at least
UP, CLEAR, CLEAR_BELOW = "\x1b[{}F", "\x1b[K", "\x1b[J"


def shown(output: TextIO, classes: Sequence[int], labels: Sequence[str]) -> "Rolling | Lines":
    """The view that fits where the output goes."""
    can_move = output.isatty() and os.environ.get("TERM", "dumb") != "dumb"
    return Rolling(output, classes, labels) if can_move else Lines(output, classes, labels)


class Lines:
    """A line whenever the count changes: the time of day, the time from the beginning, the count and its probability.

    Args:
        classes: the number of speakers of each class.
        labels: the classes' names.
    """

    def __init__(self, output: TextIO, classes: Sequence[int], labels: Sequence[str]) -> None:
        self._output, self._labels = output, dict(zip(classes, labels, strict=True))
        self._last: int | None = None

    def add(self, moment: Moment, at: float) -> None:
        """Show a moment, which was at `at`, in seconds since 1970."""
        if moment.speakers != self._last:
            self._last = moment.speakers
            print(self._line(moment, at), file=self._output, flush=True)

    def _line(self, moment: Moment, at: float) -> str:
        day = datetime.datetime.fromtimestamp(at).strftime("%H:%M:%S")
        share = float(moment.probabilities.max())
        return f"{day} {timeline.clock(moment.time):>8}  {self._labels[moment.speakers]} ({share:.0%})"


class Rolling(Lines):
    """The last minute or so, a second in each column, and the count now, drawn again and again in the same place.

    Args:
        classes, labels: as of `Lines`.
    """

    def __init__(self, output: TextIO, classes: Sequence[int], labels: Sequence[str]) -> None:
        super().__init__(output, classes, labels)
        self._heights: deque[int] = deque([0], maxlen=WIDTH)
        self._second: Counter[int] = Counter()
        self._column, self._drawn, self._most = 0, 0.0, max(classes)
        self._lines = self._width = 0  # of what is drawn

    def add(self, moment: Moment, at: float) -> None:
        column = int(moment.time / COLUMN)
        if column != self._column:
            self._heights.extend([0] * min(WIDTH, column - self._column))
            self._column = column
            self._second.clear()
        self._second[moment.speakers] += 1
        # the count that lasts longest in this second; of two, the larger one
        self._heights[-1] = max(self._second, key=lambda count: (self._second[count], count))
        if moment.time - self._drawn >= REDRAWN or not self._lines:
            self._drawn = moment.time
            self._draw(self._line(moment, at))

    def _draw(self, now: str) -> None:
        width = max(timeline.NARROWEST, min(WIDTH, shutil.get_terminal_size().columns) - timeline.MARGIN - 1)
        if width != self._width:  # the terminal may have wrapped what was drawn: begin below it
            self._width, self._lines = width, 0
        heights = [*self._heights][-width:]
        seconds = timeline.clock(width * COLUMN)
        lines = [
            *timeline.bars(timeline.levels([0] * (width - len(heights)) + heights, self._most), self._output.encoding),
            " " * timeline.MARGIN + f"-{seconds}".ljust(width - 3) + "now",
            now[: width + timeline.MARGIN],
        ]
        back = UP.format(self._lines) if self._lines else ""
        self._output.write(back + "".join(f"{line}{CLEAR}\n" for line in lines) + CLEAR_BELOW)
        self._output.flush()
        self._lines = len(lines)
