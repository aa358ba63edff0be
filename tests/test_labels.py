"""The names that every part agrees on."""

import pytest
import torch

from speaker_count import labels


def test_the_class_of_a_count_is_its_position():
    classes = labels.class_of(torch.tensor([7, 1, 3, 3]), [1, 3, 7])
    assert classes.tolist() == [2, 0, 1, 1]
    assert classes.dtype == torch.int64


def test_classes_in_words():
    assert labels.class_names([1, 2, 11]) == ["1 speaker", "2 speakers", "11 speakers"]


@pytest.mark.parametrize(
    ("split", "key"),
    [("running", "running/loss"), ("train", "train/loss"), ("validation", "val/loss"), ("test", "test/loss")],
)
def test_metrics_of_a_split_by_their_names(split, key):
    assert labels.metric_key(split, "loss") == key
    logged = {"running/loss": 1, "train/loss": 2, "val/loss": 3, "test/loss": 4, "lr-Adam": 5}
    assert labels.metrics_of(logged, split) == {"loss": logged[key]}


def test_the_metrics_of_some_splits():
    assert labels.metric_keys([1, 2], ["validation", "running"]) == [
        *("val/accuracy", "val/loss", "val/mae", "val/accuracy_1", "val/accuracy_2", "running/accuracy", "running/loss")
    ]
    assert labels.metric_keys([3], ["test"]) == ["test/accuracy", "test/loss", "test/mae", "test/accuracy_3"]
