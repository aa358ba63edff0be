"""What is predicted: the count of speakers, as a class id."""

from collections.abc import Sequence

from torch import Tensor


def to_class(count: Tensor, counts: Tensor) -> Tensor:
    """The class id of each count of speakers: its place in `counts`, which increase."""
    return (count[:, None] > counts).sum(dim=1)


def names(counts: Sequence[int]) -> list[str]:
    """What people call the classes."""
    return ["1 speaker" if count == 1 else f"{count} speakers" for count in counts]
