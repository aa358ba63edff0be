"""Nets under stress, on a page: accuracies by condition, differences, and a plot of each property."""

import math
from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure as Drawing

from speaker_count.results import axes, figures
from speaker_count.results.page import Figure, Section, Table, Text
from speaker_count.results.statistics import Interval
from speaker_count.results.stress import AXES, MIXES, Axis, Outcome, value_of
from speaker_count.results.tables import Row

MOST_COLUMNS = 3  # nets that a terminal has columns for
MOST_IN_BARS = 4  # nets whose intervals a panel shows: more would cover one another


def sections(outcomes: Sequence[Outcome], nets: Sequence[str], counts: Sequence[int]) -> list[Section]:
    """The answer with its tables, and a figure of each axis; the outcomes are scored.

    Args:
        nets: their names, in order; differences are to the first.
        counts: that the nets know.
    """
    opening = Section("Under stress", [Text(_told(outcomes, net, counts), f"{net}:") for net in nets])
    opening.blocks += [Text(f"{'; '.join(reasons)}.", f"Left out, {net}:") for net, reasons in _left_out(outcomes)]
    opening.blocks += [_accuracies(outcomes, nets, counts)]
    if len(nets) > MOST_COLUMNS:
        opening.blocks.append(_by_net(outcomes, nets))
    shown = [axis for axis in AXES if any(each.condition.axis == axis.name for each in outcomes)]
    if shown:
        drawing = partial(overview, shown, outcomes, nets, counts)
        caption = "Accuracy against each property, the others as in the base; dotted lines: accuracy on the base."
        opening.blocks.append(Figure("stress", caption, drawing))
    if len(nets) > 1:
        opening.blocks.append(_differences(outcomes, nets))
    made = [opening]
    for axis in shown:
        drawing = partial(overview, [axis], outcomes, nets, counts)
        caption = f"Accuracy against the {axis.label}, with 95 % intervals over speakers{_beyond(axis, counts)}."
        blocks: list[Any] = [Figure(f"stress_{axis.name}", caption, drawing)]
        if axis.name == "voices":
            blocks.append(_errors(outcomes, nets, counts))
        made.append(Section(f"{axis.label[0].upper()}{axis.label[1:]}", blocks))
    return made


def _told(outcomes: Sequence[Outcome], net: str, counts: Sequence[int]) -> str:
    """A net's accuracy on whole mixes, and where it is lowest, in a sentence."""
    heard = [each for each in outcomes if net in each.accuracy]
    mixes = [
        f"{value_of(each.accuracy[net]):.3f} ({each.condition.name})" for each in heard if each.condition.axis == MIXES
    ]
    fair = [each for each in heard if each.condition.axis != MIXES and not each.is_beyond(counts)]
    told = f"accuracy {', '.join(mixes)}" if mixes else "not scored"
    if fair:
        worst = min(fair, key=lambda each: value_of(each.accuracy[net]))
        told += f"; lowest {value_of(worst.accuracy[net]):.3f} ({worst.condition.name})"
    return f"{told}."


def _left_out(outcomes: Sequence[Outcome]) -> list[tuple[str, list[str]]]:
    """By net, the conditions that it is not scored in, and why."""
    reasons: dict[str, list[str]] = {}
    for each in outcomes:
        for net, reason in each.reasons.items():
            reasons.setdefault(net, []).append(f"{each.condition.name} ({reason})")
    return list(reasons.items())


def _accuracies(outcomes: Sequence[Outcome], nets: Sequence[str], counts: Sequence[int]) -> Table:
    rows: list[Row] = []
    for each in outcomes:
        says = f" (says {max(counts)})" * each.is_beyond(counts)
        row: Row = {"condition": each.condition.name + says}
        row |= {"property": each.condition.axis, "value": each.condition.value}
        row |= {f"{net} accuracy": each.accuracy.get(net) for net in nets}
        rows.append({**row, "clips": len(each.count) if each.accuracy else None, "speakers": _people(each)})
    columns = {"condition": "condition"} | {f"{net} accuracy": net for net in nets}
    note = (
        "One property changes at a time, from the mix in the first line. All nets hear the same clips, of test "
        "speakers alone; intervals are over the speakers." + _note_beyond(outcomes, counts)
    )
    title = "Accuracy by condition [95 %]"
    screen = columns if len(nets) <= MOST_COLUMNS else None
    return Table("stress", title, rows, {**columns, "clips": "clips", "speakers": "speakers"}, note, screen)


def _by_net(outcomes: Sequence[Outcome], nets: Sequence[str]) -> Table:
    """A row for each net, with the whole mixes in columns."""
    mixes = [each for each in outcomes if each.condition.axis == MIXES]
    rows: list[Row] = [
        {"net": net, **{f"{each.condition.name} accuracy": each.accuracy.get(net) for each in mixes}} for net in nets
    ]
    columns = {"net": "net"} | {f"{each.condition.name} accuracy": each.condition.name for each in mixes}
    short = {key: heading.replace(" mix", "").split(" in ")[0] for key, heading in columns.items()}
    title = "Accuracy by net, on whole mixes [95 %]; noise is in a room, too"
    return Table("stress_nets", title, rows, columns, screen=short)


