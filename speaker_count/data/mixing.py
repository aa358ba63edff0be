"""Which clips there are, and what they sound like: `plan` draws them, `mix` renders them.

The plan is the dataset. It follows from pool, split, seed, epoch and index alone, so any slice of it can be drawn by
itself, by any process, in any batch size, and holds the same clips.

A clip of n voices is `(x1 + ... + xn) / n`, the mean of n one-second crops of n speakers; each voice may have a gain
of its own, and each clip be brought to one level.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import NamedTuple

import numpy as np

from speaker_count.data import draws
from speaker_count.data.corpus import SPLITS
from speaker_count.data.pool import Pool
from speaker_count.data.roster import Roster
from speaker_count.errors import UserError, check_number

FULL_SCALE = 32_768  # a clip divided by it lies in [-1, 1)
GAIN_STEPS = 100  # gains are drawn in hundredths of a decibel


@dataclass(frozen=True)
class Mix:
    """How clips are drawn and mixed.

    Args:
        clips: how many clips each split has (an epoch of it, for training).
        counts: the numbers of speakers that are mixed, increasing.
        clip_seconds: length of a clip.
        seed: of the plan; not the run's seed, so that nets and seeds are compared on the same clips.
        fresh_each_epoch: training clips are new in every epoch, or the same ones in a new order.
        min_active: draw only crops in which the speaker is active for at least this share; None: any crop.
        gain_db: lowest and highest gain of a voice, drawn evenly in between; None: as it was recorded.
        level_db: bring every clip to this RMS, in decibels below full scale (negative); None: as it comes.
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

    def __post_init__(self):
        counts = list(self.counts) if isinstance(self.counts, Sequence) else [self.counts]
        if (
            not counts
            or not all(isinstance(count, int) for count in counts)
            or counts != sorted({*counts})
            or counts[0] < 1
        ):
            raise UserError(f"mix.counts={counts}: name numbers of speakers, increasing, from 1 on: mix.counts=[1,2,3]")
        check_number("mix.clip_seconds", self.clip_seconds, float, 0.001)
        check_number("mix.seed", self.seed, int, 0)
        check_number("mix.fresh_each_epoch", self.fresh_each_epoch, bool)
        for split in SPLITS:
            count = self.clips.get(split) if isinstance(self.clips, Mapping) else self.clips
            check_number(f"mix.clips.{split}", count, int, 1)
        if self.min_active is not None:
            check_number("mix.min_active", self.min_active, float, 0)
            if self.min_active > 1:
                raise UserError(f"mix.min_active={self.min_active}: a share of the clip, from 0 to 1")
        if self.gain_db is not None:
            gains = self.gain_db if isinstance(self.gain_db, Sequence) else []
            numbers = all(isinstance(gain, int | float) and -60 <= gain <= 60 for gain in gains)
            if len(gains) != 2 or not numbers or gains[0] > gains[1]:
                raise UserError(
                    f"mix.gain_db={self.gain_db}: the lowest and the highest gain, such as mix.gain_db=[-5,5]"
                )
        if self.level_db is not None:
            check_number("mix.level_db", self.level_db, float, -96)
            if self.level_db > 0:
                raise UserError(f"mix.level_db={self.level_db}: decibels below full scale, such as mix.level_db=-26")


@dataclass(frozen=True)
class Plan:
    """A table of clips; `plan[rows]` is the plan of these rows.

    Voices of a clip stand in the order in which they are summed; from `count` on they are -1, with gain 0, activity 0.

    Attributes:
        index: `(clips,)` int64, the clip's number within its split and epoch.
        count: `(clips,)` int64, how many people speak.
        speakers, utterances: `(clips, voices)` int32, rows in the pool.
        starts: `(clips, voices)` int64, first sample of the crop within its utterance.
        sexes: `(clips, voices)` int8, indices into `corpus.SEXES`.
        activity: `(clips, voices)` float32, the share of the crop in which its speaker is active; NaN where the plan
            was drawn without it.
        gains: `(clips, voices)` float32.
        scale: `(clips,)` float32; NaN where it brings the clip to `level`, which is known when it is rendered.
        samples: length of a clip.
        level: the RMS of every clip, in steps of 16 bits; None: as it comes.
    """

    index: np.ndarray
    count: np.ndarray
    speakers: np.ndarray
    utterances: np.ndarray
    starts: np.ndarray
    sexes: np.ndarray
    activity: np.ndarray
    gains: np.ndarray
    scale: np.ndarray
    samples: int
    level: float | None = None

    def __len__(self) -> int:
        return len(self.index)

    def __getitem__(self, rows: slice | np.ndarray) -> "Plan":
        columns = [getattr(self, column.name) for column in fields(self)[:-2]]
        return Plan(*(column[rows] for column in columns), samples=self.samples, level=self.level)


