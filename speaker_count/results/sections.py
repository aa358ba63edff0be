"""The report's sections on the nets of one corpus and mix: scores, the paper's tables and figures, curves."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np

from speaker_count.results import figures, statistics, tables
from speaker_count.results.answer import answer
from speaker_count.results.comparison import Comparison, Entry
from speaker_count.results.page import Card, Cards, Figure, Section, Table, Text, sound
from speaker_count.results.tables import Row

SPLITS = ("train", "validation", "test")


@dataclass
class Facts:
    """What the corpus tells beyond the results' own files.

    Attributes:
        sample_rate: in Hz.
        synthetic: whether a machine spoke.
        sexes: by split, how many clips have each composition, such as `MMF`.
        activity: `(clips, voices)` of the test clips, the active share of each crop; NaN: no voice.
        levels: `(clips, voices)` of the test clips, decibels of full scale; NaN: no voice; None: not known.
        record: the paper's Table I, the first training clip's row.
        examples: an example of a validation clip of most speakers and one of a training clip of two: what it is, and
            its samples.
        waveforms: `(samples,)` int16 of the test clips that are shown, by index.
        sources: of the test clips that are shown with each voice alone, their voices `(count, samples)`, by index.
        layers: by net, a row a layer.
    """

    sample_rate: int
    synthetic: bool
    sexes: Mapping[str, Mapping[str, int]]
    activity: np.ndarray
    levels: np.ndarray | None
    record: Row
    examples: Mapping[str, tuple[str, np.ndarray]]
    waveforms: dict[int, np.ndarray] = field(default_factory=dict)
    sources: dict[int, np.ndarray] = field(default_factory=dict)


def opening(comparison: Comparison) -> Section:
    """The answer."""
    blocks: list[Any] = [Text(text, question) for question, text in answer(comparison)]
    return Section("The answer", blocks or [Text("No predictions are at hand: scores are below, without intervals.")])


def scores(comparison: Comparison, suffix: str) -> Section:
    """Every net and baseline on the same test clips."""
    rows = [_score(comparison, entry) for entry in comparison.entries]
    seeds = any(len(net.results) > 1 for net in comparison.nets)
    columns = {
        "net": "",
        "hears": "hears",
        **({"seeds": "seeds"} if seeds else {}),
        "parameters": "parameters",
        "minutes": "minutes",
        "train accuracy": "train",
        "validation accuracy": "validation",
        "test accuracy": "test accuracy [95 %]",
        **({"spread": "± over seeds"} if seeds else {}),
        "difference": "to the best net [95 %]",
        "told apart": "told from it",
        "p-value": "McNemar p",
        "not better than": "not shown better than",
    }
    note = (
        "At the last epoch. The interval resamples the test split's speakers, of whom there are few, not its clips. "
        "McNemar's p takes clips for independent, which they are not."
    )
    blocks: list[Any] = [Table(f"results{suffix}", "Accuracy on the test clips", rows, columns, note)]
    scored = [entry for entry in comparison.entries if entry.accuracy]
    if scored:
        by_score = sorted(scored, key=lambda entry: -entry.accuracy.value)
        kinds = {entry.name: entry.kind for entry in by_score}
        accuracies = {entry.name: entry.accuracy for entry in by_score}
        drawing = partial(figures.intervals, accuracies, "test accuracy", kinds)
        caption = "Accuracy on the test clips, with 95 % intervals over speakers."
        blocks.append(Figure(f"accuracy{suffix}", caption, drawing))
    points = {
        net.name: (net.results[0]["parameters"], max(net.minutes, 1e-3), net.accuracy) for net in comparison.scored
    }
    if points:
        kinds = {net.name: net.kind for net in comparison.scored}
        caption = "Accuracy against parameters and against training time."
        blocks.append(Figure(f"cost{suffix}", caption, partial(figures.against_cost, points, kinds)))
    return Section("Scores", blocks)


def _score(comparison: Comparison, entry: Entry) -> Row:
    accuracies = [result["last"]["test"]["accuracy"] for result in entry.results]
    apart = {True: "yes", False: "no"}[entry.distinguishable] if entry.difference else None
    return {
        "net": entry.name,
        "hears": entry.hears,
        "seeds": len(entry.results) or None,
        "parameters": entry.results[0]["parameters"] if entry.results else None,
        "minutes": entry.minutes,
        **{f"{split} accuracy": entry.mean(split, "accuracy") for split in SPLITS},
        **({"test accuracy": entry.accuracy} if entry.accuracy else {}),
        "spread": statistics.mean_and_spread(accuracies)[1] if accuracies else None,
        "difference": entry.difference,
        "told apart": "best" if entry is comparison.best else apart,
        "p-value": entry.p_value,
        "not better than": ", ".join(entry.beaten_by),
    }


def beside_the_paper(comparison: Comparison, suffix: str) -> list[Any]:
    """The paper's results, and its Tables II and III, with ours beside them; what it does not give stays empty."""
    blocks: list[Any] = []
    rows = []
    for net in comparison.nets:
        printed = tables.paper().get(net.model, {})
        row: Row = {"net": net.name, "in the paper": net.paper_name}
        for split in ("train", "validation"):
            for metric in ("loss", "accuracy"):
                ours, theirs = net.mean(split, metric), printed.get(f"{split}_{metric}")
                row |= {f"{split} {metric}": ours, f"paper's {split} {metric}": theirs}
                row[f"{split} {metric} difference"] = None if None in (ours, theirs) else ours - theirs
        rows.append(row)
    columns = {"net": "net", "in the paper": "in the paper"}
    for split in ("train", "validation"):
        for metric in ("loss", "accuracy"):
            columns |= {f"{split} {metric}": f"{split} {metric}", f"paper's {split} {metric}": "paper"}
            columns |= {f"{split} {metric} difference": "difference"} if metric == "accuracy" else {}
    note = "Ours at the last epoch. The paper's spectrogram nets are given at their best over the epochs."
    blocks.append(Table(f"beside_the_paper{suffix}", "Loss and accuracy beside the paper's", rows, columns, note))

    def cost(net: Entry) -> Row:
        printed = tables.paper().get(net.model, {})
        parameters = {"parameters": net.results[0]["parameters"], "paper's parameters": printed.get("parameters")}
        return {
            "net": net.name,
            "in the paper": net.paper_name,
            **parameters,
            "minutes": net.minutes,
            "paper's minutes": printed.get("minutes"),
        }

    about = {"net": "net", "in the paper": "in the paper"}
    size = {"parameters": "parameters", "paper's parameters": "paper"}
    time = {"minutes": "minutes", "paper's minutes": "paper"}
    one = [cost(net) for net in comparison.nets if net.kind == "waveform"]
    if one:
        blocks.append(Table(f"table_2{suffix}", "Table II: the waveform nets' size and time", one, about | size | time))
    two = [net for net in comparison.nets if net.kind == "spectrogram" and any(net.histories)]
    if two:
        rows = []
        for net in two:
            printed = tables.paper().get(net.model, {})
            best = {
                metric: pick(row[f"train/{metric}"] for history in net.histories for row in history)
                for metric, pick in (("accuracy", max), ("loss", min))
                if all(f"train/{metric}" in row for history in net.histories for row in history)
            }
            scores = {f"train {metric}": best.get(metric) for metric in ("accuracy", "loss")}
            theirs = {f"paper's train {metric}": printed.get(f"train_{metric}") for metric in ("accuracy", "loss")}
            rows.append({**cost(net), **scores, **theirs})
        columns = {
            **about,
            "train accuracy": "accuracy",
            "paper's train accuracy": "paper",
            "train loss": "loss",
            "paper's train loss": "paper",
            **time,
            **size,
        }
        note = "As in the paper: the best over the epochs, on the training clips."
        blocks.append(Table(f"table_3{suffix}", "Table III: the spectrogram nets", rows, columns, note))
    return blocks


