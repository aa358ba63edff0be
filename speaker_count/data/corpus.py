"""The corpus: utterances, listed and divided into splits; and the list of those in a LibriSpeech tree.

Layout (LibriSpeech, OpenSLR 12): `LibriSpeech/SUBSET/SPEAKER/CHAPTER/UTTERANCE.flac` and `LibriSpeech/SPEAKERS.TXT`.
"""

import errno
import logging
import os
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby, islice
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from speaker_count.data.splits import by_speaker
from speaker_count.errors import UserError
from speaker_count.labels import SEXES, SPLITS

log = logging.getLogger(__name__)
AUDIO = (".flac", ".wav", ".ogg", ".opus", ".mp3", ".aiff", ".aif", ".au", ".caf", ".w64")  # in a tree, in any case
LISTED_AT_ONCE = 65_536  # files held as Python objects, before they become rows of an Arrow table
TEXTS = ("speaker", "utterance", "subset", "path")
NUMBERS = ("size", "modified", "changed")
LISTING = pa.schema([*((name, pa.string()) for name in TEXTS), *((name, pa.int64()) for name in NUMBERS)])
HOW_TO_GET = (
    "`speaker-count prepare data=librispeech` downloads LibriSpeech, data.root=DIR names a folder that holds it, "
    "data=demo synthesises speech and needs none"
)


@dataclass(frozen=True)
class Corpus:
    """A table of utterances, sorted by speaker and utterance, before anything is decoded.

    Attributes:
        root: the folder that paths are relative to.
        utterances, paths, subsets: `(utterances,)` names, as Arrow arrays, which take four bytes beside the letters.
        sizes: `(utterances,)` int64, bytes of each file.
        times: `(utterances, 2)` int64, when the content of each file was modified, and when anything about the file
            changed; in nanoseconds.
        speaker: `(utterances,)` int32, the row of the utterance's speaker in `speakers`.
        speakers: `(speakers,)` names, sorted.
        sexes: `(speakers,)` int8, an index into `SEXES`.
        splits: `(speakers,)` int8, an index into `SPLITS`.
        spans: `(utterances, 2)` float64, where an utterance begins and ends in its file, in seconds; NaN: where the
            file does. None: every utterance is a whole file.
    """

    root: Path
    utterances: pa.ChunkedArray
    paths: pa.ChunkedArray
    subsets: pa.ChunkedArray
    sizes: np.ndarray
    times: np.ndarray
    speaker: np.ndarray
    speakers: np.ndarray
    sexes: np.ndarray
    splits: np.ndarray
    spans: np.ndarray | None = None

    def first_of_files(self) -> np.ndarray:
        """`(files,)` the first utterance in each file, in their order."""
        if self.spans is None:
            return np.arange(len(self.paths))
        numbers = self.paths.combine_chunks().dictionary_encode().indices.to_numpy()
        return np.unique(numbers, return_index=True)[1]


