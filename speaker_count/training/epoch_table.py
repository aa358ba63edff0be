"""The metrics of every epoch, and how long training took."""

import csv
import itertools
import logging
import time
from pathlib import Path
from typing import Any

import pytorch_lightning as pl

from speaker_count import files, labels
from speaker_count.errors import UserError

log = logging.getLogger(__name__)


class EpochTable(pl.Callback):
    """`metrics.csv`, a row an epoch, and how long training took.

    The rows are part of every checkpoint and the file is written anew from them, so that a resumed run keeps the rows
    of the epochs before.

    Attributes:
        rows: of each finished epoch, its number (from 1) and every metric.
        seconds: `fit`, all of training, and `train`, without the evaluations after each epoch.
        clips: how many were trained on in that time.
    """

    def __init__(self, folder: Path):
        self.path = folder / "metrics.csv"
        self.rows: list[dict[str, float]] = []
        self.seconds = {"fit": 0.0, "train": 0.0}
        self.clips = 0
        self._since: float | None = None
        self._evaluating = False

    @property
    def best(self) -> dict[str, float]:
        """The row of the best validation accuracy, the first of equals."""
        return max(self.rows, key=lambda row: row.get(labels.metric_key("validation", "accuracy"), 0))

    def _tick(self) -> None:
        """Add the time since the last tick."""
        now = time.monotonic()
        if self._since is not None:
            self.seconds["fit"] += now - self._since
            self.seconds["train"] += 0 if self._evaluating else now - self._since
        self._since = now

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._check(trainer)
        self._since = time.monotonic()
        if trainer.logger is None:
            return
        for row in self.rows:  # of a resumed run, whose logger begins anew
            step = int(row["epoch"]) * int(trainer.num_training_batches) - 1
            trainer.logger.log_metrics(row, step)

    def on_fit_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._check(trainer)  # a run that was resumed after its last epoch does not start to train

    def _check(self, trainer: pl.Trainer) -> None:
        """Check that there is a row for each epoch that was done.

        Raises:
            ValueError: a checkpoint has others.
        """
        if [row["epoch"] for row in self.rows] != list(range(1, trainer.current_epoch + 1)):
            raise ValueError(f"it does not have the metrics of {trainer.current_epoch} epochs")

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: dict[str, Any], batch_idx: int
    ) -> None:
        self.clips += len(batch["count"]) * trainer.world_size

    def on_validation_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._log_number(pl_module)

    def _log_number(self, pl_module: pl.LightningModule) -> None:
        """Log the epoch's number, from 1, to every logger; without it, Lightning adds its own, from 0."""
        pl_module.log("epoch", float(pl_module.current_epoch + 1))

    def on_validation_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._tick()
        self._evaluating = True

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._tick()
        self._evaluating = False

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._tick()
        self._log_number(pl_module)
        metrics = {name: float(value) for name, value in sorted(trainer.callback_metrics.items()) if name != "epoch"}
        if labels.metric_key("validation", "accuracy") not in metrics:
            raise UserError(
                f"epoch {trainer.current_epoch + 1} ended without an evaluation: the checkpoint from which the run was "
                "resumed does not say truly how far it was; put another copy of it there; without the file, the run "
                "starts again"
            )
        self.rows.append({"epoch": trainer.current_epoch + 1, **metrics})
        if trainer.is_global_zero:
            self._write()
        shown = ", ".join(
            f"{split} {metrics[key]:.4f}"
            for split in ("running", "train", "validation")
            if (key := labels.metric_key(split, "accuracy")) in metrics
        )
        log.info("epoch %d of %s: accuracy %s", trainer.current_epoch + 1, trainer.max_epochs, shown)

    def _write(self) -> None:
        with files.replacing(self.path) as partial, open(partial, "w", newline="") as file:
            writer = csv.DictWriter(file, fieldnames=list(dict.fromkeys(itertools.chain(*self.rows))))
            writer.writeheader()
            writer.writerows(self.rows)

    def state_dict(self) -> dict[str, Any]:
        self._tick()
        return {"rows": self.rows, "seconds": self.seconds, "clips": self.clips}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.rows = [{name: float(value) for name, value in row.items()} for row in state_dict["rows"]]
        for row in self.rows:
            row["epoch"] = int(row["epoch"])
        self.seconds = {name: float(state_dict["seconds"][name]) for name in self.seconds}
        self.clips = int(state_dict["clips"])
        if not (0 < self.seconds["train"] <= self.seconds["fit"] < float("inf") and self.clips > 0):
            raise ValueError("its times are absurd")
