"""A run in Weights & Biases; with logger=csv it is neither imported nor needed."""

import contextlib
import logging
import os
import secrets
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from pytorch_lightning.loggers import WandbLogger

from speaker_count import files, labels
from speaker_count.data.datamodule import ClipDataModule
from speaker_count.errors import UserError
from speaker_count.results.record import RunResult
from speaker_count.training.secrets import masked, masked_override

log = logging.getLogger(__name__)
SHOWN_CLIPS = 32


def settings(folder: Path) -> dict[str, Any]:
    """The logger's settings for a run: an id in the run's folder keeps a resumed run one run."""
    path = folder / "wandb" / "run-id"
    if not path.is_file() or not path.read_text():  # a full disk may have left it empty
        path.parent.mkdir(exist_ok=True)
        files.write_text(path, secrets.token_hex(4))
    os.environ.setdefault("WANDB_SILENT", "true")  # we name the run's folder ourselves
    mode = os.environ.get("WANDB_MODE")
    return {"name": folder.name, "id": path.read_text(), **({"mode": mode} if mode else {})}


def reach(url: str, seconds: float = 10) -> None:
    """Check that a server answers. W&B itself would retry for minutes.

    Raises:
        OSError: it does not.
    """
    with contextlib.suppress(urllib.error.HTTPError):  # the server has answered
        urllib.request.urlopen(url, timeout=seconds).close()


def _unusable(error: Exception) -> UserError:
    reason = str(getattr(error, "reason", error)).splitlines()[0]  # of a URLError, without its angle brackets
    return UserError(
        f"Weights & Biases: {reason}. Check the network and the login (`wandb login`), stay offline with "
        "logger.mode=offline, or leave W&B out with logger=csv"
    )


@contextlib.contextmanager
def tracked(logger: WandbLogger | None, config: Mapping[str, Any]) -> Iterator[None]:
    """Start a W&B run, and end it: as a failed one if the code inside fails.

    Args:
        logger: None where nothing is to be logged.
        config: the whole resolved config; what looks like a secret is masked.

    Raises:
        UserError: W&B cannot be reached, or there is no login.
    """
    if logger is None:
        yield
        return
    import wandb

    sys.argv[1:] = map(masked_override, sys.argv[1:])  # W&B records the command
    server = wandb.setup().settings.base_url  # without the setup it heeds WANDB_SILENT only after its first warning
    try:
        if (os.environ.get("WANDB_MODE") or config["logger"].get("mode")) not in ("offline", "disabled"):
            reach(server)
    except OSError as error:
        raise _unusable(error) from error
    try:
        logger.log_hyperparams(masked(config))  # the first use, which starts the run
    except wandb.Error as error:
        raise _unusable(error) from error
    try:
        yield
    except BaseException:
        with contextlib.suppress(Exception):  # where the system ends the run, it ends W&B's process as well
            wandb.finish(exit_code=1)
        raise
    folder = logger.experiment.settings.sync_dir
    wandb.finish(exit_code=0)
    files.check_writable(folder, "free some space and give the command again: W&B may have lost the end of its log")
    if logger.experiment.settings.mode == "offline":
        log.info("Weights & Biases, offline: wandb sync %s", folder)


def log_result(
    logger: WandbLogger | None, result: RunResult, predictions: Mapping[str, Any], datamodule: ClipDataModule
) -> None:
    """Log the summary, the confusion matrix, and a table of the first test clips to listen to."""
    if logger is None:
        return
    import wandb

    run = logger.experiment
    for when, scores in (("last", result.last), ("best", result.best)):
        for split in labels.SPLITS:
            run.summary.update({f"{when}/{split}/{name}": value for name, value in scores.of(split).items()})
        run.summary[f"{when}/epoch"] = scores.epoch
    kept = ("parameters", "kind", "fit_seconds", "clips_per_second", "peak_memory_bytes", "test_sha256", "identity")
    run.summary.update({name: getattr(result, name) for name in kept})

    names = labels.class_names(result.counts)
    true, predicted = (np.searchsorted(result.counts, predictions[name]).tolist() for name in ("count", "predicted"))
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
