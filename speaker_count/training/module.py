"""The LightningModule: a front end and a net, their loss, metrics and optimizer."""

import contextlib
import functools
import inspect
import os
import shutil
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar

import pytorch_lightning as pl
import torch
from torch import Tensor, nn
from torchmetrics import CatMetric, MeanMetric

from speaker_count import __version__, labels
from speaker_count.errors import DivergedError, UserError, check_number, made
from speaker_count.models.counting import calibrated, marginal
from speaker_count.training import starting
from speaker_count.training.duration import steps_of
from speaker_count.training.metrics import metrics_of
from speaker_count.training.objective import FRAME_SECONDS, Objective, composition_of

VALIDATION_SETS = ("validation", "train")  # as the DataModule orders them; the second where `evaluate_train` is on
SHOWN_CLIPS = 8  # in a message
EVALUATED = ("train", "validation", "test")


class SpeakerCounter(pl.LightningModule):
    """How many people speak in a clip, as a classification with cross-entropy.

    Metrics are logged as `running/...` (averages over the training steps), `train/...`, `val/...` and `test/...`
    (evaluation mode): `loss`, `accuracy`, `mae` (mean absolute error of the count) and `accuracy_N` for each count N.

    Args:
        net: makes the net, given its number of `classes`.
        front_end: makes the net's input of clips.
        counts: the numbers of speakers that the net distinguishes, increasing.
        learning_rate: of the optimizer; a schedule changes it.
        loss: arguments of `Objective`; None: the cross-entropy of the count alone.
        optimizer: makes the optimizer, given the parameters and `lr`; None: Adam.
        scheduler: Lightning's `lr_scheduler_config`, but that its `scheduler` makes the scheduler, given the optimizer
            and, if it takes them, the `total_steps` of the run; None: the learning rate stays.
        compile: compile the net with Inductor before it is trained; it computes the same, rounded otherwise.
        weights: those that the net starts from, see `starting.load`; None: torch's generator draws them.

    Attributes:
        temperature: by which the logits of counts are divided in evaluation; 1 but for calibrated weights.

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
        loss: Mapping[str, Any] | None = None,
        optimizer: Callable[..., torch.optim.Optimizer] | None = None,
        scheduler: Mapping[str, Any] | None = None,
        compile: bool = False,  # noqa: A002 - as the key of the config
        weights: str | None = None,
    ):
        super().__init__()
        if len(counts) < 2:
            raise UserError(f"mix.counts={list(counts)}: a net needs at least two numbers of speakers to distinguish")
        check_number("model.learning_rate", learning_rate, float, 0)
        check_number("model.compile", compile, bool)
        self.front_end, self.objective = front_end, Objective.of(loss)
        self.compositions = labels.compositions(counts) if self.objective.composition_weight else None
        classes = {"classes": len(self.compositions or counts)}
        if self.objective.frame_weight:
            classes["frame_classes"] = max(counts) + 1
        self.net = made("model.net", net, **classes)
        if weights is not None:
            larger = {name: number + 1 for name, number in classes.items()}
            starting.load(self.net, weights, counts, functools.partial(made, "model.net", net, **larger))
        self.temperature = 1.0
        self.learning_rate, self.compiles = learning_rate, compile
        self.optimizer, self.scheduler = optimizer or torch.optim.Adam, scheduler
        self.counts = list(counts)  # no buffer: a callback that averages weights and buffers would round them
        metrics = metrics_of(counts)
        # a ModuleDict takes no key "train", the name of its method: hence the slash; to a type checker its values are
        # modules without methods: hence Any
        self.metrics: Any = nn.ModuleDict({f"{split}/": metrics.clone() for split in EVALUATED})
        averages = {name: MeanMetric() for name in ("loss", "accuracy")}
        for average in averages.values():
            average.persistent(True)  # so that a resumed epoch averages over all of its steps
        self.running: Any = nn.ModuleDict(averages)
        self.losses: Any = nn.ModuleDict({f"{split}/": MeanMetric() for split in EVALUATED})
        if self.compositions:
            self.composed: Any = nn.ModuleDict({f"{split}/": MeanMetric() for split in EVALUATED})
        self.tested: Any = nn.ModuleDict({name: CatMetric() for name in ("index", "probabilities")})
        self.evaluation_log: Any = None  # an `EvaluationLog`, where an evaluation may be cut off
        # of the last test: (true class, predicted class); clips' numbers (clips,) and probabilities (clips, classes)
        self.confusion: Tensor | None = None
        self.test_outputs: tuple[Tensor, Tensor] | None = None

    def __getstate__(self) -> dict[str, Any]:
        """What a copy gets, such as that of averaged weights: not the log of this module's evaluations."""
        return {**super().__getstate__(), "evaluation_log": None}

    def forward(self, waveform: Tensor) -> Tensor:
        """Logits `(batch, classes)` of `(batch, samples)` waveforms: int16, or float in [-1, 1)."""
        return self.counted(self.calibrated(self.outputs(waveform)[0]))

    def outputs(self, waveform: Tensor) -> tuple[Tensor, Tensor | None]:
        """What the net gives: logits of counts, or of compositions, `(batch, outputs)`; in training also those of
        frames, `(batch, frame_classes, steps)`, if there is a loss on them.
        """
        outputs = self.net(self.front_end(waveform))
        return outputs if isinstance(outputs, tuple) else (outputs, None)

    def counted(self, outputs: Tensor) -> Tensor:
        """Logits of counts, `(batch, classes)`, from what the net gives."""
        return marginal(outputs, self.counts) if self.compositions else outputs

    def calibrated(self, outputs: Tensor) -> Tensor:
        """What the net gives, `(batch, outputs)`, with logits of counts that are divided by the temperature."""
        return calibrated(outputs, self.counts, self.temperature, composed=self.compositions is not None)

    @property
    def frame_seconds(self) -> float | None:
        """The frames whose numbers of active voices a training batch needs; None: it does not need them."""
        return FRAME_SECONDS if self.objective.frame_weight else None

    def training_step(self, batch: dict[str, Tensor], batch_idx: int) -> Tensor | None:
        return self._step(batch, "running")

    def validation_step(self, batch: dict[str, Tensor], batch_idx: int, dataloader_idx: int = 0) -> None:
        self._step(batch, VALIDATION_SETS[dataloader_idx])

    def test_step(self, batch: dict[str, Tensor], batch_idx: int) -> None:
        self._step(batch, "test")

    def _step(self, batch: dict[str, Tensor], split: str) -> Tensor | None:
        if not len(batch["count"]):
            return None  # in a last batch with fewer clips than ranks
        outputs, frames = self._outputs(batch, split)  # (batch, outputs)
        logits = self.counted(outputs)  # (batch, classes)
        target = labels.class_of(batch["count"], self.counts)  # (batch,)
        if split == "running":
            loss = self.objective.loss(outputs, frames, batch, self.counts)
        else:
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
        if self.compositions:
            sexes = composition_of(batch, self.counts)
            known = sexes >= 0
            self.composed[f"{split}/"].update((outputs.argmax(dim=1) == sexes)[known].float())
        if split == "test":
            self.tested["index"].update(batch["index"])
            self.tested["probabilities"].update(outputs.softmax(dim=1))
        return loss

    def _outputs(self, batch: dict[str, Tensor], split: str) -> tuple[Tensor, Tensor | None]:
        if split == "running":
            return self.outputs(batch["waveform"])

        def compute() -> Tensor:
            return self.outputs(batch["waveform"])[0]

        log = self.evaluation_log
        outputs = compute() if log is None else log.outputs(split, batch["index"], compute)
        return self.calibrated(outputs), None

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
        clips = values["confusion"].sum(dim=1)
        for count, number, value in zip(self.counts, clips, values["accuracy_of"], strict=True):
            if number:  # a net may be evaluated on clips that lack some of its counts
                self.log(labels.metric_key(split, f"accuracy_{count}"), value)
        if self.compositions:
            composed = self.composed[f"{split}/"]
            value = composed.compute()
            if value.isfinite():  # else the sexes of no clip are known
                self.log(labels.metric_key(split, "composition_accuracy"), value)
            composed.reset()
        self.confusion = values["confusion"]

    def setup(self, stage: str) -> None:
        if self.compiles and stage == "fit":
            if self.device.type == "cpu" and not any(map(shutil.which, (os.environ.get("CXX", "g++"), "clang++"))):
                raise UserError("model.compile=true needs a C++ compiler: install g++")
            self.net.compile()

    def configure_optimizers(self) -> Any:
        """The optimizer, with its schedule, as Lightning takes them.

        Raises:
            UserError: they cannot be made of these arguments, or the schedule follows a metric that is not there.
        """
        if not any(parameter.requires_grad for parameter in self.parameters()):
            raise UserError("model.net: this net has no parameters to train")
        optimizer = made("model.optimizer", self.optimizer, self.parameters(), lr=self.learning_rate)
        if self.scheduler is None:
            return optimizer
        make = self.scheduler["scheduler"]
        with contextlib.suppress(TypeError, ValueError):  # of arguments that do not fit, which `made` reports
            if "total_steps" in inspect.signature(make).parameters:
                make = functools.partial(make, total_steps=steps_of(self.trainer))
        settings = {**self.scheduler, "scheduler": made("model.scheduler.scheduler", make, optimizer)}
        self._check_monitor("model.scheduler", settings.get("monitor"))
        return {"optimizer": optimizer, "lr_scheduler": settings}

    def logged_metrics(self) -> list[str]:
        """The metrics that a run of this module logs after each epoch, which schedules and callbacks can follow."""
        data = getattr(self.trainer, "datamodule", None)
        train = ("train",) if getattr(data, "evaluate_train", False) else ()
        return labels.metric_keys(self.counts, ("validation", *train, "running"))

    def on_fit_start(self) -> None:
        for callback in self.trainer.callbacks:  # type: ignore[attr-defined]
            self._check_monitor(type(callback).__name__, getattr(callback, "monitor", None))

    def _check_monitor(self, key: str, monitor: str | None) -> None:
        if monitor is not None and monitor not in (metrics := self.logged_metrics()):
            raise UserError(f"{key}.monitor={monitor}: a run has the metrics {', '.join(metrics)}")

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
        for state in ("state_dict", "current_model_state"):  # the second where weights are averaged
            checkpoint.get(state, {}).update({f"running.{name}": value for name, value in running.items()})
