"""One run on several devices: every rank does the same, each with its part of every batch.

The ranks start here and not in Lightning, which would start each with the command line: that of a sweep is not that of
its job.
"""

import contextlib
import datetime
import logging
import os
import signal
import socket
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import torch
from pytorch_lightning.strategies import DDPStrategy
from torch.multiprocessing import ProcessExitedException, ProcessRaisedException, start_processes

from speaker_count.errors import DivergedError, UserError, check_number
from speaker_count.training import processes
from speaker_count.training.checkpoints import ENDING
from speaker_count.training.quiet import quiet

TIMEOUT_MINUTES = 10  # that a rank waits for another


def count_ranks(trainer: Mapping[str, Any]) -> int:
    """How many processes a run with this config of the trainer takes: one for each of its devices.

    Raises:
        UserError: several devices without `trainer=ddp`, or several machines.
    """
    strategy, devices = str(trainer.get("strategy", "auto")), trainer["devices"]
    if trainer.get("num_nodes", 1) != 1:
        raise UserError(f"trainer.num_nodes={trainer['num_nodes']}: a run stays on one machine")
    if strategy == "ddp":
        devices = int(devices) if isinstance(devices, str) and devices.isdigit() else devices
        check_number("trainer.devices", devices, int, 1)
        return int(devices)
    if isinstance(devices, int | str):
        one = _devices(trainer)[1] <= 1 if str(devices) in ("auto", "-1") else str(devices) == "1"
    else:
        one = len(devices) == 1  # a list of their numbers
    if not one:
        raise UserError(f"trainer.devices={devices}: several devices need trainer=ddp")
    return 1


def trainer_settings(trainer: Mapping[str, Any]) -> dict[str, Any]:
    """What Lightning's Trainer takes beside this config.

    Raises:
        UserError: this machine does not have the devices that the config asks for.
    """
    kind, available = _devices(trainer)
    wanted, named = count_ranks(trainer), trainer["accelerator"]
    if kind != "cpu" and (available < wanted or (kind == "mps" and wanted > 1)):
        raise UserError(
            f"trainer.accelerator={named}, trainer.devices={wanted}: torch finds {available or 'none'} here; "
            "trainer.accelerator=cpu needs none"
        )
    # torch synchronises batch norm on GPUs only; there it takes the statistics of the whole batch by default
    synchronised = trainer.get("sync_batchnorm")
    if synchronised and kind == "cpu":
        raise UserError("trainer.sync_batchnorm=true: torch synchronises batch norm on GPUs only")
    if wanted == 1:
        return {"devices": 1} if str(trainer["devices"]) in ("auto", "-1") else {}
    return {
        "strategy": DDPStrategy(timeout=datetime.timedelta(minutes=TIMEOUT_MINUTES)),
        "sync_batchnorm": kind != "cpu" if synchronised is None else synchronised,
    }


def is_on_cpu(trainer: Mapping[str, Any]) -> bool:
    """Whether a run with this config of the trainer computes on the CPU."""
    return _devices(trainer)[0] == "cpu"


def _devices(trainer: Mapping[str, Any]) -> tuple[str, int]:
    """Which kind of device a run is on, and how many of it are here."""
    kind = str(trainer["accelerator"])
    current = torch.accelerator.current_accelerator() if torch.accelerator.is_available() else None
    here = current.type if current is not None else "cpu"
    if kind in ("auto", "gpu"):
        kind = here if kind == "auto" or here != "cpu" else "gpu"
    return kind, torch.accelerator.device_count() if kind == here != "cpu" else 0


def rank() -> int:
    """The rank of this process within its run."""
    return int(os.environ.get("LOCAL_RANK", 0))


@contextlib.contextmanager
def other_ranks(task: Callable[..., Any], *arguments: Any, ranks: int) -> Iterator[None]:
    """While this process does a task as rank 0, others do it as the ranks that follow.

    Args:
        task, arguments: can be pickled.
        ranks: how many all together.
    """
    if ranks == 1:
        yield
        return
    threads = torch.get_num_threads()
    each = max(1, threads // ranks)
    shared = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(_free_port()), "LOCAL_RANK": "0"}
    with _environment(shared):
        torch.set_num_threads(each)
        work = (task, arguments, shared, each)
        others = start_processes(_work, work, ranks - 1, join=False, start_method=processes.METHOD)
        try:
            yield
            for process in others.processes:
                process.join(processes.PATIENCE)
        except RuntimeError as error:  # perhaps because another rank has died
            try:
                others.join(timeout=1, grace_period=1)
            except ProcessExitedException as end:
                why = processes.describe_exit_code(end.exit_code)
                raise RuntimeError(f"rank {end.error_index + 1} of {ranks}: {why}") from error
            except ProcessRaisedException as end:
                if DivergedError.__name__ in str(end):
                    raise DivergedError(f"the run diverged on rank {end.error_index + 1} of {ranks}") from error
                raise
            raise
        finally:
            for process in others.processes:
                process.kill()
                process.join()
            if torch.distributed.is_initialized():
                torch.distributed.destroy_process_group()  # the next run of this process has other ranks
            torch.set_num_threads(threads)


def _free_port() -> int:
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        return int(server.getsockname()[1])


@contextlib.contextmanager
def _environment(variables: Mapping[str, str]) -> Iterator[None]:
    before = {name: os.environ.get(name) for name in variables}
    os.environ.update(variables)
    try:
        yield
    finally:
        for name, value in before.items():
            os.environ.pop(name) if value is None else os.environ.update({name: value})


def _work(
    number: int, task: Callable[..., Any], arguments: tuple[Any, ...], variables: dict[str, str], threads: int
) -> None:
    processes.end_with_parent(signal.SIGKILL)
    for ending in ENDING:
        signal.signal(ending, signal.SIG_IGN)  # rank 0 ends them all
    os.environ.update(variables, LOCAL_RANK=str(number + 1))
    torch.set_num_threads(threads)
    logging.disable(logging.WARNING)  # rank 0 says it
    quiet()
    task(*arguments)
