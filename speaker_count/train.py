"""`speaker-count train`: one run, or with --multirun a sweep.

A run opens the speech and trains a net on clips that are mixed while it trains. The net is then tested as it is after
the last epoch, which is the headline, and as it was after the epoch of the best validation accuracy.
"""

import logging.handlers
import shlex
import sys
from pathlib import Path
from typing import Any, NamedTuple

import hydra
import pytorch_lightning as pl
import torch
from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from hydra.utils import instantiate
from omegaconf import DictConfig, OmegaConf
from pytorch_lightning.loggers import Logger

from speaker_count import CONFIG_DIR, evaluate, jobs, ranks, tracking
from speaker_count.callbacks import EpochTable, quiet
from speaker_count.compose import find_own_nets
from speaker_count.data.datamodule import ClipDataModule
from speaker_count.errors import check_number, user_error
from speaker_count.module import SpeakerCounter, load_weights
from speaker_count.results import record, tables
from speaker_count.room import keep_freed_memory

log = logging.getLogger(__name__)


def train(config: DictConfig, folder: Path) -> dict[str, Any]:
    """Train and test one net. What is finished is not done again, and what was cut off goes on.

    Returns:
        The result, as in `folder/result.json`.
    """
    check_number("trainer.max_epochs", config.trainer.max_epochs, int, 1)
    ranks.settings(config.trainer)  # says what is wrong with it, before anything is done
    processes = ranks.count_processes(config.trainer)
    datamodule: ClipDataModule = instantiate(config.data, mix=config.mix, _convert_="all")
    datamodule.check_divides(processes)
    datamodule.setup()

    values = OmegaConf.to_container(config, resolve=True)
    choices = HydraConfig.get().runtime.choices
    job = jobs.Job(folder, jobs.identity(values, choices, datamodule.pool.sha256), config.force)
    with job.claimed():
        if job.result is not None:
            print(f"{folder} is finished already")
            return job.result
        (folder / ".hydra").mkdir(exist_ok=True)
        OmegaConf.save(config, folder / ".hydra" / "config.yaml")
        OmegaConf.save(HydraConfig.get().overrides.task, folder / ".hydra" / "overrides.yaml")

        record.reset_peak_memory()
        logger = instantiate(config.logger, **tracking.settings(folder)) if config.logger._target_ else None
        with tracking.tracked(logger, values):
            with ranks.together(learn, values, folder, job.checkpoint, ranks=processes):
                learnt = learn(values, folder, job.checkpoint, datamodule, logger)
            record.write_predictions(folder / "predictions.parquet", learnt.predictions)
            module, epochs = learnt.module, learnt.epochs
            result = {
                "schema": record.SCHEMA,
                "model": choices.model,
                "paper_name": tables.paper_name(choices.model),
                "kind": module.kind,
                "parameters": sum(parameter.numel() for parameter in module.parameters()),
                "seed": config.seed,
                "epochs": len(epochs.rows),
                "identity": jobs.short_hash(job.identity),
                "data": {**values["data"], "speakers": datamodule.speakers(), "corpus_sha256": datamodule.pool.sha256},
                "mix": values["mix"],
                "net": values["model"],
                "last": {**_epoch(epochs.rows[-1]), "test": learnt.last_test},
                "best": {**_epoch(epochs.best), "test": learnt.best_test},
                "fit_seconds": round(epochs.seconds["fit"], 3),
                "clips_per_second": round(epochs.clips / epochs.seconds["train"], 1),
                "peak_memory_bytes": record.peak_memory_bytes(),
                "validation_sha256": datamodule.clips["validation"].sha256(),
                "test_sha256": datamodule.clips["test"].sha256(),
                **record.provenance(),
                "device": learnt.device,
                "processes": processes,
                "changes": jobs.changes(HydraConfig.get().overrides.task),
                "command": shlex.join(
                    ["speaker-count", "train", *map(tracking.masked, HydraConfig.get().overrides.task)]
                ),
            }
            tracking.log_result(logger, result, learnt.predictions, datamodule)
        record.write_json(folder / "result.json", result)
        log.info("test accuracy %.4f after the last epoch: %s", learnt.last_test["accuracy"], folder / "result.json")
        return result