def curves(comparison: Comparison, suffix: str) -> list[Any]:
    """Figures 22 to 35, 37 and 38, and all nets side by side."""
    blocks: list[Any] = []
    for kind, name, title in (
        ("waveform", "figures_22_29", "Figures 22-29: loss and accuracy of the waveform nets"),
        ("spectrogram", "figures_30_35", "Figures 30-35: loss and accuracy of the spectrogram nets"),
    ):
        nets = {net.name: net for net in comparison.nets if net.kind == kind and any(net.histories)}
        if nets:
            histories = {name: net.histories for name, net in nets.items()}
            printed = {name: tables.paper().get(net.model, {}) for name, net in nets.items()}
            caption = f"{title}, after each epoch; crosses are the paper's figures."
            blocks.append(Figure(name + suffix, caption, partial(figures.curves, histories, printed)))
    metrics = (("val/accuracy", "validation accuracy"), ("val/loss", "validation loss"))
    pair = {net.name: net.histories for net in comparison.nets if net.model in ("m5", "spec_2") and any(net.histories)}
    if len(pair) > 1:
        caption = "Figures 37 and 38: M5 beside Architecture 1 (spec_2)."
        blocks.append(Figure(f"figures_37_38{suffix}", caption, partial(figures.side_by_side, pair, metrics)))
    everyone = {net.name: net.histories for net in comparison.nets if any(net.histories)}
    if len(everyone) > 1:
        caption = "All nets side by side" + (
            "; bands reach from the lowest seed to the highest."
            if any(len(net.results) > 1 for net in comparison.nets)
            else "."
        )
        blocks.append(Figure(f"curves{suffix}", caption, partial(figures.side_by_side, everyone, metrics, height=3.4)))
    return blocks


