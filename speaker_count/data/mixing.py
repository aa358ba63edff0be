"""Which clips there are, and what they sound like: `plan` draws them, `mix` renders them.

The plan is the dataset. It follows from pool, split, seed, epoch and index alone, so any slice of it can be drawn by
itself, by any process, in any batch size, and holds the same clips.

A clip of n voices is `(x1 + ... + xn) / n`, the mean of n one-second crops of n speakers; each voice may have a gain
of its own, and each clip be brought to one level.
"""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import NamedTuple

import numpy as np

from speaker_count.data.corpus import SPLITS
from speaker_count.data.pool import Pool
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
        activity: `(clips, voices)` float32, the share of the crop in which its speaker is active.
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


@dataclass(frozen=True)
class Roster:
    """Who can be drawn: the speakers of a split, by sex, with their utterances that are at least a clip long.

    The places at which a crop can begin are counted through, utterance after utterance. They come in runs of places
    that follow one another: one run an utterance, or more where only active crops are wanted.

    Attributes:
        speakers: `(speakers,)` rows in the pool, the first sex's in the pool's order, then the second's.
        first_of_sex, of_sex: `(sexes,)` where each sex begins in `speakers`, and how many it has.
        first, utterance_count: `(speakers,)` where a speaker begins in `utterances`, and how many they have.
        utterances: rows in the pool.
        starts, starts_before: `(utterances,)` how many places a crop can begin at, and how many come before.
        run_start, run_before: `(runs,)` the sample at which a run begins, and how many places come before.
    """

    speakers: np.ndarray
    first_of_sex: np.ndarray
    of_sex: np.ndarray
    first: np.ndarray
    utterance_count: np.ndarray
    utterances: np.ndarray
    starts: np.ndarray = field(repr=False)
    starts_before: np.ndarray = field(repr=False)
    run_start: np.ndarray = field(repr=False)
    run_before: np.ndarray = field(repr=False)

    @classmethod
    def of(cls, pool: Pool, split: str, samples: int, min_active: float | None = None) -> "Roster":
        wanted = (pool.splits[pool.speaker] == SPLITS.index(split)) & (pool.frames >= samples)
        utterances = np.flatnonzero(wanted)
        owner = pool.speaker[utterances]
        utterances = utterances[np.lexsort((utterances, owner, pool.sexes[owner]))]
        if min_active:
            run, run_start, run_length = _active_runs(pool, utterances, samples, min_active)
            starts = np.bincount(run, run_length, len(utterances)).astype(np.int64)
            utterances, starts = utterances[starts > 0], starts[starts > 0]
        else:
            starts = run_length = pool.frames[utterances] - samples + 1
            run_start = np.zeros(len(utterances), np.int64)
        owner = pool.speaker[utterances]
        begins = np.flatnonzero(np.diff(owner, prepend=-1))
        of_sex = np.bincount(pool.sexes[owner[begins]], minlength=2)
        return cls(
            speakers=owner[begins],
            first_of_sex=np.cumsum(of_sex) - of_sex,
            of_sex=of_sex,
            first=begins,
            utterance_count=np.diff(begins, append=len(utterances)),
            utterances=utterances,
            starts=starts,
            starts_before=np.cumsum(starts) - starts,
            run_start=run_start,
            run_before=np.cumsum(run_length) - run_length,
        )

    def place(self, utterances: np.ndarray, ranks: np.ndarray) -> np.ndarray:
        """The first sample of the crops that begin at these places of their utterances."""
        places = self.starts_before[utterances] + ranks
        run = np.searchsorted(self.run_before, places, side="right") - 1
        return self.run_start[run] + places - self.run_before[run]


