"""The LightningModules: a front end and a net, their loss, metrics and optimiser."""

import functools
import logging
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, ClassVar

import pytorch_lightning as pl
import torch
from torch import Tensor, nn
from torchmetrics import CatMetric, MeanAbsoluteError, MeanMetric, MetricCollection
from torchmetrics.classification import MulticlassAccuracy, MulticlassConfusionMatrix

from speaker_count import __version__, labels
from speaker_count.errors import DivergedError, UserError, check_number
from speaker_count.models.front_end import SpectrogramFrontEnd, WaveformFrontEnd
from speaker_count.training import saved_state

log = logging.getLogger(__name__)

VALIDATION_SETS = ("validation", "train")  # as the DataModule orders them; the second where `evaluate_train` is on
SHOWN_CLIPS = 8  # in a message
MOST_CHARACTERS = 200  # in a message, of what a checkpoint says
EVALUATED = ("train", "validation", "test")


class SpeakerCounter(pl.LightningModule):
    """How many people speak in a clip, as a classification; cross-entropy and Adam.

    Metrics are logged as `running/...` (averages over the training steps), `train/...`, `val/...` and `test/...`
    (evaluation mode): `loss`, `accuracy`, `mae` (mean absolute error of the count) and `accuracy_N` for each count N.

    Args:
        net: makes the net, given its number of `classes`.
        front_end: makes the net's input of clips.
        counts: the numbers of speakers that the net distinguishes, increasing.
        learning_rate: of Adam.

    Raises:
        UserError: fewer than two counts, or a learning rate below 0.
    """

    kind: ClassVar[str]  # of the net's input: "waveform" or "spectrogram"

    def __init__(
        self,
        net: Callable[..., nn.Module],
        front_end: nn.Module,
        counts: Sequence[int] = (1, 2, 3),
        learning_rate: float = 1e-4,
    ):
        super().__init__()
        if len(counts) < 2:
            raise UserError(f"mix.counts={list(counts)}: a net needs at least two numbers of speakers to distinguish")
        check_number("model.learning_rate", learning_rate, float, 0)
        self.front_end = front_end
        self.net = net(classes=len(counts))
        self.learning_rate = learning_rate
        self.counts: Tensor
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
        # a ModuleDict takes no key "train", the name of its method: hence the slash; to a type checker its values are
        # modules without methods: hence Any
        self.metrics: Any = nn.ModuleDict({f"{split}/": metrics.clone() for split in EVALUATED})
        averages = {name: MeanMetric() for name in ("loss", "accuracy")}
        for average in averages.values():
            average.persistent(True)  # so that a resumed epoch averages over all of its steps
        self.running: Any = nn.ModuleDict(averages)
        self.losses: Any = nn.ModuleDict({f"{split}/": MeanMetric() for split in EVALUATED})
        self.tested: Any = nn.ModuleDict({name: CatMetric() for name in ("index", "probabilities")})
        self.evaluation_log: Any = None  # an `EvaluationLog`, where an evaluation may be cut off
        # of the last test: (true class, predicted class); clips' numbers (clips,) and probabilities (clips, classes)
        self.confusion: Tensor | None = None
        self.test_outputs: tuple[Tensor, Tensor] | None = None

    def forward(self, waveform: Tensor) -> Tensor:
        """Logits `(batch, classes)` of `(batch, samples)` waveforms: int16, or float in [-1, 1)."""
        logits: Tensor = self.net(self.front_end(waveform))
        return logits

    def training_step(self, batch: dict[str, Tensor], batch_idx: int) -> Tensor | None:
        return self._step(batch, "running")

    def validation_step(self, batch: dict[str, Tensor], batch_idx: int, dataloader_idx: int = 0) -> None:
        self._step(batch, VALIDATION_SETS[dataloader_idx])

    def test_step(self, batch: dict[str, Tensor], batch_idx: int) -> None:
        self._step(batch, "test")

    def _step(self, batch: dict[str, Tensor], split: str) -> Tensor | None:
        if not len(batch["count"]):
            return None  # in a last batch with fewer clips than ranks
        logits = self._logits(batch, split)  # (batch, classes)
        target = labels.class_of(batch["count"], self.counts)  # (batch,)
        loss = nn.functional.cross_entropy(logits, target)
        if not loss.isfinite():  # averages would drop it, and the run would continue without learning
            raise self._diverged(loss.detach(), batch["index"], split)
        predicted = logits.argmax(dim=1)
        if split == "running":
            for name, value in (("loss", loss.detach()), ("accuracy", (predicted == target).float().mean())):
                self.running[name].update(value, len(target))
                if self.trainer.is_last_batch:  # at each step, it would take a tenth of a small net's time
                    average = self.running[name]
                    key = labels.metric_key(split, name)
                    self.log(key, average, on_step=False, on_epoch=True, prog_bar=name == "accuracy")
            return loss
        self.losses[f"{split}/"].update(loss, len(target))
        self.metrics[f"{split}/"].update(predicted, target)
        if split == "test":
            self.tested["index"].update(batch["index"])
            self.tested["probabilities"].update(logits.softmax(dim=1))
        return loss

    def _logits(self, batch: dict[str, Tensor], split: str) -> Tensor:
        logits: Tensor
        if split == "running" or self.evaluation_log is None:
            logits = self(batch["waveform"])
        else:
            logits = self.evaluation_log.logits(split, batch["index"], lambda: self(batch["waveform"]))
        return logits

    def _diverged(self, loss: Tensor, index: Tensor, split: str) -> UserError:
        clips = ", ".join(map(str, index[:SHOWN_CLIPS].tolist())) + ", ..." * (len(index) > SHOWN_CLIPS)
        if split == "test":
            return UserError(
                f"the loss of the net is {float(loss)} on the test clips {clips}: its weights are unusable"
            )
        what = "training" if split in ("running", "train") else split
        kept = "; best.ckpt keeps the best epoch" if self.current_epoch else ""
        return DivergedError(
            f"the run diverged: the loss is {float(loss)} in epoch {self.current_epoch + 1}, "
            f"step {self.global_step + 1} ({what} clips {clips}){kept}; a lower model.learning_rate may help"
        )

    def on_train_epoch_start(self) -> None:
        for average in self.running.values():  # not called where an epoch is resumed
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
        """Log what was counted over an epoch, by all ranks, and reset it."""
        metrics, loss = self.metrics[f"{split}/"], self.losses[f"{split}/"]
        values = metrics.compute()
        self.log(labels.metric_key(split, "loss"), loss.compute())
        metrics.reset()
        loss.reset()
        for name in ("accuracy", "mae"):
            self.log(labels.metric_key(split, name), values[name], prog_bar=True)
        for count, value in zip(self.counts.tolist(), values["accuracy_of"], strict=True):
            self.log(labels.metric_key(split, f"accuracy_{count}"), value)
        self.confusion = values["confusion"]

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.Adam(self.parameters(), lr=self.learning_rate)

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        # dropout draws from the state, which Lightning does not keep; the averages are each rank's own
        own = {"random_state": torch.get_rng_state(), "running": self.running.state_dict()}
        checkpoint["speaker_count"] = __version__
        checkpoint["ranks"] = [own] * self.trainer.world_size
        if self.trainer.world_size > 1:
            torch.distributed.all_gather_object(checkpoint["ranks"], own)

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        # Lightning passes over what is not there
        absent = [part for part in ("loops", "callbacks", "optimizer_states", "ranks") if not checkpoint.get(part)]
        callbacks: list[pl.Callback] = self.trainer.callbacks  # type: ignore[attr-defined]
        stateful = {callback.state_key for callback in callbacks if callback.state_dict()}
        absent = absent or sorted(stateful.difference(checkpoint["callbacks"]))
        if absent:
            raise ValueError(f"it lacks {', '.join(absent)}")
        ranks = checkpoint["ranks"]
        own = ranks[self.global_rank % len(ranks)]
        torch.set_rng_state(own["random_state"])
        running = own["running"]
        if len(ranks) != self.trainer.world_size:  # the first resumes with all that was counted
            running = {name: sum(of["running"][name] for of in ranks) * (self.global_rank == 0) for name in running}
        checkpoint["state_dict"].update({f"running.{name}": value for name, value in running.items()})


