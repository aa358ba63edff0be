"""The two kinds of LightningModules: nets on the waveform, and nets on its spectrogram."""

import functools
import logging
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from speaker_count.models.front_end import SpectrogramFrontEnd, WaveformFrontEnd
from speaker_count.training.module import SpeakerCounter

log = logging.getLogger(__name__)


class WaveformCounter(SpeakerCounter):
    """A net on the waveform itself; arguments as of `SpeakerCounter`, without the front end."""

    kind = "waveform"

    def __init__(
        self,
        net: Callable[..., nn.Module],
        counts: Sequence[int] = (1, 2, 3),
        learning_rate: float = 1e-4,
        **training: Any,
    ):
        super().__init__(net, WaveformFrontEnd(), counts, learning_rate, **training)


class SpectrogramCounter(SpeakerCounter):
    """A net on the power spectrogram in decibels.

    Args:
        net, counts, learning_rate, training: as of `SpeakerCounter`.
        n_fft, hop_length: of the spectrogram, in samples; see `torchaudio.transforms.Spectrogram`.
        autocast: compute the blocks in bfloat16 where that is fast: clips on the CPU, and a processor with
            `AVX512_BF16` (AMD from Zen 4 on, Intel Xeon from Sapphire Rapids on). Weights, their gradients, batch
            norm's statistics, the spectrogram, the logits and the loss stay float32. Elsewhere, and where false, all
            of it is float32.
    """

    kind = "spectrogram"

    def __init__(
        self,
        net: Callable[..., nn.Module],
        counts: Sequence[int] = (1, 2, 3),
        learning_rate: float = 1e-4,
        n_fft: int = 400,
        hop_length: int = 200,
        autocast: bool = False,
        **training: Any,
    ):
        super().__init__(net, SpectrogramFrontEnd(n_fft, hop_length), counts, learning_rate, **training)
        self.autocast = autocast
        self.net.to(memory_format=torch.channels_last)  # the same function, in less time on a CPU

    def forward(self, waveform: Tensor) -> Tensor:
        """As `SpeakerCounter.forward`."""
        if not (self.autocast and waveform.device.type == "cpu" and bfloat16_is_fast()):
            return super().forward(waveform)
        with torch.autocast("cpu", torch.bfloat16):
            return super().forward(waveform).float()


@functools.cache  # a property of the processor, warned of once
def bfloat16_is_fast() -> bool:
    """Whether this processor multiplies bfloat16 faster than float32."""
    fast = bool(torch.cpu.get_capabilities().get("avx512_bf16", False))
    if not fast:
        log.warning("this processor has no AVX512_BF16: spectrogram nets compute in float32, which takes longer")
    return fast
