"""A run's folder: what the run is, whether it may write there, and what it leaves when it fails."""

import contextlib
import datetime
import hashlib
import json
import logging
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import filelock

from speaker_count.errors import UserError
from speaker_count.results import record

log = logging.getLogger(__name__)

# what changes where and how a run is computed, shown or logged, but not what comes out
OUTSIDE = (
    "force",
    "hydra",
    "logger",
    "data.root",
    "data.cache",
    "data.url",
    "data.seed",  # as the run's
    "data.evaluate_train",  # as the run's
    "trainer._target_",
    "trainer.accelerator",
    "trainer.callbacks",
    "trainer.devices",
    "trainer.enable_model_summary",
    "trainer.enable_progress_bar",
    "trainer.logger",
    "trainer.num_nodes",
    "trainer.plugins",
    "trainer.profiler",
    "trainer.strategy",
)
ELSEWHERE = "name another folder (hydra.run.dir=, hydra.sweep.dir=), or give force=true, which moves it aside"
NAMED = ("data", "mix", "model", "experiment", "seed")  # they stand in the folder's name


def changes(overrides: Sequence[str]) -> list[str]:
    """The overrides that make another run and that the folder's name does not tell otherwise, sorted."""
    key = re.compile(r"[+~]*([^=@]+)")
    return sorted(
        override for override in overrides if not _is_outside(name := key.match(override)[1]) and name not in NAMED
    )


def override_hash(overrides: Sequence[str]) -> str:
    """`-` and a hash of the changes; empty where there are none."""
    changed = changes(overrides)
    return "-" + hashlib.sha256("\n".join(changed).encode()).hexdigest()[:8] if changed else ""


def _is_outside(key: str) -> bool:
    return any(key == outside or key.startswith((f"{outside}.", f"{outside}/")) for outside in OUTSIDE)


def identity(config: Mapping[str, Any], choices: Mapping[str, str], corpus_sha256: str) -> dict[str, Any]:
    """What a run is, as dotted keys and plain values: two runs with equal identities give equal results.

    A key whose value is None is left out: a choice that is not made is no part of what a run is.

    Args:
        config: the resolved config, plain.
        choices: of the groups `data`, `mix` and `model`.
        corpus_sha256: of the index of the corpus, wherever it lies.
    """
    values = {key: value for key, value in leaves(config) if value is not None and not _is_outside(key)}
    names = {group: choices[group] for group in ("data", "mix", "model")}
    return {**names, "corpus": corpus_sha256, **values}


def leaves(tree: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """The values of a tree by their dotted keys."""
    for key, value in tree.items():
        if isinstance(value, Mapping):
            yield from leaves(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def short_hash(identity: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()[:8]


class Job:
    """A run that owns its folder while it is entered.

    Attributes:
        folder: where all its files are.
        result: what is in `result.json`, if the run was finished before.
    """

    def __init__(self, folder: Path, identity: Mapping[str, Any], force: bool = False):
        self.folder, self.identity, self.force = folder, dict(identity), force
        self.result: dict[str, Any] | None = None

    @property
    def checkpoint(self) -> Path | None:
        """Where an unfinished run goes on."""
        path = self.folder / "checkpoints" / "last.ckpt"
        return path if path.is_file() else None

    @contextlib.contextmanager
    def claimed(self) -> Iterator["Job"]:
        """Lock the folder, and see that it is this run's.

        Raises:
            UserError: another process runs in it, or it holds another run.
        """
        self.folder.parent.mkdir(parents=True, exist_ok=True)
        lock = filelock.FileLock(self.folder.parent / f".{self.folder.name}.lock")
        try:
            lock.acquire(blocking=False)
        except filelock.Timeout as error:
            raise UserError(f"another process is running {self.folder}; wait for it, or stop it") from error
        try:
            self._open()
            yield self
        finally:
            lock.release()

    def _open(self) -> None:
        path = self.folder / "identity.json"
        others = (
            [entry.name for entry in self.folder.iterdir() if entry.name != "train.log"] if self.folder.is_dir() else []
        )
        if self.force and others:
            aside = self.folder.with_name(f"{self.folder.name}.{datetime.datetime.now():%Y-%m-%d_%H-%M-%S}")
            self.folder.rename(aside)
            self.folder.mkdir()
            log.info("moved what was there to %s", aside)
        elif others and not path.is_file():
            raise UserError(f"{self.folder} holds something else than a run ({others[0]} for one); {ELSEWHERE}")
        self.folder.mkdir(exist_ok=True)
        if path.is_file():
            try:
                self._compare(dict(json.loads(path.read_text())))
            except (ValueError, TypeError) as error:
                raise UserError(f"{path} is torn, so that nobody knows which run this is; {ELSEWHERE}") from error
            if (self.folder / "result.json").is_file():
                self.result = record.read_result(self.folder)
        else:
            record.write_json(path, self.identity)

    def _compare(self, before: Mapping[str, Any]) -> None:
        keys = sorted(key for key in {*before, *self.identity} if before.get(key) != self.identity.get(key))
        if keys:
            differences = ", ".join(f"{key}={before.get(key)} there, {self.identity.get(key)} now" for key in keys)
            raise UserError(f"{self.folder} holds another run: {differences}; {ELSEWHERE}")
