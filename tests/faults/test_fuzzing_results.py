"""Run folders that no run wrote: every reader takes them, or refuses them with one line."""

import json
import shutil
from functools import partial
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import strategies

from speaker_count.results import comparison, figures, loading, record, tables
from speaker_count.results.page import Table
from speaker_count.results.record import RunResult
from speaker_count.sweeping import report
from speaker_count.training import run_folder
from speaker_count.training.run_folder import RunFolder
from tests.conftest import REPOSITORY
from tests.faults.mutating import (
    CHANGE,
    Rewritten,
    assert_one_line,
    attempt,
    cases,
    limits,
    odd_bytes,
    odd_table,
    odd_tree,
    parquet,
)

MEASURED = REPOSITORY / "multirun" / "measured" / "paper-librispeech_sample-paper" / "m5-seed0"
RESULT = json.loads((MEASURED / "result.json").read_text())
PREDICTIONS = pq.read_table(MEASURED / "predictions.parquet").slice(0, 12)
METRICS = (MEASURED / "metrics.csv").read_bytes()
IDENTITY = {
    "schema": run_folder.SCHEMA,
    "data": "folder",
    "model": "m5",
    "corpus": "0123",
    "seed": 0,
    "mix.counts": [1, 2, 3],
    "model.net.stages": [[8, 1]],
}
DIVERGED = {"message": "the run diverged: the loss is nan in epoch 1"}


@pytest.fixture(autouse=True)
def limited():
    with limits():
        yield


@pytest.fixture
def run(tmp_path) -> Path:
    """The folder of a run with few test clips, in a sweep's folder."""
    folder = tmp_path / "sweep" / "run"
    (folder / "checkpoints").mkdir(parents=True)
    (folder / "checkpoints" / "last.ckpt").touch()
    for name in ("result.json", "metrics.csv"):
        shutil.copy(MEASURED / name, folder)
    (folder / "predictions.parquet").write_bytes(parquet(PREDICTIONS))
    return folder


@pytest.fixture
def fuzz(run, tally):
    """Reads a file of the run with as many contents as `number` says; `odd` makes them from what hypothesis draws."""

    def all_of(number, name, read, odd, drawn=CHANGE):
        file = Rewritten(run / name)
        tried = 0

        @cases(number, drawn)
        def each(example):
            nonlocal tried
            content = odd(example)
            if content is not None:
                tried += 1
                file.put(content)
                read()

        each()
        tally(inputs=tried)

    return all_of


def odd_json(values, change) -> str:
    return json.dumps(odd_tree(values, change))


def odd_parquet(change) -> bytes | None:
    return parquet(odd_table(PREDICTIONS, change))


RANDOM = strategies.binary(max_size=300)


@pytest.mark.parametrize(
    ("number", "odd", "drawn"),
    [
        (11_000, partial(odd_json, RESULT), CHANGE),
        (8_000, partial(odd_bytes, json.dumps(RESULT).encode()), CHANGE),
        (3_000, bytes, RANDOM),
    ],
    ids=["values", "bytes", "random"],
)
def test_a_result_is_read_or_refused_with_one_line(fuzz, run, number, odd, drawn):
    fuzz(number, "result.json", lambda: attempt(RunResult.read, run), odd, drawn)


def shown(folder: Path) -> None:
    """Do what a report does with the runs in a folder, but for drawing and the nets' layers."""
    found = attempt(record.finished, folder) or {}
    for group in report.groups(found):
        compared, sections = report.report(group, str(folder / "no pools"), None, "", first=True)
        for block in (block for section in sections for block in section.blocks):
            if isinstance(block, Table):
                tables.markdown(block.rows, block.columns).encode()
                tables.csv_text(block.rows).encode()
                tables.latex(block.rows, block.columns).encode()
                tables.for_terminal(block.rows, block.screen or block.columns, 80)
        for text in (*compared.notes, *(value for line in report.footer([compared]) for value in line)):
            assert_one_line(text)
    tables.of_runs(tables.sweep(list(found.values())))


def test_a_report_shows_every_result_that_is_read(fuzz, run):
    fuzz(1000, "result.json", lambda: shown(run.parent), partial(odd_json, RESULT))


def test_every_result_that_is_read_is_a_row_of_a_table(fuzz, run):
    read = partial(attempt, loading.load_results, run.parent)
    fuzz(1500, "result.json", read, partial(odd_json, RESULT))


