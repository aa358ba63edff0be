"""Nets on the same clips: which is best, by how much, and whether the difference may be chance."""

import csv
import hashlib
import json
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from speaker_count.errors import first_line, printable
from speaker_count.labels import UNKNOWN, probability_names
from speaker_count.results import predictions, statistics, tables
from speaker_count.results.record import RunResult
from speaker_count.results.statistics import Interval

LONGEST_NAME = 40  # characters
NUMBER = re.compile(r"[+-]?\d{1,15}(\.\d*)?(e[+-]?\d{1,3})?")
LONG_NUMBER = re.compile(r"(?<==)-?\d+\.\d{5,}(e[+-]?\d+)?(?=$| )")  # as searches draw them


@dataclass
class Entry:
    """A net with the runs of all its seeds; or a baseline, which has neither results nor histories.

    Attributes:
        name: name of the net, with the overrides that distinguish it, or with their hash if they are long.
        changes: these overrides.
        kind: `waveform`, `spectrogram` or `baseline`.
        hears: its input, in words.
        results: one for each seed, in order of the seeds.
        histories: rows of `metrics.csv`, for each seed.
        predicted: `(clips,)` predicted counts of the test clips in plan order, for each seed that has predictions.
        probabilities: `(clips, classes)`, for the same seeds.
        composed: `(clips,)` most probable compositions such as `MMF`, for the same seeds; empty if the net names none.
        correct: `(clips,)`, the share of seeds that are right on each clip, from 0 to 1; None without predictions.
        accuracy: accuracy on the test clips.
        difference: difference to the best net's accuracy, on the same clips and resamples; None for the best net.
        p_value: p-value of McNemar's test against the best net, between the first seeds.
        beaten_by: names of the baselines that it is not shown to beat.
        scores: `accuracy` and `loss` of a baseline, each by split.
    """

    name: str
    kind: str
    changes: str = ""
    paper_name: str | None = None
    hears: str = ""
    results: list[RunResult] = field(default_factory=list)
    histories: list[list[dict[str, float]]] = field(default_factory=list)
    predicted: list[np.ndarray] = field(default_factory=list)
    probabilities: list[np.ndarray] = field(default_factory=list)
    composed: list[np.ndarray] = field(default_factory=list)
    correct: np.ndarray | None = None
    accuracy: Interval | None = None
    difference: Interval | None = None
    p_value: float | None = None
    beaten_by: list[str] = field(default_factory=list)
    scores: Mapping[str, Mapping[str, float]] = field(default_factory=dict)

    def mean(self, split: str, metric: str) -> float | None:
        """Mean of a metric at the last epoch over the seeds; None if it was not measured."""
        if self.kind == "baseline":
            return self.scores[metric][split]
        values = [float(value) for result in self.results if (value := result.last.of(split).get(metric)) is not None]
        return float(np.mean(values)) if len(values) == len(self.results) else None

    @property
    def minutes(self) -> float | None:
        """Mean duration of training over the seeds."""
        return float(np.mean([result.fit_seconds for result in self.results])) / 60 if self.results else None

    @property
    def model(self) -> str:
        return self.results[0].model if self.results else self.name

    @property
    def distinguishable(self) -> bool:
        """Whether the difference to the best net is distinguishable from 0."""
        return self.difference is not None and not self.difference.contains_zero


