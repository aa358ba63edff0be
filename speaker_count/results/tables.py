"""Results as tables: rows of plain values, and how they are written."""

import csv
import io
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from speaker_count.results.statistics import Interval

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
    return [_row(result, changes) for result, changes in zip(ranked, differing(ranked), strict=True)]


def differing(results: Sequence[Mapping[str, Any]]) -> list[str]:
    """Of each run, the changes that not all of them have."""
    changes = [result.get("changes") or [] for result in results]
    common = set(changes[0]).intersection(*changes) if changes else set()
    return [" ".join(change for change in each if change not in common) for each in changes]


def _row(result: Mapping[str, Any], changes: str) -> Row:
    figures = paper().get(result["model"], {})
    row: Row = {
        "net": result["model"],
        "in the paper": result["paper_name"],
        "seed": result["seed"],
        "changes": changes,
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


def of_runs(rows: Sequence[Row]) -> str:
    """The table of a sweep's runs in Markdown: cost, accuracy beside the paper's, and loss on the test clips."""
    differ = any(row["changes"] for row in rows)
    columns = {name: name for name in ("net", "in the paper", "seed", *(["changes"] if differ else []))}
    columns |= {"parameters": "parameters", "minutes": "minutes", "paper's minutes": "paper", "clips/s": "clips/s"}
    for split, short in (("train", "train"), ("validation", "val")):
        columns[f"{split} accuracy"] = f"{short} accuracy"
        columns[f"paper's {split} accuracy"] = "paper"
        columns[f"{split} accuracy difference"] = "diff"
    return markdown(rows, {**columns, "test accuracy": "test accuracy", "test loss": "test loss"})


def cells(rows: Sequence[Row], columns: Mapping[str, str]) -> tuple[list[list[str]], list[bool]]:
    """A table's lines as they are shown, the headings first, and which columns are text.

    Args:
        columns: the heading of each column that is shown.
    """
    lines = [list(columns.values()), *([_shown(name, row.get(name)) for name in columns] for row in rows)]
    return lines, [any(isinstance(row.get(name), str) for row in rows) for name in columns]


def markdown(rows: Sequence[Row], columns: Mapping[str, str]) -> str:
    """A table in Markdown, aligned, so that a terminal shows it well too."""
    lines, text_columns = cells(rows, columns)
    widths = [max(3, *map(len, column)) for column in zip(*lines, strict=True)]
    shape = list(zip(widths, text_columns, strict=True))
    lines = [
        [cell.ljust(width) if text else cell.rjust(width) for cell, (width, text) in zip(line, shape, strict=True)]
        for line in lines
    ]
    lines.insert(1, ["-" * width if text else "-" * (width - 1) + ":" for width, text in shape])
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def latex(rows: Sequence[Row], columns: Mapping[str, str]) -> str:
    """A table in LaTeX, a `tabular` that needs no package."""
    lines, text_columns = cells(rows, columns)
    heading, *body = [" & ".join(map(_escaped, line)) + r" \\" for line in lines]
    shape = "".join("l" if text else "r" for text in text_columns)
    begin = rf"\begin{{tabular}}{{{shape}}}"
    return "\n".join([begin, r"\hline", heading, r"\hline", *body, r"\hline", r"\end{tabular}"])


def _escaped(text: str) -> str:
    return "".join(f"\\{letter}" if letter in "&%$#_{}" else letter for letter in text)


def csv_text(rows: Sequence[Row]) -> str:
    """All columns as CSV, with all digits; an interval takes three."""
    flat = []
    for row in rows:
        line: Row = {}
        for name, value in row.items():
            if isinstance(value, Interval):
                line |= {name: value.value, f"{name} low": value.low, f"{name} high": value.high}
            else:
                line[name] = value
        flat.append(line)
    names = dict.fromkeys(name for line in flat for name in line)
    text = io.StringIO()
    writer = csv.DictWriter(text, fieldnames=list(names), lineterminator="\n")
    writer.writeheader()
    writer.writerows(flat)
    return text.getvalue()


def _shown(name: str, value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, Interval):
        return signed(value) if "difference" in name else str(value)
    if name.endswith("difference"):
        return f"{value:+.3f}"
    if name.endswith(("accuracy", "loss", "spread", "share", "error")):
        return f"{value:.3f}"
    if name.endswith("minutes"):
        return f"{value:.1f}"
    if name.endswith("p-value"):
        return f"{value:.3f}" if value >= 0.001 else "< 0.001"
    return f"{value:,.0f}" if name.endswith(("parameters", "clips/s", "clips")) else str(value)


def signed(value: Interval) -> str:
    """A difference and its interval, with their signs."""
    return f"{value.value:+.3f} [{value.low:+.3f}, {value.high:+.3f}]"
