"""Disks that are full, read-only or slow: real ones, which root mounts, and what a command does to them midway."""

import contextlib
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from speaker_count import files
from speaker_count.training.module import SpeakerCounter

GROUPS = Path("/sys/fs/cgroup/blkio")  # of version 1; version 2 does not count what a loop device writes
FILLER = "filler"
BLOCK = 4096


def run(*words: object) -> str:
    return subprocess.run([*map(str, words)], check=True, capture_output=True, text=True).stdout


class Disk:
    """A file system in memory, mounted on a folder."""

    def __init__(self, path: Path, kilobytes: int):
        self.path = path
        path.mkdir()
        try:
            run("mount", "-t", "tmpfs", "-o", f"size={kilobytes}k", "none", path)
        except (OSError, subprocess.CalledProcessError) as error:
            pytest.skip(f"a disk cannot be mounted here: {getattr(error, 'stderr', error)}")

    def change(self, options: str) -> None:
        """Change how it is mounted: `size=8m`, `ro`."""
        run("mount", "-o", f"remount,{options}", self.path)

    def fill(self, left: int = 0) -> None:
        fill(self.path, left)

    def free(self) -> None:
        (self.path / FILLER).unlink()


def fill(disk: Path, left: int = 0) -> None:
    """Fill a disk, but for some kilobytes."""
    free = os.statvfs(disk).f_bavail * BLOCK - 1024 * left
    (disk / FILLER).write_bytes(bytes(max(0, free)))
    with contextlib.suppress(OSError), open(disk / FILLER, "ab", buffering=0) as file:
        while not left:  # what the system counts otherwise
            file.write(bytes(BLOCK))


@contextlib.contextmanager
def slow_disk(folder: Path, bytes_per_second: int) -> Iterator[tuple[Path, Path]]:
    """A disk that takes so many bytes a second; yields its folder, and the control group that it is slow to."""
    image, disk, group = folder / "image", folder / "slow", GROUPS / f"slow-{os.getpid()}"
    disk.mkdir()
    with contextlib.ExitStack() as undo:
        try:
            image.write_bytes(b"")
            os.truncate(image, 2**24)
            run("mkfs.ext4", "-q", image)
            run("mount", "-o", "loop,sync", image, disk)
            undo.callback(run, "umount", "-l", disk)
            device = Path(run("findmnt", "-n", "-o", "SOURCE", disk).strip()).name
            number = Path(f"/sys/block/{device}/dev").read_text().strip()
            group.mkdir()
            undo.callback(_remove_group, group)
            (group / "blkio.throttle.write_bps_device").write_text(f"{number} {bytes_per_second}")
        except (OSError, subprocess.CalledProcessError) as error:
            pytest.skip(f"no disk can be made slow here: {getattr(error, 'stderr', None) or error}")
        yield disk, group


def _remove_group(group: Path) -> None:
    for process in (group / "cgroup.procs").read_text().split():
        (GROUPS / "cgroup.procs").write_text(process)
    group.rmdir()


def join(group: Path) -> None:
    """Put this process into a control group."""
    (group / "cgroup.procs").write_text(str(os.getpid()))


def when_written(name: str, then: str, disk: Path, copy: Path) -> None:
    """Copy a disk when a command is about to write the file of this name; and then do harm to the disk.

    Args:
        then: "fill", or "delete", what the folder holds.
    """
    replacing = files.replacing

    def harmful(path: Path) -> contextlib.AbstractContextManager[Path]:
        if path.name == name and not copy.exists():
            shutil.copytree(disk, copy)
            fill(disk) if then == "fill" else shutil.rmtree(disk)
        return replacing(path)

    files.replacing = harmful


def when_stepping(step: int, folder: Path) -> None:
    """Delete a folder at a training step."""
    train, steps = SpeakerCounter.training_step, iter(range(1, 10**6))

    def harmful(self, batch, batch_idx):
        if next(steps) == step:
            shutil.rmtree(folder)
        return train(self, batch, batch_idx)

    SpeakerCounter.training_step = harmful


def before_wandb_finishes(disk: Path) -> None:
    """Fill a disk after W&B was given everything, and before it has written all of it."""
    import wandb

    finish = wandb.finish

    def harmful(exit_code: int | None = None) -> None:
        fill(disk)
        finish(exit_code)

    wandb.finish = harmful
