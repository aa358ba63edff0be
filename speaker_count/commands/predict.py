"""`speaker-count predict FILE... | DIR | -`: count how many people speak over time in recordings, in any format and at
any sample rate; `-` is the standard input. Nothing leaves this machine.
"""

import argparse
import io
import os
import shutil
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from speaker_count.commands import counting
from speaker_count.errors import UserError
from speaker_count.training import streams

if TYPE_CHECKING:
    from speaker_count.inference.prediction import Prediction
    from speaker_count.inference.scoring import Reference

MOST_DRAWN = 10  # files with a summary and a timeline each; more are a line each
FORMATS = ("text", "json", "csv", "rttm", "audacity")


def main() -> None:
    """Read the command line, count in each recording, and print; exit code 1 where one of them cannot be read."""
    arguments = _parser().parse_args([_as_path(word) for word in sys.argv[1:]])
    streams.hush_libraries()
    # from here on what takes longer
    from speaker_count.inference.scoring import Reference
    from speaker_count.inference.timeline import Table

    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # a file's name may have what the terminal has not
    counting.check(arguments)
    files = list(_files(arguments.files))
    many = len(files) > MOST_DRAWN or (len(files) > 1 and not set(arguments.files) <= set(files))  # a folder
    if arguments.plot:
        if len(files) != 1:
            raise UserError(f"--plot draws one recording, and these are {len(files)}: name one file")
        counting.check_plot(Path(arguments.plot))
    if arguments.reference and arguments.format != "text":
        raise UserError("--reference prints its scores with the summary: leave out --format")
    reference = Reference(arguments.reference) if arguments.reference else None
    predictor = counting.predictor(arguments, progress=True)
    table = Table(predictor.classes) if many and arguments.format == "text" and reference is None else None
    if table is not None:
        print(table.head(), flush=True)
    failed = done = 0
    for result in predictor.predict_all(files):
        if not isinstance(result, UserError):
            try:
                if table is not None:
                    print(table.add(result), flush=True)
                else:
                    _show(result, arguments, reference, is_first=not done, alone=len(files) == 1)
                done += 1
                continue
            except UserError as error:
                result = error
        failed += 1
        print(result, file=sys.stderr)
    if table is not None and done:
        print(table.total())
    if failed:
        sys.exit(1)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        usage="%(prog)s FILE [FILE ...] | DIR | - [options]",
        description=(__doc__ or "").split(":", 1)[1].strip(),
    )
    parser.add_argument("files", nargs="+", metavar="FILE", help="a recording, a folder of them, or - (standard input)")
    counting.add_settings(parser)
    parser.add_argument("--format", choices=FORMATS, default="text", help="what is printed (%(default)s)")
    parser.add_argument("--reference", metavar="FILE.rttm", help="who really spoke when: scores the counts against it")
    parser.add_argument("--plot", metavar="FILE.png", help="draw waveform, spectrogram and count over time")
    return parser


def _as_path(word: str) -> str:
    """A word of the command line; a file whose name begins as an option does is named with its folder."""
    return os.path.join(".", word) if word.startswith("-") and word != "-" and os.path.isfile(word) else word


def _files(words: Sequence[str]) -> Iterator[str]:
    """The files that are named, and those in folders that are named."""
    from speaker_count.inference import audio

    for word in words:
        if word != "-" and os.path.isdir(word):
            yield from map(str, audio.found(Path(word)))
        else:
            yield word


def _show(
    prediction: "Prediction", arguments: argparse.Namespace, reference: "Reference | None", is_first: bool, alone: bool
) -> None:
    """Print a prediction, and draw it."""
    from speaker_count.inference import formats, timeline

    score = [] if reference is None else reference.score(prediction, alone).lines()
    if arguments.plot:
        prediction.plot(arguments.plot, None if reference is None else reference.turns_of(prediction, alone))
    if arguments.format == "text":
        width = shutil.get_terminal_size().columns
        drawn = timeline.timeline(prediction, width, sys.stdout.encoding)
        lines: Iterator[str] = iter([*([] if is_first else [""]), *timeline.summary(prediction), *score, *drawn])
    else:
        lines = formats.lines(prediction, arguments.format, is_first)
    for line in lines:
        print(line)
    sys.stdout.flush()