class Mixture(NamedTuple):
    """Rendered clips.

    Attributes:
        clips: `(clips, samples)` int16.
        clipped: `(clips,)` int64, how many samples of each were clipped to 16 bits.
        scale: `(clips,)` float32, what each sum was multiplied with.
    """

    clips: np.ndarray
    clipped: np.ndarray
    scale: np.ndarray


def plan(
    pool: Pool,
    split: str,
    seed: int,
    epoch: int,
    index: np.ndarray,
    *,
    counts: Sequence[int],
    samples: int,
    roster: Roster | None = None,
    gain_db: Sequence[float] | None = None,
    level_db: float | None = None,
    activity: bool = True,
) -> Plan:
    """Clips of a split and epoch, by their numbers; each follows from its own number alone.

    Counts are balanced in every block of `len(counts)` clips, in an order drawn for each block. For each voice: a fair
    bit gives the sex (the other one if none of it is left), then uniformly one of that sex's speakers who are not in
    the clip yet, one of their utterances, and the sample at which the crop begins.

    Args:
        index: `(clips,)` int64, their numbers.
        counts: the numbers of speakers.
        samples: length of a clip.
        roster: `Roster.of(pool, split, samples, min_active)`; None: of all crops.
        gain_db, level_db: as in `Mix`.
        activity: look up how active each crop is: two reads at random places for a voice, which rendering needs not.
    """
    if roster is None:
        roster = Roster.of(pool, split, samples)
    count = _balanced_counts(f"count/{split}/{seed}/{epoch}", index, counts)
    voices = max(counts)
    shape = (len(index), voices)
    words = draws.words(f"voices/{split}/{seed}/{epoch}", index, 4 * voices).reshape(*shape, 4)

    clip = np.arange(len(index))
    sexes = np.empty(shape, np.int64)
    ranks = np.empty(shape, np.int64)  # among the speakers of one's sex
    drawn = np.zeros((len(index), 2), np.int64)  # how many of each sex are in the clip already
    for voice in range(voices):
        left = roster.of_sex - drawn  # (clips, 2)
        sex = draws.below(words[:, voice, 0], 2)
        sex = np.where(left[clip, sex] > 0, sex, 1 - sex)
        rank = draws.below(words[:, voice, 1], left[clip, sex])
        # a rank among the rest becomes a rank among all by stepping over those before it, the lowest first
        taken = np.sort(np.where(sexes[:, :voice] == sex[:, None], ranks[:, :voice], np.iinfo(np.int64).max), axis=1)
        for other in taken.T:
            rank += rank >= other
        drawn[clip, sex] += 1
        sexes[:, voice], ranks[:, voice] = sex, rank

    speakers = roster.first_of_sex[sexes] + ranks
    utterances = roster.first[speakers] + draws.below(words[..., 2], roster.utterance_count[speakers])
    starts = roster.place(utterances, draws.below(words[..., 3], roster.starts[utterances]))
    gains = np.ones(shape, np.float32)
    if gain_db is not None:
        choices = _gains(*gain_db)
        gain_words = draws.words(f"gains/{split}/{seed}/{epoch}", index, voices)
        gains = choices[draws.below(gain_words, len(choices))]

    heard = np.arange(voices) < count[:, None]
    rows = roster.utterances[utterances]
    active = pool.active_share(rows, starts, samples) if activity else np.full(shape, np.nan, np.float32)
    return Plan(
        index=index,
        count=count,
        speakers=np.where(heard, roster.speakers[speakers], -1).astype(np.int32),
        utterances=np.where(heard, rows, -1).astype(np.int32),
        starts=np.where(heard, starts, -1),
        sexes=np.where(heard, sexes, -1).astype(np.int8),
        activity=np.where(heard, active, 0),
        gains=np.where(heard, gains, 0),
        scale=np.full(len(index), 1 if level_db is None else np.nan, np.float32),
        samples=samples,
        level=None if level_db is None else FULL_SCALE * 10 ** (level_db / 20),
    )


