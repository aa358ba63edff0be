"""The LightningModules: a net, its loss, its metrics, its optimiser."""

import functools
import logging
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, ClassVar

import pytorch_lightning as pl
import torch
from torch import Tensor, nn
from torchaudio.transforms import AmplitudeToDB, Spectrogram
from torchmetrics import CatMetric, MeanAbsoluteError, MeanMetric, MetricCollection
from torchmetrics.classification import MulticlassAccuracy, MulticlassConfusionMatrix

from speaker_count import labels
from speaker_count.errors import UserError, check_number

log = logging.getLogger(__name__)

FULL_SCALE = 32_768  # clips are 16-bit integers; nets see them divided by it
VALIDATION_SETS = ("val", "train")  # as the DataModule orders them; the second where `evaluate_train` is on


class SpeakerCounter(pl.LightningModule):
    """How many people speak in a clip, as a classification; cross-entropy and Adam.

    Metrics are logged as `running/...` (averages over the training steps), `train/...`, `val/...` and `test/...`
    (evaluation mode): `loss`, `accuracy`, `mae` (mean absolute error of the count) and `accuracy_N` for each count N.

    Args:
        net: makes the net, given its number of `classes`.
        counts: the numbers of speakers that it tells apart, increasing.
        learning_rate: of Adam.
    """

    kind: ClassVar[str]  # what the net hears: "waveform" or "spectrogram"

    def __init__(self, net: Callable[..., nn.Module], counts: Sequence[int] = (1, 2, 3), learning_rate: float = 1e-4):
        super().__init__()
        if len(counts) < 2:
            raise UserError(f"mix.counts={list(counts)}: to tell apart, a net needs two numbers of speakers")
        check_number("model.learning_rate", learning_rate, float, 0)
        self.net = net(classes=len(counts))
        self.learning_rate = learning_rate
        self.register_buffer("counts", torch.tensor(list(counts)), persistent=False)
        classes = len(counts)
        metrics = MetricCollection(
            {
                "accuracy": MulticlassAccuracy(classes, average="micro"),
                "accuracy_of": MulticlassAccuracy(classes, average="none"),
                "confusion": MulticlassConfusionMatrix(classes),
                "mae": CountError(counts),
            }
        )
        # a ModuleDict holds no key "train": it is a method of it
        self.metrics = nn.ModuleDict({f"{split}/": metrics.clone(f"{split}/") for split in ("train", "val", "test")})
        self.running = nn.ModuleDict({name: MeanMetric() for name in ("loss", "accuracy")})
        for average in self.running.values():
            average.persistent(True)  # so that a resumed epoch averages over all of its steps
        self.losses = nn.ModuleDict({f"{split}/": MeanMetric() for split in ("train", "val", "test")})
        self.tested = nn.ModuleDict({name: CatMetric() for name in ("index", "probabilities")})
        # of the last test: (true class, predicted class); clips' numbers (clips,) and probabilities (clips, classes)
        self.confusion: Tensor | None = None
        self.test_outputs: tuple[Tensor, Tensor] | None = None

    def features(self, waveform: Tensor) -> Tensor:
        """What the net hears of `(batch, samples)` float waveforms in [-1, 1)."""
        raise NotImplementedError

    def forward(self, waveform: Tensor) -> Tensor:
        """Logits `(batch, classes)` of `(batch, samples)` waveforms: int16, or float in [-1, 1)."""
        if not waveform.is_floating_point():
            waveform = waveform.float() / FULL_SCALE
        return self.net(self.features(waveform))

    def training_step(self, batch: dict[str, Tensor], batch_idx: int) -> Tensor:
        return self._step(batch, "running")

    def validation_step(self, batch: dict[str, Tensor], batch_idx: int, dataloader_idx: int = 0) -> None:
        self._step(batch, VALIDATION_SETS[dataloader_idx])

    def test_step(self, batch: dict[str, Tensor], batch_idx: int) -> None:
        self._step(batch, "test")

    def _step(self, batch: dict[str, Tensor], split: str) -> Tensor | None:
        if not len(batch["count"]):
            return None  # of a last batch with fewer clips than ranks
        logits = self(batch["waveform"])  # (batch, classes)
        target = labels.to_class(batch["count"], self.counts)  # (batch,)
        loss = nn.functional.cross_entropy(logits, target)
        predicted = logits.argmax(dim=1)
        if split == "running":
            for name, value in (("loss", loss.detach()), ("accuracy", (predicted == target).float().mean())):
                self.running[name].update(value, len(target))
                if self.trainer.is_last_batch:  # at each step, it would take a tenth of a small net's time
                    average = self.running[name]
                    self.log(f"running/{name}", average, on_step=False, on_epoch=True, prog_bar=name == "accuracy")
            return loss
        self.losses[f"{split}/"].update(loss, len(target))
        self.metrics[f"{split}/"].update(predicted, target)
        if split == "test":
            self.tested["index"].update(batch["index"])
            self.tested["probabilities"].update(logits.softmax(dim=1))
        return loss

    def on_train_epoch_start(self) -> None:
        for average in self.running.values():  # not called where an epoch is gone on with
            average.reset()

    def on_validation_epoch_end(self) -> None:
        loaders = self.trainer.val_dataloaders
        for split in VALIDATION_SETS[: len(loaders) if isinstance(loaders, list) else 1]:
            self._log_epoch(split)

    def on_test_epoch_start(self) -> None:
        for outputs in self.tested.values():
            outputs.reset()

    def on_test_epoch_end(self) -> None:
        self._log_epoch("test")
        index = self.tested["index"].compute().long().reshape(-1)  # of all ranks
        order = index.argsort()
        self.test_outputs = index[order], self.tested["probabilities"].compute().reshape(len(index), -1)[order]

    def _log_epoch(self, split: str) -> None:
        """Log what was counted over an epoch, by all ranks, and begin anew."""
        metrics, loss = self.metrics[f"{split}/"], self.losses[f"{split}/"]
        values = metrics.compute()
        self.log(f"{split}/loss", loss.compute())
        metrics.reset()
        loss.reset()
        self.log_dict({f"{split}/{name}": values[f"{split}/{name}"] for name in ("accuracy", "mae")}, prog_bar=True)
        by_count = zip(self.counts.tolist(), values[f"{split}/accuracy_of"], strict=True)
        self.log_dict({f"{split}/accuracy_{count}": value for count, value in by_count})
        self.confusion = values[f"{split}/confusion"]

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.Adam(self.parameters(), lr=self.learning_rate)

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        # dropout draws from the state, which Lightning does not keep; the averages are each rank's own
        own = {"random_state": torch.get_rng_state(), "running": self.running.state_dict()}
        checkpoint["ranks"] = [own] * self.trainer.world_size
        if self.trainer.world_size > 1:
            torch.distributed.all_gather_object(checkpoint["ranks"], own)

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        ranks = checkpoint["ranks"]
        own = ranks[self.global_rank % len(ranks)]
        torch.set_rng_state(own["random_state"])
        running = own["running"]
        if len(ranks) != self.trainer.world_size:  # the first goes on with all that was counted
            running = {name: sum(of["running"][name] for of in ranks) * (self.global_rank == 0) for name in running}
        checkpoint["state_dict"].update({f"running.{name}": value for name, value in running.items()})


