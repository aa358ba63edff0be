"""Spectrograms whose Fourier transform is four matrices, for runtimes that have no transform, or a slow one."""

import copy
import math
from collections.abc import Callable
from typing import TypeVar

import torch
from torch import Tensor, nn
from torchaudio.transforms import Spectrogram

AnyModule = TypeVar("AnyModule", bound=nn.Module)


class FoldedSpectrogram(nn.Module):
    """What `torchaudio.transforms.Spectrogram` computes, by fixed weights.

    A DFT as a convolution multiplies each frame with the cosines and sines of every frequency. These are symmetric: in
    a frame of N samples, those at n, N/2 - n, N/2 + n and N - n meet the same value, up to its sign. Sums and
    differences of the four, which fold a frame to a quarter, leave a fourth of the multiplications.

    Args:
        spectrogram: one-sided, of centred frames of a multiple of four samples, power or magnitude, not normalised.

    Raises:
        ValueError: it is of another kind.
    """

    positions: Tensor  # (4, quarter + 1), in a frame
    window: Tensor  # (4, quarter + 1)
    even_cosines: Tensor  # (quarter + 1, frequencies), and so on
    odd_cosines: Tensor
    even_sines: Tensor
    odd_sines: Tensor
    order: Tensor  # of the frequencies, which come as the even ones and then the odd ones

    def __init__(self, spectrogram: Spectrogram) -> None:
        super().__init__()
        n_fft, window = spectrogram.n_fft, spectrogram.window.double()
        plain = spectrogram.onesided and spectrogram.center and not spectrogram.normalized and not spectrogram.pad
        if not plain or spectrogram.power not in (1.0, 2.0) or n_fft % 4:
            raise ValueError("a spectrogram needs centred frames of a multiple of four samples, and real values")
        self.hop_length, self.magnitude = spectrogram.hop_length, spectrogram.power == 1.0
        self.padding, self.pad_mode = n_fft // 2, spectrogram.pad_mode
        sample = torch.arange(n_fft // 4 + 1)
        positions = torch.stack([sample, n_fft // 2 - sample, n_fft // 2 + sample, -sample]) % n_fft
        before = (n_fft - len(window)) // 2
        window = nn.functional.pad(window, (before, n_fft - len(window) - before))[positions]
        window[2:, 0] = window[1, -1] = window[3, -1] = 0  # at both ends, two of the four are the same sample
        even, odd = torch.arange(0, n_fft // 2 + 1, 2), torch.arange(1, n_fft // 2 + 1, 2)
        weights = {
            "positions": positions,
            "window": window.float(),
            "even_cosines": _waves(torch.cos, even, n_fft),
            "odd_cosines": _waves(torch.cos, odd, n_fft),
            "even_sines": _waves(torch.sin, even, n_fft),
            "odd_sines": _waves(torch.sin, odd, n_fft),
            "order": torch.cat([even, odd]).argsort(),
        }
        for name, tensor in weights.items():
            self.register_buffer(name, tensor, persistent=False)

    def forward(self, waveform: Tensor) -> Tensor:
        """`(batch, samples)` -> `(batch, frequency, time)`."""
        padded = nn.functional.pad(waveform[:, None], (self.padding, self.padding), mode=self.pad_mode)[:, 0]
        times = (padded.shape[1] - 2 * self.padding) // self.hop_length + 1
        starts = torch.arange(times, device=waveform.device)[:, None] * self.hop_length
        # (batch, time, quarter + 1) each
        first, second, third, fourth = (
            padded[:, starts + positions] * window
            for positions, window in zip(self.positions, self.window, strict=True)
        )
        outer, inner = first + fourth, second + third
        outer_difference, inner_difference = first - fourth, second - third
        even = ((outer + inner) @ self.even_cosines).square()
        even = even + ((outer_difference - inner_difference) @ self.even_sines).square()
        odd = ((outer - inner) @ self.odd_cosines).square()
        odd = odd + ((outer_difference + inner_difference) @ self.odd_sines).square()
        power = torch.cat([even, odd], dim=2)[:, :, self.order].transpose(1, 2)  # (batch, frequency, time)
        return power.sqrt() if self.magnitude else power


def _waves(function: Callable[[Tensor], Tensor], frequencies: Tensor, n_fft: int) -> Tensor:
    """Cosines or sines in the first quarter of a frame, `(quarter + 1, frequencies)`."""
    turns = torch.arange(n_fft // 4 + 1)[:, None] * frequencies % n_fft  # whole numbers: exact
    return function(turns.double() * (2 * math.pi / n_fft)).float()


def folded(module: AnyModule) -> AnyModule:
    """A copy of a module in which each of torchaudio's spectrograms is a `FoldedSpectrogram`.

    Raises:
        ValueError: one of them cannot be.
    """
    copied = copy.deepcopy(module)
    for parent in [*copied.modules()]:
        for name, child in [*parent.named_children()]:
            if isinstance(child, Spectrogram):
                setattr(parent, name, FoldedSpectrogram(child))
    return copied
