"""Speech-blind baselines, which see only the energy of clips; and the level of each voice."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from sklearn.dummy import DummyClassifier
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from threadpoolctl import threadpool_limits

from speaker_count.data.clips import Clips
from speaker_count.labels import FULL_SCALE, SPLITS

FRAMES = 100  # of a clip, for the statistics of energy over time
QUIETEST_DB = -100.0  # the level given to silence
ENERGY_STATISTICS = (
    "RMS",
    "peak",
    *(f"level of its {percent}th percentile of frames" for percent in (5, 25, 50, 75, 95)),
    "standard deviation of the frames' levels",
)


@dataclass(frozen=True)
class Baseline:
    """A speech-blind baseline: it sees only energy.

    Attributes:
        hears: its input, in words.
        accuracy, loss: by split.
        predicted: `(clips,)` predicted counts of the test clips, in plan order.
    """

    name: str
    hears: str
    accuracy: Mapping[str, float]
    loss: Mapping[str, float]
    predicted: np.ndarray


def baselines(clips: Mapping[str, Clips]) -> list[Baseline]:
    """Majority class, logistic regression on the RMS, boosted trees on eight statistics of energy.

    They are fitted on the training clips and scored on the clips of each split.
    """
    features, count = zip(*(energy_statistics(clips[split]) for split in SPLITS), strict=True)
    rms = [10 ** (table[:, :1] / 20) for table in features]
    models = (
        ("majority class", "nothing", rms, DummyClassifier(strategy="prior")),
        ("level", "the clip's RMS", rms, make_pipeline(StandardScaler(), LogisticRegression())),
        ("energy", "statistics of the clip's energy", features, HistGradientBoostingClassifier(random_state=0)),
    )
    scored = []
    for name, hears, seen, model in models:
        with threadpool_limits(1):  # two threads save little, and wait for each other where a machine is busy
            model.fit(seen[0], count[0])
        accuracy, loss, predicted = {}, {}, np.empty(0)
        for split, table, target in zip(SPLITS, seen, count, strict=True):
            probabilities = model.predict_proba(table)
            predicted = model.classes_[probabilities.argmax(axis=1)]
            accuracy[split] = float((predicted == target).mean())
            loss[split] = float(log_loss(target, probabilities, labels=model.classes_))
        scored.append(Baseline(name, hears, accuracy, loss, predicted))
    return scored


def energy_statistics(clips: Clips) -> tuple[np.ndarray, np.ndarray]:
    """`ENERGY_STATISTICS` of each clip, `(clips, 8)` in decibels of full scale, and its count, `(clips,)`."""
    statistics, counts = [], []
    for plan, waveforms in clips.batches():
        frames = np.array_split(np.square(waveforms, dtype=np.float32), FRAMES, axis=1)
        power = np.stack([frame.mean(axis=1) if frame.shape[1] else np.zeros(len(frame)) for frame in frames], axis=1)
        level = _decibels(power)  # (clips, frames)
        columns = [
            _decibels(power.mean(axis=1)),
            _decibels(np.square(np.abs(waveforms.astype(np.int32)).max(axis=1).astype(np.float64))),
            *np.percentile(level, [5, 25, 50, 75, 95], axis=1),
            level.std(axis=1),
        ]
        statistics.append(np.stack(columns, axis=1))
        counts.append(plan.count)
    return np.concatenate(statistics), np.concatenate(counts)


def voice_levels(clips: Clips) -> np.ndarray:
    """The level of each voice in its clip, `(clips, voices)` in decibels of full scale; NaN where there is no voice."""
    levels = np.full((len(clips), max(clips.mix.counts)), np.nan)
    for plan, _ in clips.batches():
        for row, voices in zip(plan.index, clips.sources(plan), strict=True):
            power = np.square(voices, dtype=np.float32).mean(axis=1)
            levels[row, : len(voices)] = _decibels(power)
    return levels


def _decibels(power: np.ndarray) -> np.ndarray:
    floor = 10 ** (QUIETEST_DB / 10)
    return 10 * np.log10(np.maximum(power / FULL_SCALE**2, floor))
