"""Configs, composed for the verbs that are not Hydra programs themselves.

Nothing here imports torch until a run's objects are asked for: what Hydra refuses, it refuses at once.
"""

from __future__ import annotations

import contextlib
import itertools
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hydra import compose as hydra_compose
from hydra import initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Glob, Override
from hydra.errors import InstantiationException, MissingConfigException
from hydra.types import RunMode
from hydra.utils import instantiate
from omegaconf import DictConfig, OmegaConf, open_dict
from omegaconf.errors import OmegaConfBaseException

from speaker_count import CONFIG_DIR
from speaker_count.errors import UserError
from speaker_count.results import checks

if TYPE_CHECKING:
    from speaker_count.results.record import RunResult
    from speaker_count.training.module import SpeakerCounter
    from speaker_count.training.recipe import Recipe

# where a user's speech is and comes from: never taken from a run, which may come from anywhere
PLACES = (
    "data.source", "data.root", "data.cache", "data.url", "data.utterance_list", "data.resample", "data.voices",
    "data.sentences", "mix.augment.noise_root", "mix.augment.response_root",
)  # fmt: skip
OWN = ("folder", "manifest")  # the names of these corpora have another name behind that of their config
PLAIN_PATH = re.compile(r"[A-Za-z0-9_./+-]+")  # needs no quotes in Hydra's grammar


def _override_hash(overrides: Sequence[str], *named: str) -> str:
    """As `run_folder.override_hash`, for the names of folders."""
    from speaker_count.training import run_folder

    return run_folder.override_hash(overrides, *named)


def _own_name(*arguments: Any) -> str:
    """As `run_folder.own_name`, for the names of folders."""
    from speaker_count.training import run_folder

    return run_folder.own_name(*arguments)


OmegaConf.register_new_resolver("override_hash", _override_hash, replace=True)
OmegaConf.register_new_resolver("own_name", _own_name, replace=True)


def compose(overrides: Sequence[str], config_dir: str | Path | None = None, with_hydra: bool = False) -> DictConfig:
    """The config that `speaker-count train` would run with these overrides.

    Args:
        config_dir: a folder of the user's own configs, as Hydra's `--config-dir`; their nets may be in it, too.
        with_hydra: with the `hydra` node.
    """
    with _installed(config_dir) as own:
        return hydra_compose("config", [*overrides, *own], return_hydra_config=with_hydra)


@contextlib.contextmanager
def _installed(config_dir: str | Path | None) -> Iterator[list[str]]:
    """Let Hydra find the installed configs; yields the overrides with which it finds the user's own, too."""
    own = []
    if config_dir:
        folder = str(Path(config_dir).absolute())
        if not Path(folder).is_dir():
            raise UserError(f"--config-dir {config_dir}: there is no such folder")
        sys.path.append(folder)
        own = [f"hydra.searchpath=[file://{folder}]"]
    with initialize_config_dir(str(CONFIG_DIR), version_base="1.3"):
        yield own


def compose_grid(
    overrides: Sequence[str], config_dir: str | Path | None = None, multirun: bool = False
) -> list[tuple[DictConfig, Path]]:
    """The runs that `speaker-count train` would do with these overrides: one, or those of Hydra's basic sweeper.

    Args:
        config_dir: as for `compose`.
        multirun: as Hydra's `--multirun`. It is a sweep anyhow if an override has several values or the experiment
            says so.

    Returns:
        For each run, its config (with the `hydra` node) and its folder.

    Raises:
        UserError: another sweeper chooses the runs.
    """
    parser = OverridesParser.create()
    parsed = parser.parse_overrides(list(overrides))
    fixed = [str(override.input_line) for override in parsed if not override.is_sweep_override()]
    hydra = compose(fixed, config_dir, with_hydra=True).hydra
    if not (multirun or len(fixed) < len(parsed) or hydra.mode == RunMode.MULTIRUN):
        config = compose(overrides, config_dir, with_hydra=True)
        return [(config, Path(config.hydra.run.dir))]
    sweeper = hydra.runtime.choices["hydra/sweeper"]
    if sweeper != "basic":
        raise UserError(
            f"hydra/sweeper={sweeper} chooses its runs while it sweeps: only hydra/sweeper=basic can be forecast"
        )
    params = parser.parse_overrides([f"{key}={value}" for key, value in (hydra.sweeper.get("params") or {}).items()])
    choices: dict[str, list[str]] = {}
    for override in [*params, *parsed]:  # of a key with several values, the last one counts, in the first one's place
        choices[override.get_key_element()] = _values(override, config_dir)
    grid = [compose(list(chosen), config_dir, with_hydra=True) for chosen in itertools.product(*choices.values())]
    for number, config in enumerate(grid):
        with open_dict(config):
            config.hydra.mode, config.hydra.job.num, config.hydra.job.id = RunMode.MULTIRUN, number, str(number)
    return [(config, Path(config.hydra.sweep.dir, config.hydra.sweep.subdir)) for config in grid]


def _values(override: Override, config_dir: str | Path | None) -> list[str]:
    """The overrides with one value each that an override stands for."""
    value = override.value()
    if isinstance(value, Glob):
        with _installed(config_dir) as own:
            loader = GlobalHydra.instance().config_loader()
            values = value.filter(loader.get_group_options(override.key_or_group, overrides=own))
    elif override.is_sweep_override():
        values = list(override.sweep_string_iterator())
    else:
        values = [override.get_value_element_as_str()]
    return [f"{override.get_key_element()}={value}" for value in values]


