"""What a run is made of."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pytorch_lightning as pl
from pytorch_lightning.loggers import WandbLogger
from pytorch_lightning.utilities.exceptions import MisconfigurationException

from speaker_count.data.datamodule import ClipDataModule
from speaker_count.errors import UserError
from speaker_count.training.module import SpeakerCounter


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

    def module(self) -> SpeakerCounter:
        """The net, with weights drawn from torch's generator."""
        module: SpeakerCounter = self.instantiate(self.values["model"], _convert_="all")
        return module

    def trainer(self, callbacks: Sequence[pl.Callback] = (), **settings: Any) -> pl.Trainer:
        """Lightning's trainer.

        Args:
            callbacks: before those of the config, which are the checkpoints.
            settings: instead of the config's.
        """
        make = self.instantiate(self.values["trainer"], _partial_=True, _convert_="all")
        try:
            trainer: pl.Trainer = make(callbacks=[*callbacks, *make.keywords.get("callbacks", ())], **settings)
        except (ValueError, TypeError, MisconfigurationException) as error:
            raise UserError(f"trainer: {str(error).splitlines()[0]}") from error
        return trainer

    @property
    def has_logger(self) -> bool:
        """Whether the run is logged elsewhere than in its folder."""
        return bool(self.values["logger"]["_target_"])

    def logger(self, **settings: Any) -> WandbLogger:
        """The logger.

        Args:
            settings: instead of the config's.
        """
        logger: WandbLogger = self.instantiate(self.values["logger"], **settings)
        return logger