class CountError(MeanAbsoluteError):
    """Mean absolute error of the count of speakers, from class ids."""

    def __init__(self, counts: Sequence[int]):
        super().__init__()
        self.counts: Tensor
        self.register_buffer("counts", torch.tensor(list(counts)), persistent=False)

    def update(self, predicted: Tensor, target: Tensor) -> None:
        super().update(self.counts[predicted], self.counts[target])


class WaveformCounter(SpeakerCounter):
    """A net on the waveform itself; arguments as of `SpeakerCounter`, without the front end."""

    kind = "waveform"

    def __init__(self, net: Callable[..., nn.Module], counts: Sequence[int] = (1, 2, 3), learning_rate: float = 1e-4):
        super().__init__(net, WaveformFrontEnd(), counts, learning_rate)


class SpectrogramCounter(SpeakerCounter):
    """A net on the power spectrogram in decibels.

    Args:
        net, counts, learning_rate: as of `SpeakerCounter`.
        n_fft, hop_length: of the spectrogram, in samples; see `torchaudio.transforms.Spectrogram`.
        autocast: compute the blocks in bfloat16 where that is fast: clips on the CPU, and a processor with
            `AVX512_BF16` (AMD from Zen 4 on, Intel Xeon from Sapphire Rapids on). Weights, their gradients, batch
            norm's statistics, the spectrogram, the logits and the loss stay float32. Elsewhere, and where false, all
            of it is float32.
    """

    kind = "spectrogram"

    def __init__(
        self,
        net: Callable[..., nn.Module],
        counts: Sequence[int] = (1, 2, 3),
        learning_rate: float = 1e-4,
        n_fft: int = 400,
        hop_length: int = 200,
        autocast: bool = False,
    ):
        super().__init__(net, SpectrogramFrontEnd(n_fft, hop_length), counts, learning_rate)
        self.autocast = autocast
        self.net.to(memory_format=torch.channels_last)  # the same function, in less time on a CPU

    def forward(self, waveform: Tensor) -> Tensor:
        """As `SpeakerCounter.forward`."""
        if not (self.autocast and waveform.device.type == "cpu" and bfloat16_is_fast()):
            return super().forward(waveform)
        with torch.autocast("cpu", torch.bfloat16):
            return super().forward(waveform).float()