def recipe(
    config: DictConfig,
    choices: Mapping[str, str] | None = None,
    overrides: Sequence[str] = (),
    only: Sequence[str] | None = None,
) -> Recipe:
    """The recipe of a run.

    Args:
        config: without the `hydra` node.
        choices: of the groups; see `hydra.runtime.choices`.
        overrides: the user's.
        only: the groups to resolve; None: all, which needs a Hydra program.
    """
    from speaker_count.training.recipe import Recipe

    values = {str(key): plain(config[key]) for key in (config if only is None else only)}
    return Recipe(values, dict(choices or {}), list(overrides), build)


def build(config: Any, *args: Any, **values: Any) -> Any:
    """As Hydra's `instantiate`.

    Raises:
        UserError: a class does not take its arguments.
    """
    try:
        return instantiate(config, *args, **values)
    except InstantiationException as error:
        cause = error.__cause__ or error
        if isinstance(cause, TypeError) or "has incorrect arguments" in str(cause):
            raise UserError(str(cause).splitlines()[0]) from error
        raise


def quoted(path: Path) -> str:
    """A path as the value of an override, whatever letters it has."""
    text = str(path)
    if PLAIN_PATH.fullmatch(text):
        return text
    text = re.sub(r"\\+(?='|$)", r"\g<0>\g<0>", text)  # a backslash escapes only a quote
    return "'" + text.replace("'", "\\'") + "'"


def plain(node: Any) -> Any:
    """A config's node as resolved plain values."""
    return OmegaConf.to_container(node, resolve=True) if OmegaConf.is_config(node) else node


def find_own_nets(hydra: Any) -> None:
    """Let a user's own nets in Hydra's `--config-dir` be imported; `hydra` is the config's node of that name."""
    for source in hydra.runtime.config_sources:
        if source.provider == "command-line" and source.path not in sys.path:
            sys.path.append(source.path)


def rebuild(result: RunResult, config_dir: str | Path | None = None) -> SpeakerCounter:
    """The net of a finished run, without its weights.

    A run may come from anywhere: the installed config of the net's name says which classes are built; the run gives
    plain values only, which `RunResult.read` has checked.

    Raises:
        UserError: no config of that name is installed, or it does not take the run's values.
    """
    model = _model_of(result, config_dir)
    try:
        module: SpeakerCounter = instantiate(model, _convert_="all")
    except InstantiationException as error:
        raise _other_config(result, error) from error
    return module


def _model_of(result: RunResult, config_dir: str | Path | None) -> DictConfig:
    """The installed config of a run's net, with the run's values."""
    try:
        model = compose([f"model={result.model}"], config_dir).model
    except MissingConfigException as error:
        raise UserError(
            f"no config of the net {result.model} is installed: name its folder with --config-dir DIR"
        ) from error
    from speaker_count.training.recipe import TRAINING

    net = {key: value for key, value in result.net.items() if key not in TRAINING}
    try:
        merged = OmegaConf.merge(model, net)
    except OmegaConfBaseException as error:
        raise _other_config(result, error) from error
    assert isinstance(merged, DictConfig)
    return merged


def _other_config(result: RunResult, error: Exception) -> UserError:
    reason = str(error).splitlines()[0]
    return UserError(f"the installed config of the net {result.model} is not that of the run: {reason}")


def _data_config(data: Mapping[str, Any]) -> str:
    """The name of the config of a run's data; the corpora of one's own are named after their folders, too."""
    name: str = data["name"]
    source = data.get("source")
    return source if source in OWN and name.startswith(f"{source}-") else name


def compose_like(result: RunResult, overrides: Sequence[str], config_dir: str | Path | None = None) -> DictConfig:
    """The config of a run's net, data and mix, with some of it overridden. Where the speech is, the run does not say.

    Raises:
        UserError: no config of a name that the run has is installed.
    """
    from speaker_count.training import run_folder

    named = {override.split("=", 1)[0].lstrip("+") for override in overrides}
    names = {"data": _data_config(result.data), "mix": result.mix["name"]}
    names = {group: name for group, name in names.items() if group not in named}
    base = [f"{group}={name}" for group, name in names.items()]
    try:
        for group, name in names.items():
            if not checks.is_name(name):
                raise UserError(f"{group}.name={name} is not the name of a config: name one with {group}=NAME")
        config = compose([*base, *overrides], config_dir)
    except MissingConfigException as error:
        raise UserError(
            f"{str(error).splitlines()[0]}: name the folder of that config with --config-dir DIR, or another config "
            "with data=NAME or mix=NAME"
        ) from error
    for group in {"data", "mix"} - named:
        known = {key for key, _ in run_folder.leaves(plain(config[group]), f"{group}.")}
        for key, value in run_folder.leaves(getattr(result, group), f"{group}."):
            overridden = any(key == name or key.startswith(f"{name}.") for name in named)
            overridden = overridden or (key == "data.name" and "data.root" in named)  # another corpus
            # a mix without augmentation has no keys of it
            is_known = key in known or (key.startswith("mix.augment.") and "mix.augment" in known)
            if is_known and not key.startswith(PLACES) and not overridden:
                OmegaConf.update(config, key, value, force_add=True)
    config.model = _model_of(result, config_dir)
    return config