def _active_runs(
    pool: Pool, utterances: np.ndarray, samples: int, min_active: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Where crops can begin that are active enough, as runs: position in `utterances`, first sample, and length."""
    runs = [(np.zeros(0, np.int64),) * 3]
    for position, utterance in enumerate(utterances.tolist()):
        last = int(pool.frames[utterance]) - samples
        frames = np.arange(last // pool.frame_length + 1)
        share = pool.active_share(np.full(len(frames), utterance), frames * pool.frame_length, samples)
        edges = np.flatnonzero(np.diff(share >= np.float32(min_active), prepend=False, append=False))
        begin, end = edges[::2] * pool.frame_length, np.minimum(edges[1::2] * pool.frame_length, last + 1)
        runs.append((np.full(len(begin), position), begin, end - begin))
    return tuple(np.concatenate(column) for column in zip(*runs, strict=True))


def plan(
    pool: Pool,
    split: str,
    seed: int,
    epoch: int,
    start: int,
    stop: int,
    *,
    counts: Sequence[int],
    samples: int,
    roster: Roster | None = None,
    gain_db: Sequence[float] | None = None,
    level_db: float | None = None,
) -> Plan:
    """Clips `start` to `stop` of a split and epoch.

    Counts are balanced in every block of `len(counts)` clips, in an order drawn for each block. For each voice: a fair
    bit gives the sex (the other one if none of it is left), then uniformly one of that sex's speakers who are not in
    the clip yet, one of their utterances, and the sample at which the crop begins.

    Args:
        counts: the numbers of speakers.
        samples: length of a clip.
        roster: `Roster.of(pool, split, samples, min_active)`; None: of all crops.
        gain_db, level_db: as in `Mix`.
    """
    if roster is None:
        roster = Roster.of(pool, split, samples)
    index = np.arange(start, stop)
    count = _balanced_counts(f"count/{split}/{seed}/{epoch}", start, stop, counts)
    voices = max(counts)
    shape = (len(index), voices)
    words = _words(f"voices/{split}/{seed}/{epoch}", start, stop, 4 * voices).reshape(*shape, 4)

    clip = np.arange(len(index))
    sexes = np.empty(shape, np.int64)
    ranks = np.empty(shape, np.int64)  # among the speakers of one's sex
    drawn = np.zeros((len(index), 2), np.int64)  # how many of each sex are in the clip already
    for voice in range(voices):
        left = roster.of_sex - drawn  # (clips, 2)
        sex = _below(words[:, voice, 0], 2)
        sex = np.where(left[clip, sex] > 0, sex, 1 - sex)
        rank = _below(words[:, voice, 1], left[clip, sex])
        # a rank among the rest becomes a rank among all by stepping over those before it, the lowest first
        taken = np.sort(np.where(sexes[:, :voice] == sex[:, None], ranks[:, :voice], np.iinfo(np.int64).max), axis=1)
        for other in taken.T:
            rank += rank >= other
        drawn[clip, sex] += 1
        sexes[:, voice], ranks[:, voice] = sex, rank

    speakers = roster.first_of_sex[sexes] + ranks
    utterances = roster.first[speakers] + _below(words[..., 2], roster.utterance_count[speakers])
    starts = roster.place(utterances, _below(words[..., 3], roster.starts[utterances]))
    gains = np.ones(shape, np.float32)
    if gain_db is not None:
        choices = _gains(*gain_db)
        gain_words = _words(f"gains/{split}/{seed}/{epoch}", start, stop, voices)
        gains = choices[_below(gain_words, len(choices))]

    heard = np.arange(voices) < count[:, None]
    rows = roster.utterances[utterances]
    return Plan(
        index=index,
        count=count,
        speakers=np.where(heard, roster.speakers[speakers], -1).astype(np.int32),
        utterances=np.where(heard, rows, -1).astype(np.int32),
        starts=np.where(heard, starts, -1),
        sexes=np.where(heard, sexes, -1).astype(np.int8),
        activity=np.where(heard, pool.active_share(rows, starts, samples), 0),
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
    gains, scales, counts = plan.gains.tolist(), plan.scale.tolist(), plan.count.tolist()
    for row, count in enumerate(counts):  # one by one: a whole batch's temporaries would not fit into the cache
        for voice in range(count):
            begin, gain = begins[row][voice], gains[row][voice]
            crop = pool.samples[begin : begin + plan.samples]
            if gain != 1:
                crop = np.multiply(crop, np.float32(gain), out=scaled, dtype=np.float32)
            if voice == 0:
                np.copyto(total, crop)
            else:
                np.add(total, crop, out=total)
        if plan.level is not None:
            scale[row] = scales[row] = _scale(total, count, plan.level)
        if scales[row] != 1:
            np.multiply(total, np.float32(scales[row]), out=total)
        np.divide(total, np.float32(count), out=total)
        np.rint(total, out=total)
        if scales[row] != 1 or any(gain > 1 for gain in gains[row]):  # a mean of 16-bit numbers has 16 bits
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


def permutation(name: str, length: int) -> np.ndarray:
    """The numbers below `length` in an order that follows from `name` alone, `(length,)` int64."""
    words = _words(name, 0, length, 2).astype(np.uint64)
    return np.argsort(words[:, 0] << np.uint64(32) | words[:, 1], kind="stable")


def _balanced_counts(name: str, start: int, stop: int, counts: Sequence[int]) -> np.ndarray:
    """The count of each clip, `(stop - start,)`: every block of `len(counts)` clips holds each count once."""
    size = len(counts)
    first = start // size
    words = _words(name, first, -(-stop // size), size)
    order = np.tile(np.asarray(counts, np.int64), (len(words), 1))
    block = np.arange(len(words))
    for last in range(size - 1, 0, -1):  # Fisher and Yates
        other = _below(words[:, last], last + 1)
        order[block, other], order[:, last] = order[:, last].copy(), order[block, other]
    return order.reshape(-1)[start - first * size : stop - first * size]


def _words(name: str, start: int, stop: int, per_item: int) -> np.ndarray:
    """`(stop - start, per_item)` uint32: the words of items `start` to `stop` in the stream `name`.

    The stream is Philox4x64-10 (Salmon et al. 2011), keyed by the SHA-256 of its name; an item begins at a counter of
    its own, so that it can be drawn without those before it. Only raw words are used: NumPy may change how it makes
    other numbers of them.
    """
    key = np.frombuffer(hashlib.sha256(name.encode()).digest()[:16], "<u8")
    blocks = -(-per_item // 8)  # one counter gives four words of 64 bits
    raw = np.random.Philox(key=key, counter=start * blocks).random_raw((stop - start) * blocks * 4)
    return raw.astype("<u8").view("<u4").reshape(stop - start, blocks * 8)[:, :per_item]


def _below(word: np.ndarray, bound: int | np.ndarray) -> np.ndarray:
    """Integers in `0..bound - 1` from words of 32 bits: `(word * bound) >> 32`, int64."""
    return (word.astype(np.uint64) * np.asarray(bound).astype(np.uint64) >> np.uint64(32)).astype(np.int64)
