"""A picture of a prediction: the waveform, its spectrogram, and the count over time with its confidence."""

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from matplotlib.figure import Figure

from speaker_count import files
from speaker_count.errors import UserError
from speaker_count.inference.scoring import true_counts

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from speaker_count.inference.prediction import Prediction
    from speaker_count.inference.scoring import Turns

# of Okabe and Ito, which colour-blind readers can distinguish; and two greys
BLUE, ORANGE, GREY, DARK = "#0072B2", "#E69F00", "#8c959f", "#24292f"
DECIBELS = 70  # that the spectrogram shows below its loudest


def figure(prediction: "Prediction", turns: "Turns | None" = None) -> Figure:
    """The figure of a prediction, of three parts over one axis of time.

    Args:
        turns: as of `Prediction.plot`.
    """
    drawn = Figure(figsize=(9, 5.4), layout="constrained")
    waveform, spectrogram, count = drawn.subplots(3, 1, sharex=True, height_ratios=(2, 3, 3))
    if prediction.overview is not None:
        _draw_waveform(waveform, prediction)
        _draw_spectrogram(spectrogram, prediction)
    _draw_count(count, prediction)
    if turns is not None:
        _draw_truth(count, turns, prediction.duration)
    count.set_xlim(0, prediction.duration)
    name = "" if prediction.file is None else Path(prediction.shown_name).name + ": "
    title = f"{name}at most {prediction.most} at once, overlap in {prediction.overlap:.0%} of the speech"
    waveform.set_title(title, fontsize=10, parse_math=False)
    for axes in (waveform, count):
        axes.spines[["top", "right"]].set_visible(False)
    return drawn


def write(drawn: Figure, path: Path) -> None:
    """Write a figure whole or not at all.

    Raises:
        UserError: matplotlib has no such format.
    """
    form = path.suffix[1:].lower()
    if form not in drawn.canvas.get_supported_filetypes():
        raise UserError(f"{path}: the name of a picture ends with .png, .svg, .pdf or the like")
    with files.replacing(path) as partial:
        drawn.savefig(partial, dpi=150, format=form)


def _draw_waveform(axes: "Axes", prediction: "Prediction") -> None:
    overview = prediction.overview
    assert overview is not None
    extremes = overview.extremes()
    times = np.linspace(0, overview.seconds, len(extremes))
    axes.fill_between(times, extremes[:, 0], extremes[:, 1], color=GREY, linewidth=0.5, edgecolor=GREY)
    axes.set_ylabel("waveform")
    axes.set_yticks([])


def _draw_spectrogram(axes: "Axes", prediction: "Prediction") -> None:
    overview = prediction.overview
    assert overview is not None
    decibels = overview.decibels().T
    loudest = decibels.max() if decibels.size else 0
    axes.imshow(
        decibels,
        origin="lower",
        aspect="auto",
        cmap="magma",
        vmin=loudest - DECIBELS,
        vmax=loudest,
        extent=(0, max(overview.seconds, 1e-3), 0, overview.sample_rate / 2000),
    )
    axes.set_ylabel("frequency (kHz)")


def _draw_count(axes: "Axes", prediction: "Prediction") -> None:
    edges, counts = prediction.edges, prediction.counts
    confidence = prediction.probabilities.max(axis=1)
    axes.stairs(counts, edges, color=BLUE, linewidth=1.8, baseline=None, label="counted")
    axes.set_yticks(prediction.classes)
    axes.set_ylim(-0.3, max(prediction.classes) + 0.3)
    axes.set_ylabel("speakers", color=BLUE)
    axes.set_xlabel("time (s)")
    axes.grid(alpha=0.25)
    beside = axes.twinx()
    beside.stairs(confidence, edges, color=ORANGE, linewidth=0.8, alpha=0.8, baseline=None)
    beside.set_ylim(0, 1.05)
    beside.set_ylabel("confidence", color=ORANGE)
    beside.spines["top"].set_visible(False)


def _draw_truth(axes: "Axes", turns: "Turns", duration: float) -> None:
    changes, counts = true_counts(turns)
    edges = np.concatenate([[0], changes, [duration]]).clip(0, duration)
    axes.stairs(counts, edges, color=DARK, linewidth=1, linestyle=(0, (2, 1)), baseline=None, label="reference")
    axes.set_ylim(-0.3, max(axes.get_ylim()[1], counts.max() + 0.3))
    axes.legend(loc="upper left", bbox_to_anchor=(0, 1.22), ncols=2, fontsize=8, frameon=False)
