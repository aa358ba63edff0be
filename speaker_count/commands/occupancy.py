"""`speaker-count occupancy LOG...`: show how many people spoke at which hours of the week, from logs that
`listen --log` wrote: a table by hour and weekday, peak and quiet hours, and when a limit was exceeded. Several logs
count as one.
"""

import argparse
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from speaker_count.commands import counting
from speaker_count.errors import UserError, printable

if TYPE_CHECKING:
    from speaker_count.inference.occupancy import Occupancy

NAMED = 10  # damaged rows of a log; the others are only counted


def main() -> None:
    """Read the command line and the logs, and print; exit code 1 where a log cannot be read."""
    arguments = _parser().parse_args()
    if arguments.plot:
        counting.check_plot(Path(arguments.plot))
    # from here on what takes longer
    from speaker_count.inference import occupancy_tables
    from speaker_count.inference.occupancy import Occupancy

    occupancy, failed = Occupancy(arguments.limit), 0
    logs = {os.path.realpath(path): path for path in arguments.logs}  # one that is named twice counts once
    for path in logs.values():
        try:
            _add(occupancy, path)
        except UserError as error:
            failed += 1
            print(error, file=sys.stderr)
    if not occupancy.days:
        if failed:
            sys.exit(1)
        raise UserError("the logs hold no counts")
    exceeded = None if arguments.limit is None else occupancy.exceeded()
    print(*occupancy_tables.lines(occupancy), sep="\n")
    if exceeded is not None:
        print("", *occupancy_tables.limit_lines(exceeded, arguments.limit), sep="\n")
    if arguments.plot:
        occupancy_tables.plot(occupancy, Path(arguments.plot))
    if failed:
        sys.exit(1)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        usage="%(prog)s LOG [LOG ...] [options]", description=(__doc__ or "").split(":", 1)[1].strip()
    )
    parser.add_argument("logs", nargs="+", metavar="LOG", help="a log that `speaker-count listen --log` wrote")
    parser.add_argument("--limit", type=int, metavar="N", help="list when more than N people spoke, and for how long")
    parser.add_argument("--plot", metavar="FILE.png", help="draw the hours of the week")
    return parser


def _add(occupancy: "Occupancy", path: str) -> None:
    """Add a log, and name its damaged rows."""
    from speaker_count.inference import occupancy as logs

    damaged = 0

    def name(row: str) -> None:
        nonlocal damaged
        damaged += 1
        if damaged <= NAMED:
            print(printable(row), file=sys.stderr)

    for minute in logs.read(path, name):
        occupancy.add(minute)
    if damaged > NAMED:
        print(printable(f"{path}: {damaged - NAMED} more rows are damaged and skipped"), file=sys.stderr)
