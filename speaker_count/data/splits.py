"""Which speakers are for training, for validation and for test."""

import hashlib

import numpy as np

from speaker_count.labels import SEXES, SPLITS

HELD_OUT_SHARE = 0.15  # of each sex's speakers, for validation and again for test


def by_speaker(speakers: np.ndarray, sexes: np.ndarray) -> np.ndarray:
    """Divide speakers: those of each sex, and of none that is known, are sorted by the SHA-256 of their ids; the first
    ones are for validation, the next for test, the rest for training.

    Returns:
        `(speakers,)` int8, an index into `SPLITS`.
    """
    splits = np.zeros(len(speakers), np.int8)
    for sex in range(len(SEXES)):
        rows = np.flatnonzero(sexes == sex).tolist()
        members = sorted(rows, key=lambda row: hashlib.sha256(str(speakers[row]).encode()).digest())
        held_out = max(round(HELD_OUT_SHARE * len(members)), 3 if len(members) >= 9 else 0)
        splits[members[:held_out]] = SPLITS.index("validation")
        splits[members[held_out : 2 * held_out]] = SPLITS.index("test")
    return splits
