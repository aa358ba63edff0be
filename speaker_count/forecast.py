"""`speaker-count forecast [overrides]`: what `train` with these overrides would do: on which speech, for how long and
with how much disk on this machine. It trains each net for a second to know, and leaves nothing behind.
"""

import argparse
import heapq
import json
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import torch
from hydra.types import RunMode
from hydra.utils import instantiate
from omegaconf import DictConfig, OmegaConf

from speaker_count import needs, ranks
from speaker_count.callbacks import quiet
from speaker_count.compose import compose_jobs
from speaker_count.data.datamodule import ClipDataModule
from speaker_count.errors import check_number, user_error
from speaker_count.module import SpeakerCounter
from speaker_count.pace import Pace, measure
from speaker_count.results import record, tables
from speaker_count.room import Room, keep_freed_memory, room

MOST_SECONDS = 1.5  # a net is tried
QUICK = 4000  # clips/s, faster than any net: a net is tried no longer than it would be trained at this rate
# of a run: small files, W&B's among them; two checkpoints, each with the weights and Adam's two averages; predictions
RUN_BYTES, PARAMETER_BYTES, PREDICTION_BYTES = 400_000, 25, 50


class Work(NamedTuple):
    """What a run has to do: in each epoch, train on some clips and evaluate some; at the end, twice, test some."""

    epochs: int
    train: int
    evaluate: int
    test: int


def seconds_of(work: Work, pace: Pace) -> float:
    """How long the work takes at this pace."""
    epoch = work.train / pace.train + work.evaluate / pace.evaluate
    return work.epochs * epoch + 2 * work.test / pace.evaluate


def duration(seconds: float) -> str:
    """As people say it: 40 s, 35 min, 1 h 40 min."""
    minutes = round(seconds / 60)
    if minutes < 90:
        return f"{minutes} min" if seconds >= 90 else f"{seconds:.0f} s"
    return f"{minutes // 60} h {minutes % 60} min"


@dataclass
class Job:
    """A run that is to come.

    Attributes:
        config: with the `hydra` node.
        data: not set up.
        finished: there is nothing to do.
        done: epochs that are done already, of a run that was cut off.
        work: what is left of it; None where it is finished or fails.
        pace, parameters: of its net; None where it was not tried.
        problem: why it fails.
    """

    config: DictConfig
    folder: Path
    data: ClipDataModule | None = None
    finished: bool = False
    done: int = 0
    work: Work | None = None
    pace: Pace | None = None
    parameters: int | None = None
    problem: Exception | None = None

    @property
    def clips(self) -> int:
        """How many it will be trained on, counted anew in each epoch."""
        return self.work.epochs * self.work.train if self.work else 0

    @property
    def seconds(self) -> float:
        """How long it will take; 0 where there is nothing to do or the net was not tried."""
        return seconds_of(self.work, self.pace) if self.work and self.pace else 0.0

    @property
    def bytes(self) -> int:
        """What it adds to its folder."""
        if self.work is None or self.parameters is None:
            return 0
        return RUN_BYTES + PARAMETER_BYTES * self.parameters + PREDICTION_BYTES * self.work.test


def side_by_side(seconds: Iterable[float], at_once: int) -> float:
    """How long jobs take together, so many at a time: the longest first, and each as soon as one has ended."""
    ends = [0.0] * at_once
    for one in sorted(seconds, reverse=True):
        heapq.heapreplace(ends, ends[0] + one)
    return max(ends)


def table(jobs: Sequence[Job], room: Room) -> str:
    """A row for each job, in Markdown, and how long all of them take together."""
    rows = [
        {
            "job": job.folder.name,
            "net": job.config.hydra.runtime.choices.model,
            "seed": job.config.seed,
            "train clips/s": round(job.pace.train) if job.pace else None,
            "eval clips/s": round(job.pace.evaluate) if job.pace else None,
            "minutes": job.seconds / 60 if job.pace or job.finished else None,
            "": _state(job),
        }
        for job in jobs
    ]
    columns = {name: name for name in rows[0] if name or any(row[""] for row in rows)}
    total = duration(side_by_side((job.seconds for job in jobs), room.jobs))
    finished = sum(job.finished for job in jobs)
    rest = f"; {finished} of {len(jobs)} are finished" if finished else ""
    return f"{tables.markdown(rows, columns)}\n\nin all about {total} here ({_device(room)}){rest}"


def _state(job: Job) -> str:
    if job.finished or job.problem:
        return "finished" if job.finished else "fails"
    return f"{job.done} of {job.config.trainer.max_epochs} epochs done" if job.done else ""


def _device(room: Room) -> str:
    device = torch.accelerator.current_accelerator().type if torch.accelerator.is_available() else "CPU"
    jobs = f", {room.jobs} jobs side by side" if room.jobs > 1 else ""
    threads = f", {room.threads} thread" + "s" * (room.threads > 1) + " each" * (room.jobs > 1)
    return device + jobs + (threads if device == "CPU" else "")


def foresee(configs: Iterable[tuple[DictConfig, Path]]) -> list[Job]:
    """The jobs of these configs and folders. One that fails has its `problem`; the others are foreseen all the same."""
    jobs = [Job(config, folder) for config, folder in configs]
    for job in jobs:
        try:
            _look(job)
        except Exception as error:
            job.problem = error
    return jobs