def most_left_out(files: int) -> int:
    """How many of a corpus's files may be missing or damaged before it is refused."""
    return max(3, files // 100)


def index(
    root: str | Path,
    train_subsets: Sequence[str] | None = None,
    validation_subsets: Sequence[str] | None = None,
    test_subsets: Sequence[str] | None = None,
    utterance_list: str | Path | None = None,
) -> Corpus:
    """List the speech under `root` and divide it into splits that share no speaker.

    With `validation_subsets` and `test_subsets`, each split is the subsets named. Without them, the speakers of
    `train_subsets` (None: of every subset) are divided by `splits.by_speaker`.

    Args:
        root: the folder that holds `LibriSpeech/`, or that folder itself.
        utterance_list: a text file of utterance ids, one per line; other utterances are ignored. A bare name is a list
            in the package.

    Raises:
        UserError: the folder holds no speech or lacks some, SPEAKERS.TXT is missing or malformed, or a speaker is in
            two splits.
    """
    of_split = _subsets_of_splits(train_subsets, validation_subsets, test_subsets)
    root = find_root(root)
    rows = _listing(root, train_subsets if of_split is None else [name for names in of_split for name in names])
    if utterance_list is not None:
        rows = _only(rows, utterance_list, root)
    if not len(rows):
        raise UserError(f"no audio file ({', '.join(AUDIO)}) in {root}/SUBSET/SPEAKER/CHAPTER/. {HOW_TO_GET}")
    utterances = rows["utterance"]
    twice = utterances[1:].filter(pc.equal(utterances[1:], utterances[:-1]))
    if len(twice):
        raise UserError(f"{root} holds utterance {twice[0]} more than once; remove all but one of its files")
    # speakers are numbered in the order of the rows, which are sorted
    numbered = rows["speaker"].combine_chunks().dictionary_encode()
    speakers, speaker = np.array(numbered.dictionary.to_pylist()), numbered.indices.to_numpy()
    sexes = _sexes(root / "SPEAKERS.TXT", speakers)
    if of_split is None:
        splits = by_speaker(speakers, sexes)
    else:
        splits = _split_by_subset(speakers, speaker, rows["subset"], of_split)
    sizes, *times = (rows[name].to_numpy() for name in NUMBERS)
    return Corpus(
        root, utterances, rows["path"], rows["subset"], sizes, np.stack(times, axis=1), speaker, speakers, sexes, splits
    )


def _subsets_of_splits(
    train: Sequence[str] | None, validation: Sequence[str] | None, test: Sequence[str] | None
) -> tuple[Sequence[str], Sequence[str], Sequence[str]] | None:
    """The subsets of each split; None where speakers are divided instead."""
    if validation is None and test is None:
        return None
    if train is None or validation is None or test is None:
        raise UserError(
            "name data.train_subsets, data.validation_subsets and data.test_subsets, or neither of the last two"
        )
    return train, validation, test


def find_root(root: str | Path) -> Path:
    """The folder of subsets: `root/LibriSpeech`, or `root` itself.

    Raises:
        UserError: `root` is not a folder.
    """
    root = Path(root).expanduser()
    inner = root / "LibriSpeech"
    if not root.is_dir():
        raise UserError(f"{root} {'is not a folder' if root.exists() else 'does not exist'}. {HOW_TO_GET}")
    return inner if inner.is_dir() else root


def _listing(root: Path, subsets: Sequence[str] | None) -> pa.Table:
    """Every audio file in the layout, sorted by speaker and utterance: a table with the columns of `LISTING`."""
    tables = [LISTING.empty_table()]
    try:
        rows = _rows(root, subsets)
        while some := list(islice(rows, LISTED_AT_ONCE)):
            tables.append(pa.table(list(zip(*some, strict=True)), schema=LISTING))
    except OSError as error:
        raise UserError(f"cannot read the corpus: {error}") from error
    return pa.concat_tables(tables)


def _rows(root: Path, subsets: Sequence[str] | None) -> Iterator[tuple[str | int, ...]]:
    """The values of `TEXTS` and `NUMBERS` of every audio file, sorted by speaker and utterance."""
    present = [entry.name for entry in _folders(root)]
    missing = [subset for subset in subsets or () if subset not in present]
    if missing:
        raise UserError(f"no {', '.join(missing)} in {root}. {HOW_TO_GET}")
    named = dict.fromkeys(subsets if subsets is not None else present)
    folders = sorted((speaker.name, subset) for subset in named for speaker in _folders(root / subset))
    for speaker, of_speaker in groupby(folders, key=lambda folder: folder[0]):  # a speaker may be in several subsets
        yield from sorted(
            (speaker, Path(file.name).stem, subset, f"{subset}/{speaker}/{chapter.name}/{file.name}", *numbers)
            for _, subset in of_speaker
            for chapter in _folders(root / subset / speaker)
            for file, *numbers in audio_files(chapter.path)
        )


def _folders(path: str | Path) -> Iterator[os.DirEntry]:
    with os.scandir(path) as entries:
        for entry in entries:
            if entry.name.isprintable() and _is(entry.is_dir) and not entry.name.startswith("."):
                yield entry
            elif not entry.name.isprintable():
                log.warning("left out: %r in %s: its name is not printable", entry.name, path)


def audio_files(path: str) -> Iterator[tuple[os.DirEntry, int, int, int]]:
    """The audio files of a folder, with the values of `NUMBERS`."""
    with os.scandir(path) as entries:
        for entry in entries:
            if not entry.name.lower().endswith(AUDIO) or entry.name.startswith("."):
                continue
            if entry.name.isprintable() and _is(entry.is_file):
                found = entry.stat()
                yield entry, found.st_size, found.st_mtime_ns, found.st_ctime_ns
            else:
                log.warning("left out: %r in %s: not a regular file, or its name is not printable", entry.name, path)


def _is(kind: Callable[[], bool]) -> bool:
    """Whether an entry is of a kind; a symbolic link that leads back to itself is of none."""
    try:
        return kind()
    except OSError as error:
        if error.errno != errno.ELOOP:
            raise
        return False


def packaged_list(name: str | Path) -> Path | None:
    """The file of a list of utterances in the package; None if no list there has this name."""
    path = Path(__file__).parent / f"{name}.txt"
    return path if re.fullmatch(r"\w+", str(name)) and path.is_file() else None


def _only(rows: pa.Table, utterance_list: str | Path, root: Path) -> pa.Table:
    """The rows whose utterance is in the list; list entries of subsets that no row has are ignored."""
    path = packaged_list(utterance_list) or Path(utterance_list).expanduser()
    try:
        # a line may name the utterance's subset, so that one list serves several choices of subsets
        text = path.read_text(encoding="utf-8-sig", errors="replace")
        listed = [line.split() for line in text.splitlines() if line.strip()]
    except OSError as error:
        raise UserError(f"cannot read data.utterance_list={utterance_list}: {error.strerror}") from error
    subsets = set(rows["subset"].unique().to_pylist())
    wanted = {fields[-1] for fields in listed if len(fields) == 1 or fields[0] in subsets}
    found = rows.filter(pc.is_in(rows["utterance"], pa.array(sorted(wanted), pa.string())))
    missing = wanted.difference(found["utterance"].to_pylist())
    if missing:
        raise UserError(
            f"{root} lacks {len(missing)} of the {len(wanted)} utterances in {utterance_list}, such as "
            f"{min(missing):.80}: the corpus is incomplete. {HOW_TO_GET}"
        )
    return found


def _sexes(path: Path, speakers: np.ndarray) -> np.ndarray:
    table = read_speakers(path)
    unknown = [str(speaker) for speaker in speakers if speaker not in table]
    if unknown:
        raise UserError(
            f"{path} does not list {len(unknown)} of the {len(speakers)} speakers of this corpus, such as speaker "
            f"{unknown[0]}; add a line for each, such as `{unknown[0]} | F or M | SUBSET | MINUTES | NAME`"
        )
    return np.array([SEXES.index(table[str(speaker)]) for speaker in speakers], np.int8)


def read_speakers(path: Path) -> dict[str, str]:
    """Sex by speaker id, from LibriSpeech's `SPEAKERS.TXT`; U is an unknown one.

    Raises:
        UserError: the file is missing, or a line is not `ID | SEX | SUBSET | MINUTES | NAME`.
    """
    try:
        text = path.read_text(encoding="utf-8-sig", errors="replace")
    except OSError as error:
        raise UserError(
            f"cannot read {path} ({error.strerror}): the corpus needs this table of its speakers, one line per "
            "speaker: `ID | F or M | SUBSET | MINUTES | NAME`"
        ) from error
    table: dict[str, str] = {}
    for number, line in enumerate(text.split("\n"), start=1):
        if not line.strip() or line.startswith(";"):
            continue
        # the reader |CBW|Simon has bars in the name, which is everything after the fourth bar
        speaker, sex = [field.strip() for field in line.split("|", 4)][:2] if "|" in line else ("", "")
        if not speaker or sex.upper() not in SEXES:
            raise UserError(
                f"{path}, line {number}: expected `ID | F or M | SUBSET | MINUTES | NAME`, found {line[:80]!r}"
            )
        if table.setdefault(speaker, sex.upper()) != sex.upper():
            raise UserError(f"{path}, line {number}: speaker {speaker} is listed twice, as F and as M")
    return table


def _split_by_subset(
    speakers: np.ndarray, speaker: np.ndarray, subset_of: pa.ChunkedArray, subsets: Sequence[Sequence[str]]
) -> np.ndarray:
    """The split of each speaker, where each split consists of whole subsets.

    Raises:
        UserError: a speaker, or a subset, is in two splits.
    """
    splits = np.full(len(speakers), -1, np.int8)
    for split, names in enumerate(subsets):
        here = np.unique(speaker[pc.is_in(subset_of, pa.array(names, pa.string())).to_numpy()])
        other = here[splits[here] >= 0]
        if len(other):
            raise UserError(
                f"speaker {speakers[other[0]]} is in the {SPLITS[splits[other[0]]]} and the {SPLITS[split]} split; "
                "no speaker may be in two: change data.train_subsets, data.validation_subsets or data.test_subsets"
            )
        splits[here] = split
    return splits
