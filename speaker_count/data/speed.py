"""A voice at another speed: resampling by a filter for each of a few hundredths, as products of small matrices.

soxr takes twice the time. Products are so small that BLAS computes each on one thread: the same bits however many
threads it has.
"""

import functools
import math

import numpy as np

STEPS = 100  # speeds are hundredths: at speed s / STEPS, STEPS samples are made of s samples of the crop
PARTS = 5  # of STEPS samples: each part is a product with its own filters
MOST_ROWS = 160  # of a product: at twice as many, BLAS would use several threads
TAPS = 48
BETA = 7.0  # of the Kaiser window: what is beyond the cut-off is 70 dB lower
CUT_OFF = 0.91  # of the lower of both Nyquist frequencies: the pass band ends at 0.82, the stop band begins at 1


def at_speed(crop: np.ndarray, steps: int, samples: int) -> np.ndarray:
    """A crop played faster or slower, `(samples,)` float32; its pitch moves along. Before and after it is silence.

    Args:
        crop: `(frames,)`; more than it takes for `samples` is ignored.
        steps: the speed in hundredths.
    """
    firsts, filters = _filters(steps)
    taken = filters.shape[1]
    blocks = -(-samples // STEPS)
    rows = min(blocks, MOST_ROWS)
    products = -(-blocks // rows)
    padded = np.zeros((products * rows + 1) * steps + taken, np.float32)
    heard = crop[: len(padded) - TAPS // 2]
    padded[TAPS // 2 : TAPS // 2 + len(heard)] = heard
    windows = np.empty((PARTS, products * rows, taken), np.float32)
    for part, first in enumerate(firsts):
        # each row begins `steps` samples after the one before it: in a tenth of the time of NumPy's sliding windows
        windows[part] = np.ndarray(windows.shape[1:], np.float32, padded, 4 * first, (4 * steps, 4))
    played = windows.reshape(PARTS, products, rows, taken) @ filters[:, None]  # (parts, products, rows, samples)
    ordered: np.ndarray = played.reshape(PARTS, products * rows, -1).transpose(1, 0, 2).reshape(-1)
    return ordered[:samples]


@functools.cache
def _filters(steps: int) -> tuple[list[int], np.ndarray]:
    """For each part, the first sample that it takes, and its filters, `(parts, taken, samples)` float32."""
    made = STEPS // PARTS
    firsts = [part * made * steps // STEPS for part in range(PARTS)]
    taken = math.ceil((made - 1) * steps / STEPS + 1) + TAPS
    place = np.arange(STEPS).reshape(PARTS, 1, made) * steps / STEPS - np.array(firsts)[:, None, None]
    distance = np.arange(taken)[:, None] - TAPS // 2 - place  # of each sample taken from each sample made
    cut_off = CUT_OFF * min(1.0, STEPS / steps)
    window = np.i0(BETA * np.sqrt(np.clip(1 - (2 * distance / TAPS) ** 2, 0, None))) / np.i0(BETA)
    filters = cut_off * np.sinc(cut_off * distance) * window * (2 * np.abs(distance) < TAPS)
    return firsts, filters.astype(np.float32)
