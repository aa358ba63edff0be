"""Occupancy for a terminal, and as a plot."""

import datetime
from pathlib import Path

import numpy as np

from speaker_count.inference.occupancy import WEEKDAYS, Exceeded, Hour, Occupancy, mean

LISTED = 30  # of the times that a limit was exceeded
RANKED = 3  # peak and quiet hours that are named
COLOURS = ("#d0d7de", "#56B4E9", "#0072B2", "#E69F00", "#D55E00")  # for 0, 1, 2, 3 speakers, and for more


def zone(occupancy: Occupancy) -> str:
    """The distances from UTC of the logs' local times, such as `UTC+01:00, UTC+02:00`."""
    return ", ".join(str(datetime.timezone(offset)).replace("UTC", "UTC+00:00", offset == datetime.timedelta(0))
                     for offset in sorted(occupancy.zones))  # fmt: skip


def lines(occupancy: Occupancy) -> list[str]:
    """Lines: a summary, a table of the mean number of speakers by hour and weekday, and the peak and quiet hours."""
    classes = sorted(occupancy.classes)
    whole = float(occupancy.seconds.sum())
    days = sorted(occupancy.days)
    dates = f"{days[0]} to {days[-1]}" if len(days) > 1 else f"{days[0]}"
    result = [
        f"{dates}: {_hours(whole)} on {len(days)} day{'s' * (len(days) > 1)}, "
        f"local times as logged ({zone(occupancy)})",
        "",
        "mean number of speakers" + "share of time with".rjust(56),
        "hour " + "".join(f"{day:>6}" for day in WEEKDAYS) + f"{'all':>8}" + f"{'speech':>9}{'overlap':>9}{'most':>6}",
    ]
    logged = np.flatnonzero(occupancy.seconds.sum(axis=(0, 2)))
    for hour in range(logged[0], logged[-1] + 1):
        result.append(f"{hour:02}:00" + _row(occupancy.seconds[:, hour]))
    result += ["all  " + _row(occupancy.seconds.sum(axis=1)), ""]
    result += [f"{count} speaker{'s' * (count != 1)}: {_hours(float(occupancy.seconds[..., count].sum()))} "
               f"({occupancy.seconds[..., count].sum() / whole:.1%})" for count in classes]  # fmt: skip
    ranked = occupancy.ranked()
    if not ranked:
        return [*result, "no hour was listened to for five minutes: no peak hours"]
    return [
        *result,
        "",
        f"peak hours:  {_named(ranked[:RANKED])}",
        f"quiet hours: {_named(ranked[: -RANKED - 1 : -1])}",
    ]


def limit_lines(found: list[Exceeded], limit: int) -> list[str]:
    """Lines: each unbroken row of minutes in which a limit was exceeded, and for how long it was."""
    name = f"{limit} speaker{'s' * (limit != 1)}"
    if not found:
        return [f"never more than {name}"]
    whole = sum(each.seconds for each in found)
    times = f"{len(found)} time{'s' * (len(found) > 1)}"
    longest = sorted(found, key=lambda each: -each.seconds)[:LISTED]
    only = f"; the {LISTED} longest:" if len(found) > LISTED else ""
    return [f"more than {name}: {times}, {_hours(whole)} in all{only}"] + [
        f"  {each.begin:%a %Y-%m-%d %H:%M} to {_end(each)} {each.seconds / 60:8.2f} min, at most {each.most}"
        for each in sorted(longest, key=lambda each: each.begin)
    ]


def _end(time: Exceeded) -> str:
    """The end of a time, with its day where that is another one."""
    within = time.end - datetime.timedelta(minutes=1)
    return f"{time.end:%H:%M}" if within.date() == time.begin.date() else f"{time.end:%Y-%m-%d %H:%M}"


def plot(occupancy: Occupancy, path: Path) -> None:
    """Draw the mean by hour and weekday, and the share of each count by hour; written as the name's ending says.

    Raises:
        UserError: matplotlib has no such format.
    """
    from matplotlib.figure import Figure

    from speaker_count.inference import drawing

    drawn = Figure(figsize=(9, 6), layout="constrained")
    week, day = drawn.subplots(2, 1, height_ratios=(3, 2))
    image = week.imshow(occupancy.means, aspect="auto", cmap="viridis", vmin=0, extent=(0, 24, 7, 0))
    week.set_yticks(np.arange(7) + 0.5, WEEKDAYS)
    drawn.colorbar(image, ax=week, label="mean number of speakers")
    by_hour = occupancy.seconds.sum(axis=0)
    whole = by_hour.sum(axis=1)
    below = np.zeros(24)
    for count in sorted(occupancy.classes):
        share = np.divide(by_hour[:, count], whole, out=np.zeros(24), where=whole > 0)
        colour = COLOURS[min(count, len(COLOURS) - 1)]
        day.bar(np.arange(24) + 0.5, share, bottom=below, width=0.9, color=colour, label=str(count))
        below += share
    day.set_ylabel("share of time")
    day.set_xlabel(f"hour, local time as logged ({zone(occupancy)})")
    day.legend(title="speakers", loc="center left", bbox_to_anchor=(1.02, 0.5), frameon=False)
    for axes in (week, day):
        axes.set_xlim(0, 24)
        axes.set_xticks(range(0, 25, 3))
    drawing.write(drawn, path)


def _row(seconds: np.ndarray) -> str:
    """Cells for each weekday and for all, from the seconds at each count, `(7, counts)`."""
    together = seconds.sum(axis=0)
    whole = together.sum()
    cells = "".join(f"{_cell(value):>6}" for value in mean(seconds)) + f"{_cell(float(mean(together))):>8}"
    if not whole:
        return cells + f"{'-':>9}{'-':>9}{'-':>6}"
    speech, overlap = together[1:].sum() / whole, together[2:].sum() / whole
    return cells + f"{speech:>9.1%}{overlap:>9.1%}{np.flatnonzero(together)[-1]:>6}"


def _cell(value: float) -> str:
    return "-" if np.isnan(value) else f"{value:.2f}"


def _hours(seconds: float) -> str:
    return f"{seconds / 3600:.2f} h" if seconds >= 3600 else f"{seconds / 60:.2f} min"


def _named(hours: list[Hour]) -> str:
    return ", ".join(f"{WEEKDAYS[each.weekday]} {each.hour:02}:00 ({each.mean:.2f})" for each in hours)
