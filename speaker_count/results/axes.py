"""Axes that can be read: scales that suit their values, few ticks with plain numbers, names that do not overlap."""

import textwrap
from collections.abc import Mapping, Sequence

from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullFormatter, SymmetricalLogLocator
from matplotlib.transforms import Bbox

WIDE = 10  # values that span more than this factor have a logarithmic axis
SHORTEST = 12  # characters of a line of a name
SIDES = (((6, 4), "left"), ((-6, 4), "right"), ((6, -10), "left"), ((-6, -10), "right"))  # of a point, for its name
PREFIXES = ((1e9, "G"), (1e6, "M"), (1e3, "k"))


def number(value: float, place: object = None) -> str:
    """A number as a tick shows it: `0.003`, `1e-5`, `20k`, `1.5M`.

    Args:
        place: what a formatter of matplotlib gets too.
    """
    size = abs(value)
    if 0 < size < 1e-4 or size >= 1e12:
        digits, exponent = f"{value:.3e}".split("e")
        return f"{float(digits):g}e{int(exponent)}"
    for factor, letter in PREFIXES:
        if size >= 10 * factor or (factor > 1e3 and size >= factor):
            return f"{value / factor:.4g}{letter}"
    return f"{value:.4g}"


def scale_x(panel: Axes, values: Sequence[float]) -> None:
    """Give a panel the x axis that suits its values: logarithmic if they span more than a factor of 10, also with a
    zero among them, else linear.
    """
    positive = [value for value in values if value > 0]
    if min(values) < 0 or not positive or max(positive) / min(positive) <= WIDE:
        panel.xaxis.set_major_locator(MaxNLocator(5))
    elif min(values) == 0:
        panel.set_xscale("symlog", linthresh=min(positive))
        panel.xaxis.set_major_locator(SymmetricalLogLocator(base=10, linthresh=min(positive)))
    else:
        panel.set_xscale("log")
        wide = max(positive) / min(positive) > WIDE**2
        panel.xaxis.set_major_locator(LogLocator(numticks=6, subs=(1,) if wide else (1, 3)))
    panel.xaxis.set_major_formatter(FuncFormatter(number))
    panel.xaxis.set_minor_formatter(NullFormatter())  # else it writes numbers between the ticks, over one another


def wrapped(name: str, characters: int) -> str:
    """A name in lines, as nets are named after all their overrides."""
    return textwrap.fill(name, max(characters, SHORTEST), break_on_hyphens=False)


def name_points(panel: Axes, points: Mapping[str, tuple[float, float]], most: int) -> None:
    """Write names beside points, where they cover neither another name nor a point; call it when all else is drawn.

    A name without such a place is left out, as are all after the first `most`.
    """
    panel.figure.draw_without_rendering()  # type: ignore[union-attr]  # lays the panels out: places are known
    dots = panel.transData.transform(list(points.values()))
    taken: list[Bbox] = []
    for name, place in list(points.items())[:most]:
        for offset, side in SIDES:
            text = panel.annotate(name, place, offset, textcoords="offset points", fontsize=7, ha=side)
            text.set_in_layout(False)
            box = text.get_window_extent()
            is_inside = panel.bbox.x0 <= box.x0 and box.x1 <= panel.bbox.x1
            covers = box.padded(5).count_contains(dots) > 0 or box.count_overlaps(taken) > 0
            if is_inside and not covers:
                taken.append(box)
                break
            text.remove()
