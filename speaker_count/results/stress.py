"""Nets under stress: accuracy on the same speakers while one property of the clips changes at a time."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from speaker_count.errors import UserError
from speaker_count.results import statistics
from speaker_count.results.statistics import Interval

JOINT_SNR_DB, JOINT_SECONDS = 15.0, 0.4  # of the condition in which two things are hard at once
TELEPHONE_HZ = 3400.0


@dataclass(frozen=True)
class Axis:
    """A property of clips and the values that it takes.

    Attributes:
        name: as in `--only`.
        label: with the unit.
        called: what a condition is called, given its value.
        values: in the unit of the label.
        keys: of the mix that a value sets; those in `augment` are added to it.
    """

    name: str
    label: str
    called: Callable[[float], str]
    values: tuple[float, ...]
    keys: Callable[[float], dict[str, Any]]


AXES = (
    Axis(
        "gain",
        "gain of each voice, at most ± dB",
        lambda value: f"gains within {value:g} dB",
        (0.0, 2.5, 5.0, 10.0, 15.0),
        lambda value: {"gain_db": [-value, value]},
    ),
    Axis(
        "level",
        "level of the clip (dB of full scale)",
        lambda value: f"level {value:g} dB",
        (-66.0, -56.0, -46.0, -36.0, -26.0, -16.0),
        lambda value: {"level_db": value},
    ),
    Axis(
        "noise",
        "signal-to-noise ratio (dB)",
        lambda value: f"noise at {value:g} dB",
        (-5.0, 0.0, 5.0, 10.0, 15.0, 20.0, 30.0),
        lambda value: {"augment": {"noise_share": 1.0, "snr_db": [value, value]}},
    ),
    Axis(
        "room",
        "reverberation time (s)",
        lambda value: f"room of {value:g} s",
        (0.2, 0.4, 0.6, 0.8, 1.2),
        lambda value: {"augment": {"room_share": 1.0, "reverberation_seconds": [value, value]}},
    ),
    Axis(
        "band",
        "upper limit of the band (Hz)",
        lambda value: f"band to {value:g} Hz" + " (telephone)" * (value == TELEPHONE_HZ),
        (1700.0, 2500.0, TELEPHONE_HZ, 5000.0, 7000.0),
        lambda value: {"augment": {"band_share": 1.0, "band_hz": [value, value]}},
    ),
    Axis(
        "length",
        "length of the clip (s)",
        lambda value: f"clips of {value:g} s",
        (0.25, 0.5, 1.0, 2.0, 3.0, 5.0),
        lambda value: {"clip_seconds": value},
    ),
    Axis(
        "voices",
        "number of voices",
        lambda value: f"{value:g} voice{'s' * (value != 1)}",
        (0.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0),
        # a mix has some speaker: clips without one are those of this count
        lambda value: {"counts": [int(value)] if value else [0, 1]},
    ),
)
MIXES = "mix"  # the axis of whole mixes: the one that all others change, the paper's, and the joint condition
NAMES = (MIXES, *(axis.name for axis in AXES))


@dataclass(frozen=True)
class Condition:
    """Clips of one kind: what they are called, and the keys of the mix in which they differ from the base."""

    axis: str
    name: str
    value: float | None = None
    keys: Mapping[str, Any] = field(default_factory=dict)


@dataclass
class Outcome:
    """What the nets say on the clips of a condition.

    Attributes:
        count: `(clips,)` the true numbers of speakers.
        speakers: `(clips, voices)` integers, who speaks in each; -1 for nobody.
        predicted: `(clips,)` predicted counts, by net.
        reasons: why a net was left out, by net.
    """

    condition: Condition
    count: np.ndarray
    speakers: np.ndarray
    predicted: dict[str, np.ndarray] = field(default_factory=dict)
    reasons: dict[str, str] = field(default_factory=dict)
    accuracy: dict[str, Interval | float] = field(default_factory=dict)
    difference: dict[str, Interval | float] = field(default_factory=dict)

    def is_beyond(self, counts: Sequence[int]) -> bool:
        """Whether there are more voices than nets with these counts know."""
        return bool(self.count.max(initial=0) > max(counts))


def conditions(base: str, only: Sequence[str] = ()) -> list[Condition]:
    """The conditions in order, the base first.

    Args:
        base: name of the mix that each condition changes.
        only: names of axes; none: all.

    Raises:
        UserError: an axis is not known.
    """
    unknown = [name for name in only if name not in NAMES]
    if unknown:
        raise UserError(f"--only {unknown[0]}: no such axis; there are {', '.join(NAMES)}")
    chosen = only or NAMES
    made = [Condition(MIXES, f"{base.replace('_', '-')} mix")]
    if MIXES in chosen:
        if base != "paper":
            made.append(Condition(MIXES, "paper mix", keys={"gain_db": None, "level_db": None}))
        noise, room = (next(axis for axis in AXES if axis.name == name) for name in ("noise", "room"))
        both = {**noise.keys(JOINT_SNR_DB)["augment"], **room.keys(JOINT_SECONDS)["augment"]}
        joint = f"noise at {JOINT_SNR_DB:g} dB in a room of {JOINT_SECONDS:g} s"
        made.append(Condition(MIXES, joint, keys={"augment": both}))
    for axis in AXES:
        if axis.name in chosen:
            made += [Condition(axis.name, axis.called(value), value, axis.keys(value)) for value in axis.values]
    return made


def score(outcome: Outcome, first: str, counts: Sequence[int]) -> None:
    """Fill in accuracies and differences to the first net, with intervals over the speakers.

    Where there are more voices than a net knows, its highest count is right. Without a speaker there is nobody to
    resample, and no interval.

    Args:
        counts: that the nets know.
    """
    target = np.minimum(outcome.count, max(counts))
    correct = {net: (predicted == target).astype(float) for net, predicted in outcome.predicted.items()}
    if not correct:
        return
    means = {net: float(right.mean()) for net, right in correct.items()}
    if (outcome.speakers < 0).all():
        outcome.accuracy = dict(means)
        outcome.difference = {net: mean - means[first] for net, mean in means.items() if first in means}
        return
    resampled = statistics.resampled_means(outcome.speakers, np.stack([*correct.values()], axis=1)).T
    resamples = dict(zip(correct, resampled, strict=True))
    outcome.accuracy = {net: statistics.interval(means[net], resamples[net]) for net in correct}
    if first in correct:
        outcome.difference = {
            net: statistics.interval(means[net] - means[first], resamples[net] - resamples[first]) for net in correct
        }


def value_of(score: Interval | float) -> float:
    """An accuracy without its interval."""
    return score.value if isinstance(score, Interval) else score
