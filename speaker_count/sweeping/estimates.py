"""How long the runs of a sweep will take here, and how many of them fit at a time."""

import heapq
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import NamedTuple

import torch
from omegaconf import DictConfig, OmegaConf

from speaker_count.compose import build, plain
from speaker_count.data.datamodule import ClipDataModule
from speaker_count.errors import check_number
from speaker_count.results import tables
from speaker_count.results.record import is_finished
from speaker_count.sweeping.resources import Concurrency, concurrency
from speaker_count.training import ddp, run_folder, starting, threads
from speaker_count.training.memory import keep_freed_memory, peak_memory_bytes
from speaker_count.training.recipe import Recipe
from speaker_count.training.throughput import Throughput, measure

QUICK = 4000  # clips/s, faster than any net: a net is tried no longer than it would be trained at this rate
# of a run: small files, W&B's among them; two checkpoints, each with the weights and Adam's two averages; predictions
RUN_BYTES, PARAMETER_BYTES, PREDICTION_BYTES = 400_000, 25, 50
Tried = dict[str, tuple[Throughput, int]]  # of nets: their throughput and number of parameters


class Work(NamedTuple):
    """The clips of a run: in each epoch, those that are trained on and evaluated; at the end, twice, those tested."""

    epochs: int
    train: int
    evaluate: int
    test: int

    def seconds(self, throughput: Throughput) -> float:
        """How long the work takes at this throughput."""
        epoch = self.train / throughput.train + self.evaluate / throughput.evaluate
        return self.epochs * epoch + 2 * self.test / throughput.evaluate


@dataclass
class PlannedRun:
    """A run that has not started yet.

    Attributes:
        config: with the `hydra` node.
        data: not set up.
        finished: there is nothing to do.
        epochs_done: of a run that was interrupted.
        work: what is left; None where it is finished or fails.
        throughput, parameters: of its net; None where it was not tried.
        problem: why it fails.
    """

    config: DictConfig
    folder: Path
    data: ClipDataModule | None = None
    finished: bool = False
    epochs_done: int = 0
    work: Work | None = None
    throughput: Throughput | None = None
    parameters: int | None = None
    problem: Exception | None = None

    @property
    def name(self) -> str:
        """The name of its folder."""
        return self.folder.name

    @property
    def clips(self) -> int:
        """The number of clips that it will train on, over all epochs."""
        return self.work.epochs * self.work.train if self.work else 0

    @property
    def seconds(self) -> float:
        """How long it will take; 0 where there is nothing to do or the net was not tried."""
        return self.work.seconds(self.throughput) if self.work and self.throughput else 0.0

    @property
    def bytes(self) -> int:
        """The bytes that it will add to its folder."""
        if self.work is None or self.parameters is None:
            return 0
        return RUN_BYTES + PARAMETER_BYTES * self.parameters + PREDICTION_BYTES * self.work.test


def plan(config: DictConfig, folder: Path) -> PlannedRun:
    """Find out what a run has to do and what is done already; its `problem` says why it would fail."""
    run = PlannedRun(config, folder)
    try:
        _look(run)
    except Exception as error:  # whatever the config names is constructed
        run.problem = error
    return run


def _look(run: PlannedRun) -> None:
    config, trainer = run.config, run.config.trainer
    check_number("trainer.max_epochs", trainer.max_epochs, int, 1)
    run.data = data = build(config.data, mix=config.mix, _convert_="all")
    data.source.check_trains(data.name)
    data.check_divides(ddp.count_ranks(trainer))
    run.finished = is_finished(run.folder) and not config.force
    if run.finished:
        return
    if config.model.get("weights") is not None:
        starting.find(config.model.weights)
    run.epochs_done = 0 if config.force else run_folder.epochs_done(run.folder)

    def limited(split: str, stage: str) -> int:
        clips, limit = int(data.mix.clips[split]), trainer.get(f"limit_{stage}_batches")
        if isinstance(limit, int):
            return min(clips, limit * int(data.batch_size))
        return clips if limit is None else round(limit * clips)

    run.work = Work(
        epochs=max(0, trainer.max_epochs - run.epochs_done),
        train=limited("train", "train"),
        evaluate=limited("validation", "val") + (limited("train", "val") if data.evaluate_train else 0),
        test=limited("test", "test"),
    )


