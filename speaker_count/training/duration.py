"""How many steps a run has, for schedules that follow them."""

import math

import pytorch_lightning as pl

LONGEST = 10**9  # steps


def steps_of(trainer: pl.Trainer) -> int:
    """The steps of a run. Lightning's own estimate opens the training clips before a resumed run knows its position in
    them, and the run would see other clips.
    """
    data = getattr(trainer, "datamodule", None)
    if data is None:  # a trial, which may last for a time
        steps = trainer.estimated_stepping_batches
        return int(steps) if 0 < steps < LONGEST else LONGEST
    batches, limit = len(data.train_dataloader()), trainer.limit_train_batches
    batches = min(batches, limit) if isinstance(limit, int) else int(batches * limit)
    return int(trainer.max_epochs or 1) * math.ceil(batches / trainer.accumulate_grad_batches)
