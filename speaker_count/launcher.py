"""Hydra's launcher of `hydra/launcher=processes`: a sweep's jobs side by side, each in a process of its own.

One that the system kills takes no other along. The processes are forked from a server that has imported what a run
needs: a job begins at once, and they share that memory.
"""

import importlib
import os
import signal
import sys
import threading
import time
import types
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import torch
from hydra._internal.callbacks import Callbacks
from hydra.core.plugins import Plugins
from hydra.core.utils import JobReturn, JobRuntime, JobStatus, run_job, setup_globals
from hydra.plugins.launcher import Launcher
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig, open_dict

from speaker_count import processes
from speaker_count.room import Room


def findable(launcher: type[Launcher]) -> type[Launcher]:
    """Let Hydra find a launcher: it takes them only from a package of that name, in which other plugins may be."""
    try:
        package = importlib.import_module("hydra_plugins")
    except ImportError:
        package = sys.modules["hydra_plugins"] = types.ModuleType("hydra_plugins")
        package.__path__ = []
    name = "hydra_plugins.speaker_count"
    package.speaker_count = sys.modules.setdefault(name, types.ModuleType(name))
    setattr(package.speaker_count, launcher.__name__, launcher)
    launcher.__module__ = name
    Plugins.instance().register(launcher)
    return launcher


@findable
class Processes(Launcher):
    """As Hydra's own launcher runs a sweep's jobs, but several at a time. Hydra's callbacks are called in this process.

    Args:
        jobs: at a time.
        threads: of each; None: as torch has it.
        seconds: how long each job is expected to take: the longest begins first. None: in their order.
    """

    def __init__(self, jobs: int | None = None, threads: int | None = None, seconds: Sequence[float] | None = None):
        self.jobs, self.threads, self.seconds = jobs or 1, threads or torch.get_num_threads(), seconds
        self.running: set[BaseProcess] = set()
        self.one_speaks = threading.Lock()

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        self.hydra_context, self.task_function, self.config = hydra_context, task_function, config

    def launch(self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int) -> Sequence[JobReturn]:
        """What each job returned, in their order; `{"failed": why, "job": name, "log": path}` where it was killed."""
        numbers = range(initial_job_idx, initial_job_idx + len(job_overrides))
        configs = [job_config(self, *job) for job in zip(numbers, job_overrides, strict=True)]
        configs.sort(key=lambda config: -self.seconds[config.hydra.job.num] if self.seconds else 0)
        threads = ThreadPoolExecutor(self.jobs)
        try:
            ended = dict(threads.map(self._run, configs))
        except BaseException as end:
            threads.shutdown(wait=False, cancel_futures=True)
            self._stop()
            if not isinstance(end, KeyboardInterrupt):
                raise
            print("interrupted: the same command goes on from the runs' last checkpoints", file=sys.stderr)
            sys.exit(128 + signal.SIGINT)
        threads.shutdown()
        return [ended[number] for number in numbers]

    def _run(self, config: DictConfig) -> tuple[int, JobReturn]:
        folder = Path(config.hydra.runtime.output_dir)
        receiver, sender = processes.CONTEXT.Pipe(duplex=False)
        lines, output = processes.CONTEXT.Pipe(duplex=False) if self.jobs > 1 else (None, None)
        with self.one_speaks:
            self.hydra_context.callbacks.on_job_start(config=config, task_function=self.task_function)
            process = processes.CONTEXT.Process(
                target=_work, args=(self.task_function, config, self.threads, sender, output)
            )
            process.start()
            self.running.add(process)
        sender.close()  # the job's end alone is open now: when the job has ended, nothing more is to come
        if lines is not None:
            output.close()
            threading.Thread(target=self._pass_on, args=(folder.name, lines), daemon=True).start()
        done = returned(config, _received(receiver, process, folder))
        with self.one_speaks:
            self.running.discard(process)
            self.hydra_context.callbacks.on_job_end(config=config, job_return=done)
        return config.hydra.job.num, done

    def _stop(self) -> None:
        running = list(self.running)
        for process in running:
            process.terminate()  # Ctrl-C reaches the jobs by itself, but a signal to this process alone does not
        until = time.monotonic() + processes.PATIENCE
        for process in running:
            process.join(max(0, until - time.monotonic()))
            process.kill()

    def _pass_on(self, name: str, lines: Connection) -> None:
        with os.fdopen(os.dup(lines.fileno()), errors="replace") as file:
            for line in file:
                with self.one_speaks:
                    print(f"{name} | {line}", end="", flush=True)


def job_config(launcher: Launcher, number: int, overrides: Sequence[str]) -> DictConfig:
    """The config of a sweep's job, with its folder."""
    config = launcher.hydra_context.config_loader.load_sweep_config(launcher.config, list(overrides))
    with open_dict(config):
        config.hydra.job.id, config.hydra.job.num = str(number), number
        folder = Path(config.hydra.sweep.dir, config.hydra.sweep.subdir)
        config.hydra.runtime.output_dir = str(folder.absolute())
    return config


def do(task: TaskFunction, config: DictConfig, threads: int) -> Any:
    """Do a sweep's job in this process; Hydra's callbacks are called elsewhere. Returns what the task does."""
    torch.set_num_threads(threads)
    setup_globals()
    JobRuntime.instance().set("name", config.hydra.job.name)
    context = HydraContext(config_loader=None, callbacks=Callbacks())
    return run_job(task, config, "hydra.sweep.dir", "hydra.sweep.subdir", context).return_value


def returned(config: DictConfig, value: Any) -> JobReturn:
    """What Hydra calls the end of a job."""
    done = JobReturn(overrides=list(config.hydra.overrides.task), cfg=config, hydra_cfg=config)
    done.status, done.return_value = JobStatus.COMPLETED, value
    return done


def is_of(launcher: DictConfig, kind: type[Launcher]) -> bool:
    """Whether the config is that of this kind of launcher."""
    return launcher._target_ == f"{kind.__module__}.{kind.__name__}"


def settle(launcher: DictConfig, room: Room, seconds: Sequence[float]) -> None:
    """Write into the config of `Processes` what it takes."""
    launcher.jobs, launcher.threads, launcher.seconds = room.jobs, room.threads, list(seconds)


def _received(receiver: Connection, process: BaseProcess, folder: Path) -> Any:
    """What a job returned; why there is nothing, where it did not get so far."""
    try:
        result = receiver.recv()
        process.join()
        return result
    except EOFError:
        process.join()
    why = processes.told(process.exitcode)
    path = folder / "train.log"
    with open(path, "a") as file:
        file.write(f"{why}\n")
    return {"failed": why, "job": folder.name, "log": str(path)}


def _work(task: TaskFunction, config: DictConfig, threads: int, sender: Connection, output: Connection | None) -> None:
    """A job, in its own process."""
    processes.end_with_parent(signal.SIGTERM, signal.SIGKILL)
    if output is not None:
        sys.stdout.flush()
        for descriptor in (1, 2):
            os.dup2(output.fileno(), descriptor)
        output.close()
        for stream in (sys.stdout, sys.stderr):
            stream.reconfigure(line_buffering=True)
    sender.send(do(task, config, threads))
