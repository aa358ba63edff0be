"""Runs compared in Weights & Biases: a workspace, and a report with the paper's tables.

Both are built of plain values, without a login or the network. A run is a row:

    net, seed, identity: which run it is; W&B has its identity in the summary.
    settings: its other settings, by dotted keys of W&B's config; `test_sha256` is a key of W&B's summary.
    synthetic: whether its speech is synthetic.
    parameters, minutes: the net's number of parameters, and the minutes of training.
    last: the metrics at the last epoch, as in result.json.
"""

import json
import unicodedata
from collections.abc import Mapping, Sequence
from typing import Any

import wandb_workspaces.reports.v2 as wr
import wandb_workspaces.workspaces as ws

from speaker_count import labels
from speaker_count.errors import printable
from speaker_count.results import statistics, tables
from speaker_count.results.record import RunResult
from speaker_count.training import run_folder

Row = Mapping[str, Any]
NET = "JobType"  # W&B's name for what each run has its net in
TABLES = {
    "Test accuracy": ("test", "accuracy"),
    "Test loss": ("test", "loss"),
    "Validation accuracy": ("validation", "accuracy"),
    "Validation loss": ("validation", "loss"),
    "Train accuracy": ("train", "accuracy"),
    "Train loss": ("train", "loss"),
    "Minutes of training": ("minutes", None),
}
ABOUT = (
    "At the last epoch. Rows are nets, columns are corpora and mixes. Mean ± standard deviation over seeds, with their "
    "number in brackets where there are several. The paper's figures are of its own clips; those of its Architectures "
    "1 to 3 are its best over the epochs, on training clips."
)


def row(result: RunResult) -> dict[str, Any]:
    """A finished run as this module compares it."""
    known = ("speakers", "corpus_sha256", "samples_sha256")
    data = {key: value for key, value in result.data.items() if key not in known}
    config = {"data": data, "mix": result.mix, "model": result.net}  # as W&B has it
    overrides = (change.lstrip("+").partition("=") for change in result.changes)
    settings = {
        "data.name": data["name"],  # what distinguishes most comes first
        "mix.name": result.mix["name"],
        **{key: value for key, value in run_folder.leaves(config) if key not in run_folder.OUTSIDE},
        **{key: value for key, _, value in overrides if key.startswith("trainer.")},
        "trainer.max_epochs": result.last.epoch,
        "test_sha256": result.test_sha256[:12],
    }
    return {
        "net": result.model,
        "seed": result.seed,
        "identity": result.identity,
        "settings": settings,
        "synthetic": result.is_synthetic,
        "parameters": result.parameters,
        "minutes": result.fit_seconds / 60,
        "last": result.last,
    }


def workspace(project: str, entity: str, name: str, rows: Sequence[Row]) -> ws.Workspace:
    """Curves, scatter plots, confusion matrices and clips of these runs, and no others of the project.

    Args:
        project, entity: where the runs are; `entity` may be empty as long as nothing is saved.
        name: what is compared, such as the sweep's folder.
    """
    return ws.Workspace(
        entity=entity,
        project=project,
        name=_without_symbols(name),
        sections=[
            ws.Section(name="Training curves", panels=_curves(rows), is_open=True),
            ws.Section(name="Accuracy and its price", panels=_scatter_plots(), is_open=True),
            ws.Section(name="Confusion matrices", panels=[_media("test/confusion")], is_open=True),
            ws.Section(name="Test clips", panels=[_media("test/clips")], is_open=True),
        ],
        settings=ws.WorkspaceSettings(max_runs=len(rows)),
        runset_settings=ws.RunsetSettings(
            filters=ws.And(ws.Summary("identity").isin(_identities(rows))),
            groupby=[
                ws.Metric(NET) if key == NET else ws.Summary(key) if key == "test_sha256" else ws.Config(key)
                for key in _groups(rows)
            ],
            order=[ws.Ordering(ws.Summary("last/test/accuracy"), ascending=False)],
            pinned_columns=[
                f"summary:{key}"
                for key in ("last/test/accuracy", "last/validation/accuracy", "parameters", "fit_seconds")
            ],
        ),
    )


def _without_symbols(name: str) -> str:
    """A name as W&B takes it for a workspace: it refuses `=`, `+` and other symbols, which a folder's name may have."""
    return "".join("-" if unicodedata.category(letter)[0] == "S" else letter for letter in printable(name))


def report(project: str, entity: str, name: str, rows: Sequence[Row]) -> wr.Report:
    """The paper's tables over these runs, and below them the workspace's panels; arguments as of `workspace`."""
    # naming neither project nor entity, which then are the report's: else W&B is asked as soon as this is built
    runs = wr.Runset(
        name=printable(name),
        filters=ws.And(ws.Summary("identity").isin(_identities(rows))),
        groupby=[
            key if key == NET else f"summary.{key}" if key == "test_sha256" else f"config.{key}"
            for key in _groups(rows)
        ],
        order=[wr.OrderBy(wr.SummaryMetric("last/test/accuracy"))],
    )
    text: list[Any] = []
    for title, (split, metric) in TABLES.items():
        if markdown := table(rows, split, metric):
            text += [wr.H2(title), wr.MarkdownBlock(markdown)]
    panels: list[Any] = [*_curves(rows), *_scatter_plots(), _media("test/confusion"), _media("test/clips")]
    return wr.Report(
        project=project,
        entity=entity,
        title=f"How many people are speaking? {printable(name)}"[:128],  # W&B takes no more
        description=f"{len(rows)} runs",
        blocks=[wr.MarkdownBlock(ABOUT), *text, wr.H2("Runs"), wr.PanelGrid(runsets=[runs], panels=panels)],
        width="fluid",
    )


