"""Results as tables: in Markdown, in LaTeX, and on a terminal."""

from dataclasses import replace

from speaker_count.results import tables
from speaker_count.results.record import RunResult
from speaker_count.results.statistics import Interval
from tests.conftest import REPOSITORY

MEASURED = REPOSITORY / "multirun" / "measured" / "paper-librispeech_sample-paper" / "m5-seed0"


def test_a_table_in_markdown_and_latex():
    rows = [
        {"net": "a_b", "test accuracy": 0.51234, "parameters": 12345, "loss difference": -0.1},
        {"net": "bcd", "test accuracy": None, "parameters": 7, "loss difference": 0.25},
    ]
    columns = {"net": "net", "parameters": "parameters", "test accuracy": "acc", "loss difference": "diff"}
    assert tables.markdown(rows, columns).splitlines() == [
        "| net | parameters |   acc |   diff |",
        "| --- | ---------: | ----: | -----: |",
        "| a_b |     12,345 | 0.512 | -0.100 |",
        "| bcd |          7 |       | +0.250 |",
    ]
    assert r"a\_b & 12,345 & 0.512 & -0.100 \\" in tables.latex(rows, columns).splitlines()


def test_runs_are_named_by_what_tells_them_apart():
    changes = (["mix.seed=1", "model.learning_rate=1e-3"], ["mix.seed=1"], [])
    runs = [replace(RunResult.read(MEASURED), changes=each) for each in changes]
    assert tables.differing(runs[:2]) == ["model.learning_rate=1e-3", ""]
    assert tables.differing(runs) == ["mix.seed=1 model.learning_rate=1e-3", "mix.seed=1", ""]


def test_a_table_fits_a_terminal():
    score = Interval(0.5, 0.25, 0.75)
    rows = [
        {"net": "m5 model.learning_rate=3e-4", "val accuracy": 0.625, "test accuracy": score},
        {"net": "m3", "val accuracy": 0.625, "test accuracy": score},
    ]
    columns = {"net": "net", "val accuracy": "val", "test accuracy": "test"}
    assert tables.for_terminal(rows, columns, 80) == tables.markdown(rows, columns)
    names = "m5 model.learning_rate=3e-4".replace(" ", "")
    for width, shown in ((55, "0.500 [0.250, 0.750]"), (35, "| 0.500 |"), (25, "| 0.625 |")):
        lines = tables.for_terminal(rows, columns, width).splitlines()
        assert max(map(len, lines)) <= width
        assert sum(shown in line for line in lines) == 2
        assert "".join(line.split("|")[1] for line in lines[2:]).replace(" ", "") == names + "m3"


def test_a_key_is_broken_between_its_parts():
    rows = [{"net": "m5 model.scheduler.pct_start=0.25", "val accuracy": 0.625}]
    table = tables.for_terminal(rows, {"net": "net", "val accuracy": "val"}, 31)
    cells = [line.split("|")[1].strip() for line in table.splitlines()[2:]]
    assert cells == ["m5", "model.scheduler.", "pct_start=0.25"]
