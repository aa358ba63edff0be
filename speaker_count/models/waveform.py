"""One-dimensional convolutional nets on the waveform."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn


class WaveformCNN(nn.Module):
    """The nets of Dai et al. 2016 (arXiv 1610.00087), as the paper changed them.

    Each convolution is followed by batch norm and ReLU, the first convolution and each stage by max pooling by 4;
    global average pooling over time and one linear layer give the logits.

    Args:
        classes: number of logits.
        stages: (channels, convolutions) of each stage.
        pool_last_stage: max pooling after the last stage too.
        first_channels, first_kernel, first_stride: of the first convolution, which has no padding.
    """

    def __init__(
        self,
        classes: int,
        stages: Sequence[tuple[int, int]],
        pool_last_stage: bool,
        first_channels: int = 32,
        first_kernel: int = 80,
        first_stride: int = 16,
    ):
        super().__init__()
        layers = _convolution(1, first_channels, first_kernel, stride=(1, first_stride), pool=True)
        channels = first_channels
        for number, (width, convolutions) in enumerate(stages, start=1):
            pooled = pool_last_stage or number < len(stages)
            for left in reversed(range(convolutions)):
                layers += _convolution(channels, width, 3, padding=(0, 1), pool=pooled and not left)
                channels = width
        self.features = nn.Sequential(*layers).to(memory_format=torch.channels_last)
        self.classifier = nn.Linear(channels, classes)

    def forward(self, waveform: Tensor) -> Tensor:
        """`(batch, 1, samples)` float in [-1, 1) -> logits `(batch, classes)`."""
        first, *others = self.features
        # of a single channel PyTorch cannot tell the layout
        features = first(waveform[:, :, None]).contiguous(memory_format=torch.channels_last)
        for layer in others:
            features = layer(features)  # (batch, channels, 1, time)
        return self.classifier(features.mean(dim=(2, 3)))  # (batch, classes)

    def _load_from_state_dict(self, state_dict: dict[str, Tensor], prefix: str, *args: Any) -> None:
        for name, parameter in self.named_parameters():
            stored = state_dict.get(prefix + name)
            if stored is not None and stored.dim() == parameter.dim() - 1:  # written with one-dimensional convolutions
                state_dict[prefix + name] = stored[:, :, None]
        super()._load_from_state_dict(state_dict, prefix, *args)


def _convolution(channels: int, width: int, kernel: int, pool: bool, **options: tuple[int, int]) -> list[nn.Module]:
    """Over time, in two dimensions of which one has length 1: PyTorch is faster at these on a CPU."""
    # pooling first gives the same function, and ReLU a quarter of the work
    pooling = [nn.MaxPool2d((1, 4))] if pool else []
    return [nn.Conv2d(channels, width, (1, kernel), **options), nn.BatchNorm2d(width), *pooling, nn.ReLU()]
