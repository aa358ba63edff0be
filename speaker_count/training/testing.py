"""A net's scores and predictions on the test clips."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytorch_lightning as pl

from speaker_count import labels
from speaker_count.data.datamodule import ClipDataModule
from speaker_count.results import scores
from speaker_count.training import ddp
from speaker_count.training.evaluation_log import EvaluationLog
from speaker_count.training.module import SpeakerCounter
from speaker_count.training.recipe import Recipe
from speaker_count.training.saved_state import load_weights


class Tested(NamedTuple):
    """What a test gives: metrics with the confusion matrix, predictions, and the kind of device."""

    metrics: dict[str, Any]
    predictions: dict[str, Any]
    device: str


def evaluate(recipe: Recipe, checkpoint: Path, evaluating: Path, data: ClipDataModule | None = None) -> Tested:
    """Test a net with the weights of a checkpoint. Each rank does this.

    Args:
        evaluating: the path of the `EvaluationLog`.
        data: set up; None: made of the recipe.
    """
    if data is None:
        data = recipe.data()
        data.setup()
    module = recipe.module()
    load_weights(module, checkpoint)
    trainer = recipe.trainer(
        [EvaluationLog(evaluating, data)],
        logger=False,
        **ddp.trainer_settings(recipe.values["trainer"]),
    )
    metrics = test(trainer, module, data)
    return Tested(metrics, predictions(module, data), trainer.strategy.root_device.type)


def test(trainer: pl.Trainer, module: SpeakerCounter, data: ClipDataModule) -> dict[str, Any]:
    """The metrics of the test clips by name, those of `scores.of_predictions` among them, and their confusion matrix
    (true class, predicted class).
    """
    metrics = trainer.test(module, datamodule=data, verbose=False)[0]
    assert module.confusion is not None
    said = predictions(module, data)
    further = scores.of_predictions(said, module.counts, heard(said, data))
    logged = labels.metrics_of(metrics, "test")
    logged.pop("composition_accuracy", None)  # `further` has it, where there is somebody of known sex
    return {**logged, **further, "confusion": module.confusion.long().tolist()}


def heard(predictions: Mapping[str, Any], data: ClipDataModule) -> np.ndarray | None:
    """Whether every speaker of each predicted test clip is heard, as of `scores.heard`."""
    plan = data.clips["test"].plan_of(predictions["index"])
    return scores.heard(plan.activity, plan.count)


def predictions(module: SpeakerCounter, data: ClipDataModule) -> dict[str, Any]:
    """The predictions of the last test, and where each clip comes from, as columns in plan order."""
    assert module.test_outputs is not None
    index, probabilities = (output.cpu().numpy() for output in module.test_outputs)
    composed = {}
    if module.compositions:
        composed = {f"c_{sexes}": column for sexes, column in zip(module.compositions, probabilities.T, strict=True)}
        begins = np.cumsum([0, *(count + 1 for count in module.counts[:-1])])
        probabilities = np.add.reduceat(probabilities, begins, axis=1)  # of the counts
    plan = data.clips["test"].plan_of(index)
    pool = data.pool
    voices = [slice(count) for count in plan.count]
    return {
        "index": index,
        "count": plan.count,
        "predicted": np.array(module.counts)[probabilities.argmax(axis=1)],
        **dict(zip(labels.probability_names(module.counts), probabilities.T, strict=True)),
        **composed,
        "speakers": [pool.speakers[row[heard]].tolist() for row, heard in zip(plan.speakers, voices, strict=True)],
        "utterances": [
            pool.utterances[row[heard]].tolist() for row, heard in zip(plan.utterances, voices, strict=True)
        ],
        "starts": [row[heard].tolist() for row, heard in zip(plan.starts, voices, strict=True)],
        "sexes": ["".join(np.array(labels.SEXES)[row[heard]]) for row, heard in zip(plan.sexes, voices, strict=True)],
    }