class Learnt(NamedTuple):
    """What comes of a training."""

    module: SpeakerCounter
    epochs: EpochTable
    last_test: dict[str, Any]
    best_test: dict[str, Any]
    predictions: dict[str, Any]
    device: str


def learn(
    values: dict[str, Any],
    folder: Path,
    checkpoint: Path | None,
    datamodule: ClipDataModule | None = None,
    logger: Logger | None = None,
) -> Learnt:
    """Train a net and test it, after the last epoch and after the best. Each rank of a run does this.

    Args:
        values: the config, resolved.
        checkpoint: to go on from.
        datamodule: set up; None: made of the config.
    """
    config = OmegaConf.create(values)
    if datamodule is None:
        datamodule = instantiate(config.data, mix=config.mix, _convert_="all")
        datamodule.setup()
    pl.seed_everything(config.seed, verbose=False)
    module: SpeakerCounter = instantiate(config.model, _convert_="all")
    if ranks.rank():
        torch.manual_seed(config.seed + ranks.rank())  # another dropout on other clips
    # the config's own callbacks are the checkpoints
    make_trainer = instantiate(config.trainer, _partial_=True, _convert_="all")
    epochs = EpochTable(folder)
    trainer: pl.Trainer = make_trainer(
        callbacks=[epochs, *make_trainer.keywords["callbacks"]],
        logger=logger or False,
        enable_progress_bar=sys.stdout.isatty() and not ranks.rank(),
        **ranks.settings(config.trainer),
    )
    if checkpoint is not None:
        load_weights(module, checkpoint)  # says plainly if it is another net's
        log.info("going on from %s", checkpoint)
    trainer.fit(module, datamodule, ckpt_path=checkpoint, weights_only=True)

    last_test = best_test = evaluate.test(trainer, module, datamodule)
    predictions = evaluate.predictions(module, datamodule)
    if epochs.best is not epochs.rows[-1]:
        trainer.loggers = []  # there, test/... is the headline
        load_weights(module, folder / "checkpoints" / "best.ckpt")
        best_test = evaluate.test(trainer, module, datamodule)
    return Learnt(module, epochs, last_test, best_test, predictions, trainer.strategy.root_device.type)


def _epoch(row: dict[str, float]) -> dict[str, Any]:
    """A row of metrics.csv as result.json has it; `running` are averages over the training steps."""
    names = {"running": "running", "train": "train", "validation": "val"}
    splits = {
        split: {key.removeprefix(f"{name}/"): value for key, value in row.items() if key.startswith(f"{name}/")}
        for split, name in names.items()
    }
    return {"epoch": row["epoch"], **splits}


def run(config: DictConfig) -> dict[str, Any] | None:
    """What Hydra calls for each job: train, and note in the job's folder how it went.

    Within a sweep a failure is returned as `{"failed": reason}`, so that the other jobs run; alone, it ends the
    process: with exit code 2 if the user can mend it.
    """
    hydra_config = HydraConfig.get()
    folder = Path(hydra_config.runtime.output_dir)
    # a watched file is opened anew when the folder was moved aside
    handler = logging.handlers.WatchedFileHandler(folder / "train.log", delay=True)
    handler.setFormatter(logging.Formatter("[%(asctime)s][%(levelname)s] %(message)s"))
    logging.getLogger().addHandler(handler)
    quiet()
    keep_freed_memory()
    try:
        find_own_nets(hydra_config)
        return train(config, folder)
    except Exception as error:
        mistake = user_error(error)
        if mistake is None:
            log.exception("the run failed")
        else:
            print(mistake, file=sys.stderr)
            if not (folder / "result.json").is_file():  # nothing is added to what is finished
                handler.handle(logging.makeLogRecord({"levelname": "ERROR", "msg": str(mistake)}))
        if hydra_config.mode != RunMode.MULTIRUN:
            sys.exit(1 if mistake is None else 2)
        reason = str(mistake or f"{type(error).__name__}: {error}").splitlines()[0]
        return {"failed": reason, "job": folder.name, "log": str(folder / "train.log")}
    finally:
        logging.getLogger().removeHandler(handler)
        handler.close()


main = hydra.main(config_path=str(CONFIG_DIR), config_name="config", version_base="1.3")(run)

if __name__ == "__main__":
    from speaker_count.train import main as named  # as other processes know it, which do its runs

    named()
