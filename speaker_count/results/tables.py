"""Results as tables: rows of plain values, and how they are written."""

import csv
import io
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import yaml

Row = dict[str, Any]


@cache
def paper() -> dict[str, dict[str, Any]]:
    """The paper's figures by net, as fractions of one."""
    nets = yaml.safe_load(Path(__file__).with_name("paper.yaml").read_text())
    return {
        net: {key: value / 100 if key.endswith(("loss", "accuracy")) else value for key, value in figures.items()}
        for net, figures in nets.items()
    }


def paper_name(model: str) -> str | None:
    """What the paper calls a net; None for a net that is not in it."""
    return paper().get(model, {}).get("name")


def sweep(results: Sequence[Mapping[str, Any]]) -> list[Row]:
    """A row for each run, at its last epoch, beside the paper's figures; the paper's nets first, in its order."""
    order = list(paper())
    place = {net: order.index(net) if net in order else len(order) for net in (result["model"] for result in results)}
    ranked = sorted(results, key=lambda result: (place[result["model"]], result["model"], result["seed"]))
    return [_row(result) for result in ranked]


def _row(result: Mapping[str, Any]) -> Row:
    figures = paper().get(result["model"], {})
    row: Row = {
        "net": result["model"],
        "in the paper": result["paper_name"],
        "seed": result["seed"],
        "changes": " ".join(result.get("changes", ())),
        "parameters": result["parameters"],
        "epochs": result["epochs"],
        "minutes": result["fit_seconds"] / 60,
        "paper's minutes": figures.get("minutes"),
        "clips/s": result["clips_per_second"],
    }
    for metric in ("accuracy", "loss"):
        for split in ("train", "validation", "test"):
            ours = row[f"{split} {metric}"] = result["last"][split].get(metric)
            if split != "test":  # the paper does not score its test clips
                theirs = row[f"paper's {split} {metric}"] = figures.get(f"{split}_{metric}")
                row[f"{split} {metric} difference"] = None if None in (ours, theirs) else ours - theirs
    return row


def of_metrics(rows: Sequence[Row]) -> list[str]:
    """Two tables in Markdown: accuracy and cost, and loss."""
    differ = len({row.get("changes") for row in rows if row.get("seed") is not None}) > 1
    about = {name: name for name in ("net", "in the paper", "seed", *(["changes"] if differ else []))}
    cost = {"parameters": "parameters", "minutes": "minutes", "paper's minutes": "paper", "clips/s": "clips/s"}
    return [markdown(rows, {**about, **cost, **_columns("accuracy")}), markdown(rows, {**about, **_columns("loss")})]


def _columns(metric: str) -> dict[str, str]:
    columns = {}
    for split, short in (("train", "train"), ("validation", "val")):
        columns[f"{split} {metric}"] = f"{short} {metric}"
        columns[f"paper's {split} {metric}"] = "paper"
        columns[f"{split} {metric} difference"] = "diff"
    return {**columns, f"test {metric}": f"test {metric}"}


def markdown(rows: Sequence[Row], columns: Mapping[str, str]) -> str:
    """A table in Markdown, aligned, so that a terminal shows it well too.

    Args:
        columns: the heading of each column that is shown.
    """
    text_columns = [any(isinstance(row[name], str) for row in rows) for name in columns]
    cells = [list(columns.values()), *([_shown(name, row[name]) for name in columns] for row in rows)]
    widths = [max(3, *map(len, column)) for column in zip(*cells, strict=True)]
    shape = list(zip(widths, text_columns, strict=True))
    lines = [
        [cell.ljust(width) if text else cell.rjust(width) for cell, (width, text) in zip(line, shape, strict=True)]
        for line in cells
    ]
    lines.insert(1, ["-" * width if text else "-" * (width - 1) + ":" for width, text in shape])
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def csv_text(rows: Sequence[Row]) -> str:
    """All columns as CSV, with all digits."""
    text = io.StringIO()
    writer = csv.DictWriter(text, fieldnames=list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


def _shown(name: str, value: Any) -> str:
    if value is None:
        return ""
    if name.endswith("difference"):
        return f"{value:+.3f}"
    if name.endswith(("accuracy", "loss")):
        return f"{value:.3f}"
    if name.endswith("minutes"):
        return f"{value:.1f}"
    return f"{value:,.0f}" if name in ("parameters", "clips/s") else str(value)
