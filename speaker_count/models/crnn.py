"""Convolutional recurrent nets on spectrograms."""

from collections.abc import Sequence

from torch import Tensor, nn


class CRNN(nn.Module):
    """Stages of 3x3 convolutions with pooling, a recurrent layer over time, maximum over time, and a linear layer.

    With `stages=[[64, 32], [128, 64]]`, an LSTM of 40 units, no padding and no batch norm it is CountNet (Stöter et al.
    2019, IEEE/ACM TASLP 27(2)), with the input of its authors' `predict.py` (github.com/faroit/CountNet); but that
    CountNet flattens the time steps of clips of five seconds: the maximum takes clips of any length.

    Args:
        classes: number of logits.
        bands: of the spectrogram.
        stages: the channels of the convolutions of each stage.
        pools: the pooling after each stage, over bands and time.
        units: of the recurrent layer.
        cell: "lstm" or "gru".
        bidirectional: whether it reads the clip in both directions.
        batch_norm: whether batch norm follows each convolution.
        dropout: probability, before the recurrent layer.
        padding: of the convolutions, in bands and frames; 0: each convolution takes two of both away.
        standardize: whether each band is brought to mean 0 and deviation 1 over the training clips first, and then the
            frames of each clip to a mean norm of 1, as CountNet's are.
    """

    def __init__(
        self,
        classes: int,
        bands: int,
        stages: Sequence[Sequence[int]],
        pools: Sequence[Sequence[int]],
        units: int,
        cell: str = "gru",
        bidirectional: bool = False,
        batch_norm: bool = True,
        dropout: float = 0.0,
        padding: int = 1,
        standardize: bool = False,
    ) -> None:
        super().__init__()
        self.standardize = nn.BatchNorm1d(bands, affine=False) if standardize else None
        layers: list[nn.Module] = []
        inputs = 1
        for channels, (over_bands, over_time) in zip(stages, pools, strict=True):
            for outputs in channels:
                layers += [nn.Conv2d(inputs, outputs, 3, padding=padding, bias=not batch_norm)]
                layers += [nn.BatchNorm2d(outputs)] if batch_norm else []
                layers += [nn.ReLU()]
                inputs, bands = outputs, bands + 2 * padding - 2
            layers += [nn.MaxPool2d((over_bands, over_time))]
            bands //= over_bands
        self.features = nn.Sequential(*layers, nn.Dropout(dropout))
        recurrent = {"lstm": nn.LSTM, "gru": nn.GRU}[cell]
        self.recurrent = recurrent(inputs * bands, units, batch_first=True, bidirectional=bidirectional)
        self.classifier = nn.Linear(units * (1 + bidirectional), classes)

    def forward(self, spectrogram: Tensor) -> Tensor:
        """`(batch, 1, bands, time)` -> logits `(batch, classes)`."""
        if self.standardize is not None:
            bands: Tensor = self.standardize(spectrogram[:, 0])  # (batch, bands, time)
            norm = bands.norm(dim=1, keepdim=True).mean(dim=2, keepdim=True)  # (batch, 1, 1)
            spectrogram = (bands / (norm + 1e-10))[:, None]
        features = self.features(spectrogram).flatten(1, 2).transpose(1, 2)  # (batch, time, channels * bands)
        steps, _ = self.recurrent(features.contiguous())  # (batch, time, units)
        logits: Tensor = self.classifier(steps.amax(dim=1))
        return logits