def estimate(runs: Sequence[PlannedRun], most_seconds: float, least_clips: float = 1, tried: Tried | None = None
             ) -> Concurrency:  # fmt: skip
    """Measure the throughput of the runs' nets, of each once, with as many threads as it will have.

    Args:
        most_seconds: for each net and number of threads.
        least_clips: a run with fewer training clips is left out.
        tried: nets that were measured before; those that are measured now are added.

    Returns:
        How many jobs can run at a time.

    Raises:
        UserError: the number of jobs or threads is none.
    """
    jobs = runs[0].config.hydra.launcher.get("jobs", 1)
    if jobs is not None:
        check_number("hydra.launcher.jobs", jobs, int, 1)
    for run in runs:
        threads.check(run.config.threads)
    each = max((run.config.threads or 0 for run in runs), default=0) or None
    ranks = max((ddp.count_ranks(run.config.trainer) for run in runs if run.work), default=1)
    most = partial(concurrency, len(runs), jobs, each, ranks=ranks, to_do=sum(run.work is not None for run in runs))
    keep_freed_memory()
    tried = {} if tried is None else tried
    with threads.using(max(1, most().threads // ranks)):
        for run in runs:
            if run.clips >= least_clips:
                try:
                    run.throughput, run.parameters = _measured(run, tried, most_seconds)
                except Exception as error:  # a net may raise anything
                    run.problem, run.work = error, None
    return most(job_bytes=ranks * peak_memory_bytes())


def _measured(run: PlannedRun, tried: Tried, most_seconds: float) -> tuple[Throughput, int]:
    data, config = run.data, run.config
    assert data is not None
    # the callbacks name the folder of a run that Hydra has begun
    trainer = OmegaConf.masked_copy(config.trainer, [key for key in config.trainer if key != "callbacks"])
    made = Recipe({"model": plain(config.model), "trainer": plain(trainer)}, {}, [], build)
    ranks = ddp.count_ranks(made.values["trainer"])
    number = config.threads or threads.noted(run.folder)
    clips = [list(data.mix.counts), data.batch_size // ranks, round(data.mix.clip_seconds * data.sample_rate)]
    tries = [{**made.values["model"], "learning_rate": None}, made.values["trainer"], clips, number]
    key = json.dumps(tries, sort_keys=True, default=str)
    if key not in tried:
        module = made.module()
        measured, seconds = partial(measure, module, made, data), min(most_seconds, run.clips / QUICK)
        if number is None and ranks == 1 and ddp.is_on_cpu(made.values["trainer"]):
            best, rates = threads.fastest(measured, seconds)
            rate = rates[best]
        else:
            with threads.using(number):
                rate = measured(seconds)
        parameters = sum(parameter.numel() for parameter in module.parameters())
        tried[key] = Throughput(ranks * rate.train, ranks * rate.evaluate), parameters
    return tried[key]


def total_seconds(seconds: Iterable[float], jobs: int) -> float:
    """Total duration of runs with `jobs` at a time: the longest start first, each as soon as another ends."""
    ends = [0.0] * jobs
    for one in sorted(seconds, reverse=True):
        heapq.heapreplace(ends, ends[0] + one)
    return max(ends)


def duration(seconds: float) -> str:
    """A duration in words: 40 s, 35 min, 1 h 40 min."""
    minutes = round(seconds / 60)
    if minutes < 90:
        return f"{minutes} min" if seconds >= 90 else f"{seconds:.0f} s"
    return f"{minutes // 60} h {minutes % 60} min"


def table(runs: Sequence[PlannedRun], concurrency: Concurrency) -> str:
    """A row for each run, for a terminal, and how long all of them take together."""
    rows: list[tables.Row] = [
        {
            "run": run.name,
            "train clips/s": round(run.throughput.train) if run.throughput else None,
            "eval clips/s": round(run.throughput.evaluate) if run.throughput else None,
            "minutes": run.seconds / 60 if run.throughput or run.finished else None,
            "": _state(run),
        }
        for run in runs
    ]
    columns = {name: name for name in rows[0] if name or any(row[""] for row in rows)}
    total = duration(total_seconds((run.seconds for run in runs), concurrency.jobs))
    finished = sum(run.finished for run in runs)
    rest = f"; {finished} of {len(runs)} runs are finished" if finished else ""
    return f"{tables.for_terminal(rows, columns)}\n\nestimate: {total} in total, on {_device(concurrency)}{rest}"


def _state(run: PlannedRun) -> str:
    if run.finished or run.problem:
        return "finished" if run.finished else "fails"
    return f"{run.epochs_done} of {run.config.trainer.max_epochs} epochs done" if run.epochs_done else ""


def _device(concurrency: Concurrency) -> str:
    device = torch.accelerator.current_accelerator() if torch.accelerator.is_available() else None
    several = f", {concurrency.jobs} runs at a time" if concurrency.jobs > 1 else ""
    most = "one thread" if concurrency.threads == 1 else f"at most {concurrency.threads} threads"
    most = "" if device is not None else f", {most}" + " each" * (concurrency.jobs > 1)
    return (device.type.upper() if device is not None else "the CPU") + several + most
