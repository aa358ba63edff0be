"""Training clips per second of each net: in the whole stack, in a bare loop, and with plain layers."""

import functools
import statistics
import time
from collections.abc import Callable, Sequence

import numpy as np
import pytorch_lightning as pl
import torch
from hydra.utils import instantiate
from omegaconf import DictConfig
from pytorch_lightning.profilers import SimpleProfiler
from torch import Tensor, nn
from torchaudio.transforms import AmplitudeToDB, Spectrogram

from speaker_count.compose import compose
from speaker_count.data.clips import MixedClips
from speaker_count.data.datamodule import ClipDataModule
from speaker_count.data.pool import Pool
from speaker_count.labels import FULL_SCALE
from speaker_count.training.module import SpeakerCounter
from speaker_count.training.processes import CONTEXT
from tests.benchmarks.peers import Measure, Row, apart, compare, row

SECONDS = 1.2  # of training a round, about
ROUNDS = 3
VARIED_STEPS = 60
NEXT_BATCH = "[_TrainingEpochLoop].train_dataloader_next"  # Lightning's name
WAVEFORM = {
    "m3": ([[32, 1]], True),
    "m5": ([[32, 1], [64, 1], [128, 1]], True),
    "m11": ([[32, 2], [64, 2], [128, 3], [256, 2]], False),
    "m18": ([[32, 4], [64, 4], [128, 4], [256, 4]], False),
}
SPECTROGRAM = {
    "spec_1": ([32], [0.2]),
    "spec_2": ([32, 32], [0.2, 0.4]),
    "spec_4": ([32, 32, 64, 64], [0.2, 0.2, 0.4, 0.0]),
}


class PlainWaveform(nn.Module):
    """The paper's 1D nets, with the layers in the paper's order."""

    def __init__(self, stages: list[list[int]], pool_last: bool):
        super().__init__()
        layers: list[nn.Module] = [nn.Conv1d(1, 32, 80, 16), nn.BatchNorm1d(32), nn.ReLU(), nn.MaxPool1d(4)]
        channels = 32
        for number, (width, repeats) in enumerate(stages, start=1):
            for _ in range(repeats):
                layers += [nn.Conv1d(channels, width, 3, padding=1), nn.BatchNorm1d(width), nn.ReLU()]
                channels = width
            if pool_last or number < len(stages):
                layers.append(nn.MaxPool1d(4))
        self.features, self.classifier = nn.Sequential(*layers), nn.Linear(channels, 3)

    def forward(self, waveform: Tensor) -> Tensor:
        return self.classifier(self.features(waveform[:, None]).mean(2))


class PlainSpectrogram(nn.Module):
    """The paper's 2D nets, with the layers in the paper's order."""

    def __init__(self, channels: list[int], dropout: list[float]):
        super().__init__()
        self.spectrogram = nn.Sequential(Spectrogram(), AmplitudeToDB())
        layers: list[nn.Module] = []
        for inputs, outputs, probability in zip([1, *channels[:-1]], channels, dropout, strict=True):
            layers += [nn.Conv2d(inputs, outputs, 3, padding=1), nn.BatchNorm2d(outputs), nn.ReLU(), nn.MaxPool2d(2)]
            layers += [nn.Dropout(probability)] if probability else []
        self.features, self.classifier = nn.Sequential(*layers), nn.Linear(channels[-1], 3)

    def forward(self, waveform: Tensor) -> Tensor:
        return self.classifier(self.features(self.spectrogram(waveform)[:, None]).mean((2, 3)))


def plain(name: str) -> nn.Module:
    return PlainWaveform(*WAVEFORM[name]) if name in WAVEFORM else PlainSpectrogram(*SPECTROGRAM[name])


class Stopwatch(pl.Callback):
    """Seconds from the end of the warm-up to the end of the epoch."""

    def __init__(self, warm_up: int):
        self.warm_up = warm_up

    def on_train_batch_start(self, trainer, pl_module, batch, batch_idx) -> None:
        if batch_idx == self.warm_up:
            self.begin = time.perf_counter()

    def on_train_epoch_end(self, trainer, pl_module) -> None:
        self.seconds = time.perf_counter() - self.begin


