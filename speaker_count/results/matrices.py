"""Figures of confusion matrices: of counts, and of sexes and counts."""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.figure import Figure

from speaker_count.results import axes, figures

NOBODY = "none"  # a clip in which nobody speaks
MOST_NUMBERED = 15  # rows of a matrix whose cells have space for numbers


def confusions(matrices: Mapping[str, np.ndarray], names: Sequence[str]) -> Figure:
    """A confusion matrix for each net: true classes in rows, each row as shares of its clips."""
    columns = min(4, len(matrices))
    rows = -(-len(matrices) // columns)
    figure, panels = figures.new(rows, columns, width=2 * columns + 0.8, height=2.1 * rows + 0.3)
    for panel in panels.flat[len(matrices) :]:
        panel.set_visible(False)
    for number, (panel, (net, matrix)) in enumerate(zip(panels.flat, matrices.items(), strict=False)):
        shares = np.asarray(matrix) / np.maximum(1, np.sum(matrix, axis=1, keepdims=True))
        panel.imshow(shares, cmap="cividis", vmin=0, vmax=1)
        for (row, column), share in np.ndenumerate(shares):
            panel.text(column, row, f"{share:.2f}", ha="center", va="center", color="black" if share > 0.5 else "white")
        panel.set_xticks(range(len(names)), names)
        panel.set_yticks(range(len(names)), names)
        panel.set_title(axes.wrapped(net, 24), fontsize=9)
        panel.grid(visible=False)
        if number % columns == 0:
            panel.set_ylabel("speakers, true")
        if number >= len(matrices) - columns:
            panel.set_xlabel("predicted")
    return figure


def compositions(matrices: Mapping[str, np.ndarray], names: Sequence[str]) -> Figure:
    """A confusion matrix of sexes and count for each net, to be read at 80 mm: true compositions in rows, cells in per
    cent of their row. Cells below half a per cent are empty; those of more than 15 compositions have no numbers, and
    only their counts have names.

    Args:
        matrices: by net, `(true, predicted)` numbers of clips.
        names: of the compositions, such as `MMF`, those of a count beside each other; empty for nobody.
    """
    columns, many = min(2, len(matrices)), len(names) > MOST_NUMBERED
    rows, side = -(-len(matrices) // columns), 3.15
    figure, panels = figures.new(rows, columns, width=side * columns, height=side * rows)
    for panel in panels.flat[len(matrices) :]:
        panel.set_visible(False)
    ticks = {name or NOBODY: float(place) for place, name in enumerate(names)}
    if many:
        counts = np.array([len(name) for name in names])
        ticks = {f"{count}": float(np.flatnonzero(counts == count).mean()) for count in np.unique(counts)}
    ends = [place - 0.5 for place in range(1, len(names)) if len(names[place]) != len(names[place - 1])]
    order = "; within a number, women increase" * many
    for panel, (net, matrix) in zip(panels.flat, matrices.items(), strict=False):
        shares = np.asarray(matrix) / np.maximum(1, np.sum(matrix, axis=1, keepdims=True))
        panel.imshow(shares, cmap="cividis", vmin=0, vmax=1)
        for (row, column), share in np.ndenumerate(shares):
            if round(100 * share) and not many:
                color = "black" if share > 0.5 else "white"
                panel.text(column, row, f"{100 * share:.0f}", ha="center", va="center", color=color, fontsize=7)
        for end in ends:
            panel.axhline(end, color="white", linewidth=0.8)
            panel.axvline(end, color="white", linewidth=0.8)
        panel.set_xticks(list(ticks.values()), list(ticks), rotation=0 if many else 90, fontsize=7)
        panel.set_yticks(list(ticks.values()), list(ticks), fontsize=7)
        panel.tick_params(length=2, pad=2)
        panel.set_title(axes.wrapped(net, 30), fontsize=8)
        panel.set_xlabel(f"predicted{order}", fontsize=8)
        panel.set_ylabel("true", fontsize=8)
        panel.grid(visible=False)
    return figure
