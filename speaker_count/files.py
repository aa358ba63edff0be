"""Files that are written whole or not at all, and folders that accept files."""

import contextlib
import datetime
import itertools
import json
import os
import re
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from speaker_count.errors import UserError

PARTIAL = ".partial"
FORMULA = "^[=+\\-@\t\r\n\uff1d\uff0b\uff0d\uff20]"  # a spreadsheet computes a text that begins so
BLOCK = 4096  # bytes, what most disks give to a file at a time


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Write a file whole or not at all.

    Yields:
        The path to write to; the written file then replaces the one at `path`.

    Raises:
        UserError: the folder was deleted.
        OSError: the file cannot be written; the error names it.
    """
    partial = path.with_name(path.name + PARTIAL)
    try:
        partial.unlink(missing_ok=True)  # in a folder from elsewhere it may be a link
        yield partial
        os.replace(partial, path)
    except BaseException as error:
        if isinstance(error, FileNotFoundError) and not path.parent.is_dir():
            raise deleted(path.parent) from error
        if isinstance(error, OSError) and error.filename is None:  # a full disk has no name of its own
            error.filename = str(path)
        with contextlib.suppress(OSError):  # on a disk that cannot be written any more
            partial.unlink(missing_ok=True)
        raise


def deleted(folder: Path) -> UserError:
    """The error that a folder is no longer there."""
    return UserError(f"{folder} was deleted meanwhile: give the command again")


def write_text(path: Path, text: str) -> None:
    """Write a file of text whole or not at all."""
    with replacing(path) as partial:
        partial.write_text(text, encoding="utf-8")


def write_json(path: Path, values: Mapping[str, Any]) -> None:
    """Write a JSON file whole or not at all."""
    write_text(path, json.dumps(values, indent=1) + "\n")


def not_computed(text: str) -> str:
    """A text for a CSV file, which comes from anywhere: a spreadsheet shows what follows an apostrophe as it is."""
    return f"'{text}" if re.match(FORMULA, text) else text


def make_own(folder: Path) -> None:
    """Create a folder unless it exists, within one that may come from anywhere.

    Raises:
        UserError: it is a link, which may lead anywhere.
    """
    if folder.is_symlink():
        raise UserError(f"{folder} is a link, so nothing is written into it: remove the link")
    folder.mkdir(parents=True, exist_ok=True)


def aside(path: Path) -> Path:
    """A free name beside a file or a folder, with the time, under which the old one is kept."""
    stem, suffix = (path.name, "") if path.is_dir() else (path.stem, path.suffix)
    stem = f"{stem}.{datetime.datetime.now():%Y-%m-%d_%H-%M-%S}"
    names = (f"{stem}{'' if number == 1 else f'-{number}'}{suffix}" for number in itertools.count(1))
    return next(free for name in names if not (free := path.with_name(name)).exists())


def check_no_links(folder: Path) -> None:
    """Check that nothing in a run's folder, which may come from anywhere, is a link.

    Raises:
        UserError: something is.
    """
    try:
        entries = list(folder.iterdir())
    except (FileNotFoundError, NotADirectoryError):  # another process may just have moved it aside
        entries = []
    for entry in entries:
        if entry.is_symlink():
            raise UserError(f"{entry} is a link, and a run writes into no link: remove it, or link the whole folder")


def check_writable(folder: str | Path, otherwise: str) -> None:
    """Create a folder, and check that it accepts files.

    Args:
        otherwise: what the user can do if the folder does not accept files.

    Raises:
        UserError: the folder cannot be created or written to.
    """
    try:
        Path(folder).mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder) as file:
            file.write(bytes(BLOCK))  # a full disk still accepts an empty file
    except OSError as error:
        raise UserError(f"cannot write to {folder}: {error.strerror}; {otherwise}") from error
