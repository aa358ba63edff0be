"""The processes of one run on several devices: all do the same, each with its part of every batch.

They begin here and not in Lightning, which would give each of them the command line: that of a sweep is not its job's.
"""

import contextlib
import logging
import os
import signal
from collections.abc import Callable, Iterator
from typing import Any

import torch
from lightning_fabric.plugins.environments.lightning import find_free_network_port
from omegaconf import DictConfig

from speaker_count import processes
from speaker_count.callbacks import ENDING, quiet
from speaker_count.errors import UserError, check_number


def number(trainer: DictConfig) -> int:
    """How many processes a run with this config of the trainer takes: one for each of its devices.

    Raises:
        UserError: several devices without `trainer=ddp`, or several machines.
    """
    strategy, devices = str(trainer.get("strategy", "auto")), trainer.devices
    if trainer.get("num_nodes", 1) != 1:
        raise UserError(f"trainer.num_nodes={trainer.num_nodes}: a run stays on one machine")
    if strategy != "ddp":
        if devices not in (1, "1", "auto"):
            raise UserError(f"trainer.devices={devices}: several devices need trainer=ddp")
        return 1
    check_number("trainer.devices", devices, int, 1)
    return devices


def check_devices(trainer: DictConfig) -> None:
    """See that this machine has the devices that a run asks for.

    Raises:
        UserError: it has not.
    """
    kind, wanted = str(trainer.accelerator), number(trainer)
    there = torch.accelerator.device_count() if torch.accelerator.is_available() else 0
    if kind in ("gpu", "cuda", "mps") and there < wanted:
        raise UserError(
            f"trainer.accelerator={kind}: {wanted} wanted, and torch finds {there or 'none'} here; "
            "trainer.accelerator=cpu does without, and is the default where there is none"
        )


def rank() -> int:
    """Of this process among those of its run."""
    return int(os.environ.get("LOCAL_RANK", 0))


@contextlib.contextmanager
def together(task: Callable[..., Any], *arguments: Any, number: int) -> Iterator[None]:
    """While this process does the task itself, as rank 0, others do it as the ranks that follow.

    Args:
        task, arguments: can be pickled.
        number: of processes, all together.
    """
    if number == 1:
        yield
        return
    threads = torch.get_num_threads()
    shared = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(find_free_network_port()), "LOCAL_RANK": "0"}
    before = {name: os.environ.get(name) for name in shared}
    each = max(1, threads // number)
    others = [
        processes.CONTEXT.Process(target=_work, args=(task, arguments, {**shared, "LOCAL_RANK": str(rank)}, each))
        for rank in range(1, number)
    ]
    try:
        os.environ.update(shared)
        torch.set_num_threads(each)
        for process in others:
            process.start()
        yield
        for process in others:
            process.join(processes.PATIENCE)
    except RuntimeError as error:  # of a partner that is gone, or of its own
        for rank, process in enumerate(others, start=1):
            process.join(1)
            if process.exitcode:
                raise RuntimeError(f"process {rank + 1} of {number}: {processes.told(process.exitcode)}") from error
        raise
    finally:
        for process in others:
            if process.pid is not None:
                process.kill()
                process.join()
        if torch.distributed.is_initialized():
            torch.distributed.destroy_process_group()  # the next run of this process has other partners
        torch.set_num_threads(threads)
        for name, value in before.items():
            os.environ.pop(name) if value is None else os.environ.update({name: value})


def _work(task: Callable[..., Any], arguments: tuple[Any, ...], environment: dict[str, str], threads: int) -> None:
    processes.end_with_parent(signal.SIGKILL)
    for number in ENDING:
        signal.signal(number, signal.SIG_IGN)  # rank 0 ends them all
    os.environ.update(environment)
    torch.set_num_threads(threads)
    logging.disable(logging.WARNING)  # rank 0 says it
    quiet()
    task(*arguments)
