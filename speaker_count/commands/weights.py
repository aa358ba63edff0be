"""`speaker-count weights [RUN_DIR [OUT]]`: list the packaged weights; or write those of a finished run as two small
files, OUT.safetensors and OUT.json, with a temperature that calibrates its probabilities, fitted on its validation
clips. The overrides are those of train for data and mix, and force=true.
"""

import argparse
import logging

from speaker_count import weights
from speaker_count.commands import words
from speaker_count.errors import printable
from speaker_count.training.importing import importing


def main() -> None:
    """Read the command line; list weights, or write those of a run and print what the temperature changes."""
    parser = argparse.ArgumentParser(
        usage="%(prog)s [RUN_DIR [OUT]] [KEY=VALUE ...] [--config-dir DIR]",
        description=(__doc__ or "").split(":", 1)[1].strip(),
    )
    parser.add_argument("words", nargs="*", metavar="RUN_DIR", help="the folder of a finished run; and where to write")
    parser.add_argument("--config-dir", help="a folder of your own configs")
    arguments = parser.parse_intermixed_args()
    paths, overrides = words.divided(arguments.words)
    if not arguments.words:
        print(*weights.names(), sep="\n")
        return
    if not 1 <= len(paths) <= 2:
        parser.error("name the folder of a finished run, and perhaps where to write")
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    with importing():
        from speaker_count.sweeping import packaging
        from speaker_count.training.quiet import quiet

    quiet()
    path, described = packaging.package(paths[0], paths[1] if paths[1:] else None, overrides, arguments.config_dir)
    calibration = described.calibration
    print(f"temperature {described.temperature:g}, fitted on {calibration['clips']:,} validation clips")
    for when in ("before", "after"):
        scores = calibration[when]
        print(f"{when + ':':8}loss {scores['loss']:.4f}, calibration error {scores['calibration_error']:.4f}")
    tensors = path.with_suffix(weights.TENSORS)
    print(f"{printable(str(tensors))} ({tensors.stat().st_size / 1e6:.2f} MB), {printable(path.name)}")
