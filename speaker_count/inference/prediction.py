"""How many people speak over time in one recording."""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from speaker_count.errors import needed_by, printable
from speaker_count.inference.audio import STANDARD_INPUT
from speaker_count.inference.overview import Overview
from speaker_count.labels import class_names

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

    from speaker_count.inference.scoring import Turns


class Stretch(NamedTuple):
    """A part of a recording with one count: its beginning and end, in seconds, and the number of speakers."""

    begin: float
    end: float
    speakers: int


@dataclass(frozen=True, eq=False, repr=False)
class Prediction:
    """How many people speak over time in one recording.

    Attributes:
        file: the recording's path; None: it was an array.
        sample_rate: of the recording, in Hz.
        duration: of the recording, in seconds.
        window_seconds: what each count was computed from.
        hop_seconds: from one window to the next.
        labels: the names of the classes, such as `2 speakers`.
        classes: the number of speakers of each class.
        times: the windows' centres, in seconds, `(windows,)`.
        counts: the number of speakers in each window, `(windows,)` int64.
        probabilities: of each class, `(windows, classes)` float32, smoothed unless that was off. Averages over time are
            cautious: the count is right more often than they say.
        overview: the recording as a plot shows it.
    """

    file: str | None
    sample_rate: int
    duration: float
    window_seconds: float
    hop_seconds: float
    labels: list[str]
    classes: list[int]
    times: np.ndarray
    counts: np.ndarray
    probabilities: np.ndarray
    overview: Overview | None = None

    def __repr__(self) -> str:
        from speaker_count.inference.timeline import clock  # which knows this class

        windows, most = f"{len(self.counts):,} windows", f"at most {class_names([self.most])[0]}"
        return f"Prediction({self.shown_name}, {clock(self.duration)}, {windows}, {most})"

    @property
    def shown_name(self) -> str:
        """The recording's name for people, in one line: its path, `standard input`, or `recording` for an array."""
        if self.file is None:
            return "recording"
        return STANDARD_INPUT if self.file == "-" else printable(self.file)

    @cached_property
    def edges(self) -> np.ndarray:
        """Where each window's count begins to hold and the last one ceases to, in seconds, `(windows + 1,)`: halfway
        between two centres, and at the recording's ends.
        """
        return np.concatenate([[0.0], (self.times[1:] + self.times[:-1]) / 2, [self.duration]])

    def seconds(self) -> dict[int, float]:
        """How long each number of people speaks, in seconds, for each class."""
        widths = np.diff(self.edges)
        return {count: float(widths[self.counts == count].sum()) for count in self.classes}

    @property
    def most(self) -> int:
        """The most who speak at once."""
        return int(self.counts.max())

    @property
    def overlap(self) -> float:
        """The share of the time with any speaker in which two or more speak; 0 where nobody does."""
        seconds = self.seconds()
        speech = sum(value for count, value in seconds.items() if count >= 1)
        return sum(value for count, value in seconds.items() if count >= 2) / speech if speech else 0.0

    def stretches(self) -> list[Stretch]:
        """The recording as parts with one count each."""
        changes = np.flatnonzero(np.diff(self.counts)) + 1
        starts = [0, *changes.tolist()]
        ends = [*changes.tolist(), len(self.counts)]
        edges = self.edges
        return [
            Stretch(float(edges[start]), float(edges[end]), int(self.counts[start]))
            for start, end in zip(starts, ends, strict=True)
        ]

    def to_dict(self) -> dict[str, Any]:
        """Plain values, as `speaker-count predict --format json` prints them; times and probabilities are rounded."""
        return {
            "file": self.file,
            "sample_rate": self.sample_rate,
            "window_seconds": self.window_seconds,
            "hop_seconds": self.hop_seconds,
            "labels": self.labels,
            "times": [round(time, 4) for time in self.times.tolist()],
            "counts": self.counts.tolist(),
            "probabilities": [[round(value, 4) for value in row] for row in self.probabilities.tolist()],
        }

    def to_dataframe(self) -> "pd.DataFrame":
        """A `pandas.DataFrame` with a row for each window: `time`, `count`, and `p_N` for each number of speakers N.

        Raises:
            UserError: pandas is not installed, which the extra `plot` has.
        """
        with needed_by("to_dataframe()", "plot"):
            import pandas as pd

        columns = {f"p_{count}": self.probabilities[:, place] for place, count in enumerate(self.classes)}
        return pd.DataFrame({"time": self.times, "count": self.counts, **columns})

    def plot(self, path: str | Path | None = None, turns: "Turns | None" = None) -> "Figure":
        """Draw the waveform, its spectrogram, and the count over time with its confidence.

        Args:
            path: where the figure is written, as its ending says (`.png`, `.svg`, `.pdf`); None: nowhere.
            turns: who really spoke when, by speaker, in seconds, which is drawn beside it; None: nobody knows.

        Returns:
            The figure, of matplotlib.

        Raises:
            UserError: matplotlib is not installed, which the extra `plot` has; or it has no such format.
        """
        with needed_by("plot()", "plot"):
            from speaker_count.inference import drawing

        figure = drawing.figure(self, turns)
        if path is not None:
            drawing.write(figure, Path(path))
        return figure
