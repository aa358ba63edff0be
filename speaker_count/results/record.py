"""The files of a finished run: result.json and predictions.parquet, and what stands in them."""

import contextlib
import json
import logging
import os
import platform
import re
import resource
import subprocess
import sys
from collections.abc import Mapping, Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from speaker_count.errors import UserError

log = logging.getLogger(__name__)
SCHEMA = 1
MOVED_ASIDE = re.compile(r"\.\d{4}-\d\d-\d\d_\d\d-\d\d-\d\d$")  # by force=true
REQUIRED = {"model", "seed", "data", "mix", "net", "last", "best", "fit_seconds", "identity", "test_sha256"}


def write_json(path: Path, values: Mapping[str, Any]) -> None:
    """Write a file that is there whole or not at all."""
    partial = path.with_name(path.name + ".partial")
    partial.write_text(json.dumps(values, indent=1) + "\n")
    os.replace(partial, path)


def read_result(folder: Path) -> dict[str, Any]:
    """The result of a finished run.

    Raises:
        UserError: there is none, it is torn, or of another schema.
    """
    path = folder / "result.json"
    try:
        result = json.loads(path.read_text())
    except OSError as error:
        raise UserError(f"{folder} holds no finished run: cannot read {path} ({error.strerror})") from error
    except ValueError as error:
        raise UserError(f"{path} is torn ({error}); delete it and give the run's command again") from error
    schema = result.get("schema") if isinstance(result, dict) else None
    if schema != SCHEMA:
        raise UserError(f"{path} has schema {schema}, this version reads {SCHEMA}: run it again with force=true")
    missing = REQUIRED.difference(result)
    if missing:
        raise UserError(
            f"{path} is not complete ({', '.join(sorted(missing))}): delete it and give the run's command again"
        )
    return result


def finished(folder: Path) -> dict[Path, dict[str, Any]]:
    """The finished runs in a folder, however deep, and their results; what cannot be read is told and left out.

    Raises:
        UserError: there is none.
    """
    if not folder.is_dir():
        raise UserError(f"no folder {folder}: name a run's or a sweep's, such as multirun/paper-librispeech-paper")
    results, told = {}, []
    for path in sorted(folder.rglob("result.json")):
        if any(MOVED_ASIDE.search(name) for name in path.relative_to(folder).parts):
            continue
        try:
            results[path.parent] = read_result(path.parent)
        except UserError as error:
            told.append(str(error))
            log.warning("left out: %s", error)
    if not results:
        reason = f" ({told[0]})" if told else ""
        raise UserError(f"no finished run in {folder}{reason}: give the command of the run or sweep again, it goes on")
    return results


def unfinished(folder: Path) -> list[str]:
    """Names of the runs in a folder that were begun and have no result."""
    begun = (path.parent for path in sorted(folder.rglob("identity.json")))
    return [path.name for path in begun if not (path / "result.json").is_file() and not MOVED_ASIDE.search(path.name)]


def write_predictions(path: Path, columns: Mapping[str, np.ndarray | Sequence]) -> None:
    """Write the predictions of test clips: `index, count, predicted, p_1, p_2, ..., speakers, utterances, starts,
    sexes`; `p_N` is the probability of the N-th class, and `speakers` to `sexes` say where the clip came from.
    """
    partial = path.with_name(path.name + ".partial")
    pq.write_table(pa.table(dict(columns)), partial)
    os.replace(partial, path)


def provenance() -> dict[str, Any]:
    """The commit of this checkout (None where it is none), and the versions of what computes."""
    folder = Path(__file__).parent
    try:
        git = ["git", "-C", str(folder), "rev-parse", "--show-toplevel", "HEAD"]
        top, commit = subprocess.run(git, capture_output=True, text=True, check=True, timeout=10).stdout.split("\n")[:2]
        commit = commit if folder.parent.parent == Path(top).resolve() else None  # not of a project around this one
    except (OSError, subprocess.SubprocessError):
        commit = None
    packages = ("speaker-count", "torch", "torchaudio", "pytorch-lightning", "hydra-core", "numpy", "soundfile")
    versions = {"python": platform.python_version(), **{name: metadata.version(name) for name in packages}}
    return {"commit": commit, "versions": versions}


def reset_peak_memory() -> None:
    """Begin to measure anew, where the system can (Linux): the runs of a sweep share a process."""
    with contextlib.suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")


def peak_memory_bytes() -> int:
    """The most resident memory since `reset_peak_memory`; where the system cannot reset, since the process began."""
    try:
        line = re.search(r"VmHWM:\s*(\d+) kB", Path("/proc/self/status").read_text())
        return int(line[1]) * 1024
    except (OSError, TypeError):
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
