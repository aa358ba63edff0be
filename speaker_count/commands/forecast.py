"""`speaker-count forecast [overrides]`: estimate what `train` with these overrides would do: on which speech, for how
long and with how much disk on this machine. It trains each net for a second to find out, and writes nothing.
"""

import argparse
import sys

from speaker_count.training.importing import importing
from speaker_count.training.quiet import quiet

TRIAL_SECONDS = 1.5  # for each net


def main() -> None:
    """Read the command line, and print the estimate."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split(":", 1)[1].strip())
    parser.add_argument("overrides", nargs="*", help="as for train: experiment=paper, model=m3,m5, ...")
    parser.add_argument("--multirun", "-m", action="store_true", help="as for train")
    parser.add_argument("--config-dir", help="a folder of your own configs")
    parser.add_argument("--folders", action="store_true", help="only print the folder of the sweep, or of the run")
    arguments = parser.parse_intermixed_args()
    # from here on what takes longer, the longest last: a misspelt key is said before torch is imported
    from hydra.types import RunMode

    from speaker_count.compose import compose_grid
    from speaker_count.errors import user_error

    grid = compose_grid(arguments.overrides, arguments.config_dir, arguments.multirun)
    sweep = grid[0][0].hydra.mode == RunMode.MULTIRUN
    folders = list(dict.fromkeys(folder.parent if sweep else folder for _, folder in grid))
    if arguments.folders:
        print(*folders, sep="\n")
        return
    with importing():
        from speaker_count.sweeping import estimates, requirements

    quiet()  # Lightning sets its level while it is imported
    runs = [estimates.plan(config, folder) for config, folder in grid]
    added = []
    for data in requirements.corpora(run.data for run in runs if run.data):
        found, for_speech = requirements.speech(data)
        print(*found, sep="\n", flush=True)
        added += for_speech
    concurrency = estimates.estimate(runs, TRIAL_SECONDS)
    failing = [run for run in runs if run.problem]
    if len(runs) == 1 and runs[0].problem:
        raise runs[0].problem
    print("", estimates.table(runs, concurrency), "", *filter(None, [concurrency.note]), sep="\n")
    added.append(("the runs", sum(run.bytes for run in runs), folders[0]))
    print(*requirements.disk(added), sep="\n")
    for run in failing:
        print(f"fails: {run.name}: {user_error(run.problem) or run.problem}", file=sys.stderr)
    if failing:
        print(f"{len(failing)} of {len(runs)} runs would fail", file=sys.stderr)
        sys.exit(1)
