"""The report's sections on the nets of one corpus and mix: scores, the paper's tables and figures, curves."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np

from speaker_count.labels import SPLITS, UNKNOWN, metric_key
from speaker_count.results import count_errors, figures, search, statistics, tables
from speaker_count.results.answer import answer
from speaker_count.results.comparison import Comparison, Entry, foremost
from speaker_count.results.page import Card, Cards, Figure, Section, Table, Text, sound
from speaker_count.results.tables import Row

MOST_NETS = 12  # with curves in a figure


@dataclass
class Facts:
    """What the corpus adds to the results' own files.

    Attributes:
        sample_rate: in Hz.
        synthetic: whether the speech is synthetic.
        sexes: by split, how many clips have each composition, such as `MMF`.
        activity: `(clips, voices)` of the test clips, the active share of each crop; NaN: no voice.
        levels: `(clips, voices)` of the test clips, decibels of full scale; NaN: no voice; None: not known.
        record: the paper's Table I: the metadata of the first training clip.
        examples: caption and samples, by figure, of a validation clip with the most speakers and of a training clip
            with two.
        waveforms: `(samples,)` int16 of the test clips that are shown, by index.
        sources: `(count, samples)`, the voices of the test clips that are shown with each voice alone, by index.
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
    """The section that opens the page: the answer."""
    blocks: list[Any] = [Text(text, question) for question, text in answer(comparison)]
    return Section("The answer", blocks or [Text("No predictions are available: the scores below have no intervals.")])


def scores(comparison: Comparison, suffix: str) -> Section:
    """Every net and baseline on the same test clips."""
    rows = [_score(comparison, entry) for entry in comparison.entries]
    seeds = any(len(net.results) > 1 for net in comparison.nets)
    shortened = not all(net.name.startswith(f"{net.model} {net.changes}".strip()) for net in comparison.nets)
    columns = {  # the scores stand first: a telephone shows them beside the names
        "net": "net",
        "test accuracy": "test accuracy [95 %]",
        **({"spread": "± over seeds"} if seeds else {}),
        "difference": "to the best net [95 %]",
        "distinguishable": "distinguishable",
        "not better than": "does not beat",
        "train accuracy": "train",
        "validation accuracy": "validation",
        "hears": "input",
        **({"seeds": "seeds"} if seeds else {}),
        "parameters": "parameters",
        "minutes": "minutes",
        "p-value": "McNemar p",
        **({"changes": "overrides"} if shortened else {}),
    }
    note = (
        "Scores at the last epoch. The interval resamples the few speakers of the test split, not its many clips. "
        "McNemar's p assumes that clips are independent, which they are not."
    )
    if shortened:
        note += (
            " Names have long overrides shortened, or the first letters of the hash at the end of their run folders."
        )
    screen = {"net": "net", "validation accuracy": "val", "test accuracy": "test [95 %]"}  # 80 columns of a terminal
    screen |= {"difference": "to the best net [95 %]"}
    blocks: list[Any] = [Table(f"results{suffix}", "Accuracy on the test clips", rows, columns, note, screen)]
    scored = [entry for entry in comparison.entries if entry.accuracy]
    if scored:
        by_score = sorted(scored, key=lambda entry: -entry.accuracy.value)
        kinds = {entry.name: entry.kind for entry in by_score}
        accuracies = {entry.name: entry.accuracy for entry in by_score}
        drawing = partial(figures.intervals, accuracies, "test accuracy", kinds)
        caption = "Accuracy on the test clips, with 95 % intervals over speakers."
        blocks.append(Figure(f"accuracy{suffix}", caption, drawing))
    points = {net.name: (net.results[0].parameters, max(net.minutes, 1e-3), net.accuracy) for net in comparison.scored}
    if points:
        kinds = {net.name: net.kind for net in comparison.scored}
        caption = "Accuracy against parameters and against training time."
        blocks.append(Figure(f"cost{suffix}", caption, partial(figures.against_cost, points, kinds)))
    return Section("Scores", blocks + count_errors.blocks(comparison, suffix) + _search(comparison, suffix))


