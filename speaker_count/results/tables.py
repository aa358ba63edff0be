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
    """A row for each run, at its last epoch, beside the paper's figures."""
    order = {net: place for place, net in enumerate(paper())}
    ranked = sorted(results, key=lambda result: (order.get(result["model"], len(order)), result["model"], result["seed"]))
    return [_row(result) for result in ranked]


def _row(result: Mapping[str, Any]) -> Row:
    figures = paper().get(result["model"], {})
    row: Row = {
        "net": result["model"],
        "in the paper": result["paper_name"],
        "seed": result["seed"],
        "parameters": result["parameters"],
        "minutes": result["fit_seconds"] / 60,
        "paper's minutes": figures.get("minutes"),
        "clips/s": result["clips_per_second"],
        "epochs": result["epochs"],
    }
    for metric in ("accuracy", "loss"):
        for split in ("train", "validation", "test"):
            ours, theirs = result["last"][split].get(metric), figures.get(f"{split}_{metric}")
            row[f"{split} {metric}"] = ours
            if split != "test":
                row[f"paper's {split} {metric}"] = theirs
                row[f"{split} {metric} difference"] = None if None in (ours, theirs) else ours - theirs
    return row


def markdown(rows: Sequence[Row]) -> str:
    """A table in Markdown, aligned for the terminal."""
    names = list(rows[0])
    cells = [names, *([_shown(name, row[name]) for name in names] for row in rows)]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    left = [any(isinstance(row[name], str) for row in rows) for name in names]
    lines = [
        "| " + " | ".join(cell.ljust(width) if to_left else cell.rjust(width)
                          for cell, width, to_left in zip(line, widths, left, strict=True)) + " |"
        for line in cells
    ]
    rule = "|" + "|".join(":" + "-" * (width + 1) if to_left else "-" * (width + 1) + ":"
                          for width, to_left in zip(widths, left, strict=True)) + "|"
    return "\n".join([lines[0], rule, *lines[1:]])


def csv_text(rows: Sequence[Row]) -> str:
    """The same table as CSV, with all digits."""
    text = io.StringIO()
    writer = csv.DictWriter(text, fieldnames=list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


def _shown(name: str, value: Any) -> str:
    if value is None:
        return "–"
    if isinstance(value, float):
        digits = 1 if "minutes" in name else 0 if name == "clips/s" else 4
        sign = "+" if name.endswith("difference") else ""
        return f"{value:{sign}.{digits}f}"
    return f"{value:,}" if name == "parameters" else str(value)
