"""A recording in a few thousand columns, whatever its length: how a plot shows it."""

import numpy as np

COLUMNS = 1024  # at most twice as many
FRAME_SECONDS = 0.02
FLOOR = 1e-10  # of power


class Overview:
    """The waveform's extremes and the spectrum of each column, gathered block by block in constant memory.

    A column is one frame at first; whenever there are too many, two become one.

    Args:
        sample_rate: in Hz.
    """

    def __init__(self, sample_rate: int) -> None:
        self.sample_rate = sample_rate
        self.frame = round(FRAME_SECONDS * sample_rate)
        self._frames, self._rest = 1, np.empty(0, np.float32)  # frames of a column; samples that fill none yet
        self._columns: list[np.ndarray] = []
        self._window = np.hanning(self.frame).astype(np.float32)

    def add(self, samples: np.ndarray) -> None:
        """Add the next samples, `(samples,)`."""
        samples = np.concatenate([self._rest, samples])
        while len(samples) >= (width := self._frames * self.frame):
            whole = min(len(samples) // width, 2 * COLUMNS - len(self._columns))
            columns = samples[: whole * width].reshape(whole, width)
            power = np.abs(np.fft.rfft(columns[:, : self.frame] * self._window, axis=1)) ** 2  # of the first frame
            extremes = np.stack([columns.min(axis=1), columns.max(axis=1)], axis=1)
            self._columns.extend(np.concatenate([extremes, power], axis=1).astype(np.float32))
            samples = samples[whole * width :]
            if len(self._columns) == 2 * COLUMNS:
                pairs = np.stack(self._columns).reshape(COLUMNS, 2, -1)
                low, high = pairs[:, :, 0].min(axis=1), pairs[:, :, 1].max(axis=1)
                self._columns = [*np.concatenate([np.stack([low, high], 1), pairs[:, :, 2:].mean(axis=1)], axis=1)]
                self._frames *= 2
        self._rest = samples

    def extremes(self) -> np.ndarray:
        """The least and the greatest sample of each column, `(columns, 2)`."""
        return np.stack([column[:2] for column in self._columns]) if self._columns else np.empty((0, 2))

    def decibels(self) -> np.ndarray:
        """The power spectrum of each column, `(columns, frequencies)`, in dB."""
        if not self._columns:
            return np.empty((0, 1))
        power: np.ndarray = 10 * np.log10(np.stack([column[2:] for column in self._columns]) + FLOOR)
        return power

    @property
    def seconds(self) -> float:
        """What the columns cover, in seconds."""
        return len(self._columns) * self._frames * self.frame / self.sample_rate
