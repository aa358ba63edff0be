"""The dashboard's specification, read back by wandb-workspaces, beside what the runs of a real sweep logged to W&B."""

import json
import logging
import shutil
from functools import reduce
from operator import getitem

import pytest
import wandb_workspaces.reports.v2 as wr
import wandb_workspaces.workspaces as ws
from wandb_workspaces.reports.v2.internal import ReportViewspec
from wandb_workspaces.workspaces.internal import View

from speaker_count.results.record import RunResult
from speaker_count.sweeping import wandb_views
from speaker_count.sweeping.wandb_views import row
from tests.conftest import SMALL, speaker_count
from tests.training.test_wandb_run import inspect

KEY = "0" * 40


@pytest.fixture(scope="module")
def sweep(tmp_path_factory, cache, tree):
    """The folder of a sweep over two nets, tracked offline; not to be changed."""
    folder = tmp_path_factory.mktemp("tracked")
    offline = ("logger=wandb", "logger.mode=offline")
    done = speaker_count(folder, cache, "train", "--multirun", *SMALL, f"data.root={tree}", "model=m3,m5", *offline)
    assert done.returncode == 0, done.stderr
    return folder / "multirun" / "default-folder-tree-paper"


@pytest.fixture(scope="module")
def results(sweep):
    return [json.loads(path.read_text()) for path in sorted(sweep.glob("*/result.json"))]


def reloaded(text):
    specification = json.loads(text)
    return (
        ws.Workspace._from_model(View.model_validate(specification["workspace"])),
        wr.Report._from_model(ReportViewspec.model_validate(specification["report"])),
    )


def grid(report):
    (found,) = (block for block in report.blocks if isinstance(block, wr.PanelGrid))
    return found


def named(panels):
    """The keys that panels name: of the history, and of the summary."""
    history, summary = set(), set()
    for panel in panels:
        if isinstance(panel, wr.LinePlot):
            history |= {panel.x.name, *(metric.name for metric in panel.y)}
        elif isinstance(panel, wr.ScatterPlot):
            assert isinstance(panel.x, wr.SummaryMetric)
            assert isinstance(panel.y, wr.SummaryMetric)
            summary |= {panel.x.name, panel.y.name}
        else:
            summary |= set(panel.media_keys)
    return history, summary


def test_every_key_that_it_names_is_one_that_the_runs_of_a_sweep_log(sweep, verb, monkeypatch):
    monkeypatch.setenv("HOME", "/nonexistent")  # no login, and no server at this address: it needs neither
    monkeypatch.setenv("WANDB_BASE_URL", "http://127.0.0.1:9")
    code, out, err = verb("dashboard", sweep, "--dry-run")
    assert code == 0, err
    workspace, report = reloaded(out)
    assert workspace.project == report.project == "speaker_count"
    panels = [panel for section in workspace.sections for panel in section.panels]
    assert named(panels) == named(grid(report).panels)
    history, summary = named(panels)
    assert {"epoch", "val/accuracy", "val/loss", "train/accuracy", "train/loss", "running/loss"} <= history
    assert {"parameters", "fit_seconds", "last/test/accuracy", "test/confusion", "test/clips"} <= summary
    runset = workspace.runset_settings
    assert runset.pinned_columns[0] == "run:displayName"
    summary |= {column.removeprefix("summary:") for column in runset.pinned_columns[1:]}
    summary |= {ordering.item.name for ordering in runset.order}
    assert {(panel.groupby, panel.groupby_rangefunc) for panel in panels if isinstance(panel, wr.LinePlot)} == {
        ("JobType", "minmax")
    }

    runs = [path.parent for path in sweep.glob("*/result.json")]
    assert len(runs) == 2
    for run in runs:
        logged = json.loads(inspect(run, "--summary"))
        assert summary | {"identity"} <= set(logged["summary"])
        assert runset.filters.startswith('SummaryMetric("identity") in [')
        assert repr(logged["summary"]["identity"]) in runset.filters
        assert grid(report).runsets[0].filters == runset.filters
        records = [json.loads(line) for line in inspect(run).splitlines()]
        lines = [set(record["history"]["item"]) for record in records if record["type"] == "history"]
        for metric in history:  # a curve needs both in one line
            assert any({"epoch", metric} <= line for line in lines), metric
        assert next(record["run"]["job_type"] for record in records if record["type"] == "run") == run.name[:2]
        for key, value in row(RunResult.read(run))["settings"].items():  # by which runs may be grouped
            if key == "test_sha256":
                assert logged["summary"][key].startswith(value)
            else:
                assert reduce(getitem, key.split("."), logged["config"]) == value, key


def changed(result, identity, accuracy=0.5, **sections):
    """A result as another run would have left it; sections are merged into its own."""
    result = {**json.loads(json.dumps(result)), "identity": f"{identity:0>8}"}
    result["last"]["test"]["accuracy"] = accuracy
    for name, value in sections.items():
        result[name] = {**result[name], **value} if isinstance(value, dict) else value
    return row(RunResult.from_dict(result))


def compared(rows):
    """Workspace and report, made and read back."""
    made = (make("p", "", "all", rows) for make in (wandb_views.workspace, wandb_views.report))
    return reloaded(json.dumps(wandb_views.specification(*made)))


