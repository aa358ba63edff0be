"""A stream of samples as overlapping windows, and probabilities smoothed over time."""

from collections.abc import Iterable, Iterator

import numpy as np


def windows(blocks: Iterable[np.ndarray], length: int, hop: int, batch: int) -> Iterator[np.ndarray]:
    """All whole windows of a stream.

    Args:
        blocks: `(samples,)` each.
        length: of a window, in samples.
        hop: from the start of one to that of the next, at most `length`.
        batch: how many are given at a time; the last time it may be fewer.

    Yields:
        `(windows, length)`, views of the stream.
    """
    enough = length + (batch - 1) * hop
    kept: list[np.ndarray] = []
    held = 0
    for block in blocks:
        kept.append(block)
        held += len(block)
        if held < enough:
            continue
        samples = np.concatenate(kept)
        start = 0
        while len(samples) - start >= enough:
            yield _views(samples[start : start + enough], length, hop)
            start += batch * hop
        kept, held = [samples[start:]], len(samples) - start
    if held >= length:
        yield _views(np.concatenate(kept), length, hop)


def _views(samples: np.ndarray, length: int, hop: int) -> np.ndarray:
    views: np.ndarray = np.lib.stride_tricks.sliding_window_view(samples, length)[::hop]
    return views


def reach(hop_seconds: float, seconds: float) -> int:
    """How many neighbours on each side have a weight above 0 in `smoothed`."""
    return max(0, int(np.ceil(seconds / hop_seconds)) - 1)


def smoothed(probabilities: np.ndarray, hop_seconds: float, seconds: float) -> np.ndarray:
    """The mean of each window's probabilities and its neighbours', whose weights fall linearly with their distance, to
    0 at `seconds`. At the ends there are fewer neighbours.

    Args:
        probabilities: `(windows, classes)`.
        hop_seconds: from one window to the next.
        seconds: within which neighbours count; 0: none do.

    Returns:
        `(windows, classes)`; rows sum to 1.
    """
    each_side = min(reach(hop_seconds, seconds), len(probabilities) - 1)
    if each_side < 1:
        return probabilities
    weights = 1 - np.abs(np.arange(-each_side, each_side + 1)) * hop_seconds / seconds

    def filtered(values: np.ndarray) -> np.ndarray:
        return np.convolve(values, weights)[each_side : each_side + len(values)]

    sums = np.stack([filtered(column) for column in probabilities.T.astype(np.float64)], axis=1)
    result: np.ndarray = (sums / filtered(np.ones(len(probabilities)))[:, None]).astype(np.float32)
    return result
