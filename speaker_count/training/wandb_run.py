"""A run in Weights & Biases; with another logger, or none, it is neither imported nor needed.

A run's folder holds all that `wandb sync` needs, wherever it is copied. Hence no `wandb.Table`, nor a plot that is made
of one: W&B keeps the files of a table outside the run's folder, and names them by absolute paths.
"""

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

from pytorch_lightning.loggers import Logger, WandbLogger

from speaker_count import files, labels
from speaker_count.data.datamodule import ClipDataModule
from speaker_count.errors import UserError
from speaker_count.results.record import RunResult
from speaker_count.training.secrets import masked, masked_override

log = logging.getLogger(__name__)
SHOWN_CLIPS = 32


def settings(folder: Path) -> dict[str, Any]:
    """The logger's settings for a run: an id in the run's folder keeps a resumed run one run. `wandb agent` chooses it
    itself.
    """
    path = folder / "wandb" / "run-id"
    chosen = os.environ.get("WANDB_RUN_ID") if os.environ.get("WANDB_SWEEP_ID") else None
    if chosen or not path.is_file() or not path.read_text():  # a full disk may have left it empty
        path.parent.mkdir(exist_ok=True)
        files.write_text(path, chosen or secrets.token_hex(4))
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
def tracked(logger: Logger | None, config: Mapping[str, Any]) -> Iterator[None]:
    """Log a run's config; start a W&B run, and end it: as a failed one if the code inside fails.

    Args:
        logger: None where nothing is to be logged.
        config: the whole resolved config, and more about the run; what looks like a secret is masked.

    Raises:
        UserError: W&B cannot be reached, or there is no login.
    """
    if not isinstance(logger, WandbLogger):
        if logger is not None:
            logger.log_hyperparams(masked(config))
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
    try:
        wandb.finish(exit_code=0)
    except OSError as error:  # a full disk, which W&B does not name
        raise OSError(error.errno, error.strerror, str(folder)) from error
    files.check_writable(folder, "free some space and give the command again: W&B may have lost the end of its log")
    if logger.experiment.settings.mode == "offline":
        log.info("Weights & Biases, offline: wandb sync %s", folder)


def log_result(
    logger: Logger | None, result: RunResult, predictions: Mapping[str, Any], datamodule: ClipDataModule
) -> None:
    """Log the summary to W&B, the confusion matrix, and the first test clips to listen to."""
    if not isinstance(logger, WandbLogger):
        return
    import wandb

    run = logger.experiment
    for when, scores in (("last", result.last), ("best", result.best)):
        for split in labels.SPLITS:
            run.summary.update({f"{when}/{split}/{name}": value for name, value in scores.of(split).items()})
        run.summary[f"{when}/epoch"] = scores.epoch
    kept = ("parameters", "kind", "fit_seconds", "clips_per_second", "peak_memory_bytes", "test_sha256", "identity")
    run.summary.update({name: getattr(result, name) for name in kept})

    plan = datamodule.clips["test"].plan(0, min(SHOWN_CLIPS, len(predictions["index"])))
    clips = datamodule.clips["test"].render(plan)
    run.log(
        {
            "test/confusion": wandb.Html(_confusion(result), inject=False),
            "test/clips": [
                wandb.Audio(waveform, sample_rate=datamodule.sample_rate, caption=_caption(predictions, row))
                for row, waveform in enumerate(clips)
            ],
        }
    )


def _confusion(result: RunResult) -> str:
    """The confusion matrix of the test clips as a page: rows are the true number of speakers, darker is more."""
    names = labels.class_names(result.counts)
    rows = ""
    for name, numbers in zip(names, result.last.test["confusion"], strict=True):
        whole = max(1, sum(numbers))
        cells = (f'<td style="background: rgba(70, 130, 180, {n / whole:.2f})">{n}</td>' for n in numbers)
        rows += f"<tr><th>{name}</th>{''.join(cells)}</tr>"
    head = "".join(f"<th>{name}</th>" for name in names)
    return (
        "<style>* { font: 14px sans-serif; padding: 6px; text-align: right } body { background: white }</style>"
        f"<table><tr><th>true, predicted</th>{head}</tr>{rows}</table>"
    )


def _caption(predictions: Mapping[str, Any], row: int) -> str:
    """What is known of a test clip: its number, its speakers, what the net says."""
    count, predicted = int(predictions["count"][row]), int(predictions["predicted"][row])
    probabilities = [values[row] for name, values in predictions.items() if name.startswith("p_")]
    verdict = "right" if predicted == count else f"predicted {predicted}"
    return (
        f"clip {predictions['index'][row]}: {labels.class_names([count])[0]} ({predictions['sexes'][row]}), "
        f"{verdict}, probability {max(probabilities):.2f}"
    )
