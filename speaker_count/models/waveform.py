"""One-dimensional convolutional nets on the waveform."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn


class WaveformCNN(nn.Module):
    """The nets of Dai et al. 2016 (arXiv 1610.00087), as the paper changed them.

    Each convolution is followed by batch norm and ReLU, the first convolution and each stage by max pooling by 4;
    global average pooling over time and one linear layer give the logits.

    Args:
        classes: number of logits.
        stages: (channels, convolutions) of each stage.
        pool_last_stage: whether max pooling follows the last stage too.
        residual: add the input around every two convolutions of a stage (Dai et al.'s M34-res).
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
        residual: bool = False,
    ) -> None:
        super().__init__()
        layers = _convolution(1, first_channels, first_kernel, stride=first_stride, pool=True)
        channels = first_channels
        for number, (width, convolutions) in enumerate(stages, start=1):
            pooled = pool_last_stage or number < len(stages)
            if residual:
                for _ in range(convolutions // 2):
                    layers.append(ResidualBlock(channels, width))
                    channels = width
                layers += [nn.MaxPool2d((1, 4))] if pooled else []
                continue
            for left in reversed(range(convolutions)):
                layers += _convolution(channels, width, 3, padding=1, pool=pooled and not left)
                channels = width
        self.features = nn.Sequential(*layers).to(memory_format=torch.channels_last)
        self.classifier = nn.Linear(channels, classes)

    def forward(self, waveform: Tensor) -> Tensor:
        """`(batch, 1, samples)` float in [-1, 1) -> logits `(batch, classes)`."""
        first, *others = self.features
        # PyTorch cannot infer the memory layout of a single channel
        features = first(waveform[:, :, None]).contiguous(memory_format=torch.channels_last)
        for layer in others:
            features = layer(features)  # (batch, channels, 1, time)
        logits: Tensor = self.classifier(features.mean(dim=(2, 3)))  # (batch, classes)
        return logits


class ResidualBlock(nn.Module):
    """Two 3-convolutions with batch norm, around which the input is added, through a 1-convolution where the number of
    channels changes; then ReLU.
    """

    def __init__(self, channels: int, width: int) -> None:
        super().__init__()
        second = nn.Conv2d(width, width, (1, 3), padding=(0, 1))
        self.layers = nn.Sequential(
            *_convolution(channels, width, 3, pool=False, padding=1), second, nn.BatchNorm2d(width)
        )
        self.shortcut = nn.Identity() if channels == width else nn.Conv2d(channels, width, 1)

    def forward(self, features: Tensor) -> Tensor:
        """`(batch, channels, 1, time)` -> `(batch, width, 1, time)`."""
        return nn.functional.relu(self.layers(features) + self.shortcut(features))


def _convolution(
    channels: int, width: int, kernel: int, pool: bool, stride: int = 1, padding: int = 0
) -> list[nn.Module]:
    """Convolution over time, batch norm, pooling and ReLU, in two dimensions: on a CPU, PyTorch computes convolutions
    of height 1 faster than one-dimensional ones.
    """
    convolution = nn.Conv2d(channels, width, (1, kernel), stride=(1, stride), padding=(0, padding))
    # pooling before ReLU computes the same function and leaves ReLU a quarter of the work
    pooling = [nn.MaxPool2d((1, 4))] if pool else []
    return [convolution, nn.BatchNorm2d(width), *pooling, nn.ReLU()]
