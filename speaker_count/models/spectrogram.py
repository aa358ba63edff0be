"""Two-dimensional convolutional nets on the spectrogram."""

from collections.abc import Sequence

from torch import Tensor, nn


class SpectrogramCNN(nn.Module):
    """Blocks of 3x3 convolution, batch norm, ReLU, max pooling by 2 and dropout; global average pooling; linear layer.

    Args:
        classes: number of logits.
        channels: of each block.
        dropout: after each block; 0 for none.
    """

    def __init__(self, classes: int, channels: Sequence[int], dropout: Sequence[float]):
        super().__init__()
        layers: list[nn.Module] = []
        for inputs, outputs, probability in zip([1, *channels[:-1]], channels, dropout, strict=True):
            # pooling first gives the same function, and ReLU a quarter of the work
            layers += [nn.Conv2d(inputs, outputs, 3, padding=1), nn.BatchNorm2d(outputs), nn.MaxPool2d(2), nn.ReLU()]
            if probability:
                layers.append(nn.Dropout(probability))
        self.features = nn.Sequential(*layers)
        self.classifier = nn.Linear(channels[-1], classes)

    def forward(self, spectrogram: Tensor) -> Tensor:
        """`(batch, 1, frequency, time)` in decibels -> logits `(batch, classes)`."""
        features = self.features(spectrogram)  # (batch, channels, frequency, time)
        return self.classifier(features.mean(dim=(2, 3)))  # (batch, classes)
