"""One-dimensional convolutional nets on the waveform."""

from collections.abc import Sequence

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
        layers = [*_convolution(1, first_channels, first_kernel, stride=first_stride), nn.MaxPool1d(4)]
        channels = first_channels
        for number, (width, convolutions) in enumerate(stages, start=1):
            for _ in range(convolutions):
                layers += _convolution(channels, width, 3, padding=1)
                channels = width
            if pool_last_stage or number < len(stages):
                layers.append(nn.MaxPool1d(4))
        self.features = nn.Sequential(*layers)
        self.classifier = nn.Linear(channels, classes)

    def forward(self, waveform: Tensor) -> Tensor:
        """`(batch, 1, samples)` float in [-1, 1) -> logits `(batch, classes)`."""
        features = self.features(waveform)  # (batch, channels, time)
        return self.classifier(features.mean(dim=2))  # (batch, classes)


def _convolution(channels: int, width: int, kernel: int, **options: int) -> list[nn.Module]:
    return [nn.Conv1d(channels, width, kernel, **options), nn.BatchNorm1d(width), nn.ReLU()]
