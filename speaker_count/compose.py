"""A config, composed for the verbs that are not Hydra programs themselves."""

import sys
from collections.abc import Sequence
from pathlib import Path

from hydra import compose as hydra_compose
from hydra import initialize_config_dir
from omegaconf import DictConfig

from speaker_count import CONFIG_DIR


def compose(overrides: Sequence[str], config_dir: str | Path | None = None) -> DictConfig:
    """The config that `speaker-count train` would run with these overrides.

    Args:
        config_dir: a folder of the user's own configs, as Hydra's `--config-dir`; their nets may be in it, too.
    """
    own = []
    if config_dir:
        folder = str(Path(config_dir).absolute())
        own = [f"hydra.searchpath=[file://{folder}]"]
        sys.path.append(folder)
    with initialize_config_dir(str(CONFIG_DIR), version_base="1.3"):
        return hydra_compose("config", [*overrides, *own])