def _gains(lowest: float, highest: float) -> np.ndarray:
    """The gains from `lowest` to `highest` decibels, as factors, float32."""
    steps = np.arange(round(lowest * GAIN_STEPS), round(highest * GAIN_STEPS) + 1)
    return np.array([10 ** (step / GAIN_STEPS / 20) for step in steps.tolist()], np.float32)


def mix(pool: Pool, plan: Plan) -> Mixture:
    """Render a plan: `rint(scale * sum(gain_i * x_i) / n)`, voices in plan order, ties to even.

    Gains and scale of 1 leave only sums of integers, which float32 holds exactly.
    """
    clips = np.empty((len(plan), plan.samples), np.int16)
    clipped = np.zeros(len(plan), np.int64)
    scale = plan.scale.copy()
    total = np.empty(plan.samples, np.float32)
    scaled = np.empty(plan.samples, np.float32)
    begins = (pool.offsets[plan.utterances] + plan.starts).tolist()
    untouched = ((plan.count == 1) & (plan.scale == 1) & (plan.gains[:, 0] == 1)).tolist()
    # a mean of 16-bit numbers has 16 bits
    louder = ((plan.scale != 1) | (plan.gains > 1).any(axis=1)).tolist()
    samples, length = pool.samples, plan.samples
    voices = zip(plan.count.tolist(), begins, plan.gains.tolist(), strict=True)
    for row, (count, starts, gains) in enumerate(voices):  # a whole batch's temporaries would not fit into the cache
        if untouched[row]:
            np.copyto(clips[row], samples[starts[0] : starts[0] + length])
            continue
        for voice in range(count):
            crop = samples[starts[voice] : starts[voice] + length]
            if gains[voice] != 1:
                crop = np.multiply(crop, np.float32(gains[voice]), out=scaled, dtype=np.float32)
            if voice == 0:
                np.copyto(total, crop)
            else:
                np.add(total, crop, out=total)
        if plan.level is not None:
            scale[row] = _scale(total, count, plan.level)
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
    """What brings the mean of `count` voices with this sum to an RMS of `level`; 1 for silence."""
    whole = np.rint(total).astype(np.float64)  # sums of whole numbers are exact, in whatever order a machine adds
    energy = float(np.dot(whole, whole))
    return float(np.float32(level * count / (energy / len(total)) ** 0.5)) if energy else 1.0


def sources(pool: Pool, plan: Plan) -> list[np.ndarray]:
    """Each clip's voices as they are heard in it, `(count, samples)` int16: their sum is the clip but for rounding."""
    scale = mix(pool, plan).scale
    begins = pool.offsets[plan.utterances] + plan.starts
    rendered = []
    for row, count in enumerate(plan.count.tolist()):
        crops = np.stack([pool.samples[begin : begin + plan.samples] for begin in begins[row, :count]])
        factors = scale[row] * plan.gains[row, :count] / np.float32(count)
        heard = np.rint(crops * factors[:, None])
        rendered.append(np.clip(heard, -FULL_SCALE, FULL_SCALE - 1).astype(np.int16))
    return rendered


def _balanced_counts(name: str, index: np.ndarray, counts: Sequence[int]) -> np.ndarray:
    """The count of each clip, `(clips,)`: every block of `len(counts)` clips holds each count once."""
    size = len(counts)
    blocks, block_of = np.unique(index // size, return_inverse=True)
    words = draws.words(name, blocks, size)
    order = np.tile(np.asarray(counts, np.int64), (len(blocks), 1))
    block = np.arange(len(blocks))
    for last in range(size - 1, 0, -1):  # Fisher and Yates
        other = draws.below(words[:, last], last + 1)
        order[block, other], order[:, last] = order[:, last].copy(), order[block, other]
    return order[block_of, index % size]
