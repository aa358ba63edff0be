"""`speaker-count listen`: count how many people speak at a microphone, live, until Ctrl-C. No sound is kept, and
nothing leaves this machine. `--log FILE.csv` keeps counts per minute, for `speaker-count occupancy`.
"""

import argparse
import contextlib
import datetime
import signal
import sys
from collections.abc import Iterator
from types import FrameType

from speaker_count.commands import counting
from speaker_count.errors import UserError
from speaker_count.training import streams

FIRST_YEAR, LAST_YEAR = 2000, 2198  # those that `occupancy` reads, and some years more
ENDS = ("SIGTERM", "SIGHUP")  # as a service or a terminal that is closed sends them


def main() -> None:
    """Read the command line, and count until the sound ends or Ctrl-C."""
    arguments = _parser().parse_args()
    streams.hush_libraries()
    counting.check(arguments)
    if arguments.from_file is None and (arguments.fast or arguments.start is not None):
        raise UserError("--fast and --start are for a recording: name one with --from-file")
    if arguments.from_file is not None and (arguments.device is not None or arguments.list_devices):
        raise UserError("--from-file and --device name two sources of sound: give one of them")
    began = None if arguments.start is None else _time(arguments.start)
    if arguments.list_devices:
        from speaker_count.inference import sources

        print(*sources.devices(), sep="\n")
        return
    with _ending_as_ctrl_c():
        _listen(arguments, began)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        usage="%(prog)s [--log FILE.csv] [options]",
        description=(__doc__ or "").split(":", 1)[1].strip(),
    )
    parser.add_argument("--log", metavar="FILE.csv", help="append the seconds at each count, a row a minute; no sound")
    sound = parser.add_argument_group("the sound; by default the system's microphone")
    sound.add_argument("--device", metavar="D", help="a microphone's number, or a part of its name")
    sound.add_argument("--list-devices", action="store_true", help="list the microphones")
    sound.add_argument("--from-file", metavar="FILE", help="play a recording instead of a microphone")
    sound.add_argument("--fast", action="store_true", help="count the recording as fast as possible, not in real time")
    sound.add_argument(
        "--start", metavar="TIME", help="when the recording began, for the log, such as 2026-11-26T09:00 (now)"
    )
    counting.add_settings(parser)
    return parser


def _listen(arguments: argparse.Namespace, began: float | None) -> None:
    from speaker_count.inference import sources, timeline, view
    from speaker_count.inference.minutes import Log
    from speaker_count.inference.session import BATCH

    predictor = counting.predictor(arguments)
    seconds = dict.fromkeys(predictor.classes, 0.0)
    with contextlib.ExitStack() as opened:
        if arguments.from_file is None:
            source = opened.enter_context(sources.microphone(arguments.device, arguments.channel))
        else:
            source = opened.enter_context(sources.played(arguments.from_file, arguments.fast, began))
        log = opened.enter_context(Log(arguments.log, predictor.classes)) if arguments.log is not None else None
        shown = view.shown(sys.stdout, predictor.classes, predictor.labels)
        with contextlib.suppress(KeyboardInterrupt):
            for moment in predictor.follow(source.recording, BATCH if arguments.fast else 1):
                at = source.began + moment.time
                if log is not None:
                    log.add(at, moment.speakers, moment.seconds)
                seconds[moment.speakers] += moment.seconds
                shown.add(moment, at)
    print(f"listened for {timeline.clock(sum(seconds.values()))}")
    print(*timeline.minutes(predictor.labels, [*seconds.values()]), sep="\n")
    if source.lost:
        print(f"the processor did not keep up: {source.lost:.1f} s of sound were lost", file=sys.stderr)


def _time(text: str) -> float:
    """A time of day as seconds since 1970; local unless it says otherwise."""
    try:
        time = datetime.datetime.fromisoformat(text)
        if FIRST_YEAR <= time.year <= LAST_YEAR:
            return time.timestamp()
        raise ValueError
    except (ValueError, OverflowError, OSError) as error:
        raise UserError(
            f"--start {text}: expected a time such as 2026-11-26T09:00, of the years {FIRST_YEAR} to {LAST_YEAR}"
        ) from error


@contextlib.contextmanager
def _ending_as_ctrl_c() -> Iterator[None]:
    """End as after Ctrl-C where a service is stopped or a terminal closed: the last minute is logged."""

    def end(number: int, frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    before = {}
    with contextlib.suppress(ValueError):  # not in the main thread
        for number in (getattr(signal, name) for name in ENDS if hasattr(signal, name)):
            if signal.getsignal(number) != signal.SIG_IGN:  # as nohup has it
                before[number] = signal.signal(number, end)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
