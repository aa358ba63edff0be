"""`speaker-count train`: one run, or with --multirun a sweep.

What trains is imported once Hydra has composed the config: torch and Lightning take seconds.
"""

from __future__ import annotations

import contextlib
import logging.handlers
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import hydra
from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf

from speaker_count import CONFIG_DIR, files
from speaker_count.compose import find_own_nets, recipe
from speaker_count.errors import user_error
from speaker_count.training import processes, streams
from speaker_count.training.importing import importing
from speaker_count.training.memory import keep_freed_memory
from speaker_count.training.quiet import quiet
from speaker_count.training.secrets import masked

if TYPE_CHECKING:
    from speaker_count.results.record import RunResult

log = logging.getLogger(__name__)


class RunLog(logging.handlers.WatchedFileHandler):
    """A run's log. It is opened again after the folder was moved aside; a disk that does not take it ends no run, which
    says by itself what it cannot write.
    """

    def __init__(self, path: Path):
        super().__init__(path, encoding="utf-8", delay=True)
        self._path = path
        self.setFormatter(logging.Formatter("[%(asctime)s][%(levelname)s] %(message)s"))

    def emit(self, record: logging.LogRecord) -> None:
        if self._path.is_symlink():  # in a folder from elsewhere, it may lead anywhere
            return
        with contextlib.suppress(OSError):
            super().emit(record)

    def close(self) -> None:
        with contextlib.suppress(OSError):  # what is left over of a line, on a full disk
            super().close()


def train(config: DictConfig, path: Path) -> RunResult:
    """Do a run in its folder: skip it if it is finished, resume it if it was interrupted."""
    if config.trainer.get("strategy") == "ddp":
        processes.start_server()  # it imports what the other ranks need while this process imports too
    with importing():
        import pandas  # noqa: F401  (pyarrow would import it later, at its first conversion)

        from speaker_count.training import fit

    quiet()  # Lightning sets its level while it is imported
    keep_freed_memory()
    made = recipe(config, HydraConfig.get().runtime.choices, HydraConfig.get().overrides.task)
    ranks = fit.check(made)
    data = made.data()
    data.source.check_trains(data.name)
    data.check_divides(ranks)
    data.setup()
    with fit.claim(made, data, path).claimed() as folder:
        if folder.result is not None:
            streams.say(f"{path} is finished already")
            return folder.result
        (path / ".hydra").mkdir(exist_ok=True)
        for name, node in (("config", config), ("overrides", HydraConfig.get().overrides.task)):
            files.write_text(path / ".hydra" / f"{name}.yaml", OmegaConf.to_yaml(masked(OmegaConf.to_container(node))))
        return fit.train(made, folder, data, ranks)


def run(config: DictConfig) -> float:
    """Do the run of a job, and log in its folder how it went; Hydra calls this.

    Returns:
        `optimized_metric` after the last epoch, for the sweeper of a search.

    Raises:
        Exception: within a sweep, whatever made the run fail. A single run that fails ends the process, with exit
            code 2 if the user can mend it.
    """
    hydra_config = HydraConfig.get()
    path = Path(hydra_config.runtime.output_dir)
    handler = RunLog(path / "train.log")
    logging.getLogger().addHandler(handler)
    logging.raiseExceptions = False  # a log on a full disk; the run says that the disk is full
    try:
        files.check_no_links(path)
        find_own_nets(hydra_config)
        result = train(config, path)
        return result.last.value(config.optimized_metric)
    except Exception as error:
        mistake = user_error(error, "speaker-count train")
        if mistake is None:
            log.exception("the run failed")
        else:
            from speaker_count.results.record import is_finished

            print(mistake, file=sys.stderr)
            if not is_finished(path):  # a finished run's folder stays as it is
                handler.handle(logging.makeLogRecord({"levelname": "ERROR", "msg": str(mistake)}))
        if hydra_config.mode == RunMode.MULTIRUN:
            raise
        sys.exit(1 if mistake is None else 2)
    finally:
        logging.getLogger().removeHandler(handler)
        handler.close()
        streams.let_go()  # a run is done, whoever reads what it says


main = hydra.main(config_path=str(CONFIG_DIR), config_name="config", version_base="1.3")(run)
