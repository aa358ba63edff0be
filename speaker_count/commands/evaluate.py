"""`speaker-count evaluate RUN_DIR [overrides]`: evaluate a finished run's net, as it was after its last epoch, or
weights such as `recommended`, on another corpus or mix; several also as an ensemble, the mean of their probabilities.
The overrides are those of train for data, mix and trainer; everything else is as in the run.
"""

import argparse
import logging

from speaker_count.commands import words
from speaker_count.training.importing import importing


def main() -> None:
    """Read the command line, evaluate, and write each evaluation into its run's folder, or below multirun."""
    parser = argparse.ArgumentParser(
        usage="%(prog)s RUN_DIR [RUN_DIR ...] [KEY=VALUE ...] [--config-dir DIR]",
        description=(__doc__ or "").split(":", 1)[1].strip(),
    )
    parser.add_argument(
        "words",
        nargs="+",
        metavar="RUN_DIR",
        help="the folder of a finished run, the name of packaged weights, or a file of weights; or several",
    )
    parser.add_argument("overrides", nargs="*", help="data=demo, mix.clips.test=1000, force=true, ...")
    parser.add_argument("--config-dir", help="a folder of your own configs")
    arguments = parser.parse_intermixed_args()
    runs, overrides = words.divided([*arguments.words, *arguments.overrides])
    if not runs:
        parser.error("name the folder of a finished run, or weights")
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    with importing():
        from speaker_count.sweeping import evaluation
        from speaker_count.training.memory import keep_freed_memory
        from speaker_count.training.quiet import quiet

    quiet()
    keep_freed_memory()
    evaluated = [evaluation.evaluate(run, overrides, arguments.config_dir, alone=len(runs) == 1) for run in runs]
    if len(evaluated) > 1:
        evaluation.evaluate_ensemble(evaluated)