def specification(workspace: ws.Workspace, report: wr.Report) -> dict[str, Any]:
    """Both as plain values, as they are sent to W&B; its `View` and `ReportViewspec` read them."""
    return {"workspace": plain(workspace), "report": plain(report)}


def plain(view: Any) -> dict[str, Any]:
    """A view as plain values; wandb-workspaces has no public way to get them."""
    values: dict[str, Any] = view._to_model().model_dump(mode="json", by_alias=True, exclude_none=True)
    return values


def table(rows: Sequence[Row], split: str, metric: str | None) -> str | None:
    """A metric in Markdown: a line for each net, a column for each corpus and mix, and one for the paper's figures.

    Args:
        split, metric: such as "test", "accuracy"; or "minutes", None.

    Returns:
        The table; None if no run has the metric.
    """
    differing = differences(rows)
    of_nets = [key for key in differing if not _of_clips(key)]
    of_clips = [key for key in differing if _of_clips(key) and key not in ("data.name", "mix.name")]
    key, digits = (split, 1) if metric is None else (f"{split}_{metric}", 3)
    paper = tables.paper()
    lines: dict[str, dict[str, Any]] = {}
    cells: dict[tuple[str, str], list[float]] = {}
    order = list(paper)
    for row in sorted(rows, key=lambda row: order.index(row["net"]) if row["net"] in order else len(order)):
        value = row["minutes"] if metric is None else row["last"].of(split).get(metric)
        if value is None:
            continue
        name = f"{row['net']} {_label(row, of_nets)}".strip()
        corpus = row["settings"]["data.name"] + (" (synthetic speech)" if row["synthetic"] else "")
        clips = f"{corpus}, {row['settings']['mix.name']} {_label(row, of_clips)}".strip()
        cells.setdefault((name, clips), []).append(value)
        theirs = paper.get(row["net"], {})
        lines[name] = {
            "net": name,
            "in the paper": theirs.get("name"),
            "parameters": row["parameters"],
            "the paper's": f"{theirs[key]:.{digits}f}" if key in theirs else None,
        }
    for (name, clips), values in cells.items():
        lines[name][clips] = _mean(values, digits)
    columns = sorted({clips for _, clips in cells})
    full = [{**dict.fromkeys(columns), **line} for line in lines.values()]
    shown = ["net", "in the paper", "parameters", *columns, "the paper's"]
    heads = {column: column for column in shown if any(line[column] is not None for line in full)}
    return tables.markdown(full, heads) if full else None


def differences(rows: Sequence[Row]) -> list[str]:
    """The settings in which runs of one net differ: together with the net, they leave only the seed to differ.

    A setting that follows from those before it is left out.
    """
    keys: list[str] = []
    for key in dict.fromkeys(key for row in rows for key in row["settings"]):
        values: dict[tuple[str, ...], set[str]] = {}
        for row in rows:
            alike = (row["net"], *(_setting(row, other) for other in keys))
            values.setdefault(alike, set()).add(_setting(row, key))
        if any(len(different) > 1 for different in values.values()):
            keys.append(key)
    return keys


def _setting(row: Row, key: str) -> str:
    return json.dumps(row["settings"].get(key), sort_keys=True)


def _of_clips(key: str) -> bool:
    return (key.startswith(("data.", "mix.")) and key != "data.batch_size") or key == "test_sha256"


def _label(row: Row, keys: Sequence[str]) -> str:
    return " ".join(f"{key}={row['settings'].get(key)}" for key in keys)


def _mean(values: Sequence[float], digits: int) -> str:
    mean, spread = statistics.mean_and_spread(values)
    return f"{mean:.{digits}f}" + ("" if spread is None else f" ± {spread:.{digits}f} ({len(values)})")


def _identities(rows: Sequence[Row]) -> list[str]:
    return sorted({row["identity"] for row in rows})


def _groups(rows: Sequence[Row]) -> list[str]:
    """The keys that group the list of runs. If only nets and seeds differ, the list is not grouped, so that the scatter
    plots show every run; the curves group by themselves, but by one key only.
    """
    differing = differences(rows)
    return [NET, *differing] if differing else []


def _curves(rows: Sequence[Row]) -> list[Any]:
    """A line for each net, and a band that all its seeds lie in, against the epoch."""
    logged = [
        labels.metric_key(split, metric)
        for metric in ("accuracy", "loss", "mae")
        for split in ("validation", "train", "running")
        if any(metric in row["last"].of(split) for row in rows)
    ]
    return [
        wr.LinePlot(
            title=key,
            x="epoch",
            y=[key],
            title_x="epoch",
            groupby=None if _groups(rows) else NET,
            groupby_aggfunc="mean",
            groupby_rangefunc="minmax",
            smoothing_type="none",
            max_runs_to_show=len(rows),
        )
        for key in logged
    ]


def _scatter_plots() -> list[Any]:
    return [
        wr.ScatterPlot(
            title=f"test accuracy against {price}",
            x=wr.SummaryMetric(key),
            y=wr.SummaryMetric("last/test/accuracy"),
            log_x=True,
            layout=wr.Layout(w=12, h=8),
        )
        for key, price in (("parameters", "parameters"), ("fit_seconds", "seconds of training"))
    ]


def _media(key: str) -> wr.MediaBrowser:
    """What each run logged of its test clips under a key: its confusion matrix, or clips to listen to."""
    return wr.MediaBrowser(title=key, media_keys=[key], num_columns=4, layout=wr.Layout(w=24, h=12))
