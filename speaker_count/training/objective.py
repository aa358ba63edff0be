"""What a net is trained to do beside naming the count: losses, and their weights."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

import torch
from torch import Tensor, nn

from speaker_count import labels
from speaker_count.errors import UserError, check_number
from speaker_count.models.counting import marginal

FRAME_SECONDS = 0.02  # for which the number of active voices is known
IGNORED = -100  # a target that cross-entropy leaves out


@dataclass(frozen=True)
class Objective:
    """The loss of a training step: the cross-entropy of the count, and what is added to it.

    Args:
        label_smoothing: the share of the target that is spread over all counts.
        ordinal_weight: of the squared difference between the expected count and the true one.
        frame_weight: of the cross-entropy of the number of active voices in each time step. The net needs the argument
            `frame_classes`, and clips that are mixed.
        composition_weight: of the cross-entropy of how many women and men speak. The net then distinguishes these
            compositions, and the count is their marginal. Clips with a voice of unknown sex are left out.

    Raises:
        UserError: a value is of the wrong kind or out of range.
    """

    label_smoothing: float = 0.0
    ordinal_weight: float = 0.0
    frame_weight: float = 0.0
    composition_weight: float = 0.0

    def __post_init__(self) -> None:
        for each in fields(self):
            check_number(f"model.loss.{each.name}", getattr(self, each.name), float, 0)
        if self.label_smoothing >= 1:
            raise UserError(f"model.loss.label_smoothing={self.label_smoothing}: expected less than 1")

    @classmethod
    def of(cls, values: Mapping[str, Any] | None) -> "Objective":
        """Of plain values, among which None is 0; None: the cross-entropy of the count alone.

        Raises:
            UserError: a key is not known.
        """
        values = {key: value for key, value in (values or {}).items() if value is not None}
        known = [each.name for each in fields(cls)]
        unknown = sorted(str(key) for key in values if key not in known)
        if unknown:
            raise UserError(f"model.loss.{unknown[0]}: no such key; there are {', '.join(known)}")
        return cls(**values)

    def loss(
        self, outputs: Tensor, frames: Tensor | None, batch: Mapping[str, Tensor], counts: Sequence[int]
    ) -> Tensor:
        """The loss of a batch.

        Args:
            outputs: `(batch, outputs)` logits of counts, or of compositions.
            frames: `(batch, frame_classes, steps)` logits, if there is a loss on them.
            batch: with `count`, `women`, `men`, and with `active` where `frames` are given.
            counts: that the net distinguishes.
        """
        logits = marginal(outputs, counts) if self.composition_weight else outputs
        target = labels.class_of(batch["count"], counts)
        loss = nn.functional.cross_entropy(logits, target, label_smoothing=self.label_smoothing)
        if self.ordinal_weight:
            expected = logits.softmax(dim=1) @ logits.new_tensor(counts)
            loss = loss + self.ordinal_weight * (expected - batch["count"]).square().mean()
        if self.composition_weight:
            sexes = composition_of(batch, counts)
            known = (sexes != IGNORED).sum().clamp(min=1)
            summed = nn.functional.cross_entropy(
                outputs, sexes, ignore_index=IGNORED, reduction="sum", label_smoothing=self.label_smoothing
            )
            loss = loss + self.composition_weight * summed / known
        if frames is not None:
            steps = frames.shape[2]
            active = nn.functional.interpolate(batch["active"][:, None].float(), steps, mode="nearest")[:, 0].long()
            loss = loss + self.frame_weight * nn.functional.cross_entropy(frames, active)
        return loss


def composition_of(batch: Mapping[str, Tensor], counts: Sequence[int]) -> Tensor:
    """The place of each clip's composition in `labels.compositions(counts)`, `(batch,)` int64; `IGNORED` if the sex of
    a voice is not known.
    """
    count, women = batch["count"], batch["women"]
    before = torch.tensor([0, *(count + 1 for count in counts)], device=count.device).cumsum(0)
    place = before[labels.class_of(count, counts)] + women
    return torch.where(women + batch["men"] == count, place, IGNORED)