def _people(outcome: Outcome) -> int | None:
    names = np.unique(outcome.speakers)
    return int((names >= 0).sum()) if outcome.accuracy else None


def _note_beyond(outcomes: Sequence[Outcome], counts: Sequence[int]) -> str:
    beyond = any(each.is_beyond(counts) for each in outcomes)
    return f" With more than {max(counts)} voices, {max(counts)} counts as right." if beyond else ""


def _beyond(axis: Axis, counts: Sequence[int]) -> str:
    if axis.name != "voices" or max(axis.values) <= max(counts):
        return ""
    return f"; hollow: more voices than the nets know, where their most, {max(counts)}, counts as right"


def _differences(outcomes: Sequence[Outcome], nets: Sequence[str]) -> Table:
    first, *others = nets
    rows: list[Row] = [
        {"condition": each.condition.name, **{f"{net} difference": each.difference.get(net) for net in others}}
        for each in outcomes
    ]
    columns = {"condition": "condition"} | {f"{net} difference": net for net in others}
    note = "On the same clips and the same resampled speakers; an interval that contains 0: not distinguishable."
    return Table("stress_differences", f"Difference of accuracy to {first} [95 %]", rows, columns, note)


def _errors(outcomes: Sequence[Outcome], nets: Sequence[str], counts: Sequence[int]) -> Table:
    """By number of voices, each net's mean absolute error and the share of clips on which it says its most."""
    rows: list[Row] = []
    columns = {"condition": "condition"}
    for each in (each for each in outcomes if each.condition.axis == "voices"):
        row: Row = {"condition": each.condition.name}
        for net, predicted in each.predicted.items():
            row[f"{net} error"] = float(np.abs(predicted - each.count).mean())
            row[f"{net} share"] = float((predicted == max(counts)).mean())
        rows.append(row)
    for net in nets:
        columns |= {f"{net} error": f"{net}: mean absolute error", f"{net} share": f"{net}: says {max(counts)}"}
    return Table("stress_voices", "Errors by number of voices", rows, columns)


def overview(shown: Sequence[Axis], outcomes: Sequence[Outcome], nets: Sequence[str], counts: Sequence[int]) -> Drawing:
    """A panel for each axis, all nets in each."""
    columns = min(2, len(shown))
    rows = -(-len(shown) // columns)
    spare = rows * columns > len(shown)  # has space for the legend
    below = 0.0 if spare else 0.17 * sum(axes.wrapped(net, 40).count("\n") + 1 for net in nets) + 0.2
    figure, panels = figures.new(rows, columns, width=4.0 * columns + 0.6, height=2.3 * rows + below + 0.2, sharey=True)
    for number, (panel, axis) in enumerate(zip(panels.flat, shown, strict=False)):
        _draw(panel, axis, outcomes, nets, counts)
        if number % columns == 0:
            panel.set_ylabel("test accuracy")
    handles, labels = panels.flat[0].get_legend_handles_labels()
    for panel in panels.flat[len(shown) :]:
        panel.set_axis_off()
        panel.legend(handles, labels, fontsize=8, loc="center")
    if not spare:
        figure.legend(handles, labels, fontsize=8, loc="outside lower center")
    return figure


def _draw(panel: Axes, axis: Axis, outcomes: Sequence[Outcome], nets: Sequence[str], counts: Sequence[int]) -> None:
    for number, net in enumerate(nets):
        color, marker = figures.PALETTE[number % len(figures.PALETTE)], figures.MARKERS[number % len(figures.MARKERS)]
        line = figures.STYLES[number // len(figures.PALETTE) % len(figures.STYLES)]
        look: dict[str, Any] = {"color": color, "linestyle": line, "linewidth": 1.2}
        panel.plot([], [], marker=marker, markersize=4, label=axes.wrapped(net, 40), **look)  # for the legend
        points = {
            float(each.condition.value or 0): each
            for each in outcomes
            if each.condition.axis == axis.name and net in each.accuracy
        }
        panel.plot(list(points), [value_of(each.accuracy[net]) for each in points.values()], **look)
        for place, each in points.items():
            panel.errorbar(
                place,
                value_of(each.accuracy[net]),
                _reach(each.accuracy[net]) if len(nets) <= MOST_IN_BARS else None,
                color=color,
                marker=marker,
                markersize=4,
                markerfacecolor="none" if each.is_beyond(counts) else color,
                capsize=2,
                elinewidth=0.8,
            )
        base = outcomes[0].accuracy.get(net)
        if base is not None and axis.name != "voices":
            panel.axhline(value_of(base), color=color, linestyle=":", linewidth=0.8)
    axes.scale_x(panel, axis.values)
    panel.set_xticks(axis.values)
    panel.minorticks_off()
    panel.set(xlabel=axis.label, ylim=(-0.03, 1.03))  # a marker at either end is whole


def _reach(score: Interval | float) -> list[list[float]] | None:
    if not isinstance(score, Interval) or math.isnan(score.low):
        return None
    return [[max(score.value - score.low, 0)], [max(score.high - score.value, 0)]]