@dataclass
class Comparison:
    """The nets that were run on the same clips, and the baselines on them.

    Attributes:
        entries: nets in the paper's order, then others, then baselines.
        count: `(clips,)` true counts of the test clips; None without predictions.
        speakers: `(clips, voices)` integers, who speaks in each; -1 for nobody.
        sexes: `(clips,)` such as `MMF`.
        trace: the columns of the first predictions that say where each clip came from.
        notes: what a reader must know.
    """

    entries: list[Entry]
    count: np.ndarray | None = None
    speakers: np.ndarray | None = None
    sexes: np.ndarray | None = None
    trace: Mapping[str, Sequence[Any]] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    resamples: dict[str, np.ndarray] = field(default_factory=dict)

    @property
    def result(self) -> RunResult:
        """One of the results, for what all of them have in common."""
        return self.entries[0].results[0]

    @property
    def nets(self) -> list[Entry]:
        return [entry for entry in self.entries if entry.results]

    @property
    def scored(self) -> list[Entry]:
        """Nets with predictions, the best first."""
        return sorted((net for net in self.nets if net.accuracy), key=lambda net: -net.accuracy.value)

    @property
    def best(self) -> Entry | None:
        return self.scored[0] if self.scored else None

    def best_of(self, kind: str) -> Entry | None:
        return next((net for net in self.scored if net.kind == kind), None)

    def difference(self, first: Entry, second: Entry) -> Interval:
        """Difference of two nets' accuracies on the same clips and the same resamples."""
        value = float(first.correct.mean() - second.correct.mean())
        return statistics.interval(value, self.resamples[first.name] - self.resamples[second.name])

    def by(self, entry: Entry, groups: Mapping[str, np.ndarray]) -> dict[str, Interval]:
        """A net's accuracy within groups of clips, each `(clips,)` bool; empty groups are left out."""
        groups = {name: group for name, group in groups.items() if group.any()}
        values = np.repeat(entry.correct[:, None], len(groups), axis=1)
        means = statistics.means(self.speakers, values, np.stack(list(groups.values()), axis=1))
        return dict(zip(groups, means, strict=True))


def foremost(nets: Sequence[Entry], most: int) -> list[Entry]:
    """The nets with curves, at most so many as a figure has space for: those of the best test accuracy, in order."""
    nets = [net for net in nets if any(net.histories)]
    ranked = sorted(nets, key=lambda net: -(net.mean("test", "accuracy") or 0))
    return [net for net in nets if net in ranked[:most]]


def compare(folders: Mapping[Path, RunResult]) -> Comparison:
    """Put runs on the same clips side by side, seeds of the same net together.

    Args:
        folders: of finished runs, with their results.
    """
    order = list(tables.paper())
    by_net: dict[str, list[tuple[Path, RunResult]]] = {}
    for folder, result in sorted(folders.items(), key=lambda item: item[1].seed):
        # runs that differ only in the seed are one net
        key = json.dumps([result.model, result.epochs, result.net, result.changes], sort_keys=True)
        by_net.setdefault(key, []).append((folder, result))
    runs = sorted(by_net.values(), key=lambda seeds: (*_place(order, seeds[0][1].model), _by_size(seeds[0][1])))
    comparison = Comparison([])
    for seeds, changes in zip(runs, tables.differing([seeds[0][1] for seeds in runs]), strict=True):
        result = seeds[0][1]
        entry = Entry(
            name=f"{result.model} {LONG_NUMBER.sub(_rounded, changes)}".strip(),
            kind=result.kind,
            changes=changes,
            hears=f"the {result.kind}",
            paper_name=result.paper_name,
            results=[each for _, each in seeds],
            histories=[read_metrics(folder / "metrics.csv") for folder, _ in seeds],
        )
        for folder, _ in seeds:
            _add_predictions(comparison, entry, folder)
        comparison.entries.append(entry)
    _name_apart(comparison.entries)
    return comparison


def _rounded(found: re.Match[str]) -> str:
    return f"{float(found[0]):.4g}"


def _name_apart(entries: Sequence[Entry]) -> None:
    """Give each net a name of its own: where one is too long for a sentence or a figure, a hash of the overrides."""
    too_long = any(len(entry.name) > LONGEST_NAME for entry in entries)
    taken: set[str] = set()
    for entry in entries:
        if too_long and entry.changes:  # as in the names of run folders
            overrides = "\n".join(entry.results[0].changes)
            entry.name = f"{entry.model} {hashlib.sha256(overrides.encode()).hexdigest()[:6]}"
        while entry.name in taken:
            entry.name += " *"  # the difference is not in the overrides but, say, in the user's own config
        taken.add(entry.name)


def _place(order: Sequence[str], model: str) -> tuple[int, str]:
    return (order.index(model) if model in order else len(order)), model


def _by_size(result: RunResult) -> list[tuple[str, float, str]]:
    """A key that sorts runs by the values of their overrides: 3e-5 comes before 1e-4."""
    parted = (change.partition("=") for change in result.changes)
    return [(key, float(value) if NUMBER.fullmatch(value) else math.inf, value) for key, _, value in parted]


