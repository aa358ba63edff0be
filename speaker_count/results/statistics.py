"""How certain a score is. A split has many clips but few speakers, so speakers are resampled, never clips."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.stats import binomtest

REPLICATES = 2000
LEVEL = 0.95
AT_A_TIME = 100  # replicates; their weights of 10,000 clips take 4 MB


@dataclass(frozen=True)
class Interval:
    """A value and the interval that holds it in `LEVEL` of the resamples."""

    value: float
    low: float
    high: float

    @property
    def contains_zero(self) -> bool:
        """Whether a difference with this interval may be chance."""
        return self.low <= 0 <= self.high

    def __str__(self) -> str:
        bounds = "" if np.isnan(self.low) else f" [{self.low:.3f}, {self.high:.3f}]"
        return f"{self.value:.3f}{bounds}"


def resampled_means(
    speakers: np.ndarray,
    values: np.ndarray,
    included: np.ndarray | None = None,
    replicates: int = REPLICATES,
    seed: int = 0,
) -> np.ndarray:
    """Means over the clips, with the speakers drawn with replacement in each replicate.

    In a replicate, a clip weighs the product of how often each of its speakers was drawn: once for every way in which
    the drawn speakers make that clip.

    Args:
        speakers: `(clips, voices)` integers that name each clip's speakers; -1 for no voice.
        values: `(clips, columns)`.
        included: `(clips, columns)`, how much a clip counts in a column's mean, mostly 0 or 1; None: 1.
        replicates: how many times speakers are drawn.

    Returns:
        `(replicates, columns)`; NaN where a replicate has no clip of a column, and in columns of clips in which nobody
        speaks: to draw speakers says nothing of them. All columns of a replicate share the drawn speakers, so that
        their differences are paired.
    """
    names, position = np.unique(speakers, return_inverse=True)
    absent = names[0] == -1 if len(names) else False
    people = len(names) - absent
    position = position.reshape(speakers.shape) - absent  # -1, the last column, where there is no speaker
    values = np.asarray(values, np.float64)
    if not people:
        return np.full((replicates, values.shape[1]), np.nan)
    counted = None if included is None else included.astype(np.float64)
    summed = values if counted is None else values * counted
    random = np.random.default_rng(seed)
    means = []
    for start in range(0, replicates, AT_A_TIME):
        drawn = random.multinomial(people, np.full(people, 1 / people), size=min(AT_A_TIME, replicates - start))
        drawn = np.concatenate([drawn, np.ones((len(drawn), 1), int)], axis=1).astype(np.float32)
        weights = np.prod([drawn[:, column] for column in position.T], axis=0, dtype=np.float32)  # (replicates, clips)
        with np.errstate(invalid="ignore", divide="ignore"):
            clips = weights.sum(axis=1, keepdims=True, dtype=np.float64) if counted is None else weights @ counted
            means.append(weights @ summed / clips)
    resampled = np.concatenate(means)
    if counted is not None and absent:
        resampled[:, ~counted[(speakers >= 0).any(axis=1)].any(axis=0)] = np.nan
    return resampled


def interval(value: float, resamples: np.ndarray) -> Interval:
    """The percentile interval of a value from its `(replicates,)` resamples; those that are NaN are left out."""
    resamples = resamples[~np.isnan(resamples)]
    if not len(resamples):
        return Interval(value, np.nan, np.nan)
    low, high = np.quantile(resamples, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return Interval(float(value), float(low), float(high))


def means(speakers: np.ndarray, values: np.ndarray, included: np.ndarray | None = None) -> list[Interval]:
    """The mean of each column with its interval; arguments as in `resampled_means`.

    Intervals of many columns at once cost little more than those of one.
    """
    resamples = resampled_means(speakers, values, included)
    with np.errstate(invalid="ignore"):
        found = values.mean(axis=0) if included is None else (values * included).sum(axis=0) / included.sum(axis=0)
    return [interval(value, column) for value, column in zip(found.tolist(), resamples.T, strict=True)]


def mcnemar(first: np.ndarray, second: np.ndarray) -> float:
    """The exact p-value of McNemar's test that two nets, right or wrong on the same clips, are equally often right.

    The test assumes that clips are independent, which they are not, because they share speakers: read it only beside an
    interval.

    Args:
        first, second: `(clips,)` bool, whether each net is right.
    """
    only_first, only_second = int((first & ~second).sum()), int((second & ~first).sum())
    return float(binomtest(only_first, only_first + only_second).pvalue) if only_first + only_second else 1.0


@dataclass(frozen=True)
class Calibration:
    """A net's accuracy by its confidence, the probability of the predicted class.

    Attributes:
        confidence, accuracy: `(bins,)` means over the clips of each bin; NaN where it is empty.
        share: `(bins,)` of all clips.
        error: the expected calibration error, their mean absolute difference weighted by share (Naeini et al. 2015;
            for nets Guo et al. 2017, also with 15 bins). It has no interval: resampled clips have larger errors.
    """

    confidence: np.ndarray
    accuracy: np.ndarray
    share: np.ndarray
    error: float


def calibration(probabilities: np.ndarray, correct: np.ndarray, bins: int = 15) -> Calibration:
    """Calibration in bins of equal width.

    Args:
        probabilities: `(clips, classes)`.
        correct: `(clips,)` bool, whether the most probable class is the true one.
    """
    confidence = probabilities.max(axis=1)
    which = np.minimum((confidence * bins).astype(int), bins - 1)
    number = np.bincount(which, minlength=bins)
    with np.errstate(invalid="ignore"):
        mean_confidence = np.bincount(which, confidence, bins) / number
        accuracy = np.bincount(which, correct, bins) / number
    share = number / len(confidence)
    error = float(np.nansum(share * np.abs(accuracy - mean_confidence)))
    return Calibration(mean_confidence, accuracy, share, error)


def mean_and_spread(values: Sequence[float]) -> tuple[float, float | None]:
    """The mean over seeds, and their standard deviation; None with one seed."""
    return float(np.mean(values)), float(np.std(values, ddof=1)) if len(values) > 1 else None
