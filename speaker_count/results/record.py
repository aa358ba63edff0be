"""The files of a finished run, `result.json` and `predictions.parquet`, and their contents."""

import contextlib
import dataclasses
import json
import logging
import math
import platform
import re
import subprocess
import typing
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib import metadata
from pathlib import Path
from typing import Any, Self

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from speaker_count import files
from speaker_count.errors import UserError
from speaker_count.labels import METRIC_PREFIXES, metric_key
from speaker_count.results import checks

log = logging.getLogger(__name__)
SCHEMA = 1
DIVERGED = "diverged.json"  # in the folder of a run that did
MOVED_ASIDE = re.compile(r"\.\d{4}-\d\d-\d\d_\d\d-\d\d-\d\d$")  # by force=true
PACKAGES = ("speaker-count", "torch", "torchaudio", "pytorch-lightning", "hydra-core", "numpy", "soundfile")


@dataclass(frozen=True, kw_only=True)
class Record:
    """The contents of a JSON file, without its schema. Configs are plain values and do not name classes."""

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """Check a file's values, which may come from anywhere.

        Raises:
            ValueError: some are missing, or of another type than their field's.
        """
        fields, hints = dataclasses.fields(cls), typing.get_type_hints(cls)
        known = {each.name: checks.without_classes(values[each.name]) for each in fields if each.name in values}
        missing = [each.name for each in fields if each.name not in known and each.default is dataclasses.MISSING
                   and each.default_factory is dataclasses.MISSING]  # fmt: skip
        if missing:
            raise ValueError(f"it lacks {', '.join(sorted(missing))}")
        for name, value in known.items():
            if not checks.fits(value, hints[name]):
                raise ValueError(f"{name}={checks.short(value)} has the wrong type or is out of range")
        return cls(**known)

    def write(self, path: Path) -> None:
        """Write the file whole or not at all."""
        files.write_json(path, {"schema": SCHEMA, **checks.written(dataclasses.asdict(self))})


@dataclass(frozen=True, kw_only=True)
class Scores(Record):
    """A net's metrics after an epoch, by split and name; `test` has the confusion matrix too (true, predicted class).

    `running` holds averages over the training steps; all others were measured in evaluation mode.
    """

    epoch: int
    running: Mapping[str, Any] = field(default_factory=dict)
    train: Mapping[str, Any] = field(default_factory=dict)
    validation: Mapping[str, Any] = field(default_factory=dict)
    test: Mapping[str, Any] = field(default_factory=dict)

    def of(self, split: str) -> Mapping[str, Any]:
        """The metrics of a split."""
        metrics: Mapping[str, Any] = getattr(self, split)
        return metrics

    def value(self, key: str) -> float:
        """A metric by its key, such as `val/accuracy`; NaN if it was not measured."""
        named = {metric_key(split, name): value for split in METRIC_PREFIXES for name, value in self.of(split).items()}
        return float(named.get(key, math.nan))


@dataclass(frozen=True, kw_only=True)
class RunResult(Record):
    """A finished run.

    Attributes:
        model, paper_name, kind: the net's config; what the paper calls it, if it does; "waveform" or "spectrogram".
        training: optimizer, schedule, callbacks and the trainer's settings, with the names of their classes.
        parameters: number of trained parameters of the net.
        identity: hash of the run's identity, in eight characters.
        data, mix, net: their configs; `data` also has `speakers` by split, `corpus_sha256` and `samples_sha256`.
        last, best: the metrics at the last epoch, and at the epoch of the best validation accuracy.
        validation_sha256, test_sha256: hashes of the rendered clips.
        processes: number of ranks that trained.
        changes: the overrides that the folder's name does not show.
    """

    model: str
    seed: int
    identity: str
    data: Mapping[str, Any]
    mix: Mapping[str, Any]
    net: Mapping[str, Any]
    last: Scores
    best: Scores
    fit_seconds: float
    test_sha256: str
    paper_name: str | None = None
    kind: str = "waveform"
    training: Mapping[str, Any] = field(default_factory=dict)
    parameters: int = 0
    epochs: int = 0
    clips_per_second: float | None = None
    peak_memory_bytes: int | None = None
    validation_sha256: str = ""
    commit: str | None = None
    versions: Mapping[str, str] = field(default_factory=dict)
    device: str = "cpu"
    processes: int = 1
    changes: Sequence[str] = ()
    command: str = ""

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """As `Record.from_dict`."""
        scores = {when: values[when] for when in ("last", "best") if isinstance(values.get(when), Mapping)}
        result = super().from_dict({**values, **{when: Scores.from_dict(each) for when, each in scores.items()}})
        checks.check_run({**vars(result), **scores})
        return result

    @classmethod
    def read(cls, folder: Path) -> Self:
        """The result of a finished run, from its folder.

        Raises:
            UserError: there is none, it is damaged, or of another schema.
        """
        path = folder / "result.json"
        try:
            values = json.loads(path.read_text())
        except OSError as error:
            raise UserError(f"{folder} holds no finished run: cannot read {path} ({error.strerror})") from error
        except (ValueError, RecursionError) as error:
            raise UserError(f"{path} is damaged ({error}); delete it and give the run's command again") from error
        schema = values.get("schema") if isinstance(values, dict) else None
        if schema != SCHEMA:
            shown = checks.short(schema)
            raise UserError(f"{path} has schema {shown}, this version reads {SCHEMA}: run it again with force=true")
        try:
            return cls.from_dict(values)
        except (ValueError, TypeError, RecursionError) as error:
            raise UserError(
                f"{path} is not a run's result: {error}; ask for another copy, or do the run again with force=true"
            ) from error

    @property
    def is_synthetic(self) -> bool:
        """Whether a synthesiser spoke; results of 0.1.0 have its settings instead of the source."""
        return self.data.get("source") == "demo" or bool(self.data.get("synthesize"))

    @property
    def written_by(self) -> str:
        """The version of speaker-count that wrote it."""
        return self.versions.get("speaker-count", "unknown")

    @property
    def counts(self) -> list[int]:
        """The numbers of speakers that the net distinguishes."""
        return list(self.net["counts"])

    @property
    def clip_samples(self) -> int:
        """The length of a clip."""
        return round(float(self.mix["clip_seconds"]) * int(self.data["sample_rate"]))