@pytest.mark.parametrize(
    ("number", "odd", "drawn"),
    [
        (2500, odd_parquet, CHANGE),
        (6000, partial(odd_bytes, parquet(PREDICTIONS)), CHANGE),
        (1000, lambda content: b"PAR1" + content + b"PAR1", RANDOM),
    ],
    ids=["columns", "bytes", "random"],
)
def test_predictions_are_compared_or_left_out_with_one_line(fuzz, run, number, odd, drawn):
    result = RunResult.read(run)

    def compare():
        compared = comparison.compare({run: result})
        comparison.score(compared)
        assert (compared.best is None) == bool(compared.notes)
        for note in compared.notes:
            assert_one_line(note)

    fuzz(number, "predictions.parquet", compare, odd, drawn)


def test_a_small_file_with_many_equal_rows_is_left_out_unread(run, tally):
    rows = 3_000_000  # a few kilobytes
    table = PREDICTIONS.take(pa.array(np.zeros(rows, np.int64)))
    (run / "predictions.parquet").write_bytes(parquet(table))
    assert (run / "predictions.parquet").stat().st_size < 10**6
    tally(inputs=1)
    compared = comparison.compare({run: RunResult.read(run)})
    assert [note.partition("(")[2] for note in compared.notes] == ["they are of more clips than the run has)."]


def odd_cells(change) -> str:
    """A `metrics.csv` with odd cells and lines."""
    lines = odd_tree([line.split(",") for line in METRICS.decode().splitlines()], change)
    rows = lines if isinstance(lines, list) else [lines]
    return "\n".join(",".join(map(str, row)) if isinstance(row, list) else str(row) for row in rows)


@pytest.mark.parametrize(
    ("number", "odd", "drawn"),
    [
        (4000, lambda change: odd_cells(change).encode(errors="replace"), CHANGE),
        (4000, partial(odd_bytes, METRICS), CHANGE),
        (1000, bytes, RANDOM),
    ],
    ids=["cells", "bytes", "random"],
)
def test_the_epochs_of_a_run_are_read_or_left_out(fuzz, run, number, odd, drawn):
    def read():
        rows = comparison.read_metrics(run / "metrics.csv")
        assert all(isinstance(value, float) for row in rows for value in row.values())
        assert run_folder.epochs_done(run) >= 0

    fuzz(number, "metrics.csv", read, odd, drawn)


def test_a_cell_without_an_end_is_left_out(run, tally):
    (run / "metrics.csv").write_bytes(METRICS + b"1" * 200_000)
    tally(inputs=1)
    assert comparison.read_metrics(run / "metrics.csv") == []


def test_the_epochs_of_a_run_that_are_read_are_drawn(fuzz, run):
    def draw():
        history = [comparison.read_metrics(run / "metrics.csv")]
        if any(history):
            metrics = [("val/loss", "loss"), ("val/accuracy", "accuracy")]
            figures.plt.close(figures.curves({"m5": history}, {"m5": {"train_loss": 0.3}}))
            figures.plt.close(figures.side_by_side({"m5": history, "m3": history}, metrics))

    fuzz(300, "metrics.csv", draw, lambda change: odd_cells(change).encode(errors="replace"))


@pytest.mark.parametrize(
    ("number", "odd", "drawn"),
    [
        (3000, partial(odd_json, IDENTITY), CHANGE),
        (3000, partial(odd_bytes, json.dumps(IDENTITY).encode()), CHANGE),
        (500, bytes, RANDOM),
    ],
    ids=["values", "bytes", "random"],
)
def test_a_folder_of_an_odd_identity_is_claimed_or_refused_with_one_line(fuzz, run, number, odd, drawn):
    def claim():
        with RunFolder(run, IDENTITY).claimed():
            pass

    (run / "result.json").unlink()
    fuzz(number, "identity.json", lambda: attempt(claim), odd, drawn)


@pytest.mark.parametrize(
    ("number", "odd"),
    [(2500, partial(odd_json, DIVERGED)), (2500, partial(odd_bytes, json.dumps(DIVERGED).encode()))],
    ids=["values", "bytes"],
)
def test_a_note_that_a_run_diverged_is_one_line_or_none(fuzz, run, number, odd):
    def read():
        for message in record.diverged(run.parent).values():
            assert_one_line(message)

    (run / "result.json").unlink()
    fuzz(number, "diverged.json", read, odd)


@pytest.mark.parametrize("name", ["result.json", "identity.json"])
def test_a_list_as_deep_as_memory_is_refused_with_one_line(run, name):
    (run / name).write_text("[" * 200_000)
    if name == "result.json":
        (run / "identity.json").write_text(json.dumps(IDENTITY))

    def claim():
        with RunFolder(run, IDENTITY).claimed():
            pytest.fail(f"{name} is damaged")

    attempt(claim)