@functools.cache  # a property of the processor, warned of once
def bfloat16_is_fast() -> bool:
    """Whether this processor multiplies bfloat16 faster than float32."""
    fast = bool(torch.cpu.get_capabilities().get("avx512_bf16", False))
    if not fast:
        log.warning("this processor has no AVX512_BF16: spectrogram nets compute in float32, which takes longer")
    return fast


def load_weights(module: SpeakerCounter, path: Path) -> None:
    """Load the weights of a checkpoint.

    Raises:
        UserError: the file is no checkpoint, that of another version or another net, or its weights are unusable.
    """
    weights = saved_state.read(path)["state_dict"]
    try:
        module.load_state_dict(weights)
    except (RuntimeError, TypeError) as error:
        reason = str(error).splitlines()[-1].strip()[:MOST_CHARACTERS]
        raise UserError(f"the checkpoint {path} is that of another net: {reason}") from error
    parameters = dict(module.named_parameters())
    for name, weight in weights.items():  # a net may keep infinity in a mask
        unusable = ~weight.isfinite() if name in parameters else weight.isnan()
        if unusable.any():
            raise UserError(
                f"the checkpoint {path} is unusable: {name[:MOST_CHARACTERS]} is infinite or not a number; put another "
                "copy of it there, or train again with force=true and a lower model.learning_rate"
            )
