"""How fast a net is on this machine, from a moment of training and evaluating it on random clips."""

import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import pytorch_lightning as pl
import torch

from speaker_count.module import SpeakerCounter


class Pace(NamedTuple):
    """How many clips a second a net is trained on and evaluated on."""

    train: float
    evaluate: float


def measure(
    module: SpeakerCounter,
    make_trainer: Callable[..., pl.Trainer],
    counts: Sequence[int],
    batch_size: int,
    samples: int,
    seconds: float,
) -> Pace:
    """Train a net for two thirds of the time and evaluate it for the rest, on the trainer's device, with its precision
    and as many threads as in a run. It takes longer if two steps do.

    Args:
        make_trainer: the run's, but for how long it trains, its callbacks and its logger.
        counts: the numbers of speakers in the clips.
        samples: length of a clip.
    """
    batch = {
        "waveform": torch.randint(-3000, 3000, (batch_size, samples), dtype=torch.int16),
        "count": torch.tensor(list(counts)).repeat(batch_size)[:batch_size],
        "index": torch.arange(batch_size),
    }
    train, evaluate = _Repeated(batch, seconds * 2 / 3), _Repeated(batch, seconds / 3)
    trainer = make_trainer(
        max_epochs=1,
        callbacks=[_Stopwatch(train, evaluate)],
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Lightning's advice on loaders
        trainer.fit(module, train, evaluate)
    return Pace(train.clips_per_second, evaluate.clips_per_second)


class _Repeated:
    """One batch, given out again and again for a while. The first step, which is slow, does not count; at least one
    more follows.
    """

    def __init__(self, batch: dict[str, torch.Tensor], seconds: float):
        self.batch, self.seconds = batch, seconds
        self.ends: list[float] = []  # of each step

    def __iter__(self) -> Iterator[dict[str, torch.Tensor]]:
        begin = time.perf_counter()
        while not self.ends or time.perf_counter() - begin < self.seconds:  # Lightning asks one batch ahead
            yield self.batch

    def step_is_done(self) -> None:
        if torch.accelerator.is_available():
            torch.accelerator.synchronize()
        self.ends.append(time.perf_counter())

    @property
    def clips_per_second(self) -> float:
        return (len(self.ends) - 1) * len(self.batch["count"]) / (self.ends[-1] - self.ends[0])


class _Stopwatch(pl.Callback):
    def __init__(self, train: _Repeated, evaluate: _Repeated):
        self.train, self.evaluate = train, evaluate

    def on_train_batch_end(self, *args: Any, **kwargs: Any) -> None:
        self.train.step_is_done()

    def on_validation_batch_end(self, *args: Any, **kwargs: Any) -> None:
        self.evaluate.step_is_done()
