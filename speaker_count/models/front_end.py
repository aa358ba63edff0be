"""Front ends: they turn clips into a net's input, the waveform itself or its spectrogram."""

from torch import Tensor, nn
from torchaudio.transforms import AmplitudeToDB, Spectrogram

from speaker_count.labels import FULL_SCALE


def to_float(waveform: Tensor) -> Tensor:
    """Clips as floats in [-1, 1); int16 is scaled, floats pass unchanged."""
    return waveform if waveform.is_floating_point() else waveform.float() / FULL_SCALE


class WaveformFrontEnd(nn.Module):
    """The waveform itself."""

    def forward(self, waveform: Tensor) -> Tensor:
        """`(batch, samples)` int16, or float in [-1, 1) -> `(batch, 1, samples)` float."""
        return to_float(waveform)[:, None]


class SpectrogramFrontEnd(nn.Module):
    """The power spectrogram in decibels.

    Args:
        n_fft, hop_length: in samples; see `torchaudio.transforms.Spectrogram`.
    """

    def __init__(self, n_fft: int = 400, hop_length: int = 200) -> None:
        super().__init__()
        self.spectrogram = Spectrogram(n_fft, hop_length=hop_length)
        self.decibels = AmplitudeToDB("power")

    def forward(self, waveform: Tensor) -> Tensor:
        """`(batch, samples)` int16, or float in [-1, 1) -> `(batch, 1, frequency, time)` in decibels."""
        decibels: Tensor = self.decibels(self.spectrogram(to_float(waveform)))  # (batch, frequency, time)
        return decibels[:, None]
