"""Every audio file below a folder, whatever its tree: sounds that nobody speaks, or that several people do."""

import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa

from speaker_count.data.corpus import AUDIO, Corpus, audio_files
from speaker_count.errors import UserError
from speaker_count.labels import SEXES, SPLITS, UNKNOWN


def index(root: Path, split: str, asked: str) -> Corpus:
    """List the audio files in a folder and its sub-folders; the folder that a file is in stands in the speaker's place.

    Args:
        root: the folder.
        split: of all files.
        asked: what names the folder, for messages.

    Raises:
        UserError: it is no folder, cannot be read, or has no audio file.
    """
    if not root.is_dir():
        raise UserError(f"{asked}: {root} {'is not a folder' if root.exists() else 'does not exist'}")
    try:
        rows = sorted(_rows(root))
    except OSError as error:
        raise UserError(f"{asked}: cannot read {error.filename}: {error.strerror}") from error
    if not rows:
        raise UserError(f"{asked}: no audio file ({', '.join(AUDIO)}) in {root}")
    folder, path, *numbers = zip(*rows, strict=True)
    folders, place = np.unique(folder, return_inverse=True)
    sizes, *times = (np.array(values, np.int64) for values in numbers)
    paths = pa.chunked_array([pa.array(path)])
    return Corpus(
        root=root,
        utterances=paths,
        paths=paths,
        subsets=pa.chunked_array([pa.repeat("tree", len(rows))]),
        sizes=sizes,
        times=np.stack(times, axis=1),
        speaker=place.astype(np.int32),
        speakers=folders,
        sexes=np.full(len(folders), SEXES.index(UNKNOWN), np.int8),
        splits=np.full(len(folders), SPLITS.index(split), np.int8),
    )


def _rows(root: Path) -> Iterator[tuple[str | int, ...]]:
    """The folder and the path of each file, relative to `root`, its size and its times."""

    def fail(error: OSError) -> None:
        raise error

    for path, folders, _ in os.walk(root, onerror=fail):
        folders[:] = [name for name in folders if name.isprintable() and not name.startswith(".")]
        folder = Path(path).relative_to(root).as_posix()
        for file, *numbers in audio_files(path):
            yield folder, (Path(folder) / file.name).as_posix(), *numbers