@dataclass(frozen=True, kw_only=True)
class Evaluation(Record):
    """A finished run's net on another corpus or mix; attributes as in `RunResult`, `test` as in `Scores`."""

    model: str
    seed: int
    identity: str
    data: Mapping[str, Any]
    mix: Mapping[str, Any]
    test: Mapping[str, Any]
    test_sha256: str
    commit: str | None
    versions: Mapping[str, str]
    device: str
    command: str


def is_finished(folder: Path) -> bool:
    """Whether a folder holds a finished run."""
    return (folder / "result.json").is_file()


def finished(folder: Path) -> dict[Path, RunResult]:
    """The finished runs in a folder, however deep, and their results; unreadable ones are left out with a warning.

    Raises:
        UserError: the folder has no finished run.
    """
    if not folder.is_dir():
        raise UserError(f"no folder {folder}: name that of a run or sweep, such as multirun/paper-librispeech-paper")
    results, problems = {}, []
    for path in sorted(folder.rglob("result.json")):
        if any(MOVED_ASIDE.search(name) for name in path.relative_to(folder).parts):
            continue
        try:
            results[path.parent] = RunResult.read(path.parent)
        except UserError as error:
            problems.append(str(error))
            log.warning("left out: %s", error)
    if not results:
        reason = f" ({problems[0]})" if problems else ""
        raise UserError(f"no finished run in {folder}{reason}: give the command of the run or sweep again to resume it")
    return results


def diverged(folder: Path) -> dict[str, str]:
    """How the runs in a folder that diverged did so, by their names."""
    messages = {}
    for path in sorted(folder.rglob(DIVERGED)):
        if not is_finished(path.parent) and not MOVED_ASIDE.search(path.parent.name):
            with contextlib.suppress(OSError, ValueError, KeyError, TypeError, RecursionError):
                message = json.loads(path.read_text())["message"]
                if isinstance(message, str) and message.isprintable():
                    messages[path.parent.name] = message[:500]
    return messages


def unfinished(folder: Path) -> list[str]:
    """Names of the runs in a folder that were started and have no result."""
    begun = (path.parent for path in sorted(folder.rglob("identity.json")))
    return [path.name for path in begun if not is_finished(path) and not MOVED_ASIDE.search(path.name)]


def write_predictions(path: Path, columns: Mapping[str, np.ndarray | Sequence[Any]]) -> None:
    """Write the predictions of test clips: `index, count, predicted, p_1, p_2, ..., speakers, utterances, starts,
    sexes`; `p_N` is the probability of N speakers, and `speakers` to `sexes` show where the clip comes from.
    """
    with files.replacing(path) as partial, open(partial, "wb") as file:  # pyarrow takes some paths for addresses
        pq.write_table(pa.table(dict(columns)), file)


def provenance() -> dict[str, Any]:
    """The commit of this checkout (None outside of one), and the versions of Python and of `PACKAGES`."""
    folder = Path(__file__).parent
    commit: str | None
    try:
        git = ["git", "-C", str(folder), "rev-parse", "--show-toplevel", "HEAD"]
        top, commit = subprocess.run(git, capture_output=True, text=True, check=True, timeout=10).stdout.split("\n")[:2]
        commit = commit if folder.parent.parent == Path(top).resolve() else None  # not of a project around this one
    except (OSError, subprocess.SubprocessError):
        commit = None
    versions = {"python": platform.python_version(), **{name: metadata.version(name) for name in PACKAGES}}
    return {"commit": commit, "versions": versions}