class Bench:
    """One net on the first batches of the stream."""

    def __init__(self, data: ClipDataModule, name: str):
        self.config: DictConfig = compose([f"model={name}", "evaluate_train=false"])
        self.data, self.name = data, name
        loader = iter(data.train_dataloader())
        self.batches = [next(loader) for _ in range(4)]
        step = self.seconds_of_step()
        self.warm_up = 3 if step > 0.1 else 10
        self.steps = max(5, round(SECONDS / step))
        self.batches += [next(loader) for _ in range(self.warm_up + self.steps - len(self.batches))]

    def module(self) -> SpeakerCounter:
        return instantiate(self.config.model, _convert_="all")

    def seconds_of_step(self) -> float:
        train = stepper(self.module())
        for batch in self.batches[:3]:
            begin = time.perf_counter()
            train(batch)
        return time.perf_counter() - begin

    def rate(self, seconds: float) -> float:
        return self.steps * self.data.batch_size / seconds

    def whole_stack(self, profiler: SimpleProfiler | None = None) -> float:
        """Clips per second, streamed and trained by Lightning as in `speaker-count train`."""
        watch = Stopwatch(self.warm_up)
        trainer = instantiate({**self.config.trainer, "callbacks": []}, _partial_=True)(
            callbacks=[watch],
            logger=False,
            enable_checkpointing=False,
            enable_progress_bar=False,
            max_epochs=1,
            limit_train_batches=self.warm_up + self.steps,
            limit_val_batches=0,
            profiler=profiler,
        )
        trainer.fit(self.module(), self.data)
        return self.rate(watch.seconds)

    def waiting(self) -> float:
        """The share of the time that the whole stack waits for the next batch, in per cent."""
        profiler = SimpleProfiler()
        seconds = self.steps * self.data.batch_size / self.whole_stack(profiler)
        return 100 * sum(profiler.recorded_durations[NEXT_BATCH][self.warm_up : -1]) / seconds

    def bare(self, make: Callable[[], nn.Module]) -> Measure:
        return functools.partial(bare, make, self.batches, self.warm_up)


def varied(data: ClipDataModule) -> float:
    """The CPU time in which clips of `mix=varied` are drawn and rendered, in per cent of that of conv_tdnn's step."""
    config = compose(["model=conv_tdnn", "mix=varied"])
    mix = instantiate(config.mix, clips=data.mix.clips, _convert_="all")
    assert isinstance(data.pool, Pool)
    clips = MixedClips(data.pool, "train", mix)
    train, size = stepper(instantiate(config.model, _convert_="all")), data.batch_size
    ratios = []
    for number in range(VARIED_STEPS):
        begin = time.thread_time()
        plan = clips.plan_of(np.arange(number * size, (number + 1) * size), activity=False)
        batch = {"waveform": torch.from_numpy(clips.render(plan)), "count": torch.from_numpy(plan.count)}
        rendered = time.thread_time()
        train(batch)
        ratios.append((rendered - begin) / (time.thread_time() - rendered))
    return 100 * statistics.median(ratios[VARIED_STEPS // 5 :])


def bare(make: Callable[[], nn.Module], batches: Sequence[dict[str, Tensor]], warm_up: int) -> float:
    """Clips per second of the same recipe on prepared batches."""
    train = stepper(make())
    for number, batch in enumerate(batches):
        if number == warm_up:
            begin = time.perf_counter()
        train(batch)
    return sum(len(batch["count"]) for batch in batches[warm_up:]) / (time.perf_counter() - begin)


def stepper(net: nn.Module) -> Callable[[dict[str, Tensor]], None]:
    optimiser = torch.optim.Adam(net.parameters(), lr=1e-4)

    def train(batch: dict[str, Tensor]) -> None:
        loss = nn.functional.cross_entropy(net(batch["waveform"].float() / FULL_SCALE), batch["count"] - 1)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()

    return train


def rows(data: ClipDataModule) -> list[Row]:
    lines = []
    CONTEXT.set_forkserver_preload([__name__])
    for name in (*WAVEFORM, *SPECTROGRAM):
        bench = Bench(data, name)
        assert sum(p.numel() for p in plain(name).parameters()) == sum(p.numel() for p in bench.module().parameters())
        with apart(bench.bare(functools.partial(plain, name))) as plain_layers:
            peers = {
                "whole stack": bench.whole_stack,
                "bare loop, prepared batches": bench.bare(bench.module),
                "the same, plain eager float32": plain_layers,
            }
            lines += compare(f"training {name}", "clips/s", peers, ROUNDS)
        if name == "m5":
            lines.append(row("training m5: waiting for data", bench.waiting(), "% of the step"))
    lines.append(row("mix=varied: drawn and rendered, CPU time", varied(data), "% of conv_tdnn's step"))
    return lines
