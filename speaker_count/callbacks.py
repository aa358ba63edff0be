"""What a run notes down while it trains."""

import csv
import logging
import os
import signal
import sys
import threading
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
from pytorch_lightning.callbacks import Checkpoint

log = logging.getLogger(__name__)


def quiet() -> None:
    """Silence what says nothing about a run: Lightning's list of devices and its hints, and warnings of no trouble."""
    for name in ("pytorch_lightning", "lightning_fabric"):
        logging.getLogger(name).setLevel(logging.WARNING)
    for message in (
        ".*LeafSpec.*",
        ".*smaller than the logging interval.*",
        "Checkpoint directory .* not empty.*",
        ".*self.log.*sync_dist=True.*",  # what is logged is of all ranks already
        ".*`srun` command is available.*",  # a run begins its processes itself
        ".*single device to ensure each sample.*",  # the loader gives each clip out once
    ):
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

    @property
    def best(self) -> dict[str, float]:
        """The row of the best validation accuracy, the first of equals."""
        return max(self.rows, key=lambda row: row.get("val/accuracy", 0))

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
        self.clips += len(batch["count"]) * trainer.world_size

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
        if trainer.is_global_zero:
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


# they end a process; the last is what a cluster sends before it does so, if something here listens to it
ENDING = tuple(getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGUSR2") if hasattr(signal, name))
ASKED_EVERY = 16  # steps: processes that train together agree on when to save, which takes them time


class Checkpoints(Checkpoint):
    """`last.ckpt`: the state when an epoch ends, before its last step, and in between every few minutes.
    `best.ckpt`: the state after the epoch of the best metric, the first of equals.

    A signal that ends the process waits for the step that is computed, whose state is saved before (of processes that
    train together: up to sixteen steps later). Ctrl-C a second time does not wait.

    Args:
        dirpath: the folder of the files.
        monitor: the metric, the higher the better.
        minutes: how much training may be lost when a run is killed.
    """

    def __init__(self, dirpath: str, monitor: str = "val/accuracy", minutes: float = 5):
        self.folder, self.monitor, self.minutes = Path(dirpath), monitor, minutes
        self.best: float | None = None
        self._saved = time.monotonic()
        self._handlers: dict[int, Any] = {}
        self._ending: int | None = None  # the signal that waits

    def _save(self, trainer: pl.Trainer, name: str) -> None:
        # Lightning writes a file elsewhere and moves it, which between file systems is a copy that can be cut off
        partial = self.folder / f"{name}.partial"
        try:
            trainer.save_checkpoint(partial)  # all ranks call it, and the first writes
            if trainer.is_global_zero:
                os.replace(partial, self.folder / name)
        finally:
            if trainer.is_global_zero:
                partial.unlink(missing_ok=True)
        trainer.strategy.barrier()
        self._saved = time.monotonic()

    def on_fit_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._handlers = {number: signal.getsignal(number) for number in ENDING}

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._saved = time.monotonic()
        self._listen(self._wait)  # and not Lightning, which ends a run that is told to go on

    def on_test_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._listen(self._end)  # there is nothing to save

    def _listen(self, handler: Callable[[int, Any], None]) -> None:
        if threading.current_thread() is threading.main_thread():
            for number, before in self._handlers.items():
                if before != signal.SIG_DFL or number == signal.SIGTERM:
                    signal.signal(number, handler)

    def _wait(self, number: int, frame: Any) -> None:
        if self._ending == number == signal.SIGINT:  # some systems send the others twice
            self._end(number, frame)
        self._ending = number

    def _end(self, number: int, frame: Any = None) -> None:
        """Do what the signal would have done without Lightning."""
        self._ending = None
        handler = self._handlers[number]
        if callable(handler):
            handler(number, frame)  # it may return: then the run goes on
        elif handler != signal.SIG_IGN:
            sys.exit(128 + number)

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: dict, batch_idx: int
    ) -> None:
        # not after the last step: Lightning, going on from there, would leave out the evaluation that follows
        left = trainer.num_training_batches - 1 - batch_idx
        due = self._ending is not None or time.monotonic() - self._saved >= 60 * self.minutes
        if trainer.world_size > 1 and left > 1:
            due = batch_idx % ASKED_EVERY == 0 and trainer.strategy.broadcast(due)
        if left == 1 or (left and due):
            self._save(trainer, "last.ckpt")
        if self._ending is not None and (due or left <= 1):
            log.info("saved: the same command goes on from about step %d", trainer.global_step)
            self._end(self._ending)

    def on_validation_batch_end(self, *args: Any, **kwargs: Any) -> None:
        if self._ending is not None:
            self._end(self._ending)  # saved before the epoch's last step

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        score = trainer.callback_metrics.get(self.monitor)
        if score is not None and (self.best is None or float(score) > self.best):
            self.best = float(score)
            self._save(trainer, "best.ckpt")
        self._save(trainer, "last.ckpt")
        if self._ending is not None:
            self._end(self._ending)

    def state_dict(self) -> dict[str, Any]:
        return {"best": self.best}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.best = state["best"]
