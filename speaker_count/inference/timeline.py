"""A prediction for a terminal: a summary, and the count over time."""

from collections.abc import Sequence

import numpy as np

from speaker_count.errors import printable
from speaker_count.inference.prediction import Prediction

NARROWEST, WIDEST = 20, 100  # columns of the timeline
MARGIN = 4  # before it
BLOCKS = ("█", "─", "│"), ("#", "-", "|")  # the second where the output's encoding lacks the first


def clock(seconds: float) -> str:
    """Seconds as `0:05`, `12:34` or `1:02:03`."""
    minutes, rest = divmod(int(seconds + 0.5), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def summary(prediction: Prediction) -> list[str]:
    """Lines: how long each number of people speaks, the most at once, the share of overlap."""
    seconds = [prediction.seconds()[count] for count in prediction.classes]
    lines = [f"{printable(prediction.file or 'recording')}: {clock(prediction.duration)}"]
    lines += minutes(prediction.labels, seconds)
    lines.append(f"  at most {prediction.most} at once; overlap in {prediction.overlap:.1%} of the speech")
    return lines


def minutes(labels: Sequence[str], seconds: Sequence[float]) -> list[str]:
    """Lines: how long each class lasts, and its share."""
    whole = sum(seconds) or 1
    return [
        f"  {label:11} {each / 60:8.2f} min {each / whole:6.1%}" for label, each in zip(labels, seconds, strict=True)
    ]


def timeline(prediction: Prediction, width: int, encoding: str | None = "utf-8") -> list[str]:
    """Lines: each column is a piece of time, as high as the count that lasts longest in it.

    Args:
        width: of the terminal, in characters.
        encoding: of the output.
    """
    columns = max(NARROWEST, min(WIDEST, width - MARGIN - 1))
    lines = bars(_heights(prediction, columns), max(prediction.classes), encoding)
    middle, end = clock(prediction.duration / 2), clock(prediction.duration)
    half = columns // 2
    axis = "0:00".ljust(half - len(middle) // 2) + middle
    lines.append(" " * MARGIN + axis.ljust(columns - len(end)) + end)
    return lines


def bars(heights: Sequence[int], most: int, encoding: str | None) -> list[str]:
    """Lines: a column for each height, over a line for 0.

    Args:
        most: the largest height that may come.
        encoding: of the output.
    """
    full, base, side = BLOCKS[0] if _takes(encoding, "".join(BLOCKS[0])) else BLOCKS[1]
    lines = []
    for level in range(max(1, most), 0, -1):
        row = "".join(full if height >= level else " " for height in heights)
        lines.append(f"{level:>2} {side}{row}".rstrip())
    return [*lines, f" 0 {side}{base * len(heights)}"]


def _heights(prediction: Prediction, columns: int) -> list[int]:
    """The count that lasts longest in each column."""
    cuts = np.linspace(0, prediction.duration, columns + 1)
    lasting = np.zeros((columns, len(prediction.classes)))
    for place, count in enumerate(prediction.classes):
        # how long this count has lasted by each edge of the windows, then by each cut
        until = np.concatenate([[0], np.cumsum(np.diff(prediction.edges) * (prediction.counts == count))])
        lasting[:, place] = np.diff(np.interp(cuts, prediction.edges, until))
    return [prediction.classes[place] for place in lasting.argmax(axis=1)]


def _takes(encoding: str | None, text: str) -> bool:
    try:
        text.encode(encoding or "ascii")
    except (UnicodeEncodeError, LookupError):
        return False
    return True
