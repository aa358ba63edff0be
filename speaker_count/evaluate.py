"""`speaker-count evaluate RUN_DIR [overrides]`: a finished run's net, as it was after its last epoch, on another corpus
or mix. The overrides are those of train's data, mix and trainer; what they do not name is as it was in the run.
"""

import argparse
import datetime
import logging
import re
import shlex
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytorch_lightning as pl
from hydra.errors import InstantiationException, MissingConfigException
from hydra.utils import instantiate
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from speaker_count import jobs, ranks
from speaker_count.callbacks import quiet
from speaker_count.compose import compose
from speaker_count.data.corpus import SEXES
from speaker_count.data.datamodule import ClipDataModule
from speaker_count.errors import UserError
from speaker_count.module import SpeakerCounter, load_weights
from speaker_count.results import record
from speaker_count.room import keep_freed_memory

log = logging.getLogger(__name__)


def test(trainer: pl.Trainer, module: SpeakerCounter, datamodule: ClipDataModule) -> dict[str, Any]:
    """Metrics of the test clips, and their confusion matrix (true class, predicted class)."""
    metrics = trainer.test(module, datamodule=datamodule, verbose=False)[0]
    plain = {name.removeprefix("test/"): value for name, value in metrics.items()}
    return {**plain, "confusion": module.confusion.long().tolist()}


def predictions(module: SpeakerCounter, datamodule: ClipDataModule) -> dict[str, Any]:
    """What was predicted in the last test, and where each clip came from, as columns in plan order."""
    index, probabilities = (output.cpu().numpy() for output in module.test_outputs)
    plan = datamodule.clips["test"].plan_of(index)
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


def rebuild(result: Mapping[str, Any], config_dir: str | None = None) -> SpeakerCounter:
    """The net of a finished run, without its weights.

    A run may come from anywhere: which classes are built is read from the installed configs, under the net's name;
    only plain values are taken from the run.

    Raises:
        UserError: no config of that name is installed, or it does not take the run's values.
    """
    name = result["model"]
    try:
        if not re.fullmatch(r"[\w-]+", name):
            raise UserError(f"{name!r} is no name of a net")
        model = compose([f"model={name}"], config_dir).model
    except MissingConfigException as error:
        raise UserError(f"no config of the net {name} is installed: name its folder with --config-dir DIR") from error
    try:
        return instantiate(OmegaConf.merge(model, _values(result["net"])), _convert_="all")
    except (OmegaConfBaseException, InstantiationException) as error:
        reason = str(error).splitlines()[0]
        raise UserError(f"the installed config of the net {name} is not the one that was run: {reason}") from error


def _values(tree: Any) -> Any:
    """A tree of plain values, without what would tell Hydra which class to build."""
    if isinstance(tree, Mapping):
        return {key: _values(value) for key, value in tree.items() if not key.startswith("_")}
    return [_values(value) for value in tree] if isinstance(tree, list) else tree


def compose_like(result: Mapping[str, Any], overrides: Sequence[str], config_dir: str | None = None) -> DictConfig:
    """The config of a run's data and mix, with some of it overridden."""
    named = {override.split("=", 1)[0].lstrip("+") for override in overrides}
    base = [f"{group}={result[group]['name']}" for group in ("data", "mix") if group not in named]
    config = compose([*base, *overrides], config_dir)
    for group in {"data", "mix"} - named:
        known = {key for key, _ in jobs.leaves(_values(OmegaConf.to_container(config[group])), f"{group}.")}
        for key, value in jobs.leaves(result[group], f"{group}."):
            if key in known and not any(key == name or key.startswith(f"{name}.") for name in named):
                OmegaConf.update(config, key, value)
    config.trainer.callbacks = []  # nothing is trained, nothing saved
    return config


def scores(
    values: dict[str, Any],
    result: Mapping[str, Any],
    run_dir: Path,
    config_dir: str | None,
    datamodule: ClipDataModule | None = None,
) -> tuple[dict[str, Any], dict[str, Any], str]:
    """Metrics and predictions of a run's net, and the kind of device. Each rank does this.

    Args:
        values: the config of data, mix and trainer, resolved.
        datamodule: set up; None: made of the config.
    """
    config = OmegaConf.create(values)
    if datamodule is None:
        datamodule = instantiate(config.data, mix=config.mix, _convert_="all")
        datamodule.setup()
    module = rebuild(result, config_dir)
    load_weights(module, run_dir / "checkpoints" / "last.ckpt")
    bar = sys.stdout.isatty() and not ranks.rank()
    settings = ranks.settings(config.trainer)
    trainer = instantiate(config.trainer, logger=False, enable_progress_bar=bar, **settings, _convert_="all")
    metrics = test(trainer, module, datamodule)
    return metrics, predictions(module, datamodule), trainer.strategy.root_device.type


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split(":", 1)[1].strip())
    parser.add_argument("run_dir", type=Path, help="the folder of a finished run")
    parser.add_argument("overrides", nargs="*", help="data=demo, mix.clips.test=1000, force=true, ...")
    parser.add_argument("--config-dir", help="a folder of your own configs")
    arguments = parser.parse_intermixed_args()
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    quiet()
    keep_freed_memory()

    result = record.read_result(arguments.run_dir)
    config = compose_like(result, arguments.overrides, arguments.config_dir)
    unknown = set(config.mix.counts) - set(result["net"]["counts"])
    if unknown:
        raise UserError(f"mix.counts asks for {sorted(unknown)}, the net tells {result['net']['counts']} apart")
    ranks.settings(config.trainer)  # says what is wrong with it, before anything is done
    processes = ranks.count_processes(config.trainer)
    datamodule: ClipDataModule = instantiate(config.data, mix=config.mix, _convert_="all")
    datamodule.check_divides(processes)
    datamodule.setup()

    name = f"{config.data.name}-{config.mix.name}{jobs.override_hash(arguments.overrides)}"
    if datamodule.pool.sha256 != result["data"]["corpus_sha256"]:
        name += f"-{datamodule.pool.sha256[:8]}"  # data=folder is many corpora
    path = arguments.run_dir / "evaluations" / f"{name}.json"
    if path.is_file() and not config.force:
        raise UserError(f"{path} is there already; force=true evaluates again and keeps the old file beside it")

    values = {name: OmegaConf.to_container(config[name], resolve=True) for name in ("data", "mix", "trainer")}
    of_run = result, arguments.run_dir, arguments.config_dir
    with ranks.together(scores, values, *of_run, ranks=processes):
        metrics, predicted, device = scores(values, *of_run, datamodule)
    path.parent.mkdir(exist_ok=True)
    if path.is_file():
        for old in (path, path.with_suffix(".parquet")):
            old.rename(old.with_name(f"{name}.{datetime.datetime.now():%Y-%m-%d_%H-%M-%S}{old.suffix}"))
    record.write_predictions(path.with_suffix(".parquet"), predicted)
    evaluation = {
        "schema": record.SCHEMA,
        "model": result["model"],
        "seed": result["seed"],
        "identity": result["identity"],
        "data": {
            **OmegaConf.to_container(config.data, resolve=True),
            "speakers": datamodule.speakers(),
            "corpus_sha256": datamodule.pool.sha256,
        },
        "mix": OmegaConf.to_container(config.mix, resolve=True),
        "test": metrics,
        "test_sha256": datamodule.clips["test"].sha256(),
        **record.provenance(),
        "device": device,
        "command": shlex.join(["speaker-count", "evaluate", *sys.argv[1:]]),
    }
    record.write_json(path, evaluation)
    print(f"test accuracy {metrics['accuracy']:.4f}, loss {metrics['loss']:.4f}: {path}")
