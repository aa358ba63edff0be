"""`speaker-count evaluate RUN_DIR`: a finished run on another corpus or mix."""

from typing import Any

import numpy as np
import pytorch_lightning as pl

from speaker_count.data.corpus import SEXES
from speaker_count.data.datamodule import ClipDataModule
from speaker_count.module import SpeakerCounter


def test(trainer: pl.Trainer, module: SpeakerCounter, datamodule: ClipDataModule) -> dict[str, Any]:
    """Metrics of the test clips, and their confusion matrix (true class, predicted class)."""
    metrics = trainer.test(module, datamodule=datamodule, verbose=False)[0]
    plain = {name.removeprefix("test/"): value for name, value in metrics.items()}
    return {**plain, "confusion": module.confusion.long().tolist()}


def predictions(module: SpeakerCounter, datamodule: ClipDataModule) -> dict[str, Any]:
    """What was predicted in the last test, and where each clip came from, as columns in plan order."""
    index, probabilities = (output.cpu().numpy() for output in module.test_outputs())
    plan = datamodule.clips["test"].plan()[index]
    pool = datamodule.pool
    voices = [slice(count) for count in plan.count]
    return {
        "index": index,
        "count": plan.count,
        "predicted": module.counts.cpu().numpy()[probabilities.argmax(axis=1)],
        **{f"p_{number}": column for number, column in enumerate(probabilities.T, start=1)},
        "speakers": [pool.speakers[row[heard]].tolist() for row, heard in zip(plan.speakers, voices, strict=True)],
        "utterances": [
            pool.utterances[row[heard]].tolist() for row, heard in zip(plan.utterances, voices, strict=True)
        ],
        "starts": [row[heard].tolist() for row, heard in zip(plan.starts, voices, strict=True)],
        "sexes": ["".join(np.array(SEXES)[row[heard]]) for row, heard in zip(plan.sexes, voices, strict=True)],
    }
