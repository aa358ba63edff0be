"""Configs, composed for the verbs that are not Hydra programs themselves."""

import itertools
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from hydra import compose as hydra_compose
from hydra import initialize_config_dir
from hydra.core.config_loader import ConfigLoader
from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf, open_dict

from speaker_count import CONFIG_DIR, jobs

OmegaConf.register_new_resolver("override_hash", jobs.override_hash, replace=True)  # the folders' names have it


def compose(overrides: Sequence[str], config_dir: str | Path | None = None) -> DictConfig:
    """The config that `speaker-count train` would run with these overrides.

    Args:
        config_dir: a folder of the user's own configs, as Hydra's `--config-dir`; their nets may be in it, too.
    """
    with initialize_config_dir(str(CONFIG_DIR), version_base="1.3"):
        return hydra_compose("config", [*overrides, *_own(config_dir)])


def compose_jobs(
    overrides: Sequence[str], config_dir: str | Path | None = None, sweep: bool = False
) -> list[tuple[DictConfig, Path]]:
    """The jobs that `speaker-count train` would run with these overrides.

    Args:
        config_dir: as for `compose`.
        sweep: as Hydra's `--multirun`. It is one anyhow if an override has several values or the experiment says so.

    Returns:
        Of each job its config, which has the `hydra` node, and its folder.
    """
    with initialize_config_dir(str(CONFIG_DIR), version_base="1.3"):
        hydra = GlobalHydra.instance().hydra
        config = hydra.compose_config("config", [*overrides, *_own(config_dir)], RunMode.MULTIRUN)
        several = any(override.is_sweep_override() for override in _parsed(hydra.config_loader, overrides))
        sweep = sweep or several or config.hydra.mode == RunMode.MULTIRUN
        return list(expand(hydra.config_loader, config, sweep))


def expand(loader: ConfigLoader, config: DictConfig, sweep: bool = True) -> Iterator[tuple[DictConfig, Path]]:
    """The jobs of a sweep as Hydra's own sweeper has them, or the only job of a run: config and folder.

    Args:
        config: composed for a sweep, with the `hydra` node.
    """
    params = (config.hydra.sweeper.get("params") or {}) if sweep else {}
    choices: dict[str, list[str]] = {}
    arguments = [*(f"{key}={value}" for key, value in params.items()), *config.hydra.overrides.task]
    for override in _parsed(loader, arguments):  # of a key that is there twice, the last counts, in the first's place
        values = override.sweep_string_iterator() if override.is_sweep_override() else None
        key = override.get_key_element()
        choices[key] = [f"{key}={value}" for value in values or [override.get_value_element_as_str()]]
    for number, overrides in enumerate(itertools.product(*choices.values())):
        job = loader.load_sweep_config(config, list(overrides))
        with open_dict(job):
            job.hydra.mode = RunMode.MULTIRUN if sweep else RunMode.RUN
            job.hydra.job.num, job.hydra.job.id = number, str(number)
        yield job, Path(job.hydra.sweep.dir, job.hydra.sweep.subdir) if sweep else Path(job.hydra.run.dir)


def find_own_nets(hydra: DictConfig) -> None:
    """Let a user's own nets in Hydra's `--config-dir` be imported; `hydra` is the config's node of that name."""
    for source in hydra.runtime.config_sources:
        if source.provider == "command-line" and source.path not in sys.path:
            sys.path.append(source.path)


def _own(config_dir: str | Path | None) -> list[str]:
    if not config_dir:
        return []
    folder = str(Path(config_dir).absolute())
    sys.path.append(folder)
    return [f"hydra.searchpath=[file://{folder}]"]


def _parsed(loader: ConfigLoader, overrides: Sequence[str]) -> list:
    return OverridesParser.create(config_loader=loader).parse_overrides(list(overrides))
