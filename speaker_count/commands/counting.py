"""What the commands that count share: the settings of the net, and a check of where a picture goes."""

import argparse
import importlib
from pathlib import Path
from typing import TYPE_CHECKING

from speaker_count.errors import UserError, needed_by
from speaker_count.files import PARTIAL
from speaker_count.training.importing import importing

if TYPE_CHECKING:
    from speaker_count.inference.predictor import Predictor

PICTURES = (".png", ".svg", ".pdf")
RUN = "a finished run: the ONNX file that `speaker-count export DIR` wrote into it; without one, it is made in memory"
CONFIG_DIR = "with --run: a folder of your own configs"


def add_settings(parser: argparse.ArgumentParser) -> None:
    """Add the options of the net and of the way that it counts.

    The defaults are those of `Predictor`, which would take numpy and onnxruntime to import.
    """
    net = parser.add_argument_group("the net; by default the packaged `recommended`")
    net.add_argument("--run", metavar="DIR", help=RUN)
    net.add_argument("--config-dir", metavar="DIR", help=CONFIG_DIR)
    net.add_argument("--weights", metavar="FILE.onnx", help="an ONNX file that `speaker-count export` wrote")
    parser.add_argument(
        "--hop", type=float, default=0.25, metavar="SECONDS", help="time from one window to the next (%(default)s)"
    )
    parser.add_argument(
        "--smooth", type=float, default=0.5, metavar="SECONDS",
        help="average each window's probabilities with those of its neighbours within this time (%(default)s)",
    )  # fmt: skip
    parser.add_argument(
        "--no-smooth", dest="smoothing", action="store_false", help="do not average: the same as --smooth 0"
    )
    parser.add_argument(
        "--silence", type=float, default=-60, metavar="DB",
        help="a window quieter than this, in dB of full scale, has 0 speakers (%(default)s)",
    )  # fmt: skip
    parser.add_argument("--channel", type=int, metavar="N", help="count in channel N, from 1 (the mean of all)")
    parser.add_argument("--threads", type=int, metavar="N", help="compute with N threads (one for each core)")


def check(arguments: argparse.Namespace) -> None:
    """Check before anything is loaded that one net is named.

    Raises:
        UserError: two are.
    """
    if arguments.run and arguments.weights:
        raise UserError("--run and --weights name two nets: give one of them")


def predictor(arguments: argparse.Namespace, progress: bool = False) -> "Predictor":
    """The predictor that the options describe.

    Raises:
        UserError: the net cannot be read, or a number is out of range.
    """
    from speaker_count.inference.predictor import Predictor

    return Predictor(
        of_run(arguments.run, arguments.config_dir) if arguments.run else arguments.weights,
        hop=arguments.hop,
        smooth=arguments.smooth if arguments.smoothing else 0,
        silence_db=arguments.silence,
        channel=arguments.channel,
        threads=arguments.threads,
        progress=progress,
    )


def of_run(run_dir: str, config_dir: str | None) -> Path | bytes:
    """The net of a finished run: its ONNX file, as `speaker-count export RUN_DIR` writes it, or the content of one.
    Nothing is written into the folder.

    Args:
        config_dir: a folder of the user's own configs and nets.

    Raises:
        UserError: there is no finished run, its net cannot be exported, or a package for that is not installed.
    """
    folder = Path(run_dir)
    path = folder / f"{folder.absolute().name}.onnx"
    if path.is_file():
        return path
    if not (folder / "result.json").is_file():
        raise UserError(f"--run {run_dir}: there is neither a finished run nor {path}")
    with needed_by(f"--run {run_dir}, without {path.name} in it,", "train,export"):
        with importing():
            from speaker_count.loading import load_run
            from speaker_count.sweeping import exporting
            from speaker_count.training.quiet import quiet

        quiet()
        return exporting.onnx_of(load_run(folder, config_dir))


def check_plot(path: Path) -> None:
    """Check before anything long is read whether a picture can be written.

    Raises:
        UserError: it cannot.
    """
    if path.suffix.lower() not in PICTURES:
        raise UserError(f"--plot {path}: the name of a picture ends with {', '.join(PICTURES)}")
    with needed_by("--plot", "plot"):
        importlib.import_module("matplotlib")
    if not path.parent.is_dir():
        raise UserError(f"--plot {path}: there is no folder {path.parent}")
    try:
        if path.is_dir():
            raise UserError(f"--plot {path}: it is a folder")
        partial = path.with_name(path.name + PARTIAL)
        partial.unlink(missing_ok=True)  # it may be a link
        partial.touch()
        partial.unlink()
    except OSError as error:
        raise UserError(f"--plot {path}: {error.strerror}") from error