def _search(comparison: Comparison, suffix: str) -> list[Any]:
    """Scores against the parameters that a sweep varies; nothing if its runs differ in net and seed alone."""
    found = search.search([result for net in comparison.nets for result in net.results])
    if not found.parameters:
        return []
    caption = (
        "Validation accuracy at the last epoch against what the runs vary beside net and seed; each point is a run."
    )
    if len(found.parameters) > 1:
        caption += " In each panel, the parameters of the other panels vary too."
    if found.crowded:
        caption += f" Left out, with too many values: {', '.join(found.crowded)}."
    return [Figure(f"parameters{suffix}", caption, partial(search.draw, found))]


def _score(comparison: Comparison, entry: Entry) -> Row:
    accuracies = [result.last.test["accuracy"] for result in entry.results]
    apart = {True: "yes", False: "no"}[entry.distinguishable] if entry.difference else None
    return {
        "net": entry.name,
        "changes": entry.changes,
        "hears": entry.hears,
        "seeds": len(entry.results) or None,
        "parameters": entry.results[0].parameters if entry.results else None,
        "minutes": entry.minutes,
        **{f"{split} accuracy": entry.mean(split, "accuracy") for split in SPLITS},
        **({"test accuracy": entry.accuracy} if entry.accuracy else {}),
        "spread": statistics.mean_and_spread(accuracies)[1] if accuracies else None,
        "difference": entry.difference,
        "distinguishable": "best" if entry is comparison.best else apart,
        "p-value": entry.p_value,
        "not better than": ", ".join(entry.beaten_by),
    }


def beside_the_paper(comparison: Comparison, suffix: str) -> list[Any]:
    """The paper's results and its Tables II and III beside ours; values that it does not give stay empty."""
    rows = [
        {"net": net.name, "in the paper": net.paper_name, **tables.beside_the_paper(net.model, net.mean)}
        for net in comparison.nets
    ]
    columns, screen = dict(ABOUT), {"net": "net"}
    for split in ("train", "validation"):
        for metric in ("loss", "accuracy"):
            columns |= {f"{split} {metric}": f"{split} {metric}", f"paper's {split} {metric}": "paper"}
        columns |= {f"{split} accuracy difference": "difference"}
        screen |= {f"{split} accuracy": split, f"paper's {split} accuracy": "paper"}
        screen |= {f"{split} accuracy difference": "diff"}
    note = "Our scores are those of the last epoch; the paper's spectrogram nets have their best over the epochs."
    title = "Loss and accuracy beside the paper's"
    blocks: list[Any] = [Table(f"beside_the_paper{suffix}", title, rows, columns, note, screen)]
    one = [_cost(net) for net in comparison.nets if net.kind == "waveform"]
    if one:
        title = "Table II: the waveform nets' size and time"
        blocks.append(Table(f"table_2{suffix}", title, one, ABOUT | SIZE | TIME))
    two = [net for net in comparison.nets if net.kind == "spectrogram" and any(net.histories)]
    if two:
        scores = {"train accuracy": "accuracy", "paper's train accuracy": "paper"}
        scores |= {"train loss": "loss", "paper's train loss": "paper"}
        note = "As in the paper: the best over the epochs, on the training clips."
        rows = [_best_epochs(net) for net in two]
        title = "Table III: the spectrogram nets"
        blocks.append(Table(f"table_3{suffix}", title, rows, ABOUT | scores | TIME | SIZE, note))
    return blocks


ABOUT = {"net": "net", "in the paper": "in the paper"}
SIZE = {"parameters": "parameters", "paper's parameters": "paper"}
TIME = {"minutes": "minutes", "paper's minutes": "paper"}


def _cost(net: Entry) -> Row:
    printed = tables.paper().get(net.model, {})
    return {
        "net": net.name,
        "in the paper": net.paper_name,
        "parameters": net.results[0].parameters,
        "paper's parameters": printed.get("parameters"),
        "minutes": net.minutes,
        "paper's minutes": printed.get("minutes"),
    }


