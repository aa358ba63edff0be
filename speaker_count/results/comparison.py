"""Nets on the same clips: which is best, by how much, and whether that can be told from chance."""

import csv
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq

from speaker_count.results import statistics, tables
from speaker_count.results.statistics import Interval

Result = Mapping[str, Any]


@dataclass
class Entry:
    """A net, over its seeds; or a baseline, which has neither results nor a history.

    Attributes:
        name: of the net, with what was changed in it.
        kind: `waveform`, `spectrogram` or `baseline`.
        hears: what it is told of a clip.
        results: a seed each, in their order.
        histories: of each seed, the rows of `metrics.csv`.
        predicted: of each seed that has them, `(clips,)` predicted counts of the test clips, in plan order.
        probabilities: likewise, `(clips, classes)`.
        correct: `(clips,)`, how many of the seeds are right, from 0 to 1; None without predictions.
        accuracy: on the test clips.
        difference: to the best net's accuracy, on the same clips and resamples; None for the best one.
        p_value: of McNemar's test against the best net, between the first seeds.
        beaten_by: names of baselines that it is not shown to be better than.
        scores: of a baseline, `accuracy` and `loss`, each by split.
    """

    name: str
    kind: str
    paper_name: str | None = None
    hears: str = ""
    results: list[Result] = field(default_factory=list)
    histories: list[list[dict[str, float]]] = field(default_factory=list)
    predicted: list[np.ndarray] = field(default_factory=list)
    probabilities: list[np.ndarray] = field(default_factory=list)
    correct: np.ndarray | None = None
    accuracy: Interval | None = None
    difference: Interval | None = None
    p_value: float | None = None
    beaten_by: list[str] = field(default_factory=list)
    scores: Result = field(default_factory=dict)

    def mean(self, split: str, metric: str) -> float | None:
        """Of a metric at the last epoch, over the seeds; None where it was not measured."""
        if self.kind == "baseline":
            return self.scores[metric][split]
        values = [result["last"][split].get(metric) for result in self.results]
        return None if None in values else float(np.mean(values))

    @property
    def minutes(self) -> float | None:
        """Of training, over the seeds."""
        return float(np.mean([result["fit_seconds"] for result in self.results])) / 60 if self.results else None

    @property
    def model(self) -> str:
        return self.results[0]["model"] if self.results else self.name

    @property
    def distinguishable(self) -> bool:
        """From the best net."""
        return self.difference is not None and not self.difference.holds_zero


@dataclass
class Comparison:
    """The nets that were run on the same clips, and the baselines on them.

    Attributes:
        entries: nets in the paper's order, then others, then baselines.
        count: `(clips,)` true counts of the test clips; None without predictions.
        speakers: `(clips, voices)` integers, who speaks in each; -1 for nobody.
        sexes: `(clips,)` such as `MMF`.
        trace: of the first predictions, the columns that say where each clip came from.
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
    def result(self) -> Result:
        """One of the results: what all have in common can be read from it."""
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
        """Of two nets' accuracies, on the same clips and the same resamples."""
        value = float(first.correct.mean() - second.correct.mean())
        return statistics.interval(value, self.resamples[first.name] - self.resamples[second.name])

    def by(self, entry: Entry, groups: Mapping[str, np.ndarray]) -> dict[str, Interval]:
        """A net's accuracy within groups of clips, each `(clips,)` bool; without those that are empty."""
        groups = {name: group for name, group in groups.items() if group.any()}
        values = np.repeat(entry.correct[:, None], len(groups), axis=1)
        resamples = statistics.resampled_means(self.speakers, values, np.stack(list(groups.values()), axis=1))
        return {
            name: statistics.interval(entry.correct[group].mean(), column)
            for (name, group), column in zip(groups.items(), resamples.T, strict=True)
        }


