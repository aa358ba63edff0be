"""The mix: how clips are drawn, and how a plan is rendered into samples.

A clip of n voices is `(x1 + ... + xn) / n`, the mean of n one-second crops of n speakers. Each voice may have its own
gain, and all clips may be brought to one level.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from speaker_count.data import pauses
from speaker_count.data.augmentation import Augment
from speaker_count.data.planning import Plan
from speaker_count.data.pool import Pool
from speaker_count.data.sounds import GENERATED, Sounds
from speaker_count.errors import UserError, check_number
from speaker_count.labels import FULL_SCALE, SPLITS

MOST_GAIN_DB = 60
MOST_VOICES = 999


@dataclass(frozen=True)
class Mix:
    """How clips are drawn and mixed.

    Args:
        name: for folders and tables.
        clips: how many clips each split has (the training split in each epoch).
        counts: the numbers of speakers that are mixed, increasing.
        clip_seconds: length of a clip.
        seed: of the plan; not the run's seed, so that nets and seeds are compared on the same clips.
        fresh_each_epoch: draw new training clips in every epoch; otherwise reshuffle the same clips.
        min_active: draw only crops in which the speaker is active for at least this share; None: any crop.
        gain_db: lowest and highest gain of a voice, drawn uniformly in between; None: voices keep their level.
        level_db: bring every clip to this RMS, in decibels below full scale (negative); None: clips keep their level.
        augment: how the clips of some splits vary beyond that, also as plain values; None: they do not.

    Raises:
        UserError: a value is of the wrong kind or out of range.
    """

    name: str
    clips: Mapping[str, int]
    counts: Sequence[int] = (1, 2, 3)
    clip_seconds: float = 1.0
    seed: int = 0
    fresh_each_epoch: bool = False
    min_active: float | None = None
    gain_db: Sequence[float] | None = None
    level_db: float | None = None
    augment: Augment | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "augment", Augment.of(self.augment))
        counts: Any = list(self.counts) if isinstance(self.counts, Sequence) else self.counts
        whole = isinstance(counts, list) and all(type(count) is int for count in counts)
        increasing = whole and counts == sorted({*counts})
        if not counts or not increasing or counts[0] < 0 or not 1 <= counts[-1] <= MOST_VOICES:
            raise UserError(
                f"mix.counts={counts}: expected increasing numbers of speakers, at most {MOST_VOICES}, such as "
                "mix.counts=[1,2,3]"
            )
        check_number("mix.clip_seconds", self.clip_seconds, float, 0.001)
        check_number("mix.seed", self.seed, int, 0)
        check_number("mix.fresh_each_epoch", self.fresh_each_epoch, bool)
        if not isinstance(self.clips, Mapping):
            raise UserError(f"mix.clips={self.clips}: expected a number for each split, such as mix.clips.train=1000")
        for split in SPLITS:
            check_number(f"mix.clips.{split}", self.clips.get(split), int, 1)
        if self.min_active is not None:
            check_number("mix.min_active", self.min_active, float, 0)
            if self.min_active > 1:
                raise UserError(f"mix.min_active={self.min_active}: expected a share of the clip, from 0 to 1")
        if self.gain_db is not None:
            gains = self.gain_db if isinstance(self.gain_db, Sequence) else []
            numbers = all(isinstance(gain, int | float) and abs(gain) <= MOST_GAIN_DB for gain in gains)
            if len(gains) != 2 or not numbers or gains[0] > gains[1]:
                raise UserError(
                    f"mix.gain_db={self.gain_db}: expected the lowest and the highest gain, from -{MOST_GAIN_DB} to "
                    f"{MOST_GAIN_DB}, such as mix.gain_db=[-5,5]"
                )
        if self.level_db is not None:
            check_number("mix.level_db", self.level_db, float, -96)
            if self.level_db > 0:
                raise UserError(
                    f"mix.level_db={self.level_db}: expected decibels below full scale, such as mix.level_db=-26"
                )

    def augment_of(self, split: str) -> Augment | None:
        """How the clips of a split vary; None: they do not."""
        return self.augment if self.augment is not None and split in self.augment.splits else None


class Mixture(NamedTuple):
    """Rendered clips.

    Attributes:
        clips: `(clips, samples)` int16.
        clipped: `(clips,)` int64, how many samples of each clip were clipped to 16 bits.
        scale: `(clips,)` float32, the factor of each sum.
    """

    clips: np.ndarray
    clipped: np.ndarray
    scale: np.ndarray


def mix(pool: Pool, plan: Plan, sounds: Sounds = GENERATED) -> Mixture:
    """Render a plan: `rint(scale * sum(gain_i * x_i) / n)`, voices in plan order, ties to even.

    Gains and scale of 1 leave sums of integers, which float32 holds exactly. Effects change voices before the sum and
    the clip after it.

    Args:
        sounds: those that the plan was drawn with.
    """
    if plan.effects is not None:
        from speaker_count.data import varied  # takes a third of a second to import, which most runs need not wait

        return Mixture(*varied.render(pool, plan, sounds))
    clips = np.empty((len(plan), plan.samples), np.int16)
    clipped = np.zeros(len(plan), np.int64)
    scale = plan.scale.copy()
    total = np.empty(plan.samples, np.float32)
    scaled = np.empty(plan.samples, np.float32)
    begins = (pool.offsets[plan.utterances] + plan.starts).tolist()
    silent = (plan.count == 0).tolist()
    untouched = ((plan.count == 1) & (plan.scale == 1) & (plan.gains[:, 0] == 1)).tolist()
    # a mean of 16-bit numbers fits into 16 bits; other sums may have to be clipped
    louder = ((plan.scale != 1) | (plan.gains > 1).any(axis=1)).tolist()
    samples, length = pool.samples, plan.samples
    voices = zip(plan.count.tolist(), begins, plan.gains.tolist(), strict=True)
    for row, (count, starts, gains) in enumerate(voices):  # clip by clip: a batch's temporaries overflow the cache
        if untouched[row]:
            np.copyto(clips[row], samples[starts[0] : starts[0] + length])
            continue
        if silent[row]:
            np.copyto(total, pauses.repeated(pool, plan.pause, row, length))
        for voice in range(count):
            crop = samples[starts[voice] : starts[voice] + length]
            if gains[voice] != 1:
                crop = np.multiply(crop, np.float32(gains[voice]), out=scaled, dtype=np.float32)
            if voice == 0:
                np.copyto(total, crop)
            else:
                np.add(total, crop, out=total)
        if plan.level is not None:
            scale[row] = _scale(total, max(count, 1), plan.level)
        if louder[row]:
            np.multiply(total, scale[row], out=total)
        if count > 1:
            np.divide(total, np.float32(count), out=total)
        np.rint(total, out=total)
        if louder[row]:
            clipped[row] = np.count_nonzero((total < -FULL_SCALE) | (total > FULL_SCALE - 1))
            np.clip(total, -FULL_SCALE, FULL_SCALE - 1, out=total)
        np.copyto(clips[row], total, casting="unsafe")
    return Mixture(clips, clipped, scale)


def _scale(total: np.ndarray, count: int, level: float) -> float:
    """The factor that brings the mean of `count` voices with this sum to an RMS of `level`; 1 for silence."""
    whole = np.rint(total).astype(np.float64)  # sums of whole numbers are exact in any order of addition
    energy = float(np.dot(whole, whole))
    return float(np.float32(level * count / (energy / len(total)) ** 0.5)) if energy else 1.0


def sources(pool: Pool, plan: Plan, sounds: Sounds = GENERATED) -> list[np.ndarray]:
    """Each clip's voices as the clip holds them, `(count, samples)` int16: apart from rounding, they add up to it.
    Those of a clip that varies are without room, noise, band limit and codec.
    """
    from speaker_count.data import varied  # as in `mix`

    scale = mix(pool, plan, sounds).scale
    rendered = []
    for row, count in enumerate(plan.count.tolist()):
        heard = np.rint(varied.voices(pool, plan, row) * (scale[row] / np.float32(max(count, 1))))
        rendered.append(np.clip(heard, -FULL_SCALE, FULL_SCALE - 1).astype(np.int16))
    return rendered
