"""A run's folder: what the run is, whether it may write there, and whether it is finished."""

import contextlib
import hashlib
import json
import logging
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import filelock

from speaker_count import files
from speaker_count.data.pool import Speech
from speaker_count.data.sounds import ROOTS
from speaker_count.errors import DivergedError, UserError
from speaker_count.results.record import DIVERGED, RunResult, is_finished

log = logging.getLogger(__name__)

SCHEMA = 2  # of an identity; 0.1.0 wrote none
SOUND_ROOTS = tuple(f"mix.augment.{key}" for key in ROOTS.values())
# what changes where and how a run is computed, shown or logged, but not what comes out
OUTSIDE = (
    "force",
    "hydra",
    "logger",
    "optimized_metric",
    "threads",
    "checkpoint_minutes",
    "data.name",  # the corpus is named by its content
    "data.source",
    "data.root",
    "data.cache",
    "data.url",
    "data.resample",
    "data.seed",  # as the run's
    "data.evaluate_train",  # as the run's
    "data.workers",
    *SOUND_ROOTS,  # recorded sounds are named by their content, too
    "trainer._target_",
    "trainer.accelerator",
    "trainer.devices",
    "trainer.enable_model_summary",
    "trainer.enable_progress_bar",
    "trainer.logger",
    "trainer.num_nodes",
    "trainer.profiler",
    "trainer.strategy",
)
ELSEWHERE = "name another folder (hydra.run.dir=, hydra.sweep.dir=), or give force=true, which moves it aside"
QUOTES = "\"'"  # around a path in an override
MOST_LETTERS = 60  # of a corpus's name in those of folders
NAMED = ("data", "mix", "model", "experiment", "seed")  # they are in the folder's name


def last_checkpoint(folder: Path) -> Path | None:
    """The checkpoint from which an unfinished run resumes."""
    path = folder / "checkpoints" / "last.ckpt"
    return path if path.is_file() else None


@contextlib.contextmanager
def marked_if_diverged(folder: Path) -> Iterator[None]:
    """Leave a note in the folder of a run that diverges; reports show it."""
    note = folder / DIVERGED
    note.unlink(missing_ok=True)
    try:
        yield
    except DivergedError as error:
        files.write_json(note, {"message": str(error)})
        raise


def epochs_done(folder: Path) -> int:
    """How many epochs an unfinished run has done."""
    metrics = folder / "metrics.csv"
    resumable = last_checkpoint(folder) is not None and metrics.is_file()
    return max(0, len(metrics.read_bytes().splitlines()) - 1) if resumable else 0


def changes(overrides: Sequence[str]) -> list[str]:
    """The overrides that make another run and that the folder's name does not show otherwise, sorted.

    One that names a folder of sounds has the folder's name only: where it lies makes no other run.
    """
    changed = []
    for override in overrides:
        key, root = key_of(override), override.partition("=")[2]
        if key in SOUND_ROOTS and root not in ("", "null"):
            changed.append(f"{key}={own_name(root.strip(QUOTES)).lstrip('-')}")
        elif not is_outside(key) and key not in NAMED:
            changed.append(override)
    return sorted(changed)


def key_of(override: str) -> str:
    """The key of an override."""
    return override.lstrip("+~").partition("=")[0].partition("@")[0]


def override_hash(overrides: Sequence[str], *named: str) -> str:
    """`-` and a hash of the changes; empty where there are none.

    Args:
        named: keys whose values the folder's name shows, too.
    """
    changed = [change for change in changes(overrides) if key_of(change) not in named]
    return "-" + hashlib.sha256("\n".join(changed).encode()).hexdigest()[:8] if changed else ""


def own_name(root: Any) -> str:
    """`-` and the name of a corpus of one's own, of letters, digits, `_`, `.` and `-`: that of its folder or manifest.

    A manifest that is called so has its folder's name; it is empty where no root is given.
    """
    if root is None:
        return ""
    path = Path(str(root)).expanduser().absolute()
    if path.suffix.lower() in (".csv", ".parquet", ".pq"):
        path = path.parent if path.stem == "manifest" else path.with_suffix("")
    name = re.sub(r"[^A-Za-z0-9_.-]+", "_", path.name).strip("._-")
    return f"-{name[:MOST_LETTERS] or 'corpus'}"


