"""A log of counts: a CSV file with a row for each minute, and never any sound.

    minute,seconds_0,seconds_1,seconds_2,seconds_3,most
    2026-11-26T09:41+01:00,31.25,20.5,8.25,0.0,2

`minute` is local time with its distance from UTC, `seconds_N` how long N people spoke in it, `most` the most at once.
A minute that was heard in parts has several rows.
"""

import contextlib
import datetime
import os
import stat
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType

from speaker_count.errors import UserError
from speaker_count.files import deleted

MINUTE = 60.0
SPARE = 1e-6  # s, for sums of hops that are no exact floats


def header(classes: Sequence[int]) -> str:
    """The first line of a log of these numbers of speakers."""
    return ",".join(["minute", *(f"seconds_{count}" for count in classes), "most"])


class Log:
    """Counts, minute by minute, appended to a file, whose content is left as it is.

    Each row is written at once, when its minute is over: a crash or a full disk cuts the last row at most, and the next
    log begins on a line of its own. Used as a context manager, it ends with the minute that has begun.

    Args:
        path: the file; a log with the same classes is continued.
        classes: the numbers of speakers that are counted.

    Raises:
        UserError: the file holds something else, or another process writes to it.
    """

    def __init__(self, path: str | Path, classes: Sequence[int]) -> None:
        self._path, self._classes = Path(path), list(classes)
        self._minute, self._seconds = -1, dict.fromkeys(classes, 0.0)
        try:
            if self._path.exists() and not self._path.is_file():
                raise UserError(f"--log {path}: it is no regular file")  # a pipe would be waited for
            self._file = os.open(self._path, os.O_RDWR | os.O_APPEND | os.O_CREAT | getattr(os, "O_CLOEXEC", 0), 0o666)
        except OSError as error:
            raise UserError(f"--log {path}: {error.strerror}") from error
        try:
            self._begin()
        except BaseException:
            os.close(self._file)
            raise

    def _begin(self) -> None:
        """Check what the file holds, and complete a first line or a row that was cut."""
        self._lock()
        first = header(self._classes) + "\n"
        size = os.fstat(self._file).st_size
        os.lseek(self._file, 0, os.SEEK_SET)
        held = os.read(self._file, len(first))
        if held != first.encode()[: len(held)] or (len(held) < len(first) and len(held) < size):
            raise UserError(
                f"--log {self._path}: it is no log of counts of {self._classes[0]} to {self._classes[-1]} speakers; "
                "it is left as it is: name another file"
            )
        rest = first[len(held) :]  # a crash may have cut the first line
        if not rest:
            os.lseek(self._file, size - 1, os.SEEK_SET)
            rest = "" if os.read(self._file, 1) == b"\n" else "\n"
        self._append(rest)

    def _lock(self) -> None:
        with contextlib.suppress(ImportError):  # not on Windows
            import fcntl

            try:
                fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                raise UserError(f"--log {self._path}: another process writes to it") from error
            except OSError:
                pass  # some network disks have no locks

    def _append(self, text: str) -> None:
        content = text.encode()
        while content:
            content = content[os.write(self._file, content) :]
        with contextlib.suppress(OSError):  # some disks cannot
            os.fsync(self._file)

    def add(self, at: float, count: int, seconds: float) -> None:
        """Add a count to its minute, and write the minute before where that is over.

        Args:
            at: when, in seconds since 1970.
            count: the number of speakers.
            seconds: how long it lasts.

        Raises:
            UserError: the file was deleted.
            OSError: it cannot be written.
        """
        minute = int(at // MINUTE)
        # a clock that is set back could give a minute more than its seconds
        if minute != self._minute or sum(self._seconds.values()) + seconds > MINUTE + SPARE:
            self.write()
            self._minute = minute
        self._seconds[count] += seconds

    def write(self) -> None:
        """Write the minute that has begun."""
        seconds, self._seconds = self._seconds, dict.fromkeys(self._classes, 0.0)
        heard = [count for count in self._classes if seconds[count]]
        if not heard:
            return
        status = os.fstat(self._file)
        if stat.S_ISREG(status.st_mode) and not status.st_nlink:
            raise deleted(self._path)
        at = datetime.datetime.fromtimestamp(self._minute * MINUTE).astimezone()
        values = (f"{round(seconds[count], 3)}" for count in self._classes)
        try:
            self._append(",".join([at.isoformat(timespec="minutes"), *values, str(max(heard))]) + "\n")
        except OSError as error:
            error.filename = str(self._path)
            raise

    def __enter__(self) -> "Log":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            self.write()
        finally:
            os.close(self._file)