def test_the_one_private_part_of_wandb_workspaces_exists():
    """There is no public way to get a view as plain values."""
    for view in (ws.Workspace, wr.Report):
        assert hasattr(view, "_to_model"), f"wandb-workspaces has no {view.__name__}._to_model any more: see plain()"


def table(report, heading):
    texts = [block.text for block in report.blocks if isinstance(block, (wr.H2, wr.MarkdownBlock))]
    lines = texts[texts.index(heading) + 1].splitlines()
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines if "---" not in line]


def test_the_report_has_nets_as_rows_and_corpora_and_mixes_as_columns(results):
    m3, m5 = results
    workspace, report = compared(
        [
            changed(m5, "1", 0.7),
            changed(m5, "2", 0.8, seed=1),
            changed(m5, "3", 0.9, data={"name": "librispeech"}, mix={"name": "level_blind", "level_db": -26}),
            changed(m5, "4", 0.4, data={"name": "demo", "synthesize": {"voices": 48}}),
            changed(m3, "5", 0.6),
        ]
    )
    clips = ["demo (synthetic speech), paper", "folder-tree, paper", "librispeech, level_blind"]
    assert table(report, "Test accuracy") == [
        ["net", "in the paper", "parameters", *clips],
        ["m3", "M3", "5,923", "", "0.600", ""],
        ["m5", "M5", "37,507", "0.400", "0.750 ± 0.071 (2)", "0.900"],
    ]
    validation = table(report, "Validation accuracy")
    assert validation[0][-1] == "the paper's"
    assert validation[2][-1] == "0.794"
    # curves of the same clips only share a band
    assert [key.name for key in workspace.runset_settings.groupby] == ["JobType", "data.name"]
    assert grid(report).runsets[0].groupby == ["run.JobType", "config.data.value.name"]  # as W&B keeps it


def test_runs_that_differ_by_more_than_a_seed_stand_apart(results):
    _, m5 = results
    slow, fast, other = m5, {**m5, "net": {**m5["net"], "learning_rate": 0.01}}, {**m5, "test_sha256": "f" * 64}
    workspace, report = compared([changed(slow, "1", 0.6), changed(slow, "2", 0.8, seed=1), changed(fast, "3", 0.5)])
    assert [line[0] for line in table(report, "Test accuracy")[1:]] == [
        "m5 model.learning_rate=0.0001",
        "m5 model.learning_rate=0.01",
    ]
    assert [key.name for key in workspace.runset_settings.groupby] == ["JobType", "model.learning_rate"]
    assert all(panel.groupby is None for panel in workspace.sections[0].panels)

    workspace, report = compared([changed(slow, "1"), changed(other, "2")])
    assert [type(key) for key in workspace.runset_settings.groupby] == [ws.Metric, ws.Summary]
    assert len(table(report, "Test accuracy")[0]) == 5
    assert wandb_views.differences([changed(slow, "1"), changed(slow, "2", seed=1)]) == []


def test_metrics_that_no_run_has_are_left_out(results):
    without = [{**result, "last": {**result["last"], "train": {}}} for result in results]
    workspace, report = compared([changed(result, str(number)) for number, result in enumerate(without)])
    history, _ = named(workspace.sections[0].panels)
    assert "running/loss" in history
    assert not any(key.startswith("train/") for key in history)
    assert "Train loss" not in [block.text for block in report.blocks if isinstance(block, wr.H2)]


@pytest.mark.parametrize(
    ("environment", "mends"),
    [
        ({}, "wandb login"),
        ({"WANDB_MODE": "offline", "WANDB_API_KEY": KEY}, "WANDB_MODE=online"),
        ({"WANDB_API_KEY": KEY, "WANDB_BASE_URL": "http://127.0.0.1:9"}, "network"),
    ],
)
def test_without_a_login_or_a_server_one_line_says_what_to_do(sweep, command, environment, mends):
    done = command("dashboard", sweep, HOME="/nonexistent", **environment)
    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    assert mends in line
    if mends != "network":
        assert "wandb sync" in line
        assert "--dry-run" in line
    assert done.stdout == ""


def test_damaged_and_old_results_are_left_out_and_none_at_all_is_one_line(sweep, verb, tmp_path, caplog):
    for folder in (tmp_path, tmp_path / "nothing"):
        code, out, err = verb("dashboard", folder, "--dry-run")
        assert (code, out) == (2, "")
        assert len(err.splitlines()) == 1

    copy = shutil.copytree(sweep, tmp_path / "sweep")
    m3, m5 = sorted(copy.glob("*/result.json"))
    m3.write_text('{"schema":')
    with caplog.at_level(logging.WARNING):
        code, out, err = verb("dashboard", tmp_path, "--dry-run")  # of all sweeps in it
    assert code == 0, err
    assert "m3-seed0" in caplog.text
    workspace, _ = reloaded(out)
    assert RunResult.read(m5.parent).identity in workspace.runset_settings.filters
    assert workspace.runset_settings.filters.count(",") == 0

    m5.write_text(json.dumps({**json.loads(m5.read_text()), "schema": 0}))
    code, out, err = verb("dashboard", copy, "--dry-run")
    assert (code, out) == (2, "")
    assert "no finished run" in err
