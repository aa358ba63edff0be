"""The speakers, utterances and crops that clips of a split can be drawn from."""

import itertools
from dataclasses import dataclass, field

import numpy as np

from speaker_count.data.pool import Pool
from speaker_count.labels import SEXES, SPLITS

FRAMES_AT_ONCE = 2**20  # of activity


@dataclass(frozen=True)
class Roster:
    """The speakers of a split, by sex, with their utterances that are at least a clip long.

    A place is a sample at which a crop can begin. Places are numbered utterance by utterance, and form runs of
    consecutive samples: one run per utterance, or several if only active crops are drawn.

    Attributes:
        speakers: `(speakers,)` rows in the pool; those of each sex in the pool's order, in the order of
            `SEXES`: women, men, and those whose sex is not known.
        first_of_sex, of_sex: `(sexes,)` each sex's first position in `speakers`, and its number of speakers.
        first, utterance_count: `(speakers,)` each speaker's first position in `utterances`, and number of utterances.
        utterances: `(utterances,)` rows in the pool.
        starts, starts_before: `(utterances,)` the number of places in an utterance, and in all utterances before it.
        run_start, run_before: `(runs,)` the first sample of a run, and the number of places in all runs before it.
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
        """The roster of a split.

        Args:
            samples: length of a clip.
            min_active: as in `Mix`.
        """
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
        of_sex = np.bincount(pool.sexes[owner[begins]], minlength=len(SEXES))
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
        """The first samples of crops, within their utterances.

        Args:
            utterances: positions in `utterances`.
            ranks: the rank of each crop's place among the places of its utterance; the shape of both is the result's.
        """
        places = self.starts_before[utterances] + ranks
        run = np.searchsorted(self.run_before, places, side="right") - 1
        first: np.ndarray = self.run_start[run] + places - self.run_before[run]
        return first


def _active_runs(
    pool: Pool, utterances: np.ndarray, samples: int, min_active: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The runs of places whose crops are active enough: position in `utterances`, first sample, and length."""
    last = pool.frames[utterances] - samples
    frames = last // pool.frame_length + 1  # frames that hold a place
    before = np.cumsum(frames) - frames
    pieces = np.append(np.flatnonzero(np.diff(before // FRAMES_AT_ONCE, prepend=-1)), len(utterances))
    runs = [(np.zeros(0, np.int64),) * 3]
    for begin, end in itertools.pairwise(pieces.tolist()):
        position = np.repeat(np.arange(begin, end), frames[begin:end])
        frame = np.arange(len(position)) + before[begin] - before[position]
        share = pool.active_share(utterances[position], frame * pool.frame_length, samples)
        active = share >= np.float32(min_active)
        same = position[1:] == position[:-1]  # a run ends with its utterance
        first = np.flatnonzero(active & ~np.append(False, active[:-1] & same))
        final = np.flatnonzero(active & ~np.append(active[1:] & same, False))
        starts = frame[first] * pool.frame_length
        stops = np.minimum((frame[final] + 1) * pool.frame_length, last[position[first]] + 1)
        runs.append((position[first], starts, stops - starts))
    positions, starts, lengths = (np.concatenate(column) for column in zip(*runs, strict=True))
    return positions, starts, lengths
