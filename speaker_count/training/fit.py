"""One run: open the speech, train a net on clips that are mixed while it trains, and test it.

The net is tested as it is after the last epoch, which is the headline, and as it was after the epoch of the best
validation accuracy.
"""

import logging
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pytorch_lightning as pl
import torch
from pytorch_lightning.loggers import Logger
from pytorch_lightning.utilities.exceptions import MisconfigurationException

from speaker_count import labels
from speaker_count.data.datamodule import ClipDataModule
from speaker_count.errors import UserError, check_number, first_line
from speaker_count.results import record, tables
from speaker_count.results.record import RunResult, Scores
from speaker_count.training import (
    ddp,
    evaluation_log,
    extension,
    memory,
    run_folder,
    starting,
    testing,
    threads,
    wandb_run,
)
from speaker_count.training.checkpoints import Checkpoints
from speaker_count.training.epoch_table import EpochTable
from speaker_count.training.evaluation_log import EvaluationLog
from speaker_count.training.module import SpeakerCounter
from speaker_count.training.recipe import TRAINING, Recipe
from speaker_count.training.run_folder import RunFolder
from speaker_count.training.saved_state import load_weights
from speaker_count.training.secrets import masked, masked_override

log = logging.getLogger(__name__)
EVALUATING = "checkpoints/evaluating"
PLANNED = 8192  # clips that are looked at before training


class Fitted(NamedTuple):
    """What training gives: the net as it was tested last, its epochs, test metrics and predictions."""

    module: SpeakerCounter
    epochs: EpochTable
    last_test: dict[str, Any]
    best_test: dict[str, Any]
    predictions: dict[str, Any]
    device: str


def check(recipe: Recipe) -> int:
    """Check that this machine can do a run, before anything starts; returns the number of ranks.

    Raises:
        UserError: it cannot.
    """
    trainer = recipe.values["trainer"]
    check_number("trainer.max_epochs", trainer["max_epochs"], int, 1)
    for key in ("limit_train_batches", "limit_val_batches", "limit_test_batches"):
        if trainer.get(key) == 0:
            raise UserError(f"trainer.{key}=0: a run needs some clips of each split, at least trainer.{key}=1")
    ddp.trainer_settings(trainer)
    threads.check(recipe.values["threads"])
    check_metric(recipe.values)
    return ddp.count_ranks(trainer)


def check_metric(values: Mapping[str, Any]) -> None:
    """Check that a run has the metric that it is to return.

    Args:
        values: of the config.

    Raises:
        UserError: it has not.
    """
    counts = values["mix"]["counts"]
    train = ("train",) if values["evaluate_train"] else ()
    splits = ("validation", "test", *train, "running")
    known = labels.metric_keys(counts if isinstance(counts, Sequence) else (), splits)  # the mix refuses other counts
    if values["optimized_metric"] not in known:
        raise UserError(f"optimized_metric={values['optimized_metric']}: a run has {', '.join(known)}")


def claim(recipe: Recipe, data: ClipDataModule, path: Path) -> RunFolder:
    """The folder of a run, to be claimed."""
    values = masked(recipe.values)
    start = recipe.values["model"].get("weights")
    if start is not None:  # named by their content, wherever they lie
        values["model"]["weights"] = starting.sha256(start)
    identity = run_folder.identity(values, recipe.choices, data.pool, data.sounds.opened())
    return RunFolder(path, identity, recipe.values["force"])


def train(recipe: Recipe, folder: RunFolder, data: ClipDataModule, ranks: int = 1) -> RunResult:
    """Train and test a net, resume it where it was interrupted, and write what comes out.

    Args:
        folder: claimed.
        data: set up.
        ranks: how many processes train.

    Returns:
        The result, as in `result.json`.
    """
    memory.reset_peak_memory()
    _check_sexes(recipe.values, data)
    checkpoint = run_folder.last_checkpoint(folder.path)
    if checkpoint is None and not folder.force:
        checkpoint = extension.begin(folder)
    logger = recipe.logger(lambda: wandb_run.settings(folder.path))
    with (
        wandb_run.tracked(logger, {} if logger is None else _described(recipe, data)),
        run_folder.marked_if_diverged(folder.path),
        threads.using(threads.settle(recipe, data, folder.path, ranks)),
    ):
        with data.verified(), ddp.other_ranks(fit, recipe, folder.path, checkpoint, ranks=ranks):
            fitted = fit(recipe, folder.path, checkpoint, data, logger)
        record.write_predictions(folder.path / "predictions.parquet", fitted.predictions)
        result = _result(recipe, folder, data, fitted, ranks)
        wandb_run.log_result(logger, result, fitted.predictions, data)
    result.write(folder.path / "result.json")
    evaluation_log.remove(folder.path / EVALUATING)
    log.info("test accuracy %.4f after the last epoch: %s", result.last.test["accuracy"], folder.path / "result.json")
    return result


