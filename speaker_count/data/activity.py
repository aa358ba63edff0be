"""Speech activity within an utterance: an energy rule on frames of 10 ms.

A frame is active if its energy is at most 18 dB below the utterance's mean. In read speech, pauses lie below that
threshold and quiet consonants above it.
"""

import numpy as np

FRAME_SECONDS = 0.01
MARGIN_DB = 18.0


def frame_length(sample_rate: int) -> int:
    """The length of a frame in samples."""
    return max(1, round(FRAME_SECONDS * sample_rate))


def active_before(samples: np.ndarray, sample_rate: int) -> np.ndarray:
    """Count the active frames before each frame of an utterance; the last number counts all of them.

    Args:
        samples: `(samples,)` int16.
        sample_rate: in Hz.

    Returns:
        `(frames + 1,)` int32, over whole frames; the difference of two numbers counts the active frames between them.
    """
    length = frame_length(sample_rate)
    frames = samples[: len(samples) // length * length].reshape(-1, length).astype(np.float64)
    energy = np.einsum("ft,ft->f", frames, frames)  # (frames,), whole numbers below 2**53: the same on every machine
    before = np.zeros(len(energy) + 1, np.int32)
    active = (energy * len(energy) >= energy.sum() * 10 ** (-MARGIN_DB / 10)) & (energy > 0)
    np.cumsum(active, out=before[1:])
    return before