def is_outside(key: str) -> bool:
    """Whether a key of the config is no part of what a run is."""
    return any(key == outside or key.startswith((f"{outside}.", f"{outside}/")) for outside in OUTSIDE)


def identity(
    config: Mapping[str, Any], choices: Mapping[str, str], speech: Speech, sounds: Iterable[tuple[str, Speech]] = ()
) -> dict[str, Any]:
    """What a run is, as dotted keys and plain values: two runs with equal identities give equal results.

    A key whose value is None is left out: a choice that is not made is no part of what a run is.

    Args:
        config: the resolved config, plain.
        choices: of the groups `data`, `mix` and `model`.
        speech: named by its content, wherever its files are.
        sounds: recorded ones that clips are varied with, likewise, by their names.
    """
    values = {key: value for key, value in leaves(config) if value is not None and not is_outside(key)}
    names = {group: choices[group] for group in ("data", "mix", "model")}
    content = {"corpus": speech.sha256, "samples": speech.samples_sha256}
    for name, pool in sounds:
        content |= {name: pool.sha256, f"{name}_samples": pool.samples_sha256}
    return {"schema": SCHEMA, **names, **content, **values}


def read_identity(folder: Path) -> dict[str, Any]:
    """The identity in a run's folder; empty where it is damaged or not there."""
    with contextlib.suppress(OSError, ValueError, TypeError, RecursionError):
        return dict(json.loads((folder / "identity.json").read_text()))
    return {}


def leaves(tree: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """The values of a tree by their dotted keys."""
    for key, value in tree.items():
        if isinstance(value, Mapping):
            yield from leaves(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def short_hash(identity: Mapping[str, Any]) -> str:
    """An identity in eight characters."""
    return hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()[:8]


class RunFolder:
    """The folder of a run, which owns it while it is claimed.

    Attributes:
        result: what the folder holds, if the run was finished before it was claimed.
    """

    def __init__(self, path: Path, identity: Mapping[str, Any], force: bool = False):
        self.path, self.identity, self.force = path, dict(identity), force
        self.result: RunResult | None = None

    @contextlib.contextmanager
    def claimed(self) -> Iterator["RunFolder"]:
        """Lock the folder, and see that it is this run's.

        Raises:
            UserError: another process runs in it, or it holds another run.
        """
        self.path.parent.mkdir(parents=True, exist_ok=True)
        lock = filelock.FileLock(self.path.parent / f".{self.path.name}.lock")
        try:
            lock.acquire(blocking=False)
        except filelock.Timeout as error:
            raise UserError(f"another process is running {self.path}; wait for it, or stop it") from error
        try:
            self._open()
            yield self
        finally:
            lock.release()

    def _open(self) -> None:
        entries = self.path.iterdir() if self.path.is_dir() else ()
        # a run that was killed while it began may have left these
        others = [entry.name for entry in entries if entry.name != "train.log" and entry.suffix != files.PARTIAL]
        if self.force and others:
            self.path.rename(aside := files.aside(self.path))
            self.path.mkdir(exist_ok=True)  # for the log, which is opened anew; another process may just have made it
            log.info("moved the old folder to %s", aside)
        path = self.path / "identity.json"
        if not self.force and others and not path.is_file():
            raise UserError(f"{self.path} holds something other than a run ({others[0]}); {ELSEWHERE}")
        self.path.mkdir(exist_ok=True)
        if not path.is_file():
            files.write_json(path, self.identity)
            return
        self._compare(path)
        if is_finished(self.path):
            self.result = RunResult.read(self.path)

    def _compare(self, path: Path) -> None:
        before = read_identity(self.path)
        if not before:
            raise UserError(f"{path} is damaged, so that it is unclear which run this is; {ELSEWHERE}")
        if before.get("schema") != SCHEMA:
            version = "version 0.1.0" if "schema" not in before else "another version"
            raise UserError(f"{self.path} was written by {version} of speaker-count; resume it with that, {ELSEWHERE}")
        keys = sorted(key for key in {*before, *self.identity} if before.get(key) != self.identity.get(key))
        if keys:
            differences = ", ".join(f"{key}={before.get(key)} there, {self.identity.get(key)} now" for key in keys)
            raise UserError(f"{self.path} holds another run: {differences}; {ELSEWHERE}")