def clips(facts: Facts, suffix: str) -> list[Any]:
    """Table I, and Figures 2 to 14, 17 and 18: what the clips are."""
    columns = {name: name for name in facts.record}
    blocks: list[Any] = [Table(f"table_1{suffix}", "Table I: the record of a clip", [facts.record], columns)]
    for name, (caption, waveform) in facts.examples.items():
        drawing = partial(figures.spectrogram, waveform, facts.sample_rate, "")
        blocks.append(Figure(name + suffix, caption, drawing))
    counts = sorted({len(sexes) for sexes in facts.sexes["train"]})
    numbers = {
        split: {
            str(count): sum(number for sexes, number in facts.sexes[split].items() if len(sexes) == count)
            for count in counts
        }
        for split in SPLITS
    }
    blocks.append(
        Figure(f"figures_03_05{suffix}", "Figures 3-5: clips by number of speakers.", partial(figures.counts, numbers))
    )
    by_split = {
        split: [{sexes: facts.sexes[split].get(sexes, 0) for sexes in _compositions(count)} for count in counts]
        for split in SPLITS
    }
    caption = "Figures 6-14: clips by the sexes of their speakers; the order does not matter."
    blocks.append(Figure(f"figures_06_14{suffix}", caption, partial(figures.sexes, by_split)))
    return blocks


def _compositions(count: int) -> list[str]:
    """Of so many speakers by sex, as the paper orders them: MMM, MMF, MFF, FFF."""
    return ["M" * (count - women) + "F" * women for women in range(count + 1)]


def gallery(comparison: Comparison, facts: Facts, shown: Sequence[int]) -> list[Any]:
    """The first test clips with what M5 and Architecture 1 say of them, where both or one of them were run."""
    nets = [net for net in comparison.nets if net.model in ("m5", "spec_2") and net.predicted]
    nets = nets or comparison.scored[:2]
    if not nets or not facts.waveforms:
        return []
    cards = []
    for row in shown:
        said = [f"{net.paper_name or net.name}: {net.predicted[0][row]}" for net in nets]
        right = all(net.predicted[0][row] == comparison.count[row] for net in nets)
        waveform = facts.waveforms[row]
        heading = f"{comparison.count[row]} ({comparison.sexes[row]})"
        image = figures.thumbnail(waveform, facts.sample_rate)
        cards.append(Card(heading, image, [("", sound(waveform, facts.sample_rate))], [", ".join(said)], right))
    tally = "; ".join(
        f"{net.paper_name or net.name} is right on "
        f"{int((net.predicted[0][shown] == comparison.count[shown]).sum())} of these {len(shown)}"
        for net in nets
    )
    note = f"{tally}. The paper's M5 was right on 25 of its 32. True number of speakers and their sexes on top."
    return [Cards("Predictions of test clips (the paper's for M5, and its Figure 36 for Architecture 1)", cards, note)]
