"""Front ends whose Fourier transform is four matrices compute what torchaudio's do."""

import numpy as np
import pytest
import torch
from torchaudio.transforms import Spectrogram

from speaker_count.models.folded import folded
from speaker_count.models.front_end import LogMelFrontEnd, SpectrogramFrontEnd, WaveformFrontEnd


@pytest.mark.parametrize(
    "front_end",
    [
        LogMelFrontEnd(n_fft=640, win_length=640, hop_length=200),
        LogMelFrontEnd(n_fft=512, win_length=399, hop_length=160),
        SpectrogramFrontEnd(),
        SpectrogramFrontEnd(n_fft=404, hop_length=77, magnitude=True),
        WaveformFrontEnd(),
    ],
    ids=["recommended", "shorter window", "decibels", "magnitude", "waveform"],
)
def test_a_folded_front_end_gives_what_it_gave(front_end):
    clips = torch.tensor(np.random.default_rng(0).normal(0, 0.1, (3, 16_000)), dtype=torch.float32)
    expected = front_end(clips)
    difference = (folded(front_end)(clips) - expected).abs()
    assert difference.quantile(0.999) < 1e-3
    assert difference.max() < 0.2  # decibels of a frequency that is almost not there
    assert any(isinstance(module, Spectrogram) for module in front_end.modules()) == (expected.ndim == 4)


@pytest.mark.parametrize("keys", [{"n_fft": 402}, {"center": False}, {"power": None}, {"normalized": True}])
def test_other_spectrograms_are_refused(keys):
    with pytest.raises(ValueError, match="a spectrogram needs"):
        folded(torch.nn.Sequential(Spectrogram(**{"n_fft": 400, **keys})))
