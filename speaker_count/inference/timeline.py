"""A prediction for a terminal: a summary, and the count over time."""

from collections.abc import Sequence

import numpy as np

from speaker_count.inference.prediction import Prediction

NARROWEST, WIDEST = 20, 100  # columns of the timeline
MARGIN = 4  # before it
SHORT = 600  # s, below which seconds are shown, not minutes
SPARE = 1e-6  # of a column: lengths of time are no exact floats
# for shares of a column, the base, the side; the second where the output's encoding lacks the first
BLOCKS = (" ░▒▓█", "─", "│"), (" .:+#", "-", "|")


def clock(seconds: float) -> str:
    """Seconds as `0:05`, `12:34` or `1:02:03`."""
    minutes, rest = divmod(int(seconds + 0.5), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def summary(prediction: Prediction) -> list[str]:
    """Lines: how long each number of people speaks, the most at once, the share of overlap."""
    seconds = [prediction.seconds()[count] for count in prediction.classes]
    lines = [f"{prediction.shown_name}: {clock(prediction.duration)}"]
    lines += minutes(prediction.labels, seconds)
    lines.append(f"  at most {prediction.most} at once; overlap in {prediction.overlap:.1%} of the speech")
    return lines


def minutes(labels: Sequence[str], seconds: Sequence[float]) -> list[str]:
    """Lines: how long each class lasts, in seconds where all of them last less than ten minutes, and its share."""
    whole = sum(seconds) or 1
    return [
        f"  {label:11} {f'{each:.1f} s' if whole < SHORT else f'{each / 60:.2f} min':>12} {each / whole:6.1%}"
        for label, each in zip(labels, seconds, strict=True)
    ]


class Table:
    """A line for each of many recordings, as they come, and one for all of them.

    Args:
        classes: the number of speakers of each class.
    """

    def __init__(self, classes: Sequence[int]) -> None:
        self._classes = classes
        self._files, self._duration, self._most = 0, 0.0, 0
        self._seconds = dict.fromkeys(classes, 0.0)

    def head(self) -> str:
        """The names of the columns: the duration, how long each number of people speaks, the most at once."""
        return self._line("length", [str(count) for count in self._classes], "most", "file")

    def add(self, prediction: Prediction) -> str:
        """The line of a recording."""
        seconds = prediction.seconds()
        self._files += 1
        self._duration += prediction.duration
        self._most = max(self._most, prediction.most)
        for count in self._classes:
            self._seconds[count] += seconds[count]
        return self._row(prediction.duration, seconds, prediction.most, prediction.shown_name)

    def total(self) -> str:
        """The line of all recordings."""
        return self._row(self._duration, self._seconds, self._most, f"total of {self._files:,}")

    def _row(self, duration: float, seconds: dict[int, float], most: int, name: str) -> str:
        return self._line(clock(duration), [clock(seconds[count]) for count in self._classes], str(most), name)

    def _line(self, length: str, seconds: Sequence[str], most: str, name: str) -> str:
        return f"{length:>8} " + "".join(f"{each:>9}" for each in seconds) + f"{most:>6}  {name}"


def timeline(prediction: Prediction, width: int, encoding: str | None = "utf-8") -> list[str]:
    """Lines: each column is a piece of time. Row N is full where N or more speak in at least half of it, and lighter
    where they speak in less: short overlaps are seen in long recordings.

    Args:
        width: of the terminal, in characters.
        encoding: of the output.
    """
    columns = max(NARROWEST, min(WIDEST, width - MARGIN - 1))
    lines = bars(_shares(prediction, columns), encoding)
    middle, end = clock(prediction.duration / 2), clock(prediction.duration)
    half = columns // 2
    axis = "0:00".ljust(half - len(middle) // 2) + middle
    lines.append(" " * MARGIN + axis.ljust(columns - len(end)) + end)
    return lines


def bars(shares: np.ndarray, encoding: str | None) -> list[str]:
    """Lines: a bar in each column, over a line for 0.

    Args:
        shares: of each column, in which N or more speak, `(columns, most)`, for N from 1.
        encoding: of the output.
    """
    blocks, base, side = BLOCKS[0] if _takes(encoding, "".join(BLOCKS[0])) else BLOCKS[1]
    # any share is seen, and from half of the column on it is full
    shades = np.clip(np.ceil(2 * (len(blocks) - 2) * shares - SPARE), shares > SPARE, len(blocks) - 1).astype(int)
    shades[shares >= 0.5 - SPARE] = len(blocks) - 1
    lines = []
    for level in range(shares.shape[1], 0, -1):
        row = "".join(blocks[shade] for shade in shades[:, level - 1])
        lines.append(f"{level:>2} {side}{row}".rstrip())
    return [*lines, f" 0 {side}{base * len(shares)}"]


def levels(counts: Sequence[int] | np.ndarray, most: int) -> np.ndarray:
    """Shares, as `bars` takes them, of columns with one count each.

    Args:
        most: the largest count that may come.
    """
    return (np.asarray(counts)[:, None] >= np.arange(1, max(1, most) + 1)).astype(float)


def _shares(prediction: Prediction, columns: int) -> np.ndarray:
    """The share of each column in which N or more speak, for N from 1, `(columns, most)`. A column that is no longer
    than a hop has the count that lasts longest in it.
    """
    cuts = np.linspace(0, prediction.duration, columns + 1)
    lasting = np.zeros((columns, max(1, *prediction.classes) + 1))  # (columns, counts)
    for count in prediction.classes:
        # how long this count has lasted by each edge of the windows, then by each cut
        until = np.concatenate([[0], np.cumsum(np.diff(prediction.edges) * (prediction.counts == count))])
        lasting[:, count] = np.diff(np.interp(cuts, prediction.edges, until))
    length = prediction.duration / columns
    if length <= prediction.hop_seconds:
        return levels(lasting.argmax(axis=1), lasting.shape[1] - 1)
    shares: np.ndarray = np.cumsum(lasting[:, ::-1], axis=1)[:, -2::-1] / length
    return shares


def _takes(encoding: str | None, text: str) -> bool:
    try:
        text.encode(encoding or "ascii")
    except (UnicodeEncodeError, LookupError):
        return False
    return True
