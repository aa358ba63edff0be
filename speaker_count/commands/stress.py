"""`speaker-count stress RUN [RUN ...] [overrides]`: accuracy of trained nets on the same clips of test speakers
against gain spread, level, noise, reverberation, band limit, clip length and number of voices, one at a time.
"""

import argparse
import logging
import shutil
import textwrap
from pathlib import Path

from speaker_count.commands import words
from speaker_count.errors import printable
from speaker_count.training.importing import importing


def main() -> None:
    """Read the command line, compute what is missing, and write the tables, figures and page."""
    parser = argparse.ArgumentParser(
        usage="%(prog)s RUN [RUN ...] [KEY=VALUE ...] [--only AXIS,...] [--out DIR] [--config-dir DIR]",
        description=(__doc__ or "").split(":", 1)[1].strip(),
    )
    parser.add_argument("words", nargs="+", metavar="RUN", help="the folder of a run, or weights such as recommended")
    parser.add_argument("overrides", nargs="*", help="mix.clips.test=1000, mix.counts=[1,2,3], data.root=DIR, ...")
    parser.add_argument("--only", help="axes to measure, such as noise,room; mix: the whole mixes")
    parser.add_argument("--out", type=Path, help="a folder for the page (default: multirun/stress/RUNS)")
    parser.add_argument("--config-dir", help="a folder of your own configs")
    arguments = parser.parse_intermixed_args()
    runs, overrides = words.divided([*arguments.words, *arguments.overrides])
    if not runs:
        parser.error("name the folder of a finished run, or weights")
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    only = [name.strip() for name in arguments.only.split(",")] if arguments.only else []
    with importing():
        from speaker_count.results import page, stress_page
        from speaker_count.results import stress as results
        from speaker_count.sweeping import stress
        from speaker_count.training.memory import keep_freed_memory
        from speaker_count.training.quiet import quiet

    quiet()
    keep_freed_memory()
    results.conditions(stress.BASE, only)  # raises before anything is done
    loaded = stress.load_all(runs, arguments.config_dir)
    data = stress.clips_of(loaded, overrides, arguments.config_dir)
    conditions = results.conditions(data.mix.name, only)
    cache = data.cache / "stress"
    with data.verified():
        outcomes = stress.measure(loaded, data, conditions, cache)
    names = [run.name for run in loaded]
    sections = stress_page.sections(outcomes, names, data.mix.counts)
    out = arguments.out or stress.folder_of(loaded)
    path = page.write(out, "Nets under stress", sections, stress.footer(loaded, data))
    _print(sections)
    print(f"written: {printable(str(path))}")
    print(f"The predictions are kept in {printable(str(cache))}, so that they are not computed again.")


def _print(sections: list) -> None:
    from speaker_count.results import tables
    from speaker_count.results.page import Table, Text

    width = min(tables.MOST_CHARACTERS, shutil.get_terminal_size().columns)
    print()
    for block in (block for section in sections for block in section.blocks):
        if isinstance(block, Text):
            print(textwrap.fill(printable(f"{block.heading} {block.text}".strip()), width), end="\n\n")
        elif isinstance(block, Table) and block.screen:
            print(textwrap.fill(printable(block.title), width))
            print(tables.for_terminal(block.rows, block.screen, width), end="\n\n")
