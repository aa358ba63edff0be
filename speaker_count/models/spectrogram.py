"""Two-dimensional convolutional nets on the spectrogram."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn


class SpectrogramCNN(nn.Module):
    """Blocks of 3x3 convolution, batch norm, ReLU, max pooling by 2 and dropout; global average pooling; linear layer.

    Args:
        classes: number of logits.
        channels: number of channels of each block.
        dropout: dropout probability after each block; 0 for none.
    """

    def __init__(self, classes: int, channels: Sequence[int], dropout: Sequence[float]) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for inputs, outputs, probability in zip([1, *channels[:-1]], channels, dropout, strict=True):
            # pooling before ReLU computes the same function and leaves ReLU a quarter of the work
            layers += [nn.Conv2d(inputs, outputs, 3, padding=1), nn.BatchNorm2d(outputs), nn.MaxPool2d(2), nn.ReLU()]
            if probability:
                layers.append(Dropout(probability))
        self.features = nn.Sequential(*layers)
        self.classifier = nn.Linear(channels[-1], classes)

    def forward(self, spectrogram: Tensor) -> Tensor:
        """`(batch, 1, frequency, time)` in decibels -> logits `(batch, classes)`."""
        features = self.features(spectrogram)  # (batch, channels, frequency, time)
        with torch.autocast(features.device.type, enabled=False):  # a bfloat16 logit has three digits: too many ties
            logits: Tensor = self.classifier(features.float().mean(dim=(2, 3)))  # (batch, classes)
        return logits


class Dropout(nn.Dropout):
    """Dropout that draws 16 random bits per element for bfloat16 on a CPU, and is PyTorch's own elsewhere.

    PyTorch's mask takes a fifth of a bfloat16 training step. With 16 bits, the probability is rounded to a multiple of
    2**-16.
    """

    def forward(self, features: Tensor) -> Tensor:
        """Any shape -> the same shape; the kept elements are scaled by `1 / (1 - p)` in training."""
        if not self.training or self.p == 1 or features.dtype != torch.bfloat16 or features.device.type != "cpu":
            return super().forward(features)
        words = torch.empty(-(-features.numel() // 4), dtype=torch.int64).random_(-(2**63), None)
        bits = words.view(torch.int16)[: features.numel()].as_strided(features.shape, features.stride())
        kept = bits >= round(self.p * 2**16) - 2**15
        return features * kept.to(features.dtype).mul_(1 / (1 - self.p))
