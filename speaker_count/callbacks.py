"""What a run notes down while it trains."""

import csv
import logging
import os
import time
import warnings
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
from pytorch_lightning.callbacks import Checkpoint

log = logging.getLogger(__name__)


def quiet() -> None:
    """Silence what says nothing about a run: Lightning's list of devices and its hints, and warnings of no trouble."""
    for name in ("pytorch_lightning", "lightning_fabric"):
        logging.getLogger(name).setLevel(logging.WARNING)
    for message in (".*LeafSpec.*", ".*smaller than the logging interval.*", "Checkpoint directory .* not empty.*"):
        warnings.filterwarnings("ignore", message)


class EpochTable(pl.Callback):
    """`metrics.csv`, a row an epoch, and how long training took.

    The rows are part of every checkpoint and the file is written anew from them, so that a resumed run has the rows of
    the epochs before.

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

    def _tick(self) -> None:
        """Book the time since the last tick."""
        now = time.monotonic()
        if self._since is not None:
            self.seconds["fit"] += now - self._since
            self.seconds["train"] += 0 if self._evaluating else now - self._since
        self._since = now

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._since = time.monotonic()
        for row in self.rows if trainer.logger else ():  # of a resumed run: its logger begins anew
            step = row["epoch"] * trainer.num_training_batches - 1
            trainer.logger.log_metrics({**row, "epoch": row["epoch"] - 1}, step)

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: dict, batch_idx: int
    ) -> None:
        self.clips += len(batch["count"])

    def on_validation_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._tick()
        self._evaluating = True

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._tick()
        self._evaluating = False

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._tick()
        metrics = {name: float(value) for name, value in sorted(trainer.callback_metrics.items())}
        self.rows.append({"epoch": trainer.current_epoch + 1, **metrics})
        self._write()
        shown = ", ".join(
            f"{split} {metrics[f'{split}/accuracy']:.4f}"
            for split in ("running", "train", "val")
            if f"{split}/accuracy" in metrics
        )
        log.info("epoch %d of %s: accuracy %s", trainer.current_epoch + 1, trainer.max_epochs, shown)

    def _write(self) -> None:
        partial = self.path.with_name(self.path.name + ".partial")
        with open(partial, "w", newline="") as file:
            writer = csv.DictWriter(file, fieldnames=list(self.rows[-1]))
            writer.writeheader()
            writer.writerows(self.rows)
        os.replace(partial, self.path)

    def state_dict(self) -> dict[str, Any]:
        self._tick()
        return {"rows": self.rows, "seconds": self.seconds, "clips": self.clips}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.rows, self.seconds, self.clips = state["rows"], state["seconds"], state["clips"]


class Checkpoints(Checkpoint):
    """`last.ckpt`: the state when an epoch ends, before its last step, and in between every few minutes.
    `best.ckpt`: the state after the epoch of the best metric, the first of equals.

    Args:
        dirpath: the folder of the files.
        monitor: the metric, the higher the better.
        minutes: how much training may be lost when a run is killed.
    """

    def __init__(self, dirpath: str, monitor: str = "val/accuracy", minutes: float = 5):
        self.folder, self.monitor, self.minutes = Path(dirpath), monitor, minutes
        self.best: float | None = None
        self._saved = time.monotonic()

    def _save(self, trainer: pl.Trainer, name: str) -> None:
        # Lightning writes a file elsewhere and moves it, which between file systems is a copy that can be cut off
        partial = self.folder / f"{name}.partial"
        try:
            trainer.save_checkpoint(partial)
            os.replace(partial, self.folder / name)
        finally:
            partial.unlink(missing_ok=True)
        self._saved = time.monotonic()

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._saved = time.monotonic()

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: dict, batch_idx: int
    ) -> None:
        # not after the last step: Lightning, going on from there, would leave out the evaluation that follows
        left = trainer.num_training_batches - 1 - batch_idx
        if left == 1 or (left > 1 and time.monotonic() - self._saved >= 60 * self.minutes):
            self._save(trainer, "last.ckpt")

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        score = trainer.callback_metrics.get(self.monitor)
        if score is not None and (self.best is None or float(score) > self.best):
            self.best = float(score)
            self._save(trainer, "best.ckpt")
        self._save(trainer, "last.ckpt")

    def state_dict(self) -> dict[str, Any]:
        return {"best": self.best}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.best = state["best"]
