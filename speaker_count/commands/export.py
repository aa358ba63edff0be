"""`speaker-count export RUN_DIR [OUT.onnx]`: write a trained net as one ONNX file, which takes clips and gives
calibrated probabilities of counts: the front end and the temperature are inside. The file is compared with the net on
real clips before it is written. The overrides are those of train for data and mix, and force=true.
"""

import argparse
import logging

from speaker_count.commands import words
from speaker_count.errors import needed_by, printable
from speaker_count.training.importing import importing


def main() -> None:
    """Read the command line, export, and print how far the file differs from the net."""
    parser = argparse.ArgumentParser(
        usage="%(prog)s RUN_DIR|NAME [OUT.onnx] [KEY=VALUE ...] [--config-dir DIR]",
        description=(__doc__ or "").split(":", 1)[1].strip(),
    )
    parser.add_argument(
        "words",
        nargs="+",
        metavar="RUN_DIR",
        help="a finished run's folder or the name of weights; then the file to write",
    )
    parser.add_argument("--config-dir", metavar="DIR", help="a folder of your own configs")
    arguments = parser.parse_intermixed_args()
    paths, overrides = words.divided(arguments.words)
    if not 1 <= len(paths) <= 2:
        parser.error("name the folder of a finished run or weights, and at most one file to write")
    logging.basicConfig(level=logging.WARNING, format="%(message)s")
    with needed_by("speaker-count export", "train,export"), importing():
        from speaker_count.sweeping import exporting
        from speaker_count.training.quiet import quiet

    quiet()
    done = exporting.export(paths[0], paths[1] if paths[1:] else None, overrides, arguments.config_dir)
    print(f"compared with the net on {done.clips:,} clips: largest difference of a probability {done.difference:.2g}, ",
          f"the same count on {done.same / done.clips:.2%}", sep="")  # fmt: skip
    print(f"{printable(str(done.path))} ({done.path.stat().st_size / 1e6:.2f} MB, opset {exporting.OPSET})")
