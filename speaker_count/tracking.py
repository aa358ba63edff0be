"""What Weights & Biases gets to see of a run; with logger=csv it is neither imported nor needed."""

import contextlib
import logging
import os
import re
import secrets
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from pytorch_lightning.loggers import Logger

from speaker_count import labels
from speaker_count.data.datamodule import ClipDataModule
from speaker_count.errors import UserError

log = logging.getLogger(__name__)
SHOWN_CLIPS = 32
SECRET = re.compile(r"(api_?key|password|secret|token)$", re.IGNORECASE)


def settings(folder: Path) -> dict[str, Any]:
    """How W&B knows a run again: by an id in its folder, so that what goes on after a kill stays one run."""
    path = folder / "wandb" / "run-id"
    if not path.is_file():
        path.parent.mkdir(exist_ok=True)
        path.write_text(secrets.token_hex(4))
    os.environ.setdefault("WANDB_SILENT", "true")  # the run says itself where it is
    mode = os.environ.get("WANDB_MODE")
    return {"name": folder.name, "id": path.read_text(), **({"mode": mode} if mode else {})}


def masked(override: str) -> str:
    """An override as it may be shown: without its value, if its key looks like a secret's."""
    key, equals, _ = override.partition("=")
    return f"{key}{equals}***" if SECRET.search(key) else override


@contextlib.contextmanager
def tracked(logger: Logger | None, config: Mapping[str, Any]) -> Iterator[None]:
    """Begin a W&B run, and end it: as a failed one if the code inside fails.

    Args:
        logger: None where nothing is to be tracked.
        config: the whole resolved config; what looks like a secret is left out.

    Raises:
        UserError: W&B cannot be reached, or there is no login.
    """
    if logger is None:
        yield
        return
    import wandb

    sys.argv[1:] = map(masked, sys.argv[1:])  # W&B notes down the command
    wandb.setup()  # else it takes notice of WANDB_SILENT only after its first warning
    try:
        logger.log_hyperparams(_without_secrets(config))  # the first use: it begins the run
    except wandb.Error as error:
        raise UserError(
            f"Weights & Biases: {str(error).splitlines()[0]}. Log in with `wandb login`, or stay offline with "
            "logger.mode=offline, or use none of it with logger=csv"
        ) from error
    try:
        yield
    except BaseException:
        with contextlib.suppress(Exception):  # where the system ends the run, it ends W&B's process too
            wandb.finish(exit_code=1)
        raise
    folder = logger.experiment.settings.sync_dir
    wandb.finish(exit_code=0)
    if logger.experiment.settings.mode == "offline":
        log.info("Weights & Biases, offline: wandb sync %s", folder)


def _without_secrets(tree: Any) -> Any:
    if isinstance(tree, Mapping):
        return {key: _without_secrets(value) for key, value in tree.items() if not SECRET.search(key)}
    return [_without_secrets(value) for value in tree] if isinstance(tree, list) else tree


def log_result(
    logger: Logger | None, result: Mapping[str, Any], predictions: Mapping[str, Any], datamodule: ClipDataModule
) -> None:
    """The summary, the confusion matrix, and a table of the first test clips that can be listened to."""
    if logger is None:
        return
    import wandb

    run = logger.experiment
    for when in ("last", "best"):
        metrics = result[when]
        for split in ("train", "validation", "test"):
            run.summary.update({f"{when}/{split}/{name}": value for name, value in metrics[split].items()})
        run.summary[f"{when}/epoch"] = metrics["epoch"]
    kept = ("parameters", "kind", "fit_seconds", "clips_per_second", "peak_memory_bytes", "test_sha256", "identity")
    run.summary.update({name: result[name] for name in kept})

    counts = list(result["net"]["counts"])
    names = labels.names(counts)
    true, predicted = (np.searchsorted(counts, predictions[name]).tolist() for name in ("count", "predicted"))
    run.log({"test/confusion": wandb.plot.confusion_matrix(y_true=true, preds=predicted, class_names=names)})

    clips = datamodule.clips["test"]
    plan = clips.plan(0, min(SHOWN_CLIPS, len(predictions["index"])))
    table = wandb.Table(columns=["clip", "audio", "count", "predicted", "sexes", *(f"p({name})" for name in names)])
    for row, waveform in enumerate(clips.render(plan)):
        table.add_data(
            int(predictions["index"][row]),
            wandb.Audio(waveform, sample_rate=datamodule.sample_rate),
            int(predictions["count"][row]),
            int(predictions["predicted"][row]),
            predictions["sexes"][row],
            *(float(predictions[f"p_{number}"][row]) for number in range(1, len(names) + 1)),
        )
    run.log({"test/clips": table})
