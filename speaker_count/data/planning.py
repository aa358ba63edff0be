"""The plan of a split's clips: who speaks in each clip, and which second of which utterance is cut.

The plan is the dataset. It follows from pool, split, seed, epoch and index alone: any process draws any slice of it, in
any batch size, and gets the same clips.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from speaker_count.data import augmentation, draws
from speaker_count.data.augmentation import Augment, Effects
from speaker_count.data.pauses import NO_PAUSE, Pauses
from speaker_count.data.pool import Pool
from speaker_count.data.roster import Roster
from speaker_count.data.sounds import GENERATED, Sounds
from speaker_count.labels import FULL_SCALE, SEXES, UNKNOWN

GAIN_STEPS = 100  # gains are drawn in hundredths of a decibel
COLUMNS = ("index", "count", "speakers", "utterances", "starts", "sexes", "activity", "gains", "scale")


@dataclass(frozen=True)
class Plan:
    """A table of clips; `plan[rows]` is the plan of these rows.

    The voices of a clip stand in the order in which they are summed. From `count` on, rows and starts are -1, gains and
    activity 0.

    Attributes:
        index: `(clips,)` int64, the clip's number within its split and epoch.
        count: `(clips,)` int64, how many people speak.
        speakers, utterances: `(clips, voices)` int32, rows in the pool.
        starts: `(clips, voices)` int64, first sample of the crop within its utterance.
        sexes: `(clips, voices)` int8, indices into `labels.SEXES`.
        activity: `(clips, voices)` float32, the share of the crop in which its speaker is active; NaN where the plan
            was drawn without it.
        gains: `(clips, voices)` float32.
        scale: `(clips,)` float32, the factor of the sum; NaN where rendering computes it, to bring the clip to `level`.
        samples: length of a clip.
        level: the RMS of every clip, in steps of 16 bits; None: the clips keep their level.
        pause: `(clips, 3)` int64, the pause that a clip without a speaker repeats: the utterance's row in the pool, its
            first sample and its samples; -1, -1, 0: none, or silence. None: every clip has a speaker.
        effects: what is done to clips and voices; None: nothing.
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
    pause: np.ndarray | None = None
    effects: Effects | None = None

    def __len__(self) -> int:
        return len(self.index)

    def __getitem__(self, rows: slice | np.ndarray) -> "Plan":
        columns: dict[str, np.ndarray] = {name: getattr(self, name)[rows] for name in COLUMNS}
        pause, effects = (None if part is None else part[rows] for part in (self.pause, self.effects))
        return replace(self, pause=pause, effects=effects, **columns)  # type: ignore[arg-type]  # of columns alone


def plan(
    pool: Pool,
    split: str,
    seed: int,
    epoch: int,
    index: np.ndarray,
    *,
    roster: Roster,
    counts: Sequence[int],
    samples: int,
    gain_db: Sequence[float] | None = None,
    level_db: float | None = None,
    augment: Augment | None = None,
    sounds: Sounds = GENERATED,
    pauses: Pauses | None = None,
    activity: bool = True,
) -> Plan:
    """Draw clips of a split and epoch by their numbers; each clip follows from its own number alone.

    Every block of `len(counts)` clips holds each count once, in an order drawn for the block. For each voice: a fair
    bit gives the sex (the other sex if no speaker of it remains), then uniformly one of that sex's speakers who are not
    in the clip yet, one of their utterances, and the sample at which the crop begins. A speaker of unknown sex is drawn
    as often as if all speakers were drawn evenly; the bit is drawn for the remaining voices. A clip without a speaker
    repeats a pause.

    Args:
        index: `(clips,)` int64, the clips' numbers.
        roster: `Roster.of(pool, split, augmentation.longest_crop(augment, samples), min_active)`.
        counts, gain_db, level_db: as in `Mix`.
        samples: length of a clip.
        augment: of this split; None: its clips do not vary.
        sounds: recorded ones that clips are varied with.
        pauses: of this split; needed if there are clips without a speaker.
        activity: look up how active each crop is. It costs two reads at random places per voice, and rendering does not
            need it.
    """
    stream = f"{split}/{seed}/{epoch}"
    count = _balanced_counts(f"count/{stream}", index, counts)
    shape = (len(index), max(counts))
    words = draws.words(f"voices/{stream}", index, 4 * shape[1]).reshape(*shape, 4)
    sexes, speakers, utterances, starts = _voices(roster, words)
    if augment is not None and augment.gain_db is not None:
        gain_db = augment.gain_db
    gains = np.ones(shape, np.float32) if gain_db is None else _gains(f"gains/{stream}", index, shape[1], gain_db)
    pause = None
    if pauses is not None:
        pause = pauses.draw(draws.words(f"pause/{stream}", index, 1)[:, 0])
        pause[count > 0] = NO_PAUSE
    if augment is None:
        effects, level = None, level_db
    else:
        effects, level = augmentation.draw(augment, stream, index, shape[1], level_db, samples, sounds), None

    heard = np.arange(shape[1]) < count[:, None]
    active = pool.active_share(utterances, starts, samples) if activity else np.full(shape, np.nan, np.float32)
    return Plan(
        index=index,
        count=count,
        speakers=np.where(heard, speakers, -1).astype(np.int32),
        utterances=np.where(heard, utterances, -1).astype(np.int32),
        starts=np.where(heard, starts, -1),
        sexes=np.where(heard, sexes, -1).astype(np.int8),
        activity=np.where(heard, active, 0),
        gains=np.where(heard, gains, 0),
        scale=np.full(len(index), 1 if level is None and effects is None else np.nan, np.float32),
        samples=samples,
        level=None if level is None else FULL_SCALE * 10 ** (level / 20),
        pause=pause,
        effects=effects,
    )


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
    drawn: np.ndarray = order[block_of, index % size]
    return drawn


