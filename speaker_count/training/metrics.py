"""The metrics of evaluated clips."""

from collections.abc import Sequence

import torch
from torch import Tensor
from torchmetrics import MeanAbsoluteError, MetricCollection
from torchmetrics.classification import MulticlassAccuracy, MulticlassConfusionMatrix


def metrics_of(counts: Sequence[int]) -> MetricCollection:
    """Accuracy, that of each count, confusion and mean absolute error, from class ids.

    Args:
        counts: the numbers of speakers that the net distinguishes.
    """
    classes = len(counts)
    return MetricCollection(
        {
            "accuracy": MulticlassAccuracy(classes, average="micro"),
            "accuracy_of": MulticlassAccuracy(classes, average="none"),
            "confusion": MulticlassConfusionMatrix(classes),
            "mae": CountError(counts),
        }
    )


class CountError(MeanAbsoluteError):
    """Mean absolute error of the count of speakers, from class ids."""

    def __init__(self, counts: Sequence[int]):
        super().__init__()
        self.of_class = list(counts)

    def update(self, predicted: Tensor, target: Tensor) -> None:
        counts = torch.tensor(self.of_class, device=predicted.device)
        super().update(counts[predicted], counts[target])
