"""The processes of one run on several devices: all do the same, each with its part of every batch.

They begin here and not in Lightning, which would give each of them the command line: that of a sweep is not its job's.
"""

import contextlib
import datetime
import logging
import os
import signal
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import torch
from lightning_fabric.plugins.environments.lightning import find_free_network_port
from pytorch_lightning.strategies import DDPStrategy

from speaker_count import processes
from speaker_count.callbacks import ENDING, quiet
from speaker_count.errors import UserError, check_number

MOST_MINUTES = 10  # that one waits for another


def count_processes(trainer: Mapping[str, Any]) -> int:
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
        return devices
    if isinstance(devices, int | str):
        one = _devices(trainer)[1] <= 1 if str(devices) in ("auto", "-1") else str(devices) == "1"
    else:
        one = len(devices) == 1  # a list of their numbers
    if not one:
        raise UserError(f"trainer.devices={devices}: several devices need trainer=ddp")
    return 1


def settings(trainer: Mapping[str, Any]) -> dict[str, Any]:
    """What Lightning's Trainer is told beside the config.

    Raises:
        UserError: this machine does not have the devices that the config asks for.
    """
    kind, there = _devices(trainer)
    wanted, named = count_processes(trainer), trainer["accelerator"]
    if kind != "cpu" and (there < wanted or (kind == "mps" and wanted > 1)):
        raise UserError(
            f"trainer.accelerator={named}, trainer.devices={wanted}: torch finds {there or 'none'} here; "
            "trainer.accelerator=cpu does without"
        )
    # torch synchronises batch norm on GPUs only; there it takes the statistics of the whole batch by default
    synchronised = trainer.get("sync_batchnorm")
    if synchronised and kind == "cpu":
        raise UserError("trainer.sync_batchnorm=true: torch synchronises batch norm on GPUs only")
    if wanted == 1:
        return {}
    return {
        "strategy": DDPStrategy(timeout=datetime.timedelta(minutes=MOST_MINUTES)),
        "sync_batchnorm": kind != "cpu" if synchronised is None else synchronised,
    }


def _devices(trainer: Mapping[str, Any]) -> tuple[str, int]:
    """Which kind of device a run is on, and how many there are."""
    kind = str(trainer["accelerator"])
    here = torch.accelerator.current_accelerator().type if torch.accelerator.is_available() else "cpu"
    if kind in ("auto", "gpu"):
        kind = here if kind == "auto" or here != "cpu" else "gpu"
    return kind, torch.accelerator.device_count() if kind == here != "cpu" else 0


def rank() -> int:
    """Of this process among those of its run."""
    return int(os.environ.get("LOCAL_RANK", 0))


@contextlib.contextmanager
def together(task: Callable[..., Any], *arguments: Any, ranks: int) -> Iterator[None]:
    """While this process does the task itself, as rank 0, others do it as the ranks that follow.

    Args:
        task, arguments: can be pickled.
        ranks: how many all together.
    """
    if ranks == 1:
        yield
        return
    threads = torch.get_num_threads()
    shared = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(find_free_network_port()), "LOCAL_RANK": "0"}
    before = {name: os.environ.get(name) for name in shared}
    each = max(1, threads // ranks)
    others = [
        processes.CONTEXT.Process(target=_work, args=(task, arguments, {**shared, "LOCAL_RANK": str(other)}, each))
        for other in range(1, ranks)
    ]
    try:
        os.environ.update(shared)
        torch.set_num_threads(each)
        for process in others:
            process.start()
        yield
        for process in others:
            process.join(processes.PATIENCE)
    except RuntimeError as error:  # perhaps of a partner that is gone
        for place, process in enumerate(others, start=2):
            process.join(1)
            if process.exitcode is not None and process.exitcode < 0:
                raise RuntimeError(f"process {place} of {ranks}: {processes.told(process.exitcode)}") from error
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