def try_out(jobs: Sequence[Job], most_seconds: float = MOST_SECONDS, least_clips: float = 1) -> Room:
    """Measure the pace of the jobs' nets, of each once, with as many threads as it will have.

    Args:
        most_seconds: for each net.
        least_clips: a job with fewer training clips is left out.

    Returns:
        How many of the jobs can run side by side.

    Raises:
        UserError: the launcher is asked for a number of jobs or threads that is none.
    """
    launcher = jobs[0].config.hydra.launcher
    to_do = sum(job.work is not None for job in jobs)
    wish = (launcher.jobs, launcher.threads) if "jobs" in launcher else (1, torch.get_num_threads())
    for key, value in zip(("jobs", "threads"), wish, strict=True):
        if value is not None:
            check_number(f"hydra.launcher.{key}", value, int, 1)
    processes = max((ranks.count_processes(job.config.trainer) for job in jobs if job.work), default=1)
    torch.set_num_threads(max(1, room(to_do, *wish, processes=processes).threads // processes))
    keep_freed_memory()
    paces: dict[str, tuple[Pace, int]] = {}
    for job in jobs:
        if job.clips >= least_clips:
            try:
                job.pace, job.parameters = _measured(job, paces, most_seconds)
            except Exception as error:
                job.problem, job.work = error, None
    return room(to_do, *wish, processes * record.peak_memory_bytes(), processes)


def _look(job: Job) -> None:
    """See what there is to do, and what is done."""
    config, trainer = job.config, job.config.trainer
    check_number("trainer.max_epochs", trainer.max_epochs, int, 1)
    processes = ranks.count_processes(trainer)
    job.data = instantiate(config.data, mix=config.mix, _convert_="all")
    job.data.check_divides(processes)
    job.finished = (job.folder / "result.json").is_file() and not config.force
    if job.finished:
        return
    metrics = job.folder / "metrics.csv"
    if (job.folder / "checkpoints" / "last.ckpt").is_file() and metrics.is_file() and not config.force:
        job.done = len(metrics.read_text().splitlines()) - 1

    def limited(split: str, stage: str) -> int:
        clips, limit = job.data.mix.clips[split], trainer.get(f"limit_{stage}_batches")
        if isinstance(limit, int):
            return min(clips, limit * job.data.batch_size)
        return clips if limit is None else round(limit * clips)

    job.work = Work(
        epochs=max(0, trainer.max_epochs - job.done),
        train=limited("train", "train"),
        evaluate=limited("validation", "val") + (limited("train", "val") if job.data.evaluate_train else 0),
        test=limited("test", "test"),
    )


def _measured(job: Job, paces: dict[str, tuple[Pace, int]], most_seconds: float) -> tuple[Pace, int]:
    """The pace of a job's net, and its number of parameters; nets that were tried before are in `paces`."""
    config, data = job.config, job.data
    # the config's own callbacks write to the run's folder; a run's processes are told from one of them
    left_out = ("callbacks", "max_epochs", "strategy", "sync_batchnorm")
    kept = [key for key in config.trainer if key not in left_out and not key.startswith("limit_")]
    trainer = OmegaConf.masked_copy(config.trainer, kept)
    trainer.devices, processes = 1, ranks.count_processes(config.trainer)
    clips = {
        "counts": list(data.mix.counts),
        "batch_size": data.batch_size // processes,
        "samples": round(data.mix.clip_seconds * data.sample_rate),
    }
    net, how = (OmegaConf.to_container(part, resolve=True) for part in (config.model, trainer))
    key = json.dumps([{**net, "learning_rate": None}, how, clips], sort_keys=True, default=str)
    if key not in paces:
        module: SpeakerCounter = instantiate(config.model, _convert_="all")
        seconds = min(most_seconds, job.clips / QUICK)
        pace = measure(module, instantiate(trainer, _partial_=True, _convert_="all"), **clips, seconds=seconds)
        pace = Pace(*(processes * rate for rate in pace))
        paces[key] = pace, sum(parameter.numel() for parameter in module.parameters())
    return paces[key]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split(":", 1)[1].strip())
    parser.add_argument("overrides", nargs="*", help="as for train: experiment=paper, model=m3,m5, ...")
    parser.add_argument("--multirun", "-m", action="store_true", help="as for train")
    parser.add_argument("--config-dir", help="a folder of your own configs")
    parser.add_argument("--folders", action="store_true", help="only name the folders of the sweep, or of the run")
    arguments = parser.parse_intermixed_args()
    quiet()

    configs = compose_jobs(arguments.overrides, arguments.config_dir, arguments.multirun)
    sweep = configs[0][0].hydra.mode == RunMode.MULTIRUN
    folders = list(dict.fromkeys(folder.parent if sweep else folder for _, folder in configs))
    if arguments.folders:
        print(*folders, sep="\n")
        return

    jobs = foresee(configs)
    added = []
    for data in needs.corpora(job.data for job in jobs if job.data):
        told, for_speech = needs.speech(data)
        print(*told, sep="\n", flush=True)
        added += for_speech
    room = try_out(jobs)
    failing = [job for job in jobs if job.problem]
    if len(jobs) == len(failing) == 1:
        raise jobs[0].problem
    print("", table(jobs, room), "", *filter(None, [room.told]), sep="\n")
    added.append(("the runs", sum(job.bytes for job in jobs), folders[0]))
    print(*needs.disk(added), sep="\n")
    for job in failing:
        print(f"fails: {job.folder.name}: {user_error(job.problem) or job.problem}", file=sys.stderr)
    if failing:
        print(f"{len(failing)} of {len(jobs)} runs would fail", file=sys.stderr)
        sys.exit(1)
