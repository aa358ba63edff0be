"""Write the clips that training streams as WAV files, with their metadata.

After an interruption, the next call resumes: it writes missing and altered files, and keeps the intact ones.
"""

import contextlib
import hashlib
import itertools
import os
from collections.abc import Iterator, Sequence
from dataclasses import asdict, replace
from pathlib import Path

import filelock
import numpy as np
import pyarrow as pa
from tqdm import tqdm

from speaker_count import files
from speaker_count.data import metadata, mixing, wav_folder
from speaker_count.data.clips import MixedClips
from speaker_count.data.datamodule import ClipDataModule
from speaker_count.data.planning import Plan
from speaker_count.errors import UserError
from speaker_count.labels import SPLITS

LOCK = ".lock"


def write(datamodule: ClipDataModule, folder: Path, arguments: Sequence[str], workers: int) -> int:
    """Write the clips of all splits to a folder that is empty or holds some of them.

    Args:
        datamodule: set up, of a source that is not clips in files.
        arguments: arguments of the command that writes these clips, for messages that name it.
        workers: threads.

    Returns:
        The number of clips written; the others were intact.

    Raises:
        UserError: the folder holds other clips, or cannot be written.
    """
    description = {
        "schema": wav_folder.SCHEMA,
        "arguments": list(arguments),
        "data": datamodule.name,
        "synthetic": datamodule.source.synthetic,
        "corpus_sha256": datamodule.pool.sha256,
        "sounds": datamodule.sounds.described(),
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
    with bar, _user_errors(folder):
        if new:
            files.write_json(path, description)
        for split in SPLITS:
            table, newly = _write_split(datamodule, split, folder, workers, bar)
            written += newly
            for name, content in zip(metadata.file_names(split), metadata.contents(table), strict=True):
                put(f"{folder}/{name}", content)
                sha256[name] = hashlib.sha256(content).hexdigest()
        files.write_json(path, {**description, "metadata": sha256})
    return written


def _write_split(datamodule: ClipDataModule, split: str, folder: Path, workers: int, bar: tqdm) -> tuple[pa.Table, int]:
    """Write the clips of a split; returns their metadata, and the number of clips written."""
    clips = datamodule.clips[split]
    assert isinstance(clips, MixedClips)
    plan = clips.plan()
    header = wav_folder.wav_header(clips.samples, datamodule.sample_rate)

    def write_some(some: Plan) -> tuple[np.ndarray, np.ndarray, list[str], int]:
        rendered, clipped, scale = mixing.mix(clips.pool, some, clips.sounds)
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
    table = metadata.of_plan(clips.pool, split, clips.mix.counts, plan, np.concatenate(clipped), digests, clips.sounds)
    return table, sum(written)


def put(path: str, content: bytes) -> bool:
    """Give a file this content, whole or not at all; returns whether it had to be written."""
    try:
        with open(path, "rb") as file:
            if file.read(len(content) + 1) == content:
                return False
    except FileNotFoundError:
        pass
    with files.replacing(Path(path)) as partial:
        partial.write_bytes(content)
    return True


def _compare(folder: Path, datamodule: ClipDataModule) -> None:
    """Check that the clips of a folder are those of the DataModule."""
    description = wav_folder.read_description(folder)
    held = wav_folder.choices(description["mix"], description["sample_rate"])
    held |= {"corpus": description["corpus_sha256"], "sounds": description.get("sounds", {})}
    wanted = {"corpus": datamodule.pool.sha256, "sounds": datamodule.sounds.described()}
    wanted |= wav_folder.choices(datamodule.mix, datamodule.sample_rate)
    differences = [f"{key} is {held[key]}, not {value}" for key, value in wanted.items() if value != held[key]]
    if differences:
        raise UserError(f"{folder} holds other clips: {', '.join(differences)}; name another folder with out=DIR")


@contextlib.contextmanager
def claimed(folder: Path) -> Iterator[None]:
    """Create a folder unless it exists, and keep other processes from writing clips to it.

    Raises:
        UserError: the folder holds other files, another process writes to it, or it cannot be written.
    """
    lock = filelock.FileLock(folder / LOCK, blocking=False)
    with _user_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
        own = {LOCK, wav_folder.DESCRIPTION + files.PARTIAL}  # left by a process that was killed at its start
        others = sorted(entry.name for entry in os.scandir(folder) if entry.name not in own)
        if others and wav_folder.DESCRIPTION not in others:
            raise UserError(f"{folder} holds other files than clips ({others[0]}); name another folder with out=DIR")
        lock.acquire()
    try:
        yield
    finally:
        lock.release()


@contextlib.contextmanager
def _user_errors(folder: Path) -> Iterator[None]:
    """Turn a locked or unwritable folder into a UserError."""
    try:
        yield
    except filelock.Timeout as error:
        raise UserError(f"another process is writing clips to {folder}; wait for it, or stop it") from error
    except OSError as error:
        raise UserError(
            f"cannot write the clips to {folder}: {error.strerror or error}; free some space and run the command "
            "again, or name another folder with out=DIR"
        ) from error
