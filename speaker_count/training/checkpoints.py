"""When a run saves its state, and what happens when a signal ends it."""

import io
import logging
import signal
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import Checkpoint
from pytorch_lightning.plugins.io import TorchCheckpointIO

from speaker_count import files
from speaker_count.errors import UserError, user_error
from speaker_count.training import saved_state

log = logging.getLogger(__name__)

# they end a process; the last is what a cluster sends before it does so, if something here listens to it
ENDING = tuple(getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP", "SIGUSR2") if hasattr(signal, name))
ASKED_EVERY = 16  # steps: agreeing on when to save takes ranks time


class AtomicCheckpointIO(TorchCheckpointIO):
    """Write a checkpoint whole or not at all, also where the disk is full, and read only files: Lightning would fetch
    what looks like an address.

    Lightning's own CheckpointIO writes to the folder of temporary files, which may be small, and moves the file.
    Between file systems, the move is a copy, which can be cut off.
    """

    def save_checkpoint(self, checkpoint: dict[str, Any], path: Any, storage_options: Any | None = None) -> None:
        state = io.BytesIO()  # torch's own writes to a full disk do not say why they fail
        torch.save(checkpoint, state)
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        with files.replacing(Path(path)) as partial:
            partial.write_bytes(state.getbuffer())

    def load_checkpoint(self, path: Any, map_location: Any = None, weights_only: bool | None = None) -> dict[str, Any]:
        return saved_state.read(Path(path))


class Checkpoints(Checkpoint):
    """`last.ckpt`: the state when an epoch ends, before its last step, and in between every few minutes.
    `best.ckpt`: the state after the epoch of the best metric, the first of equals.

    A signal that ends the process waits for the current step, whose state is saved first (with several ranks: up to
    sixteen steps later). Ctrl-C a second time does not wait.

    Args:
        dirpath: the folder of the files.
        monitor: the metric, the higher the better.
        minutes: how much training may be lost when a run is killed.
    """

    def __init__(self, dirpath: Path, monitor: str = "val/accuracy", minutes: float = 5):
        self.folder, self.monitor, self.minutes = dirpath, monitor, minutes
        self.best: float | None = None
        self.stopped = False  # another callback ended the training early
        self._saved = time.monotonic()
        self._handlers: dict[int, Any] = {}
        self._ending: int | None = None  # the signal that waits
        self._stepped = False  # a step was done, so that all of a resumed state fits

    def _save(self, trainer: pl.Trainer, name: str) -> None:
        if not self.folder.is_dir():  # Lightning would make it again, and nothing around it
            raise files.deleted(self.folder)
        trainer.save_checkpoint(self.folder / name)  # all ranks call it, and the first writes
        self._saved = time.monotonic()

    def on_fit_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._handlers = {number: signal.getsignal(number) for number in ENDING}
        self.folder.mkdir(parents=True, exist_ok=True)

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._saved = time.monotonic()
        trainer.should_stop = self.stopped
        self._listen(self._wait)  # Lightning would end with exit code 0, and Slurm would not requeue the run

    def on_test_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._listen(self._end)  # there is nothing to save

    def _listen(self, handler: Callable[[int, Any], None]) -> None:
        if threading.current_thread() is threading.main_thread():
            for number, before in self._handlers.items():
                ends = before != signal.SIG_DFL or number in (signal.SIGTERM, signal.SIGHUP)
                if ends and before != signal.SIG_IGN:  # a shell's "&" ignores Ctrl-C, nohup the end of the terminal
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
            handler(number, frame)  # it may return: then the run continues
        else:
            sys.exit(128 + number)

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        self._stepped = True
        # not after the last step: Lightning, resumed from there, would leave out the evaluation that follows
        # and only after whole steps: gradients that batches have accumulated are not saved
        left, batches = int(trainer.num_training_batches) - 1 - batch_idx, trainer.accumulate_grad_batches
        due = self._ending is not None or time.monotonic() - self._saved >= 60 * self.minutes
        if trainer.world_size > 1 and left > 1:
            due = batch_idx % ASKED_EVERY == 0 and trainer.strategy.broadcast(due)
        if left and (batch_idx + 1) % batches == 0 and (left <= batches or due):
            self._save(trainer, "last.ckpt")
        if self._ending is not None and ((due and (batch_idx + 1) % batches == 0) or left <= batches):
            log.info("saved: the same command resumes at about step %d", trainer.global_step)
            self._end(self._ending)

    def on_validation_batch_end(self, *args: Any, **kwargs: Any) -> None:
        if self._ending is not None:
            self._end(self._ending)  # saved before the epoch's last step

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        score = trainer.callback_metrics.get(self.monitor)
        if score is not None and (self.best is None or float(score) > self.best):
            self.best = float(score)
            self._save(trainer, "best.ckpt")
        self.stopped = trainer.should_stop
        self._save(trainer, "last.ckpt")
        if self._ending is not None:
            self._end(self._ending)

    def on_exception(self, trainer: pl.Trainer, pl_module: pl.LightningModule, exception: BaseException) -> None:
        """Say so where the state of a run cannot be restored: Lightning does not check it, and may fail in any way.

        Raises:
            UserError: it failed before a step was done.
        """
        resuming = trainer.ckpt_path is not None and trainer.state.fn == "fit" and not self._stepped
        if resuming and isinstance(exception, Exception) and user_error(exception) is None:
            reason = (str(exception).splitlines() or [""])[0][:200]
            raise UserError(
                f"cannot resume from the checkpoint {trainer.ckpt_path}: its state is not that of this run "
                f"({type(exception).__name__}: {reason}); put another copy of it there; without the file, the run "
                "starts again"
            ) from exception

    def state_dict(self) -> dict[str, Any]:
        return {"best": self.best, "stopped": self.stopped}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        best = state_dict["best"]
        self.best = None if best is None else float(best)
        self.stopped = bool(state_dict["stopped"])
