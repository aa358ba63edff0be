"""The report on the size of a net's errors: the mean absolute error of the count, and CountNet's beside it."""

from typing import Any

import numpy as np

from speaker_count.results import scores, statistics
from speaker_count.results.comparison import Comparison, Entry
from speaker_count.results.page import Table
from speaker_count.results.tables import Row


def blocks(comparison: Comparison, suffix: str) -> list[Any]:
    """The mean absolute error of the count, over all test clips and for each true count, of every net and baseline."""
    entries = [entry for entry in comparison.entries if entry.results or entry.predicted]
    whole = _intervals(comparison)
    rows: list[Row] = []
    for entry in entries:
        by_count = _by_count(comparison, entry)
        error = whole[entry.name] if entry.name in whole else entry.mean("test", "mae")
        rows.append({"net": entry.name, "error": error, **{f"{count} error": each for count, each in by_count.items()}})
    counts = sorted({int(name.removesuffix(" error")) for row in rows for name in row if name.endswith(" error")})
    columns = {"net": "net", "error": "all clips [95 %]", **{f"{count} error": f"{count}" for count in counts}}
    note = "How far the predicted number of speakers is from the true one, on average; a column for each true number."
    title = "Mean absolute error of the count, by the true number of speakers"
    return [Table(f"mae{suffix}", title, rows, columns, note, columns), *_beside_countnet(comparison, rows, suffix)]


def _intervals(comparison: Comparison) -> dict[str, statistics.Interval]:
    """The error over all clips of every entry with predictions."""
    entries = [entry for entry in comparison.entries if entry.predicted]
    if not entries:
        return {}
    errors = [np.mean([np.abs(said - comparison.count) for said in entry.predicted], axis=0) for entry in entries]
    means = statistics.means(comparison.speakers, np.stack(errors, axis=1))
    return {entry.name: mean for entry, mean in zip(entries, means, strict=True)}


def _by_count(comparison: Comparison, entry: Entry) -> dict[int, float]:
    if entry.results:  # a confusion matrix is in every result, predictions may be missing
        matrix = np.sum([result.last.test["confusion"] for result in entry.results], axis=0)
        return scores.mae_by_count(matrix, entry.results[0].counts)
    error = np.abs(entry.predicted[0] - comparison.count)
    return {count: float(error[comparison.count == count].mean()) for count in np.unique(comparison.count).tolist()}


def _beside_countnet(comparison: Comparison, rows: list[Row], suffix: str) -> list[Any]:
    """On LibriCount: the errors beside those that were published, which depend on the length of a clip."""
    result = comparison.result
    if result.data["name"] != "libricount":
        return []
    seconds = float(result.mix["clip_seconds"])
    ours = [{"net": row["net"], "seconds": f"{seconds:g}", "error": row["error"]} for row in rows]
    theirs = [
        {"net": "CountNet (Stöter et al. 2019)", "seconds": f"{length:g}", "error": error}
        for length, error in scores.countnet().items()
    ]
    columns = {"net": "net", "seconds": "clip length (s)", "error": "mean absolute error"}
    return [Table(f"libricount{suffix}", "LibriCount: beside the published errors", ours + theirs, columns)]
