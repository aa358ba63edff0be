"""The figures of the report, drawn from arrays, for paper and for a page that may be light or dark.

Colours are those of Okabe and Ito, which colour-blind readers can distinguish; lines differ in style too.
"""

import base64
import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("agg")
import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from speaker_count import files
from speaker_count.labels import FULL_SCALE, metric_key
from speaker_count.results import axes
from speaker_count.results.statistics import Calibration, Interval

BLUE, ORANGE, GREEN, PURPLE, SKY, RED, YELLOW = (
    "#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00", "#F0E442"
)  # fmt: skip
PALETTE = (BLUE, ORANGE, GREEN, PURPLE, SKY, RED)
KINDS = {"waveform": (BLUE, "o"), "spectrogram": (ORANGE, "s"), "baseline": (GREEN, "D")}  # colour and marker
STYLES = ("-", "--", "-.", ":")
INK = "#1f2328"  # of text and axes; on a page, the colour of its text
ON_PAGE = "<style>svg{color:#1f2328}@media(prefers-color-scheme:dark){svg{color:#e6edf3}}</style>"
GREY = "#8c959f"
MARKERS = "osD^vP*X"
MOST_NAMES = 12  # at the points of a figure
STYLE: dict[str, Any] = {
    "figure.constrained_layout.use": True,
    "figure.facecolor": "none",
    "axes.facecolor": "none",
    "savefig.facecolor": "none",
    "font.size": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.titlesize": 10,
    "axes.grid": True,
    "grid.color": GREY,
    "grid.alpha": 0.25,
    "legend.frameon": False,
    "text.parse_math": False,  # names of nets hold what users override
    "svg.fonttype": "none",
    "svg.hashsalt": "speaker_count",  # the same figure gives the same file
    **dict.fromkeys(("text.color", "axes.edgecolor", "axes.labelcolor", "xtick.color", "ytick.color"), INK),
}
plt.rcParams.update(STYLE)  # type: ignore[arg-type]
Histories = Sequence[Sequence[Mapping[str, float]]]  # rows of metrics.csv, for each seed


def new(
    rows: int = 1, columns: int = 1, width: float = 6.4, height: float = 3.2, **keys: Any
) -> tuple[Figure, np.ndarray]:
    """A figure and its axes, `(rows, columns)`; sizes in inches."""
    return plt.subplots(rows, columns, figsize=(width, height), squeeze=False, **keys)


def save(figure: Figure, folder: Path, name: str) -> str:
    """Write `name.png` (for paper) and `name.svg`, and close the figure.

    Returns:
        The SVG as a data URI; its text takes the colour that suits a light or a dark page.
    """
    with files.replacing(folder / f"{name}.png") as partial:
        figure.savefig(partial, dpi=150, facecolor="white", format="png")
    text = io.StringIO()
    figure.savefig(text, format="svg", metadata={"Date": None})
    plt.close(figure)
    svg = text.getvalue().replace(INK, "currentColor")
    head, rest = svg.split("<defs>", 1)
    svg = f"{head}{ON_PAGE}<defs>{rest}"
    files.write_text(folder / f"{name}.svg", svg)
    return "data:image/svg+xml;base64," + base64.b64encode(svg.encode()).decode()


def spectrogram(waveform: np.ndarray, sample_rate: int, title: str) -> Figure:
    """Waveform and spectrogram of a clip, `(samples,)` int16."""
    figure, ((above,), (below,)) = new(2, 1, height=4, sharex=True, height_ratios=[1, 2])
    seconds = np.arange(len(waveform)) / sample_rate
    above.plot(seconds, waveform / FULL_SCALE, color=BLUE, linewidth=0.5)
    above.set(ylabel="amplitude", title=title)
    power, frequencies, times = power_spectrogram(waveform, sample_rate)
    image = below.pcolormesh(times, frequencies / 1000, power, cmap="cividis", rasterized=True, shading="nearest")
    below.set(xlabel="time (s)", ylabel="frequency (kHz)", xlim=(0, seconds[-1]))
    below.grid(visible=False)
    figure.colorbar(image, ax=below, label="dB")
    return figure


