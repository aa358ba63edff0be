"""Pauses in recorded speech: what a microphone hears while nobody speaks."""

from dataclasses import dataclass

import numpy as np

from speaker_count.data import draws
from speaker_count.data.pool import Pool
from speaker_count.labels import SPLITS

SHORTEST_SECONDS = 0.15  # shorter ones are within words, and hold their echo
NO_PAUSE = (-1, -1, 0)  # utterance, start, length


@dataclass(frozen=True)
class Pauses:
    """The pauses in a split's utterances.

    Attributes:
        utterances: `(pauses,)` int64, rows in the pool.
        starts, lengths: `(pauses,)` int64, the first sample within the utterance, and how many there are.
    """

    utterances: np.ndarray
    starts: np.ndarray
    lengths: np.ndarray

    @classmethod
    def of(cls, pool: Pool, split: str) -> "Pauses":
        """The pauses of a split, of `SHORTEST_SECONDS` or more."""
        utterances = np.flatnonzero(pool.splits[pool.speaker] == SPLITS.index(split))
        frames = pool.frames[utterances] // pool.frame_length
        least = round(SHORTEST_SECONDS * pool.sample_rate / pool.frame_length)
        found = [(np.zeros(0, np.int64),) * 3]
        for row, count in zip(utterances.tolist(), frames.tolist(), strict=True):
            offset = pool.activity_offsets[row]
            silent = np.diff(pool.active_before[offset : offset + count + 1]) == 0
            edges = np.flatnonzero(np.diff(silent, prepend=False, append=False)).reshape(-1, 2)
            edges = edges[edges[:, 1] - edges[:, 0] >= least] * pool.frame_length
            found.append((np.full(len(edges), row), edges[:, 0], edges[:, 1] - edges[:, 0]))
        return cls(*(np.concatenate(column).astype(np.int64) for column in zip(*found, strict=True)))

    def draw(self, word: np.ndarray) -> np.ndarray:
        """Pauses by words of 32 bits, `(words, 3)` int64: utterance, start and length; `NO_PAUSE` if there are none."""
        if not len(self.utterances):
            return np.tile(np.array(NO_PAUSE, np.int64), (len(word), 1))
        drawn = draws.below(word, len(self.utterances))
        return np.stack([self.utterances[drawn], self.starts[drawn], self.lengths[drawn]], axis=1)


def repeated(pool: Pool, pause: np.ndarray | None, row: int, samples: int) -> np.ndarray:
    """A clip without a speaker, `(samples,)` int16: a pause, forwards and backwards in turn, so that there is no jump;
    else silence.

    Args:
        pause: as in `Plan`.
    """
    utterance, start, length = NO_PAUSE if pause is None else pause[row].tolist()
    if not length:
        return np.zeros(samples, np.int16)
    begin = pool.offsets[utterance] + start
    recorded = pool.samples[begin : begin + length]
    clip: np.ndarray = np.resize(np.concatenate([recorded, recorded[::-1]]), samples)
    return clip
