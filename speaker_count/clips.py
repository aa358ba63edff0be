"""`speaker-count clips data=... out=DIR`: write the clips that training streams as WAV files, with their metadata.

Given again, the command goes on where it was cut off, and mends what is missing or altered; what is there and right
is left alone. `data=clips data.root=DIR` trains from the files.
"""

import argparse
import contextlib
import hashlib
import itertools
import json
import logging
import os
import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import filelock
import numpy as np
import pyarrow as pa
from hydra.utils import instantiate
from tqdm import tqdm

from speaker_count.compose import compose
from speaker_count.data import metadata, mixing, wav_folder
from speaker_count.data.corpus import SPLITS
from speaker_count.data.datamodule import ClipDataModule
from speaker_count.errors import UserError

LOCK = ".lock"
PARTIAL = ".partial"


def write(datamodule: ClipDataModule, folder: Path, arguments: Sequence[str], workers: int) -> int:
    """Write the clips of all splits to a folder that is empty or holds some of them.

    Args:
        datamodule: set up.
        arguments: with which the command writes these clips, for whoever has to mend them.

    Returns:
        How many clips were written; the others were there.

    Raises:
        UserError: the folder holds other clips, or cannot be written.
    """
    description = {
        "schema": wav_folder.SCHEMA,
        "arguments": list(arguments),
        "data": datamodule.name,
        "synthetic": datamodule.synthesize is not None,
        "corpus_sha256": datamodule.pool.sha256,
        "speakers": datamodule.speakers(),
        "sample_rate": datamodule.sample_rate,
        "mix": asdict(datamodule.mix),
        "metadata": None,
    }
    path = folder / wav_folder.DESCRIPTION
    new = not path.exists()
    if not new:
        _compare(folder, datamodule)
    written, sha256 = 0, {}
    bar = tqdm(total=sum(datamodule.mix.clips.values()), desc="writing", unit="clip", disable=None)
    with bar, _told_what_cannot_be_written(folder):
        if new:
            put(str(path), _json(description))
        for split in SPLITS:
            table, newly = _write_split(datamodule, split, folder, workers, bar)
            written += newly
            for name, content in zip(metadata.file_names(split), metadata.contents(table), strict=True):
                put(f"{folder}/{name}", content)
                sha256[name] = hashlib.sha256(content).hexdigest()
        put(str(path), _json({**description, "metadata": sha256}))
    return written


def _write_split(datamodule: ClipDataModule, split: str, folder: Path, workers: int, bar: tqdm) -> tuple[pa.Table, int]:
    """Write the clips of a split; returns their metadata, and how many of them were not there."""
    clips = datamodule.clips[split]
    plan = clips.plan()
    header = wav_folder.wav_header(clips.samples, datamodule.sample_rate)

    def write_some(some: mixing.Plan) -> tuple[np.ndarray, np.ndarray, list[str], int]:
        rendered, clipped, scale = mixing.mix(clips.pool, some)
        sha256, written = [], 0
        for index, samples in zip(some.index.tolist(), rendered.astype("<i2", copy=False), strict=True):
            content = header + samples.tobytes()
            written += put(f"{folder}/{metadata.wav_name(split, index)}", content)
            sha256.append(hashlib.sha256(content).hexdigest())
        return scale, clipped, sha256, written

    slices = [plan[start : start + wav_folder.AT_ONCE] for start in range(0, len(plan), wav_folder.AT_ONCE)]
    done = []
    for some, columns in zip(slices, wav_folder.in_threads(write_some, slices, workers), strict=True):
        done.append(columns)
        bar.update(len(some))
    scale, clipped, sha256, written = zip(*done, strict=True)
    plan = replace(plan, scale=np.concatenate(scale))
    digests = list(itertools.chain.from_iterable(sha256))
    table = metadata.of_plan(clips.pool, split, clips.mix.counts, plan, np.concatenate(clipped), digests)
    return table, sum(written)


def put(path: str, content: bytes) -> bool:
    """See that a file has this content, whole or not at all; returns whether it had to be written."""
    try:
        with open(path, "rb") as file:
            if file.read(len(content) + 1) == content:
                return False
    except FileNotFoundError:
        pass
    with open(path + PARTIAL, "wb") as file:
        file.write(content)
    os.replace(path + PARTIAL, path)
    return True


