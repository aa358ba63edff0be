"""What each ingredient of a recipe brings: the recipe beside itself with one ingredient left out at a time."""

from functools import partial
from typing import Any

from matplotlib.figure import Figure as Drawing

from speaker_count.results import figures, statistics
from speaker_count.results.comparison import Comparison, Entry
from speaker_count.results.page import Figure, Table, Text
from speaker_count.results.record import RunResult
from speaker_count.results.statistics import Interval
from speaker_count.results.tables import Row, signed

GROUP, FULL = "ablation", "full"  # the group of configs, and the choice that changes nothing


def choice(result: RunResult) -> str | None:
    """Which ablation a run is; None: it is none."""
    found = [value for key, _, value in (change.partition("=") for change in result.changes) if key == GROUP]
    return found[-1] if found else None


def blocks(comparison: Comparison, suffix: str) -> list[Any]:
    """The table of what each ingredient brings, and its figure; nothing where the recipe of no ablation was run."""
    pairs = _pairs(comparison)
    if not pairs:
        return []
    pairs.sort(key=lambda pair: comparison.difference(*pair).value)
    whole = list({full.name: full for _, full in pairs}.values())
    rows = [_row(comparison, full, None) for full in whole] + [_row(comparison, *pair) for pair in pairs]
    seeds = any(len(entry.results) > 1 for pair in pairs for entry in pair)
    columns = {"recipe": "recipe", "test accuracy": "test accuracy [95 %]"}
    columns |= {"spread": "± over seeds"} if seeds else {}
    columns |= {"difference": "to the recipe [95 %]", "verdict": "", "validation accuracy": "validation"}
    columns |= {"seeds": "seeds", "parameters": "parameters", "minutes": "minutes"}
    screen = {"recipe": "recipe", "mean test accuracy": "test", **({"spread": "±"} if seeds else {})}
    screen |= {"difference": "to the recipe [95 %]", "distinguishable": "distinguishable"}
    note = (
        "Differences are on the same test clips, with intervals over their speakers. The interval says nothing of how "
        "much another seed would change: run several seeds of what matters."
    )
    title = "The recipe without one ingredient at a time"
    table = Table(f"ablation{suffix}", title, rows, columns, note, screen)
    values = {_named(entry): comparison.difference(entry, full) for entry, full in pairs}
    caption = "Difference of test accuracy to the whole recipe, with 95 % intervals over speakers."
    return [*_told(comparison, pairs), table, Figure(f"ablation{suffix}", caption, partial(_draw, values))]


def _pairs(comparison: Comparison) -> list[tuple[Entry, Entry]]:
    """The ablations with predictions, each with its whole recipe: of the same other overrides, and of the same net
    where there is one.
    """
    nets = [net for net in comparison.nets if net.accuracy and choice(net.results[0])]
    whole = [net for net in nets if choice(net.results[0]) == FULL]
    pairs = []
    for net in nets:
        alike = [full for full in whole if _others(full) == _others(net)]
        alike.sort(key=lambda full: full.model != net.model)
        if net not in whole and alike:
            pairs.append((net, alike[0]))
    return pairs


def _others(entry: Entry) -> list[str]:
    """The overrides beside the ablation."""
    return [change for change in entry.results[0].changes if not change.startswith(f"{GROUP}=")]


def _named(entry: Entry) -> str:
    """What is changed, with the overrides that tell its run from others."""
    name = str(choice(entry.results[0])).replace("_", " ")
    others = " ".join(change for change in entry.changes.split() if not change.startswith(f"{GROUP}="))
    return f"{name} {others}".strip()


def _verdict(difference: Interval) -> str:
    if difference.contains_zero:
        return "not distinguishable"
    return "worse" if difference.value < 0 else "better"


def _row(comparison: Comparison, entry: Entry, full: Entry | None) -> Row:
    difference = None if full is None else comparison.difference(entry, full)
    accuracies = [result.last.test["accuracy"] for result in entry.results]
    return {
        "recipe": _named(entry),
        "test accuracy": entry.accuracy,
        "mean test accuracy": entry.accuracy.value if entry.accuracy else None,
        "spread": statistics.mean_and_spread(accuracies)[1],
        "difference": difference,
        "verdict": "" if difference is None else _verdict(difference),
        "distinguishable": None if difference is None else {True: "no", False: "yes"}[difference.contains_zero],
        "validation accuracy": entry.mean("validation", "accuracy"),
        "seeds": len(entry.results),
        "parameters": entry.results[0].parameters,
        "minutes": entry.minutes,
    }


def _told(comparison: Comparison, pairs: list[tuple[Entry, Entry]]) -> list[Text]:
    """In sentences: what brings something, what costs, and of what neither can be said."""
    by_verdict: dict[str, list[str]] = {}
    for entry, full in pairs:
        difference = comparison.difference(entry, full)
        verdict = _verdict(difference)
        shown = "" if difference.contains_zero else f" {signed(difference)}"
        by_verdict.setdefault(verdict, []).append(f"{_named(entry)}{shown}")
    order = ("worse", "better", "not distinguishable")
    return [
        Text(
            f"{', '.join(by_verdict[verdict])}.",
            f"{verdict.capitalize()}{' than the whole recipe' * (verdict != order[-1])}:",
        )
        for verdict in order
        if verdict in by_verdict
    ]


def _draw(values: dict[str, Interval]) -> Drawing:
    figure = figures.intervals(values, "difference of test accuracy to the recipe")
    figure.axes[0].axvline(0, color=figures.GREY, linewidth=0.8)
    return figure
