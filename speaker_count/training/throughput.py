"""How many clips a second a net takes on this machine, from a moment of training and evaluating it on random clips."""

import math
import time
import warnings
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import pytorch_lightning as pl
import torch

from speaker_count.data.datamodule import ClipDataModule
from speaker_count.training import ddp
from speaker_count.training.module import SpeakerCounter
from speaker_count.training.recipe import Recipe

# of the trainer's config: what writes into the run's folder, is about its length, or about several ranks
LEFT_OUT = ("callbacks", "max_epochs", "strategy", "sync_batchnorm")


class Throughput(NamedTuple):
    """Clips a second, in training and in evaluation; NaN where that was not measured."""

    train: float
    evaluate: float


def measure(
    module: SpeakerCounter, recipe: Recipe, data: ClipDataModule, seconds: float, evaluated: bool = True
) -> Throughput:
    """Train a net for two thirds of the time and evaluate it for the rest, on the run's device, with its precision and
    torch's present number of threads. It takes longer if three steps do.

    Args:
        module: the run's net, or another one of its kind; the steps change its weights.
        data: need not be set up.
        evaluated: false: it is trained all the time.

    Returns:
        The throughput of one rank.
    """
    mix, batch_size = data.mix, data.batch_size // ddp.count_ranks(recipe.values["trainer"])
    samples = round(mix.clip_seconds * data.sample_rate)
    count = torch.tensor(list(mix.counts)).repeat(batch_size)[:batch_size]
    batch = {
        "waveform": torch.randint(-3000, 3000, (batch_size, samples), dtype=torch.int16),
        "count": count,
        "women": count,
        "men": torch.zeros_like(count),
        "index": torch.arange(batch_size),
    }
    if module.frame_seconds is not None:
        batch["active"] = torch.zeros(
            batch_size, max(1, round(mix.clip_seconds / module.frame_seconds)), dtype=torch.int8
        )
    times = _StepTimes()
    kept = {
        key: value
        for key, value in recipe.values["trainer"].items()
        if key not in LEFT_OUT and not key.startswith("limit_")
    }
    kept |= {"devices": 1, "max_epochs": 1, "enable_checkpointing": False, "enable_progress_bar": False}
    trainer = recipe.instantiate(kept, _partial_=True, _convert_="all")(callbacks=[times], logger=False)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Lightning's advice on loaders
        if evaluated:
            trainer.fit(module, _repeat(batch, seconds * 2 / 3), _repeat(batch, seconds / 3))
        else:
            trainer.fit(module, _repeat(batch, seconds))
    return Throughput(*(_rate(ends, batch_size) for ends in (times.train, times.evaluate)))


def _rate(ends: Sequence[float], batch_size: int) -> float:
    """Clips a second, from the end of the first step, which is slow."""
    return (len(ends) - 1) * batch_size / (ends[-1] - ends[0]) if ends else math.nan


def _repeat(batch: dict[str, torch.Tensor], seconds: float) -> Iterator[dict[str, torch.Tensor]]:
    """A batch, again and again for a while, and at least three times: Lightning asks one batch ahead."""
    begin, given = time.perf_counter(), 0
    while given < 3 or time.perf_counter() - begin < seconds:
        given += 1
        yield batch


class _StepTimes(pl.Callback):
    """When each step ended."""

    def __init__(self) -> None:
        self.train: list[float] = []
        self.evaluate: list[float] = []

    def on_train_batch_end(self, *args: Any, **kwargs: Any) -> None:
        self.train.append(_now())

    def on_validation_batch_end(self, *args: Any, **kwargs: Any) -> None:
        self.evaluate.append(_now())


def _now() -> float:
    if torch.accelerator.is_available():
        torch.accelerator.synchronize()
    return time.perf_counter()
