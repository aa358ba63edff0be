"""Random numbers by name: each can be drawn without the numbers before it, and is the same in every NumPy version."""

import hashlib
from collections.abc import Iterator

import numpy as np

ROUNDS = 10  # of Philox
FACTORS = np.array([0xD2E7470EE14C6C93, 0xCA5A826395121157], np.uint64)
KEY_STEPS = np.array([0x9E3779B97F4A7C15, 0xBB67AE8584CAA73B], np.uint64)
LOW, HALF = np.uint64(0xFFFFFFFF), np.uint64(32)
SORTED_AT_ONCE = 2**23  # numbers in one piece of a permutation
DRAWN_AT_ONCE = 2**16  # items; their words fit into the cache


def words(name: str, items: np.ndarray, per_item: int) -> np.ndarray:
    """`(items, per_item)` uint32: the words of these items in the stream `name`.

    The stream is Philox4x64-10 (Salmon et al. 2011), keyed by the SHA-256 of its name. Each item has its own range of
    counters, so that it can be drawn without the others. Only raw words are used: NumPy may change how it derives other
    numbers from them.

    Args:
        items: `(items,)` int64.
        per_item: words of 32 bits for each item.
    """
    key = np.frombuffer(hashlib.sha256(name.encode()).digest()[:16], "<u8").astype(np.uint64)
    blocks = -(-per_item // 8)  # one counter gives four words of 64 bits
    if len(items) and (np.diff(items) == 1).all():  # NumPy's generator draws consecutive items several times faster
        raw = np.random.Philox(key=key, counter=int(items[0]) * blocks).random_raw(len(items) * blocks * 4)
    else:
        counters = items[:, None] * blocks + np.arange(1, blocks + 1)  # NumPy increments before it draws
        raw = _philox(key, counters.astype(np.uint64).reshape(-1))
    return raw.astype("<u8", copy=False).view("<u4").reshape(len(items), blocks * 8)[:, :per_item]


def _philox(key: np.ndarray, counters: np.ndarray) -> np.ndarray:
    """`(counters, 4)` uint64: the block of each counter; counters lie below 2^64."""
    zeros = np.zeros_like(counters)
    block = counters, zeros, zeros, zeros
    for _ in range(ROUNDS):
        (high_0, low_0), (high_2, low_2) = _product(FACTORS[0], block[0]), _product(FACTORS[1], block[2])
        block = high_2 ^ block[1] ^ key[0], low_2, high_0 ^ block[3] ^ key[1], low_0
        key = key + KEY_STEPS
    return np.stack(block, axis=1)


def _product(factor: np.uint64, values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The upper and the lower 64 bits of `factor * values`."""
    (factor_high, factor_low), (high, low) = (factor >> HALF, factor & LOW), (values >> HALF, values & LOW)
    middle = factor_low * high + (factor_low * low >> HALF)
    other = factor_high * low + (middle & LOW)
    return factor_high * high + (middle >> HALF) + (other >> HALF), factor * values


def below(word: np.ndarray, bound: int | np.ndarray) -> np.ndarray:
    """Integers in `0..bound - 1` from words of 32 bits: `(word * bound) >> 32`, int64."""
    return (word.astype(np.uint64) * np.asarray(bound).astype(np.uint64) >> np.uint64(32)).astype(np.int64)


def permutation(name: str, length: int) -> np.ndarray:
    """The numbers below `length`, shuffled by the stream `name`, `(length,)` int64."""
    return np.concatenate([*permuted(name, length)])


def permuted(name: str, length: int) -> Iterator[np.ndarray]:
    """The same permutation in consecutive pieces, for lengths that exceed the memory.

    Each number has a random key, and the numbers are sorted by their keys. A piece holds the numbers whose keys lie in
    one range; for each piece all keys are drawn again, 10^8 of them in a few seconds.
    """
    pieces = -(-length // SORTED_AT_ONCE)
    for piece in range(pieces):
        numbers, keys = [], []
        for start in range(0, length, DRAWN_AT_ONCE):
            drawn = words(name, np.arange(start, min(start + DRAWN_AT_ONCE, length)), 2)
            here = np.flatnonzero(below(drawn[:, 0], pieces) == piece)
            chosen = drawn[here].astype(np.uint64)
            numbers.append(here + start)
            keys.append(chosen[:, 0] << HALF | chosen[:, 1])
        order = np.argsort(np.concatenate(keys), kind="stable")
        yield np.concatenate(numbers)[order]
