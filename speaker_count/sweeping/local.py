"""Hydra's launcher of `hydra/launcher=processes`: a sweep's jobs side by side, each in a process of its own.

A job killed by the OOM killer does not affect the others. The processes are forked from a server that has imported what
a run needs: a job starts at once, and they share that memory.
"""

import os
import signal
import sys
import threading
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess

from hydra.types import TaskFunction
from omegaconf import DictConfig

from speaker_count.sweeping.estimates import PlannedRun
from speaker_count.sweeping.launcher import SweepLauncher, do_job
from speaker_count.sweeping.outcome import JobOutcome
from speaker_count.sweeping.resources import Concurrency
from speaker_count.training import processes
from speaker_count.training.streams import say


class LocalLauncher(SweepLauncher):
    """Several jobs at a time on this machine.

    Args:
        jobs: at a time; None: as many as fit.
    """

    def __init__(self, jobs: int | None = None):
        self.jobs = jobs  # `estimate` reads it from the config
        self.running: set[BaseProcess] = set()
        self.one_speaks = threading.Lock()

    def check(self) -> None:
        processes.start_server()  # unless Hydra's plugin has, before it imported this

    def interrupted(self) -> str:
        return "interrupted: the same command resumes from the runs' last checkpoints"

    def run_all(self, runs: Sequence[PlannedRun], concurrency: Concurrency) -> None:
        threads = ThreadPoolExecutor(concurrency.jobs)
        try:
            for _ in threads.map(lambda run: self._run(run, concurrency), runs):
                pass
        except BaseException:
            threads.shutdown(wait=False, cancel_futures=True)
            self._stop()
            raise
        threads.shutdown()

    def _run(self, run: PlannedRun, concurrency: Concurrency) -> None:
        receiver, sender = processes.CONTEXT.Pipe(duplex=False)
        lines, output = processes.CONTEXT.Pipe(duplex=False) if concurrency.jobs > 1 else (None, None)
        job = (self.task_function, run.config, concurrency.threads, sender, output)
        with self.one_speaks:
            self.started(run)
            process = processes.CONTEXT.Process(target=_work, args=job)
            process.start()
            self.running.add(process)
        sender.close()  # only the job's end is open now: when the job has ended, nothing more comes
        if lines is not None and output is not None:
            output.close()
            threading.Thread(target=self._pass_on, args=(run.name, lines), daemon=True).start()
        outcome = _received(receiver, process, run)
        with self.one_speaks:
            self.running.discard(process)
            self.ended(run, outcome)

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
                    say(f"{name} | {line}".removesuffix("\n"))


def _received(receiver: Connection, process: BaseProcess, run: PlannedRun) -> JobOutcome:
    """How a job ended; why, where its process died."""
    try:
        outcome: JobOutcome = receiver.recv()
        process.join()
        return outcome
    except EOFError:
        process.join()
    why = processes.describe_exit_code(process.exitcode)
    path = run.folder / "train.log"
    with open(path, "a") as file:
        file.write(f"{why}\n")
    return JobOutcome(run.name, failure=why, log=str(path))


def _work(task: TaskFunction, config: DictConfig, threads: int, sender: Connection, output: Connection | None) -> None:
    """A job, in its own process."""
    processes.end_with_parent(signal.SIGTERM, signal.SIGKILL)
    if output is not None:
        sys.stdout.flush()
        for descriptor in (1, 2):
            os.dup2(output.fileno(), descriptor)
        output.close()
        for stream in (sys.stdout, sys.stderr):
            stream.reconfigure(line_buffering=True)  # type: ignore[union-attr]
    sender.send(do_job(task, config, threads))