def _voices(roster: Roster, words: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Draw who speaks in each clip, and which crop of which utterance.

    Args:
        words: `(clips, voices, 4)` uint32.

    Returns:
        Sexes, speakers and utterances (both as rows in the pool) and starts; each `(clips, voices)` integers.
    """
    sexes, ranks = _distinct_speakers(roster, words[..., 0], words[..., 1])
    speakers = roster.first_of_sex[sexes] + ranks
    utterances = roster.first[speakers] + draws.below(words[..., 2], roster.utterance_count[speakers])
    starts = roster.place(utterances, draws.below(words[..., 3], roster.starts[utterances]))
    return sexes, roster.speakers[speakers], roster.utterances[utterances], starts


def _distinct_speakers(roster: Roster, sex_words: np.ndarray, rank_words: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Draw distinct speakers for the voices of each clip.

    Args:
        sex_words, rank_words: `(clips, voices)` uint32.

    Returns:
        Sexes and ranks among the speakers of that sex, both `(clips, voices)` int64.
    """
    unknown = SEXES.index(UNKNOWN)
    clips, voices = sex_words.shape
    sexes, ranks = np.empty((clips, voices), np.int64), np.empty((clips, voices), np.int64)
    clip = np.arange(clips)
    drawn = np.zeros((clips, len(SEXES)), np.int64)  # speakers of each sex who are in the clip already
    for voice in range(voices):
        left = roster.of_sex - drawn  # (clips, sexes)
        sex = _drawn_sex(sex_words[:, voice], left[:, unknown], left.sum(axis=1))
        sex = np.where(left[clip, sex] > 0, sex, 1 - sex)  # one that is drawn as unknown has speakers left
        rank = draws.below(rank_words[:, voice], left[clip, sex])
        # a rank among the rest becomes a rank among all by stepping over the drawn ones, the lowest first
        taken = np.sort(np.where(sexes[:, :voice] == sex[:, None], ranks[:, :voice], np.iinfo(np.int64).max), axis=1)
        for other in taken.T:
            rank += rank >= other
        drawn[clip, sex] += 1
        sexes[:, voice], ranks[:, voice] = sex, rank
    return sexes, ranks


def _drawn_sex(word: np.ndarray, unknown: np.ndarray, everyone: np.ndarray) -> np.ndarray:
    """Unknown for a share `unknown / everyone` of the words, and a fair bit for the others, `(clips,)` int64.

    The bit is exactly `draws.below(word, 2)` where the sex of everyone is known.

    Args:
        word: `(clips,)` uint32.
        unknown, everyone: `(clips,)` int64, speakers who remain, fewer than 2^30.
    """
    if not unknown.any():
        return draws.below(word, 2)
    place = word.astype(np.int64) * everyone  # of 2^32 * everyone
    known = everyone - unknown
    bit = 2 * (place - (unknown << 32)) // np.maximum(known << 32, 1)
    return np.where(place < unknown << 32, SEXES.index(UNKNOWN), np.minimum(bit, 1))


def _gains(name: str, index: np.ndarray, voices: int, gain_db: Sequence[float]) -> np.ndarray:
    """Draw the gains of each clip's voices, `(clips, voices)` float32, as factors.

    Args:
        gain_db: the lowest and the highest, in decibels.
    """
    lowest, highest = (round(decibels * GAIN_STEPS) for decibels in gain_db)
    choices = np.array([10 ** (step / GAIN_STEPS / 20) for step in range(lowest, highest + 1)], np.float32)
    drawn: np.ndarray = choices[draws.below(draws.words(name, index, voices), len(choices))]
    return drawn
