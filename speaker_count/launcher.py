"""Hydra's launcher of `hydra/launcher=processes`: a sweep's jobs side by side, each in a process of its own.

One that the system kills takes no other along. The processes are forked from a server that has imported what a run
needs: a job begins at once, and they share that memory.
"""

import importlib
import multiprocessing
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

from speaker_count import forkserver
from speaker_count.room import Room

PROCESSES = multiprocessing.get_context(forkserver.METHOD)
PATIENCE = 10  # seconds that jobs have to end in, when their sweep is interrupted


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
        self.context, self.task, self.config = hydra_context, task_function, config

    def launch(self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int) -> Sequence[JobReturn]:
        """What each job returned, in their order; `{"failed": why, "job": name, "log": path}` where it was killed."""
        numbers = range(initial_job_idx, initial_job_idx + len(job_overrides))
        configs = [self._config(number, overrides) for number, overrides in zip(numbers, job_overrides, strict=True)]
        configs.sort(key=lambda config: -self.seconds[config.hydra.job.num] if self.seconds else 0)
        threads = ThreadPoolExecutor(self.jobs)
        try:
            returned = dict(threads.map(self._run, configs))
        except BaseException as end:
            threads.shutdown(wait=False, cancel_futures=True)
            self._stop()
            if not isinstance(end, KeyboardInterrupt):
                raise
            print("interrupted: the same command goes on from the runs' last checkpoints", file=sys.stderr)
            sys.exit(128 + signal.SIGINT)
        threads.shutdown()
        return [returned[number] for number in numbers]

    def _config(self, number: int, overrides: Sequence[str]) -> DictConfig:
        config = self.context.config_loader.load_sweep_config(self.config, list(overrides))
        with open_dict(config):
            config.hydra.job.id, config.hydra.job.num = str(number), number
            folder = Path(config.hydra.sweep.dir, config.hydra.sweep.subdir)
            config.hydra.runtime.output_dir = str(folder.absolute())
        return config

    def _run(self, config: DictConfig) -> tuple[int, JobReturn]:
        folder = Path(config.hydra.runtime.output_dir)
        receiver, sender = PROCESSES.Pipe(duplex=False)
        lines, output = PROCESSES.Pipe(duplex=False) if self.jobs > 1 else (None, None)
        with self.one_speaks:
            self.context.callbacks.on_job_start(config=config, task_function=self.task)
            process = PROCESSES.Process(target=_work, args=(self.task, config, self.threads, sender, output))
            process.start()
            self.running.add(process)
        sender.close()  # the job's end alone is open now: when the job has ended, nothing more is to come
        if lines is not None:
            output.close()
            threading.Thread(target=self._pass_on, args=(folder.name, lines), daemon=True).start()
        returned = JobReturn(overrides=list(config.hydra.overrides.task), cfg=config, hydra_cfg=config)
        returned.status, returned.return_value = JobStatus.COMPLETED, _received(receiver, process, folder)
        with self.one_speaks:
            self.running.discard(process)
            self.context.callbacks.on_job_end(config=config, job_return=returned)
        return config.hydra.job.num, returned

    def _stop(self) -> None:
        running = list(self.running)
        for process in running:
            process.terminate()  # Ctrl-C reaches the jobs by itself, but a signal to this process alone does not
        until = time.monotonic() + PATIENCE
        for process in running:
            process.join(max(0, until - time.monotonic()))
            process.kill()

    def _pass_on(self, name: str, lines: Connection) -> None:
        with os.fdopen(os.dup(lines.fileno()), errors="replace") as file:
            for line in file:
                with self.one_speaks:
                    print(f"{name} | {line}", end="", flush=True)


def is_ours(launcher: DictConfig) -> bool:
    """Whether the config is that of the launcher of this file."""
    return launcher._target_ == f"{Processes.__module__}.{Processes.__name__}"


def settle(launcher: DictConfig, room: Room, seconds: Sequence[float]) -> None:
    """Write into the config of the launcher of this file what the class takes."""
    launcher.jobs, launcher.threads, launcher.seconds = room.jobs, room.threads, list(seconds)


def _received(receiver: Connection, process: BaseProcess, folder: Path) -> Any:
    """What a job returned; why there is nothing, where it did not get so far."""
    try:
        result = receiver.recv()
        process.join()
        return result
    except EOFError:
        process.join()
    code = process.exitcode
    why = f"ended with exit code {code}"
    if code < 0:
        name = signal.Signals(-code).name
        why = f"killed ({name}{', perhaps for want of memory' if name == 'SIGKILL' else ''})"
    path = folder / "train.log"
    with open(path, "a") as file:
        file.write(f"{why}\n")
    return {"failed": why, "job": folder.name, "log": str(path)}


def _work(task: TaskFunction, config: DictConfig, threads: int, sender: Connection, output: Connection | None) -> None:
    """A job, in its own process."""
    threading.Thread(target=_end_with, args=(multiprocessing.parent_process(),), daemon=True).start()
    if output is not None:
        sys.stdout.flush()
        for descriptor in (1, 2):
            os.dup2(output.fileno(), descriptor)
        output.close()
        for stream in (sys.stdout, sys.stderr):
            stream.reconfigure(line_buffering=True)
    torch.set_num_threads(threads)
    setup_globals()
    JobRuntime.instance().set("name", config.hydra.job.name)
    context = HydraContext(config_loader=None, callbacks=Callbacks())  # the sweep's process calls them
    done = run_job(task, config, "hydra.sweep.dir", "hydra.sweep.subdir", context)
    sender.send(done.return_value)


def _end_with(parent: BaseProcess) -> None:
    """A job whose sweep was killed is nobody's any more."""
    parent.join()
    os.kill(os.getpid(), signal.SIGTERM)


def _register() -> None:
    """Let Hydra find the launcher: it takes them only from a package of that name, in which other plugins may be."""
    try:
        package = importlib.import_module("hydra_plugins")
    except ImportError:
        package = sys.modules["hydra_plugins"] = types.ModuleType("hydra_plugins")
        package.__path__ = []
    package.speaker_count = sys.modules[__name__]
    Processes.__module__ = "hydra_plugins.speaker_count"
    Plugins.instance().register(Processes)


_register()
