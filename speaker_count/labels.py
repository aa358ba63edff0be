"""What every part agrees on: the names of splits, sexes and classes, and the scale of a clip's samples."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from torch import Tensor

Value = TypeVar("Value")

SPLITS = ("train", "validation", "test")
UNKNOWN = "U"  # a sex that is not known
SEXES = ("F", "M", UNKNOWN)
FULL_SCALE = 32_768  # clips are 16-bit integers; divided by it they lie in [-1, 1), which is what nets see
# of the metrics that Lightning logs; `running` holds the averages over the training steps
METRIC_PREFIXES = {"running": "running", "train": "train", "validation": "val", "test": "test"}


def metric_key(split: str, metric: str) -> str:
    """The key under which Lightning logs a split's metric: `val/loss`."""
    return f"{METRIC_PREFIXES[split]}/{metric}"


def metric_keys(counts: Sequence[int], splits: Sequence[str]) -> list[str]:
    """The keys of every metric that Lightning logs of some splits.

    Args:
        counts: the numbers of speakers that the net distinguishes.
        splits: `running` among them, where only the accuracy and the loss are known.
    """
    names = ("accuracy", "loss", "mae", *(f"accuracy_{count}" for count in counts))
    return [metric_key(split, name) for split in splits for name in (names[:2] if split == "running" else names)]


def metrics_of(logged: Mapping[str, Value], split: str) -> dict[str, Value]:
    """The logged metrics of one split, by their names."""
    prefix = metric_key(split, "")
    return {key.removeprefix(prefix): value for key, value in logged.items() if key.startswith(prefix)}


def class_of(count: Tensor, counts: Sequence[int]) -> Tensor:
    """The class id of each count of speakers: its position in the increasing `counts`.

    Args:
        count: `(clips,)`.

    Returns:
        `(clips,)` int64.
    """
    return (count[:, None] > count.new_tensor(counts)).sum(dim=1)


def class_names(counts: Sequence[int]) -> list[str]:
    """The classes in words: `1 speaker`, `2 speakers`."""
    return ["1 speaker" if count == 1 else f"{count} speakers" for count in counts]


def probability_names(counts: Sequence[int]) -> list[str]:
    """The columns with the probability of each count in a table of predictions: `p_0`, `p_1`."""
    return [f"p_{count}" for count in counts]


def compositions(counts: Sequence[int]) -> list[str]:
    """The sexes of the speakers of a clip, whatever their order, for each count: `M`, `F`, `MM`, `MF`, `FF`."""
    return ["M" * (count - women) + "F" * women for count in counts for women in range(count + 1)]