def read_metrics(path: Path) -> list[dict[str, float]]:
    """The rows of a `metrics.csv`; none if it is missing or damaged."""
    try:
        with open(path, newline="") as file:
            rows = [{key: float(value) for key, value in row.items()} for row in csv.DictReader(file)]
    except (OSError, ValueError, TypeError, csv.Error):
        return []
    return rows if all("epoch" in row for row in rows) else []


def _add_predictions(comparison: Comparison, entry: Entry, folder: Path) -> None:
    path, result = folder / "predictions.parquet", entry.results[0]
    try:
        table = predictions.read(path, result)
        count = table["count"].to_numpy()
        if comparison.count is None:
            trace = predictions.read_trace(path, result, count)
            comparison.speakers = speaker_numbers(trace["speakers"])
            comparison.sexes = np.array([in_paper_order(sexes) for sexes in trace["sexes"]])
            comparison.trace, comparison.count = trace, count
        if not np.array_equal(count, comparison.count):
            raise ValueError("they are of other clips than the other runs'")
    except (OSError, ValueError, KeyError, TypeError, pa.ArrowException) as error:  # they may come from anywhere
        note = f"{folder.name}: no interval, because its predictions cannot be used ({first_line(error)})."
        comparison.notes.append(printable(note))
        return
    entry.predicted.append(table["predicted"].to_numpy())
    entry.probabilities.append(np.stack([table[name].to_numpy() for name in probability_names(result.counts)], axis=1))
    names = predictions.compositions(result)
    if names:
        likely = np.argmax([table[name].to_numpy() for name in names], axis=0)
        entry.composed.append(np.array([name.removeprefix("c_") for name in names])[likely])


def speaker_numbers(names: Sequence[Sequence[str]]) -> np.ndarray:
    """`(clips, voices)` integers that name each clip's speakers, -1 for no voice."""
    numbers: dict[str, int] = {}
    table = np.full((len(names), max(map(len, names))), -1)
    for row, speakers in enumerate(names):
        table[row, : len(speakers)] = [numbers.setdefault(speaker, len(numbers)) for speaker in speakers]
    return table


def in_paper_order(sexes: str) -> str:
    """A clip's sexes as the paper writes them, men first: `MMF`; `sexes unknown` where one is."""
    return "sexes unknown" if UNKNOWN in sexes else "".join(sorted(sexes, reverse=True))


def add_baseline(
    comparison: Comparison, name: str, hears: str, predicted: np.ndarray, scores: Mapping[str, Mapping[str, float]]
) -> None:
    """Add a baseline to the comparison.

    Args:
        hears: its input, in words.
        predicted: `(clips,)` predicted counts of the test clips, in plan order.
        scores: `accuracy` and `loss`, each by split.
    """
    entry = Entry(name, "baseline", hears=hears, scores=scores)
    if comparison.count is not None:
        entry.predicted.append(predicted)
    comparison.entries.append(entry)


def score(comparison: Comparison) -> None:
    """Fill in accuracies, differences and what follows from them; all entries share the resampled speakers."""
    for entry in comparison.entries:
        if entry.predicted:
            entry.correct = np.mean([predicted == comparison.count for predicted in entry.predicted], axis=0)
    scored = [entry for entry in comparison.entries if entry.correct is not None]
    if not scored:
        return
    values = np.stack([entry.correct for entry in scored], axis=1)
    for entry, resamples in zip(scored, statistics.resampled_means(comparison.speakers, values).T, strict=True):
        comparison.resamples[entry.name] = resamples
        entry.accuracy = statistics.interval(entry.correct.mean(), resamples)
    best = comparison.best
    for entry in scored:
        if best is not None and entry is not best:
            entry.difference = comparison.difference(entry, best)
            entry.p_value = statistics.mcnemar(
                entry.predicted[0] == comparison.count, best.predicted[0] == comparison.count
            )
        if entry.results:
            entry.beaten_by = [
                other.name
                for other in scored
                if other.kind == "baseline" and comparison.difference(entry, other).low <= 0
            ]
