"""What a run is made of."""

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pytorch_lightning as pl
from pytorch_lightning.callbacks import ProgressBar
from pytorch_lightning.loggers import Logger, TensorBoardLogger, WandbLogger
from pytorch_lightning.plugins.environments import LightningEnvironment
from pytorch_lightning.utilities.exceptions import MisconfigurationException

from speaker_count.data.datamodule import ClipDataModule
from speaker_count.errors import UserError, missing
from speaker_count.training import progress
from speaker_count.training.checkpoints import AtomicCheckpointIO
from speaker_count.training.module import SpeakerCounter

log = logging.getLogger(__name__)
TRAINING = ("optimizer", "scheduler", "compile", "weights")  # keys of `model` that a trained net does not need
TRAINER = ("max_epochs", "precision", "gradient_clip_val", "accumulate_grad_batches")


@dataclass(frozen=True)
class Recipe:
    """What a run is made of, in plain values, so that each rank can make its own objects of them.

    Attributes:
        values: the resolved config.
        choices: the config chosen of each group, such as `model`.
        overrides: the user's, which led to these values.
        instantiate: Hydra's.
    """

    values: Mapping[str, Any]
    choices: Mapping[str, str]
    overrides: Sequence[str]
    instantiate: Callable[..., Any]

    def data(self) -> ClipDataModule:
        """The clips, not set up."""
        data: ClipDataModule = self.instantiate(self.values["data"], mix=self.values["mix"], _convert_="all")
        return data

    def training(self) -> dict[str, Any]:
        """How the net is trained: plain values, in which the last part of a class's name stands for it."""
        parts = {key: self.values["model"].get(key) for key in TRAINING if key != "weights"}  # a path says nothing
        parts |= {key: self.values["trainer"].get(key) for key in TRAINER}
        return _named({**parts, "callbacks": self.callbacks()})

    def callbacks(self) -> dict[str, Any]:
        """The configs of callbacks that were chosen; an experiment may have settings of others: `callbacks=none`."""
        named = self.values.get("callbacks") or {}
        return {name: config for name, config in named.items() if isinstance(config, Mapping) and "_target_" in config}

    def module(self, start: bool = False) -> SpeakerCounter:
        """The net, with weights drawn from torch's generator.

        Args:
            start: with `model.weights`, if the config has any.
        """
        model = {key: value for key, value in self.values["model"].items() if start or key != "weights"}
        module: SpeakerCounter = self.instantiate(model, _convert_="all")
        return module

    def trainer(self, callbacks: Sequence[pl.Callback] = (), **settings: Any) -> pl.Trainer:
        """Lightning's trainer, which shows how far it is.

        Args:
            callbacks: beside those of the config.
            settings: instead of the config's.
        """
        make = self.instantiate(self.values["trainer"], _partial_=True, _convert_="all")
        named = self.instantiate(self.callbacks(), _convert_="all")
        for name in sorted({*(self.values.get("callbacks") or ())}.difference(named)):
            log.warning("callbacks.%s has settings and no _target_: there is no such callback in this run", name)
        own = [*named.values(), *(make.keywords.get("callbacks") or ())]
        # a bar of the user's own is left alone
        shown = [] if any(isinstance(callback, ProgressBar) for callback in own) else [progress.shown(make.keywords)]
        added = {
            "callbacks": [*callbacks, *shown, *own],
            "enable_progress_bar": not any(isinstance(callback, progress.Lines) for callback in shown),
            # a run starts its own ranks, on Slurm too
            "plugins": [LightningEnvironment(), AtomicCheckpointIO(), *(make.keywords.get("plugins") or ())],
        }
        try:
            trainer: pl.Trainer = make(**added, **settings)
        except (ValueError, TypeError, MisconfigurationException) as error:
            raise UserError(f"trainer: {str(error).splitlines()[0]}") from error
        return trainer

    def logger(self, of_wandb: Callable[[], Mapping[str, Any]]) -> Logger | None:
        """Lightning's logger; None: `metrics.csv` is the only log.

        Args:
            of_wandb: W&B's settings, instead of the config's.

        Raises:
            UserError: a package that the logger needs is not installed.
        """
        config = self.values.get("logger") or {}
        if not config.get("_target_"):
            return None
        make = self.instantiate(config, _partial_=True, _convert_="all")
        is_wandb = isinstance(make.func, type) and issubclass(make.func, WandbLogger)
        try:
            logger: Logger = make(**(of_wandb() if is_wandb else {}))
        except ModuleNotFoundError as error:
            choice = f"logger={self.choices.get('logger')}"
            if isinstance(make.func, type) and issubclass(make.func, TensorBoardLogger):
                raise missing(choice, "tensorboard") from error
            reason = str(error).splitlines()[0].rstrip(".")
            raise UserError(f"{choice}: {reason}; or choose logger=wandb or logger=csv") from error
        return logger


def _named(tree: Mapping[str, Any]) -> dict[str, Any]:
    """A tree without empty parts, and with names where it has classes."""
    named: dict[str, Any] = {"name": str(tree["_target_"]).rpartition(".")[2]} if "_target_" in tree else {}
    for key, value in tree.items():
        inner = _named(value) if isinstance(value, Mapping) else value
        if not key.startswith("_") and inner not in (None, {}):
            named[key] = inner
    return named
