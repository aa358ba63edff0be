"""Who can be drawn in a split, and where their crops can begin."""

import itertools
from dataclasses import dataclass, field

import numpy as np

from speaker_count.data.corpus import SPLITS
from speaker_count.data.pool import Pool

LOOKED_AT_ONCE = 2**20  # frames of activity


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
    last = pool.frames[utterances] - samples
    frames = last // pool.frame_length + 1  # in which a crop may begin
    before = np.cumsum(frames) - frames
    pieces = np.append(np.flatnonzero(np.diff(before // LOOKED_AT_ONCE, prepend=-1)), len(utterances))
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
    return tuple(np.concatenate(column) for column in zip(*runs, strict=True))
