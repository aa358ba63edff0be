"""What a sweep says beside its runs: before them, how long they will take; between them, how far it is and the best so
far; at the end, the table, and which of them failed and why.
"""

import contextlib
import math
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from hydra.core.global_hydra import GlobalHydra
from hydra.core.utils import JobReturn
from hydra.experimental.callback import Callback
from omegaconf import DictConfig

from speaker_count import cluster, forecast, launcher, needs, processes
from speaker_count.callbacks import quiet
from speaker_count.compose import expand, find_own_nets
from speaker_count.errors import UserError
from speaker_count.results import tables
from speaker_count.room import Room

LEAST_CLIPS = 2000  # a net is not tried for fewer: training it would be as quick
MOST_SECONDS, SHORT_SECONDS = 1.0, 0.2  # a net is tried; before its run goes to a cluster


class Sweep(Callback):
    """Hydra's callback. Before anything runs: can its folder be written? In a sweep of several runs: how far is it?

    Attributes:
        jobs: of such a sweep, as they were foreseen.
        at_once: how many of them run side by side.
        elsewhere: not on this machine.
        results: of the runs that ended; of a failed one, why.
        begun: when each job that was begun, by its number, was so.
        ended: the numbers of those that ended.
        foreseen, taken: seconds, of the runs that were done now.
    """

    def __init__(self):
        self.jobs: list[forecast.Job] = []
        self.at_once = 1
        self.elsewhere = False
        self.results: list[dict[str, Any]] = []
        self.begun: dict[int, float] = {}
        self.ended: set[int] = set()
        self.foreseen = self.taken = 0.0

    def on_run_start(self, config: DictConfig, **kwargs: Any) -> None:
        _check(config.hydra.run.dir)
        if cluster.is_asked(config.hydra):
            print("hydra/launcher=slurm is for sweeps: add --multirun", file=sys.stderr)
            sys.exit(2)

    def on_multirun_start(self, config: DictConfig, **kwargs: Any) -> None:
        _check(config.hydra.sweep.dir)
        find_own_nets(config.hydra)
        quiet()
        try:
            jobs = forecast.foresee(expand(GlobalHydra.instance().config_loader(), config))
        except Exception:  # what cannot be composed is Hydra's to tell
            return
        several = len(jobs) > 1
        self.elsewhere = cluster.is_asked(config.hydra)
        side_by_side = launcher.is_of(config.hydra.launcher, launcher.Processes)
        if several and side_by_side:
            processes.begin()
        try:
            if self.elsewhere:
                cluster.check(config.hydra)
            most = SHORT_SECONDS if self.elsewhere else MOST_SECONDS
            room = forecast.try_out(jobs, most, LEAST_CLIPS if several else math.inf)
        except UserError as error:
            print(error, file=sys.stderr)
            sys.exit(2)
        seconds = [job.seconds for job in jobs]
        if side_by_side:
            launcher.settle(config.hydra.launcher, room, seconds)
        if self.elsewhere:  # this machine tells which job takes longer than which, but not how long on another
            cluster.settle(config.hydra.launcher, seconds)
            room = Room(min(config.hydra.launcher.array_parallelism, len(jobs)), 1)
        if not several and not self.elsewhere:
            return
        self.jobs, self.at_once = jobs, room.jobs
        if not self.elsewhere and any(job.pace for job in jobs):
            print(forecast.table(jobs, room), end="\n\n", flush=True)
        if room.told:
            print(room.told, flush=True)
        for data in needs.corpora(job.data for job in jobs if job.data and not job.finished):
            with contextlib.suppress(Exception):  # each job will say it
                data.prepare_data()

    def on_job_start(self, config: DictConfig, **kwargs: Any) -> None:
        if not self.jobs:
            return
        number = config.hydra.job.num
        self.begun[number] = time.monotonic()
        told = [f"job {len(self.begun)} of {len(self.jobs)}: {self.jobs[number].folder.name}"]
        left = self._seconds_left()
        if left:
            told.append(f"about {forecast.duration(left)} left")
        finished = [result for result in self.results if "failed" not in result]
        if finished:
            # scores on other clips say nothing beside these
            like = [result for result in finished if result["test_sha256"] == finished[-1]["test_sha256"]]
            best = max(like, key=lambda result: result["last"]["test"]["accuracy"])
            told.append(f"best so far: {best['job']}, test accuracy {best['last']['test']['accuracy']:.3f}")
        print("; ".join(told), flush=True)

    def _seconds_left(self) -> float:
        if self.elsewhere and not self.foreseen:
            return 0.0  # until a run has ended, nothing is known of that machine
        scale = self.taken / self.foreseen if self.foreseen else 1
        left = []
        for number, job in enumerate(self.jobs):
            if number not in self.ended:
                gone = time.monotonic() - self.begun[number] if number in self.begun else 0
                left.append(max(0, scale * job.seconds - gone))
        return forecast.side_by_side(left, self.at_once)

    def on_job_end(self, config: DictConfig, job_return: JobReturn, **kwargs: Any) -> None:
        result = {"job": Path(config.hydra.runtime.output_dir).name, **job_return.return_value}
        self.results.append(result)
        if not self.jobs:
            return
        number = config.hydra.job.num
        self.ended.add(number)
        if self.jobs[number].seconds and "failed" not in result:
            self.foreseen += self.jobs[number].seconds
            self.taken += time.monotonic() - self.begun[number]

    def on_multirun_end(self, config: DictConfig, **kwargs: Any) -> None:
        failed = [result for result in self.results if "failed" in result]
        finished = [result for result in self.results if "failed" not in result]
        if finished:
            print("", tables.of_runs(tables.sweep(finished)), sep="\n")
        for result in failed:
            print(f"failed: {result['job']}: {result['failed']} (see {result['log']})", file=sys.stderr)
        if failed:
            print(f"{len(failed)} of {len(self.results)} runs failed", file=sys.stderr)
            sys.exit(1)


def _check(folder: str) -> None:
    try:
        Path(folder).mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=folder).close()
    except OSError as error:
        print(
            f"cannot write to {folder}: {error.strerror}; name another folder with hydra.run.dir= (of one run) "
            "or hydra.sweep.dir= (of a sweep)",
            file=sys.stderr,
        )
        sys.exit(2)