def _json(values: Mapping[str, Any]) -> bytes:
    return (json.dumps(values, indent=1) + "\n").encode()


def _compare(folder: Path, datamodule: ClipDataModule) -> None:
    """See that the clips of a folder are those that are to be written."""
    there = wav_folder.read_description(folder)
    before = {"corpus": there["corpus_sha256"], **wav_folder.choices(there["mix"], there["sample_rate"])}
    now = {"corpus": datamodule.pool.sha256, **wav_folder.choices(datamodule.mix, datamodule.sample_rate)}
    differences = [f"{key}={before[key]} there, {value} now" for key, value in now.items() if value != before[key]]
    if differences:
        raise UserError(f"{folder} holds other clips: {', '.join(differences)}; name another folder with out=DIR")


@contextlib.contextmanager
def claimed(folder: Path) -> Iterator[None]:
    """Make a folder if it is not there, and keep other processes from writing clips to it.

    Raises:
        UserError: it holds something else, another process writes to it, or it cannot be written.
    """
    lock = filelock.FileLock(folder / LOCK, blocking=False)
    with _told_what_cannot_be_written(folder):
        folder.mkdir(parents=True, exist_ok=True)
        own = {LOCK, wav_folder.DESCRIPTION + PARTIAL}  # what is left of a process that was killed at once
        others = sorted(entry.name for entry in os.scandir(folder) if entry.name not in own)
        if others and wav_folder.DESCRIPTION not in others:
            raise UserError(
                f"{folder} holds something else than clips ({others[0]} for one); name another folder with out=DIR"
            )
        lock.acquire()
    try:
        yield
    finally:
        lock.release()


@contextlib.contextmanager
def _told_what_cannot_be_written(folder: Path) -> Iterator[None]:
    try:
        yield
    except filelock.Timeout as error:
        raise UserError(f"another process is writing clips to {folder}; wait for it, or stop it") from error
    except OSError as error:
        raise UserError(
            f"cannot write the clips to {folder}: {error.strerror or error}; free some space and give the command "
            "again, or name another folder with out=DIR"
        ) from error


def _options(arguments: Sequence[str]) -> tuple[Path, int]:
    """The command's own: `out` and `workers`."""
    given = dict(argument.split("=", 1) for argument in arguments)
    if not given.get("out"):
        raise UserError("name the folder that the clips are written to: out=DIR")
    workers = given.get("workers", str(wav_folder.cores()))
    if not workers.isdecimal() or int(workers) < 1:
        raise UserError(f"workers={workers}: expected a whole number, at least 1")
    return Path(given["out"]).expanduser(), int(workers)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split(":", 1)[1].strip())
    parser.add_argument(
        "overrides",
        nargs="*",
        help="as for train: data=librispeech, mix.clips.train=1000, ...; out=DIR; workers=N threads (all cores)",
    )
    parser.add_argument("--config-dir", help="a folder of your own configs")
    arguments = parser.parse_intermixed_args()
    logging.basicConfig(level=logging.INFO, format="%(message)s")

    own = [argument for argument in arguments.overrides if argument.startswith(("out=", "workers="))]
    overrides = [argument for argument in arguments.overrides if argument not in own]
    out, workers = _options(own)
    config = compose(overrides, arguments.config_dir)
    datamodule: ClipDataModule = instantiate(config.data, mix=config.mix, _convert_="all")
    if datamodule.rendered:
        raise UserError(f"data={datamodule.name} is clips in files already: copy {datamodule.root}")
    if datamodule.mix.fresh_each_epoch:
        raise UserError(
            "mix.fresh_each_epoch=true: files hold the same clips in every epoch; give mix.fresh_each_epoch=false"
        )
    again = [*overrides, *(["--config-dir", arguments.config_dir] if arguments.config_dir else [])]
    with claimed(out):
        datamodule.setup()
        written = write(datamodule, out, again, workers)
    total = sum(datamodule.mix.clips.values())
    print(f"{total:,} clips in {out}: {written:,} written, {total - written:,} were there")
    default = compose(["data=clips"], arguments.config_dir)
    given = wav_folder.choices(instantiate(default.mix, _convert_="all"), default.data.sample_rate)
    needed = wav_folder.overrides(wav_folder.choices(datamodule.mix, datamodule.sample_rate), given)
    print(f"train from them: {shlex.join(['speaker-count', 'train', 'data=clips', f'data.root={out}', *needed])}")