class CountError(MeanAbsoluteError):
    """Mean absolute error of the count of speakers, from class ids."""

    def __init__(self, counts: Sequence[int]):
        super().__init__()
        self.register_buffer("counts", torch.tensor(list(counts)), persistent=False)

    def update(self, predicted: Tensor, target: Tensor) -> None:
        super().update(self.counts[predicted], self.counts[target])


class WaveformCounter(SpeakerCounter):
    """A net that hears the waveform itself."""

    kind = "waveform"

    def features(self, waveform: Tensor) -> Tensor:
        return waveform[:, None]  # (batch, 1, samples)


class SpectrogramCounter(SpeakerCounter):
    """A net that sees the power spectrogram in decibels.

    Args:
        n_fft, hop_length: of the spectrogram, in samples; see `torchaudio.transforms.Spectrogram`.
        autocast: compute the blocks in bfloat16 where that is fast: clips on the CPU, and a processor with
            `AVX512_BF16` (AMD from Zen 4 on, Intel Xeon from Sapphire Rapids on). Weights, their gradients, batch
            norm's statistics, the spectrogram, the logits and the loss stay float32. Elsewhere, and where false, all
            of it is float32.
    """

    kind = "spectrogram"

    def __init__(self, *args: Any, n_fft: int = 400, hop_length: int = 200, autocast: bool = False, **kwargs: Any):
        super().__init__(*args, **kwargs)
        self.autocast = autocast
        self.net.to(memory_format=torch.channels_last)  # the same function, in less time on a CPU
        self.spectrogram = nn.Sequential(Spectrogram(n_fft, hop_length=hop_length), AmplitudeToDB("power"))

    def features(self, waveform: Tensor) -> Tensor:
        return self.spectrogram(waveform)[:, None]  # (batch, 1, frequency, time)

    def forward(self, waveform: Tensor) -> Tensor:
        if not (self.autocast and waveform.device.type == "cpu" and bfloat16_is_fast()):
            return super().forward(waveform)
        with torch.autocast("cpu", torch.bfloat16):
            return super().forward(waveform).float()


@functools.cache  # a property of the processor, told once
def bfloat16_is_fast() -> bool:
    """Whether this processor multiplies bfloat16 faster than float32."""
    fast = torch.cpu.get_capabilities().get("avx512_bf16", False)
    if not fast:
        log.warning("this processor has no AVX512_BF16: spectrogram nets compute in float32, which takes longer")
    return fast


def load_weights(module: SpeakerCounter, path: Path) -> None:
    """Load the weights of a checkpoint.

    Raises:
        UserError: the file is no checkpoint, or one of another net.
    """
    try:
        weights = torch.load(path, map_location="cpu", weights_only=True)["state_dict"]
    except Exception as error:  # whatever is in a file that is no checkpoint
        raise UserError(
            f"cannot read the checkpoint {path} ({type(error).__name__}); without that file the run begins anew"
        ) from error
    try:
        module.load_state_dict(weights)
    except (RuntimeError, TypeError) as error:
        reason = str(error).splitlines()[-1].strip()
        raise UserError(f"{path} is a checkpoint of another net than the one asked for: {reason}") from error