def power_spectrogram(
    waveform: np.ndarray, sample_rate: int, window: int = 400, hop: int = 200
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Power in decibels `(frequencies, times)`, frequencies in Hz and times in s; the nets' window and hop."""
    padded = np.pad(waveform / FULL_SCALE, window // 2, mode="reflect" if len(waveform) > window // 2 else "constant")
    frames = np.lib.stride_tricks.sliding_window_view(padded, window)[::hop]
    power = np.abs(np.fft.rfft(frames * np.hanning(window + 1)[:-1], axis=1)) ** 2
    decibels = 10 * np.log10(np.maximum(power.T, 1e-10))
    return decibels, np.fft.rfftfreq(window, 1 / sample_rate), np.arange(len(frames)) * hop / sample_rate


def thumbnail(waveform: np.ndarray, sample_rate: int) -> str:
    """A clip's spectrogram as a small PNG, a data URI; low frequencies at the bottom, brighter is louder."""
    decibels, _, _ = power_spectrogram(waveform, sample_rate)
    image = io.BytesIO()
    high = decibels.max()
    pixels = np.clip((decibels - high + 80) / 80, 0, 1)  # 80 dB below the loudest is black
    plt.imsave(image, pixels, cmap="cividis", origin="lower", format="png", vmin=0, vmax=1)
    return "data:image/png;base64," + base64.b64encode(image.getvalue()).decode()


def counts(by_split: Mapping[str, Mapping[str, int]], height: float = 2.6) -> Figure:
    """How many clips have each number of speakers, one panel per split."""
    figure, panels = new(1, len(by_split), height=height, sharex=True)
    for panel, (split, numbers) in zip(panels[0], by_split.items(), strict=True):
        _bars(panel, numbers, split)
        panel.set_xlabel("speakers")
    panels[0][0].set_ylabel("clips")
    return figure


def sexes(by_split: Mapping[str, Sequence[Mapping[str, int]]]) -> Figure:
    """How many clips have each composition by sex: one row per split, one column per number of speakers."""
    columns = max(map(len, by_split.values()))
    figure, panels = new(len(by_split), columns, height=2 * len(by_split))
    for row, (split, by_count) in zip(panels, by_split.items(), strict=True):
        for panel, numbers in zip(row, by_count, strict=True):
            _bars(panel, numbers, split)
        row[0].set_ylabel("clips")
    return figure


def _bars(panel: Axes, numbers: Mapping[str, int], title: str) -> None:
    bars = panel.bar(list(numbers), list(numbers.values()), color=SKY, width=0.7)
    panel.bar_label(bars, [f"{number:,}" for number in numbers.values()], fontsize=7, color=INK)
    panel.set_title("training" if title == "train" else title)
    panel.grid(visible=False, axis="x")
    panel.yaxis.set_major_formatter("{x:,.0f}")
    panel.margins(y=0.15)


def curves(nets: Mapping[str, Histories], printed: Mapping[str, Mapping[str, float]] | None = None) -> Figure:
    """Training and validation loss and accuracy after each epoch, one row per net.

    Args:
        printed: by net, the paper's figures (`train_loss`, ...): crosses at its `epoch`, or a line across all epochs
            where it does not say at which epoch it had them.
    """
    figure, panels = new(len(nets), 2, height=2.3 * len(nets) + 0.3, sharex="row")
    for row, (net, seeds) in zip(panels, nets.items(), strict=True):
        for panel, metric in zip(row, ("loss", "accuracy"), strict=True):
            for split, name, color, line in (
                ("train", "training", BLUE, "-"),
                ("validation", "validation", ORANGE, "--"),
            ):
                _band(panel, seeds, metric_key(split, metric), name, color, line)
                _the_paper_s(panel, (printed or {}).get(net, {}), f"{split}_{metric}", name, color)
            panel.set(title=axes.wrapped(f"{net}: {metric}", 34), ylabel=metric)
        row[0].legend(fontsize=7)
    for panel in panels[-1]:
        panel.set_xlabel("epoch")
    return figure


def _the_paper_s(panel: Axes, printed: Mapping[str, float], key: str, name: str, color: str) -> None:
    """The paper's figure where the paper has it: at an epoch, or at some epoch, as its best."""
    if key in printed and "epoch" in printed:
        panel.plot(printed["epoch"], printed[key], "x", color=color, markersize=8, label=f"{name}, the paper")
    elif key in printed:
        panel.axhline(printed[key], color=color, linestyle=":", label=f"{name}, the paper's best")


def side_by_side(nets: Mapping[str, Histories], metrics: Sequence[tuple[str, str]], height: float = 3) -> Figure:
    """Curves of all nets, one panel per metric.

    Args:
        metrics: columns of metrics.csv and their labels.
    """
    figure, panels = new(1, len(metrics), width=8, height=height)
    for panel, (column, label) in zip(panels[0], metrics, strict=True):
        for number, (net, seeds) in enumerate(nets.items()):
            line = STYLES[number // len(PALETTE) % len(STYLES)] if number >= len(PALETTE) else STYLES[number % 2]
            _band(panel, seeds, column, axes.wrapped(net, 36), PALETTE[number % len(PALETTE)], line)
        panel.set(xlabel="epoch", ylabel=label)
    panels[0][-1].legend(fontsize=7, loc="center left", bbox_to_anchor=(1, 0.5))
    return figure


def _band(panel: Axes, seeds: Histories, column: str, label: str, color: str, line: str) -> None:
    """The mean over seeds as a line, and the range from the lowest to the highest as a band."""
    seeds = [history for history in seeds if history and column in history[0]]
    if not seeds:
        return
    length = min(map(len, seeds))
    epochs = [row["epoch"] for row in seeds[0][:length]]
    values = np.array([[row[column] for row in history[:length]] for history in seeds])
    panel.plot(epochs, values.mean(axis=0), line, color=color, label=label, marker="." if length == 1 else None)
    if len(seeds) > 1:
        panel.fill_between(epochs, values.min(axis=0), values.max(axis=0), color=color, alpha=0.2, linewidth=0)
    panel.xaxis.set_major_locator(MaxNLocator(integer=True))


def intervals(values: Mapping[str, Interval], label: str, kinds: Mapping[str, str] | None = None) -> Figure:
    """Values with their intervals, one per line; each kind has its own colour and marker."""
    figure, ((panel,),) = new(height=0.32 * len(values) + 0.9)
    for line, (name, value) in enumerate(values.items()):
        color, marker = KINDS[kinds[name] if kinds else "waveform"]
        panel.errorbar(value.value, line, xerr=_reach(value), capsize=3, linestyle="", color=color, marker=marker)
    panel.set_yticks(range(len(values)), [axes.wrapped(name, 36) for name in values])
    panel.set(xlabel=label, ylim=(len(values) - 0.5, -0.5))
    if kinds:
        _legend_of_kinds(panel, kinds, loc="center left", bbox_to_anchor=(1, 0.5))
    return figure


def against_cost(points: Mapping[str, tuple[float, float, Interval]], kinds: Mapping[str, str]) -> Figure:
    """Accuracy against parameters and against training time; names stand at the best nets, where there is space.

    Args:
        points: by net, parameters, minutes and accuracy.
    """
    figure, panels = new(1, 2, width=8, height=3.4, sharey=True)
    costs = {name: (parameters, minutes) for name, (parameters, minutes, _) in points.items()}
    for column, label in enumerate(("trainable parameters", "training time (minutes)")):
        panel = panels[0][column]
        for name, (*_, value) in points.items():
            color, marker = KINDS[kinds[name]]
            at = (costs[name][column], value.value)
            panel.errorbar(*at, yerr=_reach(value), capsize=2, linestyle="", color=color, marker=marker)
        axes.scale_x(panel, [cost[column] for cost in costs.values()])
        panel.set_xlabel(label)
        panel.margins(x=0.15)
    _legend_of_kinds(panels[0][1], kinds, loc="center left", bbox_to_anchor=(1, 0.5))
    panels[0][0].set_ylabel("test accuracy")
    best = sorted(points, key=lambda name: -points[name][2].value)
    for column, panel in enumerate(panels[0]):
        axes.name_points(panel, {name: (costs[name][column], points[name][2].value) for name in best}, MOST_NAMES)
    return figure


def _reach(value: Interval) -> np.ndarray:
    return np.maximum([[value.value - value.low], [value.high - value.value]], 0)


def _legend_of_kinds(panel: Axes, kinds: Mapping[str, str], **place: Any) -> None:
    for kind in dict.fromkeys(kinds.values()):
        color, marker = KINDS[kind]
        panel.plot([], [], color=color, marker=marker, linestyle="", label=kind)
    panel.legend(fontsize=7, **place)


def reliability(nets: Mapping[str, Calibration]) -> Figure:
    """Accuracy against the probability of the predicted count; above it, the share of clips."""
    figure, ((above,), (below,)) = new(2, 1, width=4.6, height=4.6, sharex=True, height_ratios=[1, 3])
    below.plot([0, 1], [0, 1], color=GREY, linestyle=":", label="perfect calibration")
    for number, (net, calibration) in enumerate(nets.items()):
        style = {"color": PALETTE[number], "linestyle": STYLES[number % len(STYLES)]}
        label = axes.wrapped(f"{net}: expected calibration error {calibration.error:.3f}", 50)
        below.plot(calibration.confidence, calibration.accuracy, marker=MARKERS[number], label=label, **style)
        edges = np.linspace(0, 1, len(calibration.share) + 1)
        above.stairs(calibration.share, edges, **style)
    above.set_ylabel("share of clips")
    below.set(xlabel="probability of the predicted count", ylabel="accuracy", xlim=(0, 1), ylim=(0, 1))
    below.legend(fontsize=7)
    return figure
