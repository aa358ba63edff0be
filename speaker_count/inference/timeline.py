"""A prediction for a terminal: a summary, and the count over time."""

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
    seconds = prediction.seconds()
    lines = [f"{printable(prediction.file or 'recording')}: {clock(prediction.duration)}"]
    for count, label in zip(prediction.classes, prediction.labels, strict=True):
        share = seconds[count] / prediction.duration
        lines.append(f"  {label:11} {seconds[count] / 60:8.2f} min {share:6.1%}")
    lines.append(f"  at most {prediction.most} at once; overlap in {prediction.overlap:.1%} of the speech")
    return lines


def timeline(prediction: Prediction, width: int, encoding: str | None = "utf-8") -> list[str]:
    """Lines: a column is a piece of time, and as high as the count that lasts longest in it.

    Args:
        width: of the terminal, in characters.
        encoding: of the output.
    """
    columns = max(NARROWEST, min(WIDEST, width - MARGIN - 1))
    full, base, side = BLOCKS[0] if _takes(encoding, "".join(BLOCKS[0])) else BLOCKS[1]
    heights = _heights(prediction, columns)
    lines = []
    for level in range(max(1, *prediction.classes), 0, -1):
        bars = "".join(full if height >= level else " " for height in heights)
        lines.append(f"{level:>2} {side}{bars}".rstrip())
    lines.append(f" 0 {side}{base * columns}")
    middle, end = clock(prediction.duration / 2), clock(prediction.duration)
    half = columns // 2
    axis = "0:00".ljust(half - len(middle) // 2) + middle
    lines.append(" " * MARGIN + axis.ljust(columns - len(end)) + end)
    return lines


def _heights(prediction: Prediction, columns: int) -> list[int]:
    """The count that lasts longest in each column."""
    cuts = np.linspace(0, prediction.duration, columns + 1)
    lasting = np.zeros((columns, len(prediction.classes)))
    for place, count in enumerate(prediction.classes):
        # how long this count lasted until each edge of the windows, then until each cut
        until = np.concatenate([[0], np.cumsum(np.diff(prediction.edges) * (prediction.counts == count))])
        lasting[:, place] = np.diff(np.interp(cuts, prediction.edges, until))
    return [prediction.classes[place] for place in lasting.argmax(axis=1)]


def _takes(encoding: str | None, text: str) -> bool:
    try:
        text.encode(encoding or "ascii")
    except (UnicodeEncodeError, LookupError):
        return False
    return True
