"""A convolutional time-delay net on the log-mel spectrogram."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

POOLING = ("attention", "mean", "deviation", "maximum")  # over time


class ConvTDNN(nn.Module):
    """Strided 2D convolutions, residual temporal convolutions, and pooling by attention, mean, deviation and maximum.

    The 2D convolutions shrink frequency by 16 and time by 4; what is left of frequency becomes channels of a time-delay
    net (Waibel et al. 1989) with residual blocks. The statistics over time are those of x-vectors (Snyder et al. 2018),
    with attention as in Okabe et al. 2018.

    Args:
        classes: number of logits.
        bands: of the spectrogram.
        channels: of the 2D convolutions; the first two halve time as well as frequency, the others frequency.
        width: channels of the temporal convolutions.
        dilations: of the residual blocks, in time steps.
        dropout: probability, before the linear layer.
        pooling: some of `POOLING`; None: all.
        band_mask, time_mask: the widest stripe of bands and of frames that is hidden in training (Park et al. 2019,
            SpecAugment), two each in every clip; 0: none.
        frame_classes: number of logits of each time step, for a loss on frames; 0: none.
    """

    def __init__(
        self,
        classes: int,
        bands: int = 80,
        channels: Sequence[int] = (32, 48, 64, 96),
        width: int = 192,
        dilations: Sequence[int] = (1, 2),
        dropout: float = 0.1,
        pooling: Sequence[str] | None = None,
        band_mask: int = 0,
        time_mask: int = 0,
        frame_classes: int = 0,
    ) -> None:
        super().__init__()
        self.band_mask, self.time_mask = band_mask, time_mask
        layers: list[nn.Module] = []
        inputs = 1
        for number, outputs in enumerate(channels):
            stride = (2, 2) if number < 2 else (2, 1)
            convolution = nn.Conv2d(inputs, outputs, 5 if not number else 3, stride, 2 if not number else 1, bias=False)
            layers += [convolution, nn.BatchNorm2d(outputs), nn.ReLU()]
            inputs, bands = outputs, -(-bands // 2)
        self.features = nn.Sequential(*layers)
        self.narrow = nn.Sequential(TemporalConv(inputs * bands, width, 1), nn.BatchNorm2d(width), nn.ReLU())
        self.blocks = nn.Sequential(*(ResidualBlock(width, dilation) for dilation in dilations))
        self.pooling = POOLING if pooling is None else tuple(pooling)
        if not self.pooling or not {*POOLING}.issuperset(self.pooling):
            raise ValueError(f"pooling={list(self.pooling)}: expected some of {', '.join(POOLING)}")
        if "attention" in self.pooling:
            scores = [nn.Conv1d(width, width // 2, 1), nn.Tanh(), nn.Conv1d(width // 2, width, 1)]
            self.attention = nn.Sequential(*scores)
        self.dropout = nn.Dropout(dropout)
        self.classifier = nn.Linear(len(self.pooling) * width, classes)
        self.frames = nn.Conv1d(width, frame_classes, 1) if frame_classes else None

    def forward(self, spectrogram: Tensor) -> Tensor | tuple[Tensor, Tensor]:
        """`(batch, 1, bands, time)` -> logits `(batch, classes)`; with `frame_classes`, in training, also those of the
        time steps, `(batch, frame_classes, steps)`.
        """
        logits, frames = self.with_frames(spectrogram)
        return logits if frames is None or not self.training else (logits, frames)

    def with_frames(self, spectrogram: Tensor) -> tuple[Tensor, Tensor | None]:
        """Logits of the clip and of its time steps, as of `forward` in training; None for the steps without
        `frame_classes`.
        """
        if self.training:
            spectrogram = masked(masked(spectrogram, 2, self.band_mask), 3, self.time_mask)
        features = self.features(spectrogram).flatten(1, 2)[:, :, None]  # (batch, channels * bands, 1, steps)
        features = features.contiguous(memory_format=torch.channels_last)
        features = self.blocks(self.narrow(features))[:, :, 0]  # (batch, width, steps)
        spread, mean = torch.var_mean(features, dim=2, correction=0)
        pooled = {"mean": mean, "deviation": (spread + 1e-5).sqrt(), "maximum": features.amax(dim=2)}
        if "attention" in self.pooling:
            pooled["attention"] = (self.attention(features).softmax(dim=2) * features).sum(dim=2)
        pooled_features = torch.cat([pooled[name] for name in self.pooling], dim=1)  # (batch, pooling * width)
        logits: Tensor = self.classifier(self.dropout(pooled_features))
        return logits, None if self.frames is None else self.frames(features)


class ResidualBlock(nn.Module):
    """Two temporal convolutions of three steps with batch norm, around which the input is added."""

    def __init__(self, width: int, dilation: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            TemporalConv(width, width, 3, dilation),
            nn.BatchNorm2d(width),
            nn.ReLU(),
            TemporalConv(width, width, 3),
            nn.BatchNorm2d(width),
        )

    def forward(self, features: Tensor) -> Tensor:
        """`(batch, width, 1, steps)` -> the same shape."""
        return nn.functional.relu(features + self.layers(features))


class TemporalConv(nn.Conv1d):
    """A convolution over time, without a bias. The features have a height of 1, so that their channels can lie last in
    memory: on a CPU, batch norm then takes a third of the time.
    """

    def __init__(self, inputs: int, outputs: int, kernel: int, dilation: int = 1) -> None:
        super().__init__(inputs, outputs, kernel, padding=dilation * (kernel // 2), dilation=dilation, bias=False)

    def forward(self, features: Tensor) -> Tensor:
        """`(batch, inputs, 1, steps)` -> `(batch, outputs, 1, steps)`."""
        padding, dilation = (0, *self.padding), (1, *self.dilation)
        return nn.functional.conv2d(features, self.weight[:, :, None], padding=padding, dilation=dilation)


def masked(spectrogram: Tensor, dim: int, widest: int, stripes: int = 2) -> Tensor:
    """A spectrogram `(batch, 1, bands, time)`, of which stripes at random places are replaced by each clip's mean.

    Args:
        dim: 2 for stripes of bands, 3 for stripes of time.
        widest: the largest width of a stripe, in bands or frames; 0: there are no stripes.
    """
    if not widest:
        return spectrogram
    batch, size = len(spectrogram), spectrogram.shape[dim]
    width = torch.randint(0, widest + 1, (batch, stripes, 1))
    start = (torch.rand(batch, stripes, 1) * (size - width + 1)).long()
    place = torch.arange(size)
    covered = ((place >= start) & (place < start + width)).any(dim=1)  # (batch, size)
    shape = [batch, 1, 1, 1]
    shape[dim] = size
    mean = spectrogram.mean(dim=(1, 2, 3), keepdim=True)
    return torch.where(covered.view(shape).to(spectrogram.device), mean, spectrogram)
