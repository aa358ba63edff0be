"""`speaker-count report DIR`: make tables, figures and a page of a run, a sweep, or all sweeps in a folder, beside the
paper's figures and speech-blind baselines.
"""

import argparse
import logging
import shutil
import textwrap
from pathlib import Path

from speaker_count.errors import printable
from speaker_count.training.importing import importing


def main() -> None:
    """Read the command line, and write the report."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split(":", 1)[1].strip())
    parser.add_argument("dir", type=Path, help="the folder of a run, of a sweep, or of several")
    parser.add_argument("--root", help="where the corpus is, if it is not among your pools of decoded speech")
    parser.add_argument("--config-dir", help="a folder of your own configs; their nets may be in it, too")
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.WARNING, format="%(message)s")
    write(arguments.dir, arguments.root, arguments.config_dir)


def write(folder: Path, root: str | None = None, config_dir: str | None = None) -> None:
    """Write the report of the runs below a folder, and print its main tables.

    Args:
        root: where the corpus is, if its pool is not there.
        config_dir: a folder of the user's own configs.
    """
    # from here on what takes longer, the longest last: `report --help` needs none of it
    from speaker_count.compose import compose
    from speaker_count.results import record

    results = record.finished(folder)
    cache = compose([], config_dir).data.cache
    with importing():
        from speaker_count.results import page, tables
        from speaker_count.results.page import Table, Text
        from speaker_count.sweeping import report

    sections, comparisons = report.make(results, cache, root, config_dir)
    diverged = record.diverged(folder)
    for name, message in diverged.items():
        sections[0].blocks.append(Text(f"{message}.", f"Diverged: {name}:"))
    begun = [name for name in record.unfinished(folder) if name not in diverged]
    if begun:
        sections[0].blocks.append(Text(f"{', '.join(begun)}: give the sweep's command again.", "Not finished:"))
    title = "How many people are speaking?"
    path = page.write(folder / "report", title, sections, report.footer(comparisons))

    width = min(tables.MOST_CHARACTERS, shutil.get_terminal_size().columns)
    for section in sections:
        for block in section.blocks:
            if isinstance(block, Text):
                print(textwrap.fill(printable(f"{block.heading} {block.text}".strip()), width), end="\n\n")
            elif isinstance(block, Table) and block.screen:
                print(textwrap.fill(printable(f"{section.title}: {block.title}"), width))
                print(tables.for_terminal(block.rows, block.screen, width), end="\n\n")
    print(f"written: {printable(str(path))}")
    print(textwrap.fill("Every table (with all its columns) and every figure is a file beside it.", width))
