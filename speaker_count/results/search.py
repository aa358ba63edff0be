"""A sweep's scores against the keys that its runs differ in: which values of a parameter are good?"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from speaker_count.results import axes, figures
from speaker_count.results.record import RunResult

UNSET = "default"  # the value of a key that a run does not override, where its result does not hold the key
MOST_VALUES = 12  # of a parameter that has words for values
MOST_LETTERS = 20  # of such a value, on an axis
COLUMNS = 3  # panels side by side
Values = Sequence[float | str]


@dataclass
class Search:
    """The runs of a sweep that have a score.

    Attributes:
        nets: `(runs,)` names of their nets.
        scores: `(runs,)` validation accuracies at the last epoch.
        parameters: by key, its value in each run: all numbers, or all words.
        crowded: keys that are left out, as they have more words for values than an axis can show.
    """

    nets: Sequence[str]
    scores: Sequence[float]
    parameters: Mapping[str, Values]
    crowded: Sequence[str]


def search(results: Sequence[RunResult]) -> Search:
    """The keys that take at least two values in the runs' overrides, other than net and seed.

    A run that does not override a key has the value that its result holds, else `UNSET`.
    """
    scored = [(result, result.last.validation.get("accuracy", math.nan)) for result in results]
    scored = [(result, score) for result, score in scored if not math.isnan(score)]
    overrides = [_overrides(result) for result, _ in scored]
    parameters: dict[str, Values] = {}
    crowded = []
    for key in sorted({key for each in overrides for key in each}):
        values = _alike([_value(key, each, result) for each, (result, _) in zip(overrides, scored, strict=True)])
        different = len(set(values))
        if different > MOST_VALUES and isinstance(values[0], str):
            crowded.append(key)
        elif different > 1:
            parameters[key] = values
    return Search([result.model for result, _ in scored], [score for _, score in scored], parameters, crowded)


def _overrides(result: RunResult) -> dict[str, str]:
    """The values of a run's overrides, by key; `~key` removes one."""
    parted = (change.partition("=") for change in result.changes)
    return {key.lstrip("+~"): "none" if key.startswith("~") else value for key, _, value in parted}


def _value(key: str, overrides: Mapping[str, str], result: RunResult) -> float | str:
    """A run's value of a key: what its result holds, as an override may be an expression; else the override's text."""
    node: Any = {"model": result.net, "mix": result.mix, "data": result.data, "trainer": {"max_epochs": result.epochs}}
    for part in key.split("."):
        node = node.get(part) if isinstance(node, Mapping) else None
    if node is None or isinstance(node, Mapping):
        node = overrides.get(key, UNSET)
    if str(node).lower() in ("true", "false"):
        return str(node).lower()
    try:
        number = float(node)
    except (TypeError, ValueError, OverflowError):
        return str(node)
    return number if math.isfinite(number) else str(node)


def _alike(values: Values) -> Values:
    """Values as words if some of them are words."""
    if not any(isinstance(value, str) for value in values):
        return values
    return [value if isinstance(value, str) else axes.number(value) for value in values]


def draw(found: Search) -> Figure:
    """Validation accuracy against each parameter, a panel each: a point is a run, and the best one has a ring."""
    count = len(found.parameters)
    rows, columns = -(-count // COLUMNS), min(count, COLUMNS)
    figure, panels = figures.new(rows, columns, width=2.6 * columns + 1.4, height=3 * rows, sharey=True)
    for panel, (key, values) in zip(panels.flat, found.parameters.items(), strict=False):
        _panel(panel, found, values, lines=count == 1)
        panel.set_xlabel(axes.wrapped(key, 32))
    for panel in panels.flat[count:]:
        panel.set_visible(False)
    for row in panels:
        row[0].set_ylabel("validation accuracy")
    panels[0][-1].legend(fontsize=7, loc="center left", bbox_to_anchor=(1, 0.5))
    return figure


def _panel(panel: Axes, found: Search, values: Values, lines: bool) -> None:
    """Draw the runs against one parameter.

    Args:
        lines: whether lines join the means of a net's runs, where the parameter has numbers.
    """
    nets = list(dict.fromkeys(found.nets))
    places = _places(panel, values)
    if isinstance(values[0], str):  # beside one another, as many runs have the same word
        places = places + np.array([0.5 * (nets.index(net) + 0.5) / len(nets) - 0.25 for net in found.nets])
    scores = np.array(found.scores)
    for number, net in enumerate(nets):
        color, marker = figures.PALETTE[number % len(figures.PALETTE)], figures.MARKERS[number % len(figures.MARKERS)]
        mine = np.array(found.nets) == net
        panel.plot(places[mine], scores[mine], marker, color=color, label=net, markersize=5, alpha=0.8)
        if lines and not isinstance(values[0], str):
            steps = np.unique(places[mine])
            means = [scores[mine & (places == step)].mean() for step in steps]
            panel.plot(steps, means, color=color, linestyle=figures.STYLES[number % len(figures.STYLES)], linewidth=1)
    best = scores.argmax()
    at = (places[best], scores[best])
    panel.plot(*at, "o", color=figures.INK, markerfacecolor="none", markersize=11, label="the best run")


def _places(panel: Axes, values: Values) -> np.ndarray:
    """Where the values of a parameter stand on the x axis of its panel, `(runs,)`; it gets their scale and ticks."""
    if not isinstance(values[0], str):
        numbers = np.array(values, float)
        axes.scale_x(panel, numbers.tolist())
        panel.margins(x=0.1)
        return numbers
    words = sorted({str(value) for value in values}, key=_by_size)
    labels = [word if len(word) <= MOST_LETTERS else word[: MOST_LETTERS - 1] + "…" for word in words]
    panel.set_xticks(range(len(words)), labels)
    letters = sum(len(label) + 1 for label in labels)
    panel.tick_params(axis="x", labelsize=9 if letters < 30 else 7, rotation=0 if letters < 45 else 90)
    panel.set_xlim(-0.5, len(words) - 0.5)
    panel.grid(visible=False, axis="x")
    return np.array([words.index(str(value)) for value in values], float)


def _by_size(word: str) -> tuple[float, str]:
    try:
        return float(word), word
    except ValueError:
        return math.inf, word
