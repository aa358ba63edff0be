"""A finished run's net as two small files, with a temperature that is fitted on its validation clips."""

import dataclasses
import hashlib
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch

from speaker_count import files, labels, weights
from speaker_count.data import corpus
from speaker_count.data.datamodule import ClipDataModule
from speaker_count.errors import UserError
from speaker_count.results import checks, statistics
from speaker_count.results.record import RunResult
from speaker_count.sweeping.evaluation import open_like
from speaker_count.training import run_folder, threads, weights_file
from speaker_count.training.module import SpeakerCounter
from speaker_count.training.saved_state import load_weights
from speaker_count.weights.calibration import cross_entropy, fit_temperature
from speaker_count.weights.reading import Weights

OF_A_MACHINE = ("root", "cache", "url", "pool")  # of a run's data


class Packaged(NamedTuple):
    """What packaging gives: the path of the JSON file, and what is in it."""

    path: Path
    described: Weights


def package(run_dir: str, out: str | None, overrides: Sequence[str], config_dir: str | None) -> Packaged:
    """Write a finished run's weights, as they are after its last epoch, and what is said of them.

    Args:
        run_dir: the run's folder.
        out: the path of the two files, with an ending or without; or a folder, for files that are called as the run's;
            None: the run's folder.
        overrides: those of train for data and mix: on which validation clips the temperature is fitted; and `force`.
        config_dir: a folder of the user's own configs.

    Raises:
        UserError: there is no finished run, its speech is not there, or the files exist already.
    """
    folder = Path(run_dir)
    result = RunResult.read(folder)
    path = _path(folder, out)
    made, data, _, force = open_like(result, overrides, config_dir)
    existing = [file for file in (path, path.with_suffix(weights.TENSORS)) if file.exists() or file.is_symlink()]
    if existing and not force:
        raise UserError(f"{existing[0]} exists: name another file, or give force=true, which replaces it")
    module = made.module()
    load_weights(module, folder / "checkpoints" / "last.ckpt")
    with data.verified(), threads.using(threads.noted(folder)):
        logits, target = validation_logits(module, data)
    tensors = weights_file.save(module.net.state_dict())
    described = Weights.from_dict(
        {
            **_portable(result),
            "sha256": hashlib.sha256(tensors).hexdigest(),
            "temperature": (temperature := fit_temperature(logits, target)),
            "calibration": {
                "clips": len(target),
                "validation_sha256": data.clips["validation"].sha256(),
                "before": _scores(logits, target, 1.0),
                "after": _scores(logits, target, temperature),
            },
        }
    )
    path.parent.mkdir(parents=True, exist_ok=True)  # the files replace links, and are written through none
    with files.replacing(path.with_suffix(weights.TENSORS)) as partial:
        partial.write_bytes(tensors)
    described.write(path)
    return Packaged(path, described)


def validation_logits(module: SpeakerCounter, data: ClipDataModule) -> tuple[np.ndarray, np.ndarray]:
    """Logits of counts of the validation clips, `(clips, classes)`, and their true classes, `(clips,)`."""
    module.eval()
    logits, targets = [], []
    with torch.inference_mode():
        for batch in data.val_dataloader()[0]:
            logits.append(module(batch["waveform"]).float().numpy())
            targets.append(labels.class_of(batch["count"], module.counts).numpy())
    return np.concatenate(logits), np.concatenate(targets)


def _path(folder: Path, out: str | None) -> Path:
    """Where the JSON file is written."""
    name = folder.absolute().name
    path = folder / name if out is None else Path(out).expanduser()
    if out is not None and path.is_dir():
        path = path / name
    elif path.suffix in (weights.TENSORS, weights.DESCRIPTION):
        path = path.with_suffix("")
    if not checks.is_name(path.name):
        raise UserError(
            f"{path.name} cannot be a name of weights: give another one, `speaker-count weights RUN_DIR NAME`"
        )
    return path.with_name(path.name + weights.DESCRIPTION)


def _portable(result: RunResult) -> dict[str, Any]:
    """What a run's result says, without what is of the machine that it ran on."""
    values = dataclasses.asdict(result)
    data = {key: value for key, value in values["data"].items() if key not in OF_A_MACHINE}
    if data.get("utterance_list") is not None and corpus.packaged_list(data["utterance_list"]) is None:
        data["utterance_list"] = None
    command = [_placeless(word) for word in _words(result.command) if not _is_outside(word)]
    without = {"peak_memory_bytes": None, "clips_per_second": None}
    words = {"command": shlex.join(command), "changes": [_placeless(change) for change in result.changes]}
    # the net of the best epoch is not written
    return {**values, "best": values["last"], "data": data, **without, **words}


def _is_outside(word: str) -> bool:
    return run_folder.is_outside(run_folder.key_of(word))


def _placeless(word: str) -> str:
    """An override; of the path of the weights that the run started from, only the last part."""
    key, equals, value = word.partition("=")
    return f"{key}{equals}{Path(value).name}" if run_folder.key_of(word) == "model.weights" else word


def _words(command: str) -> list[str]:
    try:
        return shlex.split(command)
    except ValueError:  # whatever a received run holds
        return []


def _scores(logits: np.ndarray, target: np.ndarray, temperature: float) -> dict[str, float]:
    scaled = logits.astype(np.float64) / temperature
    probabilities = np.exp(scaled - scaled.max(axis=1, keepdims=True))
    probabilities /= probabilities.sum(axis=1, keepdims=True)
    calibration = statistics.calibration(probabilities, probabilities.argmax(axis=1) == target)
    return {
        "loss": round(cross_entropy(logits, target, temperature), 6),
        "calibration_error": round(calibration.error, 6),
    }
