"""Results as tables: rows of plain values, and how they are written."""

import csv
import io
import re
import shutil
import textwrap
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from speaker_count import files
from speaker_count.errors import printable
from speaker_count.results.record import RunResult
from speaker_count.results.statistics import Interval

Row = dict[str, Any]
MOST_CHARACTERS = 100  # of a line in a terminal
NARROWEST = 12  # column of names in a terminal
PART_OF_KEY = re.compile(r"(?:[^._=,]|\.(?=\d))*(?:[_=,]|\.(?!\d))*")  # of an override, with what ends it
MARKUP = re.compile(r"[\\|`]|<(?=[A-Za-z/!?])|(?<=\])\(")  # what would end a cell, or begin code, HTML or a link


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


def sweep(results: Sequence[RunResult]) -> list[Row]:
    """A row for each run, at its last epoch, beside the paper's figures; the paper's nets first, in its order."""
    order = list(paper())
    place = {net: order.index(net) if net in order else len(order) for net in (result.model for result in results)}
    ranked = sorted(results, key=lambda result: (place[result.model], result.model, result.seed))
    return [_row(result, changes) for result, changes in zip(ranked, differing(ranked), strict=True)]


def differing(results: Sequence[RunResult]) -> list[str]:
    """The changes of each run that are not common to all runs."""
    changes = [result.changes for result in results]
    common = set(changes[0]).intersection(*changes) if changes else set()
    return [" ".join(change for change in each if change not in common) for each in changes]


def beside_the_paper(model: str, ours: Callable[[str, str], float | None]) -> Row:
    """Our loss and accuracy of the training and validation clips, the paper's, and their differences.

    Args:
        ours: gives a net's metric by split and name.
    """
    printed = paper().get(model, {})
    row: Row = {}
    for split in ("train", "validation"):  # the paper does not score its test clips
        for metric in ("loss", "accuracy"):
            value, theirs = ours(split, metric), printed.get(f"{split}_{metric}")
            difference = None if value is None or theirs is None else value - theirs
            row |= {f"{split} {metric}": value, f"paper's {split} {metric}": theirs}
            row[f"{split} {metric} difference"] = difference
    return row


def _row(result: RunResult, changes: str) -> Row:
    return {
        "net": result.model,
        "in the paper": result.paper_name,
        "seed": result.seed,
        "changes": changes,
        "parameters": result.parameters,
        "epochs": result.epochs,
        "minutes": result.fit_seconds / 60,
        "paper's minutes": paper().get(result.model, {}).get("minutes"),
        "clips/s": result.clips_per_second,
        **beside_the_paper(result.model, lambda split, metric: result.last.of(split).get(metric)),
        **{f"test {metric}": result.last.test.get(metric) for metric in ("loss", "accuracy")},
    }


def of_runs(rows: Sequence[Row]) -> str:
    """A sweep's runs for a terminal: cost, accuracy, and the paper's on validation."""
    differ = any(row["changes"] for row in rows)
    columns = {name: name for name in ("net", "seed", *(["changes"] if differ else []), "minutes", "clips/s")}
    columns |= {"train accuracy": "train", "validation accuracy": "val", "paper's validation accuracy": "paper's val"}
    return for_terminal(rows, {**columns, "test accuracy": "test", "test loss": "test loss"})


def cells(rows: Sequence[Row], columns: Mapping[str, str]) -> tuple[list[list[str]], list[bool]]:
    """A table's lines as they are shown, in printable letters, the headings first, and which columns are text.

    Args:
        columns: the heading of each column that is shown.
    """
    lines = [list(columns.values()), *([_shown(name, row.get(name)) for name in columns] for row in rows)]
    lines = [[printable(cell) for cell in line] for line in lines]
    return lines, [any(isinstance(row.get(name), str) for row in rows) for name in columns]


def markdown(rows: Sequence[Row], columns: Mapping[str, str]) -> str:
    """A table in Markdown, aligned, so that a terminal shows it well too."""
    lines, text_columns = cells(rows, columns)
    return _drawn([[MARKUP.sub(r"\\\g<0>", cell) for cell in line] for line in lines], text_columns)


