"""What the tests of a report share."""

import csv
from pathlib import Path

import pytest

from tests.conftest import SMALL, speaker_count


@pytest.fixture(scope="session")
def reported(made_once, cache, tree) -> Path:
    """A sweep over nets of both kinds, one with two seeds, and its report; not to be changed."""
    place = Path("multirun", "default-folder-tree-paper")

    def fill(folder: Path) -> None:
        for nets in (("model=m3,spec_2",), ("model=m5", "seed=0,1")):
            sweep = ("train", "--multirun", *SMALL, f"data.root={tree}", "logger=csv", *nets)
            done = speaker_count(folder, cache, *sweep)
            assert done.returncode == 0, done.stderr
        done = speaker_count(folder, cache, "report", place)
        assert done.returncode == 0, done.stderr
        (folder / place / "report" / "printed.txt").write_text(done.stdout)

    return made_once("reported", fill) / place


def rows_of(sweep: Path, name: str) -> list[dict[str, str]]:
    """A table of a sweep's report."""
    return list(csv.DictReader((sweep / "report" / "tables" / f"{name}.csv").open()))
