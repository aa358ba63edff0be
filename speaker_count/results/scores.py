"""Scores that follow from a net's predictions of the test clips, and how an evaluation prints them."""

import textwrap
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from speaker_count import labels
from speaker_count.results import statistics
from speaker_count.results.comparison import in_paper_order, speaker_numbers
from speaker_count.results.tables import signed

HEARD = 0.3  # a speaker who is active for less of a clip is not really heard
WIDTH = 24  # of the names in a summary


def heard(activity: np.ndarray, count: np.ndarray) -> np.ndarray | None:
    """Whether every speaker of a clip is heard, `(clips,)` bool; so is everyone in a clip in which nobody speaks.

    Args:
        activity: `(clips, voices)`, the share of a clip in which each voice is active; NaN where it is not known.
        count: `(clips,)`, how many voices a clip has.

    Returns:
        None if the activity of a voice is not known.
    """
    if activity.shape[1] < count.max(initial=0):
        return None
    voice: np.ndarray = np.arange(activity.shape[1]) < count[:, None]
    if np.isnan(activity[voice]).any():
        return None
    everyone: np.ndarray = ((activity >= HEARD) | ~voice).all(axis=1)
    return everyone


def composed(predictions: Mapping[str, Any], counts: Sequence[int]) -> np.ndarray | None:
    """The most probable composition of each clip, `(clips,)` such as `MMF`; None of a net that does not name any.

    Args:
        predictions: columns as of `record.write_predictions`.
        counts: the numbers of speakers that the net distinguishes.
    """
    names = labels.compositions(counts)
    if any(f"c_{name}" not in predictions for name in names):
        return None
    likely = np.argmax([predictions[f"c_{name}"] for name in names], axis=0)
    said: np.ndarray = np.array(names)[likely]
    return said


def known_sexes(sexes: np.ndarray) -> np.ndarray:
    """The clips whose speakers are all of known sex, `(clips,)` bool; none, if these are only clips in which nobody
    speaks.

    Args:
        sexes: `(clips,)`, as of `comparison.in_paper_order`.
    """
    known: np.ndarray = np.not_equal(sexes, in_paper_order(labels.UNKNOWN))
    return known if np.not_equal(sexes[known], "").any() else np.zeros_like(known)


def mae_by_count(confusion: Sequence[Sequence[int]], counts: Sequence[int]) -> dict[int, float]:
    """The mean absolute error of the count for each true count that has clips.

    Args:
        confusion: numbers of clips, `(true, predicted)`.
    """
    matrix, numbers = np.array(confusion, float), np.array(counts)
    clips, errors = matrix.sum(axis=1), (matrix * np.abs(numbers[:, None] - numbers)).sum(axis=1)
    return {count: float(errors[row] / clips[row]) for row, count in enumerate(counts) if clips[row]}


def of_predictions(
    predictions: Mapping[str, Any], counts: Sequence[int], everyone: np.ndarray | None = None
) -> dict[str, float]:
    """Scores that need the predictions of all clips together.

    Args:
        predictions, counts: as in `composed`.
        everyone: as `heard` gives it.

    Returns:
        `ece`, the expected calibration error of the count; `mae_N` for each count N that has clips; where the activity
        is known `heard_share`, the share of clips in which every speaker is heard, and `accuracy_heard` on them; and
        `composition_accuracy` on the clips whose sexes are known, if the net names them.
    """
    count = np.asarray(predictions["count"])
    predicted, error = np.asarray(predictions["predicted"]), np.abs(predictions["predicted"] - count)
    scores = {"ece": statistics.calibration(_probabilities(predictions, counts), predicted == count).error}
    scores |= {f"mae_{each}": float(error[count == each].mean()) for each in counts if (count == each).any()}
    if everyone is not None:
        scores["heard_share"] = float(everyone.mean())
        if everyone.any():
            scores["accuracy_heard"] = float((predicted == count)[everyone].mean())
    said = composed(predictions, counts)
    if said is not None and (known := known_sexes(sexes := _sexes(predictions))).any():
        scores["composition_accuracy"] = float((said == sexes)[known].mean())
    return scores


def _probabilities(predictions: Mapping[str, Any], counts: Sequence[int]) -> np.ndarray:
    return np.stack([predictions[name] for name in labels.probability_names(counts)], axis=1)


def _sexes(predictions: Mapping[str, Any]) -> np.ndarray:
    return np.array([in_paper_order(sexes) for sexes in predictions["sexes"]])


def summary(
    predictions: Mapping[str, Any],
    counts: Sequence[int],
    metrics: Mapping[str, Any],
    everyone: np.ndarray | None = None,
    published: str = "",
) -> list[str]:
    """An evaluation's scores in lines of at most 80 characters, with intervals over speakers.

    Args:
        predictions, counts, everyone: as in `of_predictions`.
        metrics: the loss and the mean absolute error of the count.
        published: what to say beside the latter.
    """
    count, predicted = np.asarray(predictions["count"]), np.asarray(predictions["predicted"])
    speakers, every, right = speaker_numbers(predictions["speakers"]), np.ones(len(count), bool), predicted == count
    shares = [("accuracy", right, every, "")]  # of which clips something is right
    if everyone is not None and everyone.any():
        shares.append(("  every speaker heard", right, everyone, f"on {everyone.mean():.1%} of the clips"))
    if 0 in count and count.any():
        shares.append(("  nobody, or somebody", (predicted > 0) == (count > 0), every, ""))
    said, sexes = composed(predictions, counts), _sexes(predictions)
    known = known_sexes(sexes)
    if said is not None and known.any():
        classes = f"{len(labels.compositions(sorted({*count.tolist()})))} compositions"
        classes += f", {known.mean():.1%} of clips" * (not known.all())
        shares.append(("sexes and count", said == sexes, known, classes))
    values, included = (np.stack(column, axis=1) for column in list(zip(*shares, strict=True))[1:3])
    means = statistics.means(speakers, values, included)
    lines = [(name, f"{mean}  {note}") for (name, *_, note), mean in zip(shares, means, strict=True)]
    probabilities = _probabilities(predictions, counts)
    if said is not None and not known.any():
        lines.append(("sexes and count", "not known: the speakers are of unknown sex"))
    error = statistics.calibration(probabilities, right).error
    (excess,) = statistics.means(speakers, (probabilities.max(axis=1) - right)[:, None])
    lines.append(("calibration error", f"{error:.3f}  overconfidence {signed(excess)}"))
    by_count = ", ".join(
        f"{each}: {np.abs(predicted - each)[count == each].mean():.2f}" for each in counts if (count == each).any()
    )
    lines += [("mean absolute error", f"{metrics['mae']:.3f}  {published}"), ("  by true count", by_count)]
    lines.append(("loss", f"{metrics['loss']:.4f}"))
    people = len({name for names in predictions["speakers"] for name in names})
    heading = f"{len(count):,} test clips, {people} speakers; 95 % intervals over speakers:"
    wrapped = [textwrap.wrap(text, 80 - WIDTH) or [""] for _, text in lines]
    return [heading] + [
        f"{name if not number else '':{WIDTH}}{part}"
        for (name, _), parts in zip(lines, wrapped, strict=True)
        for number, part in enumerate(parts)
    ]


@cache
def countnet() -> dict[float, float]:
    """The published mean absolute errors of CountNet by the length of a clip in seconds (Stöter et al. 2019)."""
    published = yaml.safe_load(Path(__file__).with_name("countnet.yaml").read_text())
    return {float(seconds): error for seconds, error in published["mae_by_seconds"].items()}
