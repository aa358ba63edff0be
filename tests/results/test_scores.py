"""Scores that follow from predictions, and the lines in which an evaluation prints them."""

import numpy as np
import pytest

from speaker_count import labels
from speaker_count.results import scores
from tests.conftest import REPOSITORY

COUNTS = [0, 1, 2]
SEXES = ["", "F", "M", "MF", "FF", "U"]


def predictions(said=("", "F", "F", "FM", "FF", "M"), sexes=SEXES):
    """Clips of a net that is sure of these sexes, and so of their number."""
    names = labels.compositions(COUNTS)
    composed = np.array([[float("".join(sorted(each, reverse=True)) == name) for name in names] for each in said])
    count = np.array([len(each) for each in sexes])
    return {
        "index": np.arange(len(sexes)),
        "count": count,
        "predicted": np.array([len(each) for each in said]),
        **{f"p_{number}": np.array([float(len(each) == number) for each in said]) for number in COUNTS},
        **{f"c_{name}": column for name, column in zip(names, composed.T, strict=True)},
        "speakers": [[f"{row}{voice}" for voice in range(number)] for row, number in enumerate(count.tolist())],
        "sexes": list(sexes),
    }


def test_a_clip_is_heard_if_each_of_its_speakers_is():
    activity = np.array([[0.3, 0.9], [0.2, 0.9], [0.8, 0.0], [0.0, 0.0]])
    count = np.array([2, 2, 1, 0])
    assert scores.heard(activity, count).tolist() == [True, False, True, True]  # nobody speaks: all are heard
    assert scores.heard(np.where(activity == 0, np.nan, activity), count).tolist() == [True, False, True, True]
    assert scores.heard(np.full((4, 2), np.nan), count) is None
    assert scores.heard(np.zeros((4, 0)), count) is None


def test_errors_by_count_follow_from_a_confusion_matrix():
    assert scores.mae_by_count([[2, 0, 0], [0, 0, 0], [1, 1, 2]], [0, 1, 4]) == {0: 0, 4: pytest.approx((4 + 3) / 4)}


def test_sexes_that_are_not_known_are_left_out():
    found = scores.of_predictions(predictions(), COUNTS)
    assert found["composition_accuracy"] == pytest.approx(4 / 5)  # the man was called a woman; the last is not known
    assert (found["ece"], found["mae_0"], found["mae_1"], found["mae_2"]) == (0, 0, 0, 0)
    nobody = scores.of_predictions(predictions(("", "F"), ("", "U")), COUNTS)
    assert "composition_accuracy" not in nobody  # clips without a speaker alone say nothing of sexes


def test_a_net_that_is_sure_and_wrong_is_not_calibrated():
    found = scores.of_predictions(predictions(("F", "F", "FF", "F"), ("", "F", "F", "F")), COUNTS)
    assert found["ece"] == 0.5
    assert (found["mae_0"], found["mae_1"]) == (1, pytest.approx(1 / 3))


def test_scores_where_everyone_is_heard():
    everyone = np.array([True, True, False])
    found = scores.of_predictions(predictions(("", "FF", "F"), ("", "F", "F")), COUNTS, everyone)
    assert (found["accuracy_heard"], found["heard_share"]) == (0.5, pytest.approx(2 / 3))
    assert "accuracy_heard" not in scores.of_predictions(predictions(), COUNTS)


def test_a_summary_has_lines_of_80_characters():
    table = predictions()
    lines = scores.summary(table, COUNTS, {"mae": 0.25, "loss": 1.5}, np.arange(6) > 0, "(published: 0.26)")
    assert all(len(line) <= 80 for line in lines)
    shown = {line[:24].strip(): line[24:] for line in lines}
    assert shown["accuracy"].startswith("1.000 [1.000, 1.000]")
    assert shown["every speaker heard"].endswith("on 83.3% of the clips")
    assert shown["nobody, or somebody"].startswith("1.000")
    assert shown["sexes and count"].startswith("0.800 [")
    assert shown["sexes and count"].endswith("6 compositions, 83.3% of clips")
    assert shown["mean absolute error"] == "0.250  (published: 0.26)"
    assert shown["by true count"] == "0: 0.00, 1: 0.00, 2: 0.00"
    unknown = scores.summary(predictions(("F", "M"), ("U", "U")), COUNTS, {"mae": 0, "loss": 1})
    assert "sexes and count         not known: the speakers are of unknown sex" in unknown
    many = list(range(11))
    wide = {"count": np.array(many), "predicted": np.array(many), "speakers": [[*"abcdefghij"[:n]] for n in many]}
    wide |= {"sexes": ["U" * n for n in many], **{f"p_{n}": np.eye(11)[n] for n in many}}
    lines = scores.summary(wide, many, {"mae": 0, "loss": 0})
    assert all(len(line) <= 80 for line in lines)
    assert "10: 0.00" in "".join(lines)


def test_the_published_errors_of_countnet():
    assert scores.countnet() == {1: 0.64, 2: 0.42, 3: 0.39, 4: 0.34, 5: 0.26}
    assert (REPOSITORY / "speaker_count" / "results" / "countnet.yaml").read_text().count("2019")
