"""Several runs as one: the mean of their probabilities."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from speaker_count import labels
from speaker_count.errors import UserError
from speaker_count.results import scores


def mean(
    predictions: Sequence[Mapping[str, Any]], counts: Sequence[int], everyone: np.ndarray | None = None
) -> tuple[dict[str, Any], dict[str, Any]]:
    """The metrics and the predictions of an ensemble.

    Args:
        predictions: of each run on the same clips in the same order: columns as of `record.write_predictions`.
        counts: the numbers of speakers that all of them distinguish.
        everyone: as `scores.heard` gives it.

    Returns:
        `accuracy, loss, mae, confusion` and those of `scores.of_predictions`, and columns as the runs have them.

    Raises:
        UserError: the runs were not tested on the same clips.
    """
    first = predictions[0]
    if any(not np.array_equal(each[name], first[name]) for each in predictions for name in ("index", "count")):
        raise UserError("these runs were not tested on the same clips: give the same data and mix for all of them")
    # of counts, and of compositions where all of them distinguish these
    named = [name for name in first if name.startswith(("p_", "c_")) and all(name in each for each in predictions)]
    means = {name: np.mean([each[name] for each in predictions], axis=0) for name in named}
    probabilities = np.stack([means[name] for name in labels.probability_names(counts)], axis=1)
    true = np.searchsorted(counts, first["count"])
    guessed = probabilities.argmax(axis=1)
    predicted = np.array(counts)[guessed]
    confusion = np.zeros((len(counts), len(counts)), int)
    np.add.at(confusion, (true, guessed), 1)
    metrics = {
        "accuracy": float((guessed == true).mean()),
        "loss": float(-np.log(np.maximum(probabilities[np.arange(len(true)), true], 1e-12)).mean()),
        "mae": float(np.abs(predicted - first["count"]).mean()),
        "confusion": confusion.tolist(),
    }
    kept = {name: column for name, column in first.items() if not name.startswith("c_")}
    joint = {**kept, "predicted": predicted, **means}
    return {**metrics, **scores.of_predictions(joint, counts, everyone)}, joint