def compare(folders: Mapping[Path, Result]) -> Comparison:
    """Put runs on the same clips side by side, seeds of the same net together.

    Args:
        folders: of finished runs, with their results.
    """
    order = list(tables.paper())
    by_net: dict[str, list[tuple[Path, Result]]] = {}
    for folder, result in sorted(folders.items(), key=lambda item: item[1]["seed"]):
        # a net is what is the same but for the seed
        key = json.dumps([result["model"], result["epochs"], result["net"], result.get("changes", [])], sort_keys=True)
        by_net.setdefault(key, []).append((folder, result))
    runs = sorted(
        by_net.values(), key=lambda seeds: (*_place(order, seeds[0][1]["model"]), seeds[0][1].get("changes", []))
    )
    comparison = Comparison([])
    for seeds, changes in zip(runs, tables.differing([seeds[0][1] for seeds in runs]), strict=True):
        result = seeds[0][1]
        entry = Entry(
            name=f"{result['model']} {changes}".strip(),
            kind=result["kind"],
            hears=f"the {result['kind']}",
            paper_name=result["paper_name"],
            results=[each for _, each in seeds],
            histories=[read_metrics(folder / "metrics.csv") for folder, _ in seeds],
        )
        while any(entry.name == other.name for other in comparison.entries):
            entry.name += " *"  # what differs is no override: a config of one's own, say
        for folder, _ in seeds:
            _add_predictions(comparison, entry, folder)
        comparison.entries.append(entry)
    return comparison


def _place(order: Sequence[str], model: str) -> tuple[int, str]:
    return (order.index(model) if model in order else len(order)), model


def read_metrics(path: Path) -> list[dict[str, float]]:
    """The rows of a `metrics.csv`; none where it is not there or not one."""
    try:
        with open(path, newline="") as file:
            return [{key: float(value) for key, value in row.items()} for row in csv.DictReader(file)]
    except (OSError, ValueError, TypeError):
        return []


def _add_predictions(comparison: Comparison, entry: Entry, folder: Path) -> None:
    path = folder / "predictions.parquet"
    try:
        columns = pq.read_schema(path).names
        classes = [name for name in columns if name.startswith("p_")]
        table = pq.read_table(path, columns=["index", "count", "predicted", *classes])
        count = table["count"].to_numpy()
        if comparison.count is None:
            trace = pq.read_table(path, columns=["speakers", "utterances", "starts", "sexes"]).to_pydict()
            comparison.trace, comparison.count = trace, count
            comparison.speakers = speaker_numbers(trace["speakers"])
            comparison.sexes = np.array([in_paper_order(sexes) for sexes in trace["sexes"]])
        if not np.array_equal(count, comparison.count):
            raise ValueError("its clips are not the others'")
    except (OSError, ValueError, KeyError) as error:  # pyarrow's errors are among them
        reason = str(error).splitlines()[0]
        comparison.notes.append(f"{folder.name}: no interval, because its predictions cannot be used ({reason}).")
        return
    entry.predicted.append(table["predicted"].to_numpy())
    entry.probabilities.append(np.stack([table[name].to_numpy() for name in classes], axis=1))


def speaker_numbers(names: Sequence[Sequence[str]]) -> np.ndarray:
    """`(clips, voices)` integers that name each clip's speakers, -1 where there is none."""
    numbers: dict[str, int] = {}
    table = np.full((len(names), max(map(len, names))), -1)
    for row, speakers in enumerate(names):
        table[row, : len(speakers)] = [numbers.setdefault(speaker, len(numbers)) for speaker in speakers]
    return table


def in_paper_order(sexes: str) -> str:
    """Such as `MMF`: men first, as the paper writes it."""
    return "".join(sorted(sexes, reverse=True))


def add_baseline(comparison: Comparison, name: str, hears: str, predicted: np.ndarray, scores: Result) -> None:
    """Put a baseline beside the nets.

    Args:
        hears: what it is told of a clip.
        predicted: `(clips,)` counts of the test clips, in plan order.
        scores: `accuracy` and `loss`, each by split.
    """
    entry = Entry(name, "baseline", hears=hears, scores=scores)
    if comparison.count is not None:
        entry.predicted.append(predicted)
    comparison.entries.append(entry)


def score(comparison: Comparison) -> None:
    """Fill in accuracies, differences and what they say; all resamples are of the same speakers."""
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
