"""Front ends: they turn clips into a net's input, the waveform itself or its spectrogram."""

import torch
from torch import Tensor, nn
from torchaudio.functional import spectrogram
from torchaudio.transforms import AmplitudeToDB, MelSpectrogram, Spectrogram

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
    """The power spectrogram in decibels, or the magnitude.

    Args:
        n_fft, hop_length: in samples; see `torchaudio.transforms.Spectrogram`.
        magnitude: the magnitude, without a logarithm.
    """

    def __init__(self, n_fft: int = 400, hop_length: int = 200, magnitude: bool = False) -> None:
        super().__init__()
        self.spectrogram = Spectrogram(n_fft, hop_length=hop_length, power=1.0 if magnitude else 2.0)
        self.decibels = nn.Identity() if magnitude else AmplitudeToDB("power")

    def forward(self, waveform: Tensor) -> Tensor:
        """`(batch, samples)` int16, or float in [-1, 1) -> `(batch, 1, frequency, time)`."""
        spectrogram: Tensor = self.decibels(self.spectrogram(to_float(waveform)))  # (batch, frequency, time)
        return spectrogram[:, None]


class PowerSpectrogram(Spectrogram):
    """The power of each frequency, in less time: torchaudio takes a root for the magnitude, and squares it again."""

    def forward(self, waveform: Tensor) -> Tensor:
        """`(batch, samples)` -> `(batch, frequency, time)`."""
        spectrum: Tensor = spectrogram(
            waveform, 0, self.window, self.n_fft, self.hop_length, self.win_length, None, False
        )
        return spectrum.real.square() + spectrum.imag.square()


class LogMelFrontEnd(nn.Module):
    """The logarithm of the mel spectrogram of a clip that is brought to one RMS, so that its level does not matter.

    Args:
        sample_rate: in Hz.
        n_fft, win_length, hop_length: in samples.
        n_mels: bands, up to half the sample rate.
        floor: what is added to the power before the logarithm, against that of a clip of RMS 1.
    """

    def __init__(
        self,
        sample_rate: int = 16_000,
        n_fft: int = 512,
        win_length: int = 400,
        hop_length: int = 160,
        n_mels: int = 80,
        floor: float = 0.01,
    ) -> None:
        super().__init__()
        with torch.device("cpu"):  # torchaudio reads the filters' values, which the meta device lacks
            self.mel = MelSpectrogram(sample_rate, n_fft, win_length, hop_length, f_min=20.0, n_mels=n_mels)
            self.mel.spectrogram = PowerSpectrogram(n_fft, win_length, hop_length)
        self.floor = floor

    def forward(self, waveform: Tensor) -> Tensor:
        """`(batch, samples)` int16, or float in [-1, 1) -> `(batch, 1, bands, time)`."""
        waveform = to_float(waveform)
        waveform = waveform / (waveform.square().mean(dim=1, keepdim=True).sqrt() + 1e-5)
        bands: Tensor = torch.log(self.mel(waveform) + self.floor)  # (batch, bands, time)
        return bands[:, None] / 4  # speech has a spread of about 1 then