def _best_epochs(net: Entry) -> Row:
    """A net's cost, and its best training accuracy and loss over the epochs."""
    printed = tables.paper().get(net.model, {})
    rows = [row for history in net.histories for row in history]
    best: Row = {}
    for metric, pick in (("accuracy", max), ("loss", min)):
        key = metric_key("train", metric)
        best[f"train {metric}"] = pick(row[key] for row in rows) if all(key in row for row in rows) else None
        best[f"paper's train {metric}"] = printed.get(f"train_{metric}")
    return {**_cost(net), **best}


def curves(comparison: Comparison, suffix: str) -> list[Any]:
    """Figures 22 to 35, 37 and 38, and all nets side by side."""
    blocks: list[Any] = []
    for kind, name, title in (
        ("waveform", "figures_22_29", "Figures 22-29: loss and accuracy of the waveform nets"),
        ("spectrogram", "figures_30_35", "Figures 30-35: loss and accuracy of the spectrogram nets"),
    ):
        nets = foremost([net for net in comparison.nets if net.kind == kind], MOST_NETS)
        if nets:
            histories = {net.name: net.histories for net in nets}
            printed = {net.name: tables.paper().get(net.model, {}) for net in nets}
            theirs = "crosses" if kind == "waveform" else "dotted lines"
            caption = f"{title}, after each epoch; {theirs} are the paper's figures{_left_out(comparison, kind)}."
            blocks.append(Figure(name + suffix, caption, partial(figures.curves, histories, printed)))
    metrics = tuple((metric_key("validation", metric), f"validation {metric}") for metric in ("accuracy", "loss"))
    pair = [foremost([net for net in comparison.nets if net.model == model], 1) for model in ("m5", "spec_2")]
    if all(pair):
        caption = "Figures 37 and 38: M5 beside Architecture 1 (spec_2)."
        histories = {net.name: net.histories for (net,) in pair}
        blocks.append(Figure(f"figures_37_38{suffix}", caption, partial(figures.side_by_side, histories, metrics)))
    shown = foremost(comparison.nets, MOST_NETS)
    if len(shown) > 1:
        bands = "; bands reach from the lowest seed to the highest" * any(len(net.results) > 1 for net in shown)
        caption = f"All nets side by side{bands}{_left_out(comparison)}."
        histories = {net.name: net.histories for net in shown}
        blocks.append(Figure(f"curves{suffix}", caption, partial(figures.side_by_side, histories, metrics, height=3.4)))
    return blocks


def _left_out(comparison: Comparison, kind: str | None = None) -> str:
    """What a caption says of the nets for which a figure has no space."""
    nets = [net for net in comparison.nets if kind in (None, net.kind) and any(net.histories)]
    return f"; only the {MOST_NETS} nets with the best test accuracy of {len(nets)}" * (len(nets) > MOST_NETS)


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
    by_split = {split: [_by_composition(facts.sexes[split], count) for count in counts] for split in SPLITS}
    caption = "Figures 6-14: clips by the sexes of their speakers; the order does not matter."
    blocks.append(Figure(f"figures_06_14{suffix}", caption, partial(figures.sexes, by_split)))
    return blocks


def _by_composition(clips: Mapping[str, int], count: int) -> dict[str, int]:
    """Clips of `count` speakers by their sexes, in the paper's order: MMM, MMF, MFF, FFF; then those where one is
    unknown.
    """
    known = ["M" * (count - women) + "F" * women for women in range(count + 1)]
    unknown = sum(number for sexes, number in clips.items() if len(sexes) == count and UNKNOWN in sexes)
    return {**{sexes: clips.get(sexes, 0) for sexes in known}, **({"unknown": unknown} if unknown else {})}


def gallery(comparison: Comparison, facts: Facts, shown: Sequence[int]) -> list[Any]:
    """The first test clips with the predictions of M5 and Architecture 1, or of the best nets if neither was run."""
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
    note = f"{tally}. The paper's M5 was right on 25 of its 32. The headings give the true counts and the sexes."
    return [Cards("Predictions on test clips (the paper shows M5's, and Architecture 1's in Figure 36)", cards, note)]
