"""Random numbers by name: any of them can be drawn without those before it, and no NumPy version changes them."""

import hashlib

import numpy as np


def words(name: str, start: int, stop: int, per_item: int) -> np.ndarray:
    """`(stop - start, per_item)` uint32: the words of items `start` to `stop` in the stream `name`.

    The stream is Philox4x64-10 (Salmon et al. 2011), keyed by the SHA-256 of its name; an item begins at a counter of
    its own, so that it can be drawn without those before it. Only raw words are used: NumPy may change how it makes
    other numbers of them.
    """
    key = np.frombuffer(hashlib.sha256(name.encode()).digest()[:16], "<u8")
    blocks = -(-per_item // 8)  # one counter gives four words of 64 bits
    raw = np.random.Philox(key=key, counter=start * blocks).random_raw((stop - start) * blocks * 4)
    return raw.astype("<u8").view("<u4").reshape(stop - start, blocks * 8)[:, :per_item]


def below(word: np.ndarray, bound: int | np.ndarray) -> np.ndarray:
    """Integers in `0..bound - 1` from words of 32 bits: `(word * bound) >> 32`, int64."""
    return (word.astype(np.uint64) * np.asarray(bound).astype(np.uint64) >> np.uint64(32)).astype(np.int64)


def permutation(name: str, length: int) -> np.ndarray:
    """The numbers below `length` in an order that follows from `name` alone, `(length,)` int64."""
    drawn = words(name, 0, length, 2).astype(np.uint64)
    return np.argsort(drawn[:, 0] << np.uint64(32) | drawn[:, 1], kind="stable")
