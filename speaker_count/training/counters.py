"""The two kinds of LightningModules: nets on the waveform, and nets on its spectrogram."""

import functools
import logging
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from speaker_count.models.front_end import LogMelFrontEnd, SpectrogramFrontEnd, WaveformFrontEnd
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
    """A net on the power spectrogram in decibels, or on the log-mel spectrogram.

    Args:
        net, counts, learning_rate, training: as of `SpeakerCounter`.
        n_fft, hop_length: of the spectrogram, in samples; see `torchaudio.transforms.Spectrogram`.
        magnitude: the magnitude spectrogram instead of decibels.
        n_mels: bands of the log-mel spectrogram, see `LogMelFrontEnd`; None: the power spectrogram.
        win_length: of the log-mel spectrogram, in samples; None: `n_fft`.
        sample_rate: of the clips, in Hz; the log-mel spectrogram needs it.
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
        magnitude: bool = False,
        n_mels: int | None = None,
        win_length: int | None = None,
        sample_rate: int = 16_000,
        autocast: bool = False,
        **training: Any,
    ):
        front_end: nn.Module = SpectrogramFrontEnd(n_fft, hop_length, magnitude)
        if n_mels is not None:
            front_end = LogMelFrontEnd(sample_rate, n_fft, win_length or n_fft, hop_length, n_mels)
        super().__init__(net, front_end, counts, learning_rate, **training)
        self.autocast = autocast
        self.net.to(memory_format=torch.channels_last)  # the same function, in less time on a CPU

    def outputs(self, waveform: Tensor) -> tuple[Tensor, Tensor | None]:
        """As `SpeakerCounter.outputs`."""
        if not (self.autocast and waveform.device.type == "cpu" and bfloat16_is_fast()):
            return super().outputs(waveform)
        with torch.autocast("cpu", torch.bfloat16):
            outputs, frames = super().outputs(waveform)
        return outputs.float(), None if frames is None else frames.float()


@functools.cache  # a property of the processor, warned of once
def bfloat16_is_fast() -> bool:
    """Whether this processor multiplies bfloat16 faster than float32."""
    fast = bool(torch.cpu.get_capabilities().get("avx512_bf16", False))
    if not fast:
        log.warning("this processor has no AVX512_BF16: spectrogram nets compute in float32, which takes longer")
    return fast
