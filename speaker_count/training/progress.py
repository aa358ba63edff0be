"""How far a run is: a bar in a terminal, a line a minute elsewhere."""

import contextlib
import logging
import math
import sys
import time
from collections import deque
from collections.abc import Mapping, Sequence
from typing import Any

import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import TQDMProgressBar
from torch import Tensor
from tqdm import tqdm
from tqdm.contrib.logging import logging_redirect_tqdm

from speaker_count.training import ddp

log = logging.getLogger(__name__)
RECENT = 100  # steps whose loss is averaged
REDRAWN = 0.1  # seconds between two states of the bar: to draw each step would take longer than a small net's step
MINUTE = 60.0  # seconds between two lines
EVALUATIONS = ("validation", "training clips")  # as the DataModule orders them


def shown(trainer: Mapping[str, Any]) -> "Bar | Lines":
    """The callback that shows how far a run is.

    Args:
        trainer: the config of Lightning's trainer.
    """
    wanted = trainer.get("enable_progress_bar", True) and sys.stdout.isatty() and not ddp.rank()
    return Bar() if wanted else Lines()


class RecentLoss:
    """The mean loss of the latest steps of training."""

    def __init__(self) -> None:
        self._losses: deque[Tensor] = deque(maxlen=RECENT)  # on the device: to read each would wait for it

    def add(self, outputs: Any) -> None:
        """Note the loss of a step, as Lightning gives it; a rank without clips has none."""
        loss = outputs.get("loss") if isinstance(outputs, Mapping) else outputs
        if loss is not None:
            self._losses.append(loss)

    def __str__(self) -> str:
        return f"{float(torch.stack(tuple(self._losses)).mean()):.3f}" if self._losses else "-"


class Bar(TQDMProgressBar):
    """Lightning's bar, with epochs from 1 and the loss. While it is shown, log lines are printed above it."""

    def __init__(self) -> None:
        super().__init__()
        self.loss, self._drawn = RecentLoss(), 0.0
        self._log_above = contextlib.ExitStack()

    def setup(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        super().setup(trainer, pl_module, stage)
        self._log_above.close()
        self._log_above.enter_context(logging_redirect_tqdm())

    def teardown(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        self._log_above.close()

    def on_exception(self, trainer: pl.Trainer, pl_module: pl.LightningModule, exception: BaseException) -> None:
        for name in ("val_progress_bar", "train_progress_bar", "test_progress_bar"):
            with contextlib.suppress(TypeError):  # it was not begun
                getattr(self, name).close()  # what is said next begins a line
        self._log_above.close()

    def get_metrics(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> dict[str, Any]:
        return {"loss": str(self.loss)}

    def on_train_start(self, trainer: pl.Trainer, *args: Any) -> None:
        super().on_train_start(trainer, *args)
        self.on_train_epoch_start(trainer)  # Lightning does not call it where an epoch is resumed

    def on_train_epoch_start(self, trainer: pl.Trainer, *args: Any) -> None:
        _begin(self.train_progress_bar, _epoch(trainer), self.total_train_batches)

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        self.loss.add(outputs)
        if self._is_due(batch_idx, trainer.num_training_batches):
            super().on_train_batch_end(trainer, pl_module, outputs, batch, batch_idx)

    def on_validation_batch_start(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, batch: Any, batch_idx: int, dataloader_idx: int = 0
    ) -> None:
        if self.has_dataloader_changed(dataloader_idx):
            what = EVALUATIONS[dataloader_idx]
            _begin(self.val_progress_bar, what, self.total_val_batches_current_dataloader)

    def on_validation_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:  # fmt: skip
        if self._is_due(batch_idx, self.total_val_batches_current_dataloader):
            super().on_validation_batch_end(trainer, pl_module, outputs, batch, batch_idx, dataloader_idx)

    def on_test_batch_start(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, batch: Any, batch_idx: int, dataloader_idx: int = 0
    ) -> None:
        if self.has_dataloader_changed(dataloader_idx):
            _begin(self.test_progress_bar, "test", self.total_test_batches_current_dataloader)

    def on_test_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:  # fmt: skip
        if self._is_due(batch_idx, self.total_test_batches_current_dataloader):
            super().on_test_batch_end(trainer, pl_module, outputs, batch, batch_idx, dataloader_idx)

    def _is_due(self, batch_idx: int, batches: float) -> bool:
        """Whether the bar is to be drawn: after the last batch, and when some time has passed."""
        now = time.monotonic()
        due = batch_idx + 1 == batches or now - self._drawn >= REDRAWN
        self._drawn = now if due else self._drawn
        return due


class Lines(pl.Callback):
    """A line a minute in the log: how far the epoch, the evaluation after it or the test is, clips/s and the loss."""

    def __init__(self) -> None:
        self.loss = RecentLoss()
        self._begin()

    def _begin(self, *args: Any, **kwargs: Any) -> None:
        self._since, self._clips, self._done = time.monotonic(), 0, 0

    on_train_start = on_train_epoch_start = on_validation_start = on_validation_end = on_test_start = _begin

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        self.loss.add(outputs)
        self._done = batch_idx  # not of an epoch that is resumed
        self._count(trainer, batch, "", trainer.num_training_batches)

    def on_validation_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, *args: Any
    ) -> None:
        self._count(trainer, batch, "evaluation", trainer.num_val_batches)

    def on_test_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, *args: Any
    ) -> None:
        self._count(trainer, batch, "test", trainer.num_test_batches)

    def _count(self, trainer: pl.Trainer, batch: Any, phase: str, batches: float | Sequence[float]) -> None:
        self._done += 1
        self._clips += len(batch["count"]) * trainer.world_size
        seconds = time.monotonic() - self._since
        if seconds < MINUTE:
            return
        what = phase if phase == "test" else ", ".join(filter(None, [_epoch(trainer), phase]))
        share = self._done / (sum(batches) if isinstance(batches, Sequence) else batches)
        loss = "" if phase else f", loss {self.loss}"
        log.info("%s, %.0f %%: %.0f clips/s%s", what, 100 * share, self._clips / seconds, loss)
        self._since, self._clips = time.monotonic(), 0


def _begin(bar: tqdm, what: str, batches: float) -> None:
    bar.reset(batches if math.isfinite(batches) else None)
    bar.set_description(what)


def _epoch(trainer: pl.Trainer) -> str:
    return f"epoch {trainer.current_epoch + 1} of {trainer.max_epochs}"