def for_terminal(rows: Sequence[Row], columns: Mapping[str, str], width: int | None = None) -> str:
    """A table that fits a terminal: `markdown` where that is narrow enough. Else the longest names are broken into
    lines; where that does not suffice, intervals shrink to their values, and then the last columns are left out.

    Args:
        width: in characters; None: the terminal's, at most `MOST_CHARACTERS`.
    """
    width = width or min(shutil.get_terminal_size().columns, MOST_CHARACTERS)
    values = [{name: cell.value if isinstance(cell, Interval) else cell for name, cell in row.items()} for row in rows]
    for shown in (rows, values):
        lines, text_columns = cells(shown, columns)
        excess = _drawn(lines, text_columns).index("\n") - width
        if excess <= 0:
            return _drawn(lines, text_columns)
        widths = [max(map(len, column)) if text_columns[place] else 0 for place, column in enumerate(_turned(lines))]
        longest = widths.index(max(widths))
        if widths[longest] - excess >= NARROWEST:
            return _drawn(_broken(lines, longest, widths[longest] - excess), text_columns)
    return for_terminal(rows, dict(list(columns.items())[:-1]), width) if len(columns) > 1 else markdown(rows, columns)


def _broken(lines: Sequence[Sequence[str]], column: int, width: int) -> list[list[str]]:
    """The lines of a table with the cells of one column wrapped: the rest of a cell stands on lines of its own."""
    broken = []
    for line in lines:
        first, *others = _wrapped(line[column], width) or [""]
        broken.append([*line[:column], first, *line[column + 1 :]])
        broken += [[other if place == column else "" for place in range(len(line))] for other in others]
    return broken


def _wrapped(text: str, width: int) -> list[str]:
    """Lines of a text, broken at spaces; a longer word is broken where a part of a key ends, or anywhere at last."""
    lines = []
    for line in textwrap.wrap(text, width, subsequent_indent="  ", break_long_words=False):
        rest = ""
        for part in PART_OF_KEY.findall(line) if len(line) > width else [line]:
            if rest and len(rest + part) > width:
                lines.append(rest)
                rest = "  "
            rest += part
            while len(rest) > width:
                lines.append(rest[:width])
                rest = "  " + rest[width:]
        lines.append(rest)
    return lines


def _drawn(lines: Sequence[Sequence[str]], text_columns: Sequence[bool]) -> str:
    widths = [max(3, *map(len, column)) for column in _turned(lines)]
    shape = list(zip(widths, text_columns, strict=True))
    aligned = [
        [cell.ljust(width) if text else cell.rjust(width) for cell, (width, text) in zip(line, shape, strict=True)]
        for line in lines
    ]
    aligned.insert(1, ["-" * width if text else "-" * (width - 1) + ":" for width, text in shape])
    return "\n".join(f"| {' | '.join(line)} |" for line in aligned)


def _turned(lines: Sequence[Sequence[str]]) -> list[tuple[str, ...]]:
    """The columns of a table's lines."""
    return list(zip(*lines, strict=True))


def latex(rows: Sequence[Row], columns: Mapping[str, str]) -> str:
    """A table in LaTeX, a `tabular` that needs no package."""
    lines, text_columns = cells(rows, columns)
    heading, *body = [" & ".join(map(_escaped, line)) + r" \\" for line in lines]
    body = ["{}" + line if line.startswith(("[", "*")) else line for line in body]  # else the line before takes it
    shape = "".join("l" if text else "r" for text in text_columns)
    begin = rf"\begin{{tabular}}{{{shape}}}"
    return "\n".join([begin, r"\hline", heading, r"\hline", *body, r"\hline", r"\end{tabular}"])


def _escaped(text: str) -> str:
    special = {"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}"}
    special |= {letter: f"\\{letter}" for letter in "&%$#_{}"}
    return "".join(special.get(letter, letter) for letter in text)


def csv_text(rows: Sequence[Row]) -> str:
    """All columns as CSV, with all digits; an interval takes three."""
    flat = []
    for row in rows:
        line: Row = {}
        for name, value in row.items():
            if isinstance(value, Interval):
                line |= {name: value.value, f"{name} low": value.low, f"{name} high": value.high}
            else:
                line[name] = files.not_computed(value) if isinstance(value, str) else value
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
