"""A prediction against who really spoke when, as an RTTM file says it."""

import math
import textwrap
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from speaker_count.errors import UserError
from speaker_count.inference.formats import recording_id
from speaker_count.inference.prediction import Prediction

MOST_BYTES = 2**26  # of an RTTM file
WIDTH = 79  # of the lines that are printed
FIELDS = 8  # of a line, at least: type, file, channel, begin, duration, two unused ones, speaker

Turns = dict[str, list[tuple[float, float]]]  # by speaker: begin and end of each turn, in seconds


@dataclass(frozen=True)
class Score:
    """How a prediction compares with a reference, over the whole duration of the recording.

    Attributes:
        seconds: that each true count (rows, from 0) was predicted as each class (columns), `(true, classes)`.
        classes: the number of speakers of each class.
    """

    seconds: np.ndarray
    classes: list[int]

    @property
    def _capped(self) -> np.ndarray:
        """The true counts within the classes: more speakers than the net knows are its most."""
        return np.clip(np.arange(len(self.seconds)), self.classes[0], self.classes[-1])

    def _share(self, condition: np.ndarray) -> float:
        return float(self.seconds[condition].sum() / self.seconds.sum())

    @property
    def accuracy(self) -> float:
        """The share of the time with the right count."""
        return self._share(self._capped[:, None] == np.array(self.classes))

    @property
    def over(self) -> float:
        """The share of the time with too high a count."""
        return self._share(self._capped[:, None] < np.array(self.classes))

    @property
    def under(self) -> float:
        """The share of the time with too low a count."""
        return self._share(self._capped[:, None] > np.array(self.classes))

    @property
    def mae(self) -> float:
        """The mean absolute error of the count, against the true one, over time."""
        errors = np.abs(np.arange(len(self.seconds))[:, None] - np.array(self.classes))
        return float((errors * self.seconds).sum() / self.seconds.sum())

    @property
    def constant(self) -> tuple[int, float]:
        """The constant count that is right for the longest time, and its share."""
        lasting = [float(self.seconds[self._capped == count].sum()) for count in self.classes]
        best = int(np.argmax(lasting))
        return self.classes[best], lasting[best] / float(self.seconds.sum())

    def minutes(self) -> dict[int, tuple[float, float]]:
        """For each class, the true minutes and the predicted ones."""
        predicted = self.seconds.sum(axis=0)
        return {
            count: (float(self.seconds[self._capped == count].sum()) / 60, float(predicted[place]) / 60)
            for place, count in enumerate(self.classes)
        }

    def lines(self) -> list[str]:
        """The score as lines for a terminal."""
        constant, share = self.constant
        minutes = ", ".join(
            f"{count}: {predicted - true:+.2f} (of {true:.2f})" for count, (true, predicted) in self.minutes().items()
        )
        return [
            f"  against the reference: right {self.accuracy:.1%} of the time (always {constant}: {share:.1%})",
            f"  too many {self.over:.1%}, too few {self.under:.1%}, mean absolute error {self.mae:.3f}",
            *textwrap.wrap(f"  error of the minutes at {minutes}", WIDTH, subsequent_indent="    "),
        ]


class Reference:
    """Who really spoke when.

    Args:
        path: of an RTTM file.

    Raises:
        UserError: it cannot be read, or a line is damaged.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self.turns: dict[str, Turns] = {}  # by recording
        try:
            if not self.path.exists():
                raise UserError(f"{path}: No such file or directory")
            if not self.path.is_file() or self.path.stat().st_size > MOST_BYTES:
                raise UserError(f"{path} is no RTTM file of at most {MOST_BYTES:,} bytes")
            text = self.path.read_text(encoding="utf-8")
        except UnicodeDecodeError as error:
            raise UserError(f"{path} is no RTTM file: it is no text in UTF-8") from error
        for number, line in enumerate(text.splitlines(), start=1):
            fields = line.split()
            if fields and fields[0] == "SPEAKER":
                self._add(fields, number)
        if not self.turns:
            raise UserError(f"{path} is no RTTM file: it has no line that begins with SPEAKER")

    def _add(self, fields: list[str], number: int) -> None:
        try:
            if len(fields) < FIELDS:
                raise ValueError
            begin, duration = float(fields[3]), float(fields[4])
            if not (math.isfinite(begin) and begin >= 0 and 0 <= duration < math.inf):
                raise ValueError
        except ValueError as error:
            raise UserError(f"{self.path}, line {number}: it is no line of an RTTM file") from error
        self.turns.setdefault(fields[1], {}).setdefault(fields[7], []).append((begin, begin + duration))

    def turns_of(self, prediction: Prediction, alone: bool = True) -> Turns:
        """The turns of a prediction's recording, whose name in RTTM is that of its file, without the ending.

        Args:
            alone: this is the only prediction, so that a reference of one recording is its own, whatever its name.

        Raises:
            UserError: the reference has other recordings.
        """
        name = recording_id(prediction.file)
        turns = next(iter(self.turns.values())) if alone and len(self.turns) == 1 else self.turns.get(name)
        if turns is None:
            raise UserError(f"{self.path} has no recording {name}; it has {', '.join(sorted(self.turns)[:5])}")
        return turns

    def score(self, prediction: Prediction, alone: bool = True) -> Score:
        """Compare a prediction with `turns_of` its recording; arguments and errors as there."""
        begins, counts = true_counts(self.turns_of(prediction, alone))
        cuts = np.unique(np.concatenate([prediction.edges, begins[(begins > 0) & (begins < prediction.duration)]]))
        middles = (cuts[1:] + cuts[:-1]) / 2
        true = counts[np.searchsorted(begins, middles, side="right")]
        at = np.clip(np.searchsorted(prediction.edges, middles, side="right") - 1, 0, len(prediction.counts) - 1)
        places = np.searchsorted(prediction.classes, prediction.counts[at])
        seconds = np.zeros((int(max(counts.max(), *prediction.classes)) + 1, len(prediction.classes)))
        np.add.at(seconds, (true, places), np.diff(cuts))
        return Score(seconds, prediction.classes)


def true_counts(turns: Turns) -> tuple[np.ndarray, np.ndarray]:
    """How many speak when: a speaker's turns that overlap are one.

    Returns:
        The seconds at which the count changes, `(changes,)`; and the count before each change and after the last one,
        `(changes + 1,)`.
    """
    changes: list[tuple[float, int]] = []
    for spoken in turns.values():
        until = -math.inf
        for begin, end in sorted(spoken):
            if end <= until:
                continue
            changes += [(max(begin, until), 1), (end, -1)]
            until = end
    order = np.array(sorted(changes))
    return order[:, 0], np.concatenate([[0], np.cumsum(order[:, 1])]).astype(np.int64)
