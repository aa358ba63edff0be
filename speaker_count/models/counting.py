"""From the outputs of a net to the number of speakers."""

from collections.abc import Sequence
from typing import Any, cast

import torch
from torch import Tensor, nn


def marginal(outputs: Tensor, counts: Sequence[int]) -> Tensor:
    """Logits of counts `(batch, counts)` from those of compositions, `(batch, compositions)`."""
    return torch.stack([part.logsumexp(dim=1) for part in _by_count(outputs, counts)], dim=1)


def calibrated(outputs: Tensor, counts: Sequence[int], temperature: float, composed: bool) -> Tensor:
    """What a net gives, with logits of counts that are divided by a temperature (Guo et al. 2017, arXiv 1706.04599).

    Args:
        outputs: `(batch, outputs)` logits of counts or, where `composed`, of compositions. Which composition is likely
            within a count stays as it is.

    Returns:
        Logits of the same shape.
    """
    if temperature == 1:
        return outputs
    if not composed:
        return outputs / temperature
    parts = [part + part.logsumexp(dim=1, keepdim=True) * (1 / temperature - 1) for part in _by_count(outputs, counts)]
    return torch.cat(parts, dim=1)


def _by_count(outputs: Tensor, counts: Sequence[int]) -> tuple[Tensor, ...]:
    parts: tuple[Tensor, ...] = outputs.split([count + 1 for count in counts], dim=1)
    return parts


class CountingNet(nn.Module):
    """A trained net with its front end, for clips as they are recorded.

    Args:
        front_end: makes the net's input of clips.
        net: gives logits of counts, or of compositions.
        counts: the numbers of speakers that the net distinguishes.
        composed: whether the net gives compositions.
        temperature: by which the logits of counts are divided; it calibrates the probabilities.
    """

    def __init__(
        self, front_end: nn.Module, net: nn.Module, counts: Sequence[int], composed: bool, temperature: float = 1.0
    ) -> None:
        super().__init__()
        self.front_end, self.net = front_end, net
        self.counts, self.composed, self.temperature = list(counts), composed, temperature

    @property
    def knows_middle(self) -> bool:
        """Whether the net also gives logits of how many speak in each time step, for the same counts."""
        has_frames = hasattr(self.net, "with_frames") and getattr(self.net, "frames", None) is not None
        return has_frames and self.counts == [*range(len(self.counts))]

    def forward(self, waveform: Tensor) -> Tensor:
        """`(batch, samples)` int16, or float in [-1, 1) -> logits of counts, `(batch, counts)`."""
        return self._logits(self.net(self.front_end(waveform)))

    def with_middle(self, waveform: Tensor) -> tuple[Tensor, Tensor]:
        """Only where `knows_middle`: logits of how many speak anywhere in the clip, as of `forward`, and of how many
        speak at a time in its middle half, the mean over the time steps there; `(batch, counts)` each. The temperature
        divides both.
        """
        outputs, frames = cast(Any, self.net).with_frames(self.front_end(waveform))
        steps = frames.shape[2]
        middle: Tensor = frames[:, :, steps // 4 : steps - steps // 4].mean(dim=2)
        return self._logits(outputs), middle / self.temperature

    def _logits(self, outputs: Tensor) -> Tensor:
        logits: Tensor = marginal(outputs, self.counts) if self.composed else outputs
        return logits / self.temperature
