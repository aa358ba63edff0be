"""What a net has said about the clips so far, so that an evaluation that was cut off resumes."""

import contextlib
import dataclasses
import hashlib
import json
import logging
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytorch_lightning as pl
import torch
from torch import Tensor

from speaker_count import files
from speaker_count.data.datamodule import ClipDataModule
from speaker_count.errors import UserError
from speaker_count.training import ddp

log = logging.getLogger(__name__)
EVALUATIONS = 3  # that a file may hold: of the clips of all splits, and of two nets' test clips
COLUMNS = ["weights", "split", "index", "logits"]


class EvaluationLog(pl.Callback):
    """Keeps the logits of each evaluated clip in a file of its own, every few minutes and when an error or a signal
    ends the evaluation. The same evaluation, begun again, takes them from there, and its metrics are those of an
    undisturbed one.

    Args:
        path: of the file; each rank adds its number to the name.
        data: the clips, set up.
        minutes: how much of an evaluation may be lost when a process is killed.
    """

    def __init__(self, path: Path, data: ClipDataModule, minutes: float = 5):
        self.path, self.data, self.minutes = path, data, minutes
        # by weights and split: logits (clips, outputs), with NaN for a clip that was not evaluated
        self._logits: dict[tuple[str, str], np.ndarray] = {}
        self._weights = ""  # the hash of those that are evaluated now, and of the clips
        self._saved = time.monotonic()
        self._loaded = False

    def setup(self, trainer: pl.Trainer, pl_module: Any, stage: str) -> None:
        pl_module.evaluation_log = self

    def on_validation_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._begin(pl_module)
        self._logits = {key: logits for key, logits in self._logits.items() if key[0] == self._weights}

    def on_test_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._begin(pl_module)

    def _begin(self, module: Any) -> None:
        speech = self.data.pool.sha256, self.data.pool.samples_sha256
        digest = hashlib.sha256(json.dumps([*speech, dataclasses.asdict(self.data.mix)]).encode())
        for tensor in module.net.state_dict().values():
            digest.update(tensor.cpu().contiguous().reshape(-1).view(torch.uint8).numpy().data)
        self._weights = digest.hexdigest()
        if not self._loaded:
            self._load(outputs=len(module.compositions or module.counts))
            self._loaded = True

    def outputs(self, split: str, index: Tensor, compute: Callable[[], Tensor]) -> Tensor:
        """What the net gives for a batch, `(batch, outputs)`: that of the file, if it has all of it.

        Args:
            index: `(batch,)` the clips' numbers.
            compute: computes it.
        """
        numbers = index.cpu().numpy()
        known = self._logits.get((self._weights, split))
        if known is not None and np.isfinite(found := known[numbers]).all():
            return torch.from_numpy(found).to(index.device)
        logits = compute()
        self._of(self._weights, split, logits.shape[1])[numbers] = logits.detach().float().cpu().numpy()
        return logits

    def on_validation_batch_end(self, *args: Any) -> None:
        self._save_if_due()

    def on_test_batch_end(self, trainer: pl.Trainer, *args: Any) -> None:
        self._save_if_due()
        if trainer.received_sigterm:  # Lightning would continue
            sys.exit(128 + signal.SIGTERM)

    def _save_if_due(self) -> None:
        if time.monotonic() - self._saved >= 60 * self.minutes:
            self._save()

    def on_exception(self, trainer: pl.Trainer, pl_module: pl.LightningModule, exception: BaseException) -> None:
        if trainer.evaluating:
            with contextlib.suppress(OSError, UserError):  # what ended the evaluation is what the user should know
                self._save()

    def _save(self) -> None:
        self._saved = time.monotonic()
        rows = [
            (weights, split, index, logits[index].tolist())
            for (weights, split), logits in self._logits.items()
            for index in np.flatnonzero(np.isfinite(logits).all(axis=1)).tolist()
        ]
        columns = dict(zip(COLUMNS, zip(*rows, strict=True), strict=False))
        self.path.parent.mkdir(parents=True, exist_ok=True)
        path = self.path.with_name(f"{self.path.name}-{ddp.rank()}.parquet")
        with files.replacing(path) as partial, open(partial, "wb") as file:
            pq.write_table(pa.table(columns), file)  # given a path, pyarrow would take some for addresses

    def _load(self, outputs: int) -> None:
        """Read what the ranks have saved; without a file that can be read, the evaluation begins again."""
        for path in files_of(self.path):
            try:
                with open(path, "rb") as file:
                    if pq.read_metadata(file).num_rows > EVALUATIONS * sum(map(len, self.data.clips.values())):
                        raise ValueError("it has too many rows")
                    columns = pq.read_table(file, columns=COLUMNS).to_pydict()
                for weights, split, index, logits in zip(*columns.values(), strict=True):
                    self._of(weights, split, outputs)[index] = logits
            except (OSError, ValueError, KeyError, TypeError, IndexError) as error:
                log.warning("the evaluation begins again: cannot read %s: %s", path, error)
            else:
                log.info("resuming the evaluation from %s", path)

    def _of(self, weights: str, split: str, outputs: int) -> np.ndarray:
        shape = len(self.data.clips[split]), outputs
        return self._logits.setdefault((weights, split), np.full(shape, np.nan, np.float32))


def files_of(path: Path) -> list[Path]:
    """The files of all ranks of an `EvaluationLog` with this path."""
    return sorted(path.parent.glob(f"{path.name}-*.parquet"))


def remove(path: Path) -> None:
    """Delete the files of an `EvaluationLog`, once the result is written."""
    for file in files_of(path):
        file.unlink(missing_ok=True)