def fit(
    recipe: Recipe,
    folder: Path,
    checkpoint: Path | None = None,
    data: ClipDataModule | None = None,
    logger: Logger | None = None,
) -> Fitted:
    """Train a net and test it, after the last epoch and after the best. Each rank does this.

    Args:
        folder: for what is written while it trains.
        checkpoint: to resume from.
        data: set up; None: made of the recipe.
    """
    if data is None:
        data = recipe.data()
        data.setup()
    seed = recipe.values["seed"]
    pl.seed_everything(seed, verbose=False)
    module = recipe.module(start=checkpoint is None)
    if ddp.rank() == 0:
        _check_length(module, data)
    else:
        torch.manual_seed(seed + ddp.rank())  # each rank draws its own dropout: its clips differ
    epochs = EpochTable(folder)
    checkpoints = Checkpoints(folder / "checkpoints", minutes=recipe.values["checkpoint_minutes"])
    trainer = recipe.trainer(
        [epochs, EvaluationLog(folder / EVALUATING, data), checkpoints],
        logger=logger or False,
        **ddp.trainer_settings(recipe.values["trainer"]),
    )
    if checkpoint is not None:
        load_weights(module, checkpoint)  # raises one clear line if it is another net's
        log.info("resuming from %s", checkpoint)
    try:
        trainer.fit(module, data, ckpt_path=checkpoint, weights_only=True)
    except MisconfigurationException as error:
        raise UserError(str(error).splitlines()[0]) from error

    last_test = best_test = testing.test(trainer, module, data)
    predictions = testing.predictions(module, data)
    if epochs.best is not epochs.rows[-1]:
        trainer.loggers = []  # test/... in W&B stays that of the last epoch
        load_weights(module, folder / "checkpoints" / "best.ckpt")
        best_test = testing.test(trainer, module, data)
    return Fitted(module, epochs, last_test, best_test, predictions, trainer.strategy.root_device.type)


def _check_sexes(values: Mapping[str, Any], data: ClipDataModule) -> None:
    """Check that there are clips from which a net can learn the sexes, if it is to name them.

    Raises:
        UserError: the sexes of no training clip are known.
    """
    weight = (values["model"].get("loss") or {}).get("composition_weight")
    clips = data.clips["train"]
    plan = clips.plan(0, min(len(clips), PLANNED))
    known = (plan.sexes != labels.SEXES.index(labels.UNKNOWN)).all(axis=1)
    if weight and not (known & (plan.count > 0)).any():
        raise UserError(
            f"model.loss.composition_weight={weight}: the training clips of data={data.name} have no speakers of known "
            "sex; name their sexes, in the column `sex` of a manifest, or set model.loss.composition_weight=0"
        )


def _check_length(module: SpeakerCounter, data: ClipDataModule) -> None:
    """Check that clips are not too short for the net.

    Raises:
        UserError: it takes clips of one second, but not these.
    """
    modes = [(part, part.training) for part in module.modules()]  # a net may keep parts of itself frozen
    module.eval()
    try:
        problem = _problem(module, data.clips["train"].samples)
        if problem and not _problem(module, data.sample_rate):  # a net that takes no clip here fails in training
            raise UserError(f"mix.clip_seconds={data.mix.clip_seconds}: a clip is too short for this net ({problem})")
    finally:
        for part, mode in modes:
            part.training = mode


def _problem(module: SpeakerCounter, samples: int) -> str:
    """Why a net does not take a clip of this length; empty if it does."""
    try:
        with torch.no_grad():
            module(torch.zeros(1, samples))
    except Exception as error:  # a net may raise anything
        return first_line(error)
    return ""


def _described(recipe: Recipe, data: ClipDataModule) -> dict[str, Any]:
    """What a run is logged with from its start: its config, and what runs are grouped by, crashed ones too."""
    module = recipe.module()
    return {
        **recipe.values,
        "net": recipe.choices["model"],
        "kind": module.kind,
        "parameters": _parameters(module),
        "learning_rate": recipe.values["model"].get("learning_rate"),
        "corpus": data.name,
        "corpus_sha256": data.pool.sha256,
        "commit": record.provenance()["commit"],
    }


def _parameters(module: SpeakerCounter) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


def _result(recipe: Recipe, folder: RunFolder, data: ClipDataModule, fitted: Fitted, ranks: int) -> RunResult:
    epochs, model = fitted.epochs, recipe.choices["model"]
    started = {"weights": sha256} if (sha256 := folder.identity.get("model.weights")) else {}
    return RunResult(
        model=model,
        paper_name=tables.paper_name(model),
        kind=fitted.module.kind,
        parameters=_parameters(fitted.module),
        seed=recipe.values["seed"],
        epochs=len(epochs.rows),
        identity=run_folder.short_hash(folder.identity),
        data={**masked(recipe.values["data"]), **data.described()},
        mix=recipe.values["mix"],
        net={key: value for key, value in masked(recipe.values["model"]).items() if key not in TRAINING},
        training={**masked(recipe.training()), **started},
        last=_scores(epochs.rows[-1], fitted.last_test),
        best=_scores(epochs.best, fitted.best_test),
        fit_seconds=round(epochs.seconds["fit"], 3),
        clips_per_second=round(epochs.clips / epochs.seconds["train"], 1),
        peak_memory_bytes=memory.peak_memory_bytes(),
        validation_sha256=data.clips["validation"].sha256(),
        test_sha256=data.clips["test"].sha256(),
        **record.provenance(),
        device=fitted.device,
        processes=ranks,
        changes=masked(run_folder.changes(recipe.overrides)),
        command=shlex.join(["speaker-count", "train", *map(masked_override, recipe.overrides)]),
    )


def _scores(row: dict[str, float], test: dict[str, Any]) -> Scores:
    """A row of `metrics.csv` and the metrics of the test clips."""
    running, train, validation = (labels.metrics_of(row, split) for split in ("running", "train", "validation"))
    return Scores(epoch=int(row["epoch"]), running=running, train=train, validation=validation, test=test)
