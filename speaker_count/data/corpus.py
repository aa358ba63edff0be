"""Which speech there is: a LibriSpeech tree, listed and divided into splits.

Layout (LibriSpeech, OpenSLR 12): `LibriSpeech/SUBSET/SPEAKER/CHAPTER/UTTERANCE.flac` and `LibriSpeech/SPEAKERS.TXT`.
"""

import hashlib
import logging
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from speaker_count.errors import UserError

log = logging.getLogger(__name__)
SPLITS = ("train", "validation", "test")
SEXES = ("F", "M")
HELD_OUT_SHARE = 0.15  # of each sex's speakers, for validation and again for test, where speakers are divided
LISTED_AT_ONCE = 65_536  # files, as Python objects; then they are rows of an Arrow table
TEXTS = ("speaker", "utterance", "subset", "path")
LISTING = pa.schema([*((name, pa.string()) for name in TEXTS), ("size", pa.int64())])


@dataclass(frozen=True)
class Corpus:
    """A table of utterances, sorted by speaker and utterance; nothing is decoded yet.

    Attributes:
        root: the folder that holds the subsets.
        utterances, paths, subsets: `(utterances,)` names, in Arrow, which needs their letters and four bytes; paths are
            relative to `root`.
        sizes: `(utterances,)` int64, bytes of each file.
        speaker: `(utterances,)` int32, the row of the utterance's speaker in `speakers`.
        speakers: `(speakers,)` names, sorted.
        sexes: `(speakers,)` int8, an index into `SEXES`.
        splits: `(speakers,)` int8, an index into `SPLITS`.
    """

    root: Path
    utterances: pa.ChunkedArray
    paths: pa.ChunkedArray
    subsets: pa.ChunkedArray
    sizes: np.ndarray
    speaker: np.ndarray
    speakers: np.ndarray
    sexes: np.ndarray
    splits: np.ndarray


def index(
    root: str | Path,
    train_subsets: Sequence[str] | None = None,
    validation_subsets: Sequence[str] | None = None,
    test_subsets: Sequence[str] | None = None,
    utterance_list: str | Path | None = None,
) -> Corpus:
    """List the speech under `root` and divide it into splits that share no speaker.

    With `validation_subsets` and `test_subsets`, each split is the subsets named. Without them, the speakers of
    `train_subsets` (None: of every subset) are divided by `split_by_speaker`.

    Args:
        root: the folder that holds `LibriSpeech/`, or that folder itself.
        utterance_list: a text file of utterance ids, one a line; all others are passed over. A bare name is a list
            that comes with the package.

    Raises:
        UserError: no speech there, an odd or missing SPEAKERS.TXT, or a speaker in two splits.
    """
    if (validation_subsets is None) != (test_subsets is None):
        raise UserError("name both data.validation_subsets and data.test_subsets, or neither")
    root = find_root(root)
    by_subset = validation_subsets is not None
    subsets = [*train_subsets, *validation_subsets, *test_subsets] if by_subset else train_subsets
    rows = _listing(root, subsets)
    if utterance_list is not None:
        rows = _only(rows, utterance_list, root)
    if not len(rows):
        raise UserError(f"no .flac or .wav file in {root}/SUBSET/SPEAKER/CHAPTER/. {HOW_TO_GET}")
    utterances = rows["utterance"]
    twice = utterances[1:].filter(pc.equal(utterances[1:], utterances[:-1]))
    if len(twice):
        raise UserError(f"utterance {twice[0]} is there more than once in {root}; remove one of the files")
    # speakers are numbered as they come, and they come sorted
    numbered = rows["speaker"].combine_chunks().dictionary_encode()
    speakers, speaker = np.array(numbered.dictionary.to_pylist()), numbered.indices.to_numpy()
    sexes = _sexes(root / "SPEAKERS.TXT", speakers)
    if by_subset:
        named = (train_subsets, validation_subsets, test_subsets)
        splits = _splits_of_subsets(speakers, speaker, rows["subset"], named)
    else:
        splits = split_by_speaker(speakers, sexes)
    sizes = rows["size"].to_numpy()
    return Corpus(root, utterances, rows["path"], rows["subset"], sizes, speaker, speakers, sexes, splits)


HOW_TO_GET = (
    "`speaker-count prepare data=librispeech` gets LibriSpeech, data.root=DIR names a folder that has it, "
    "data=demo makes synthetic speech and needs none"
)


def find_root(root: str | Path) -> Path:
    """The folder of subsets: `root/LibriSpeech`, or `root` itself."""
    root = Path(root).expanduser()
    inner = root / "LibriSpeech"
    if not root.is_dir():
        raise UserError(f"{root} is {'no folder' if root.exists() else 'not there'}. {HOW_TO_GET}")
    return inner if inner.is_dir() else root


def split_by_speaker(speakers: np.ndarray, sexes: np.ndarray) -> np.ndarray:
    """Divide speakers: within each sex, in the order of the SHA-256 of their id, the first go to validation, the next
    to test, the rest to training.

    Returns:
        `(speakers,)` int8, an index into `SPLITS`.
    """
    splits = np.zeros(len(speakers), np.int8)
    for sex in range(len(SEXES)):
        members = np.flatnonzero(sexes == sex)
        members = sorted(members, key=lambda row: hashlib.sha256(str(speakers[row]).encode()).digest())
        held_out = max(round(HELD_OUT_SHARE * len(members)), 3 if len(members) >= 9 else 0)
        splits[members[:held_out]] = SPLITS.index("validation")
        splits[members[held_out : 2 * held_out]] = SPLITS.index("test")
    return splits


def _listing(root: Path, subsets: Sequence[str] | None) -> pa.Table:
    """Every audio file in the layout, sorted by speaker and utterance: a table with the columns of `LISTING`."""
    tables, waiting = [LISTING.empty_table()], []
    try:
        for row in _rows(root, subsets):
            waiting.append(row)
            if len(waiting) == LISTED_AT_ONCE:
                tables.append(_as_table(waiting))
                waiting = []
    except OSError as error:
        raise UserError(f"cannot read the corpus: {error}") from error
    return pa.concat_tables([*tables, _as_table(waiting)])


def _as_table(rows: list[tuple[str, str, str, str, int]]) -> pa.Table:
    return pa.table(list(zip(*rows, strict=True)) or [[]] * len(LISTING), schema=LISTING)


def _rows(root: Path, subsets: Sequence[str] | None) -> Iterator[tuple[str, str, str, str, int]]:
    """(speaker, utterance, subset, path, bytes) of every audio file: speakers in order, each one's files in order."""
    present = [entry.name for entry in _folders(root)]
    missing = [subset for subset in subsets or () if subset not in present]
    if missing:
        raise UserError(f"no {', '.join(missing)} in {root}. {HOW_TO_GET}")
    named = dict.fromkeys(subsets if subsets is not None else present)
    folders = sorted((speaker.name, subset) for subset in named for speaker in _folders(root / subset))
    for speaker, of_speaker in groupby(folders, key=lambda folder: folder[0]):  # who may be in several subsets
        yield from sorted(
            (speaker, Path(file.name).stem, subset, f"{subset}/{speaker}/{chapter.name}/{file.name}", size)
            for _, subset in of_speaker
            for chapter in _folders(root / subset / speaker)
            for file, size in _audio_files(chapter.path)
        )


def _folders(path: str | Path) -> Iterator[os.DirEntry]:
    with os.scandir(path) as entries:
        yield from (entry for entry in entries if entry.is_dir() and not entry.name.startswith("."))


def _audio_files(path: str) -> Iterator[tuple[os.DirEntry, int]]:
    with os.scandir(path) as entries:
        for entry in entries:
            if not entry.name.lower().endswith((".flac", ".wav")) or entry.name.startswith("."):
                continue
            if entry.name.isprintable() and entry.is_file():
                yield entry, entry.stat().st_size
            else:
                log.warning("left out: %r in %s: no regular file, or a name that cannot be printed", entry.name, path)


def _only(rows: pa.Table, utterance_list: str | Path, root: Path) -> pa.Table:
    """The rows whose utterance is listed, for the subsets that the rows are of."""
    packaged = Path(__file__).parent / f"{utterance_list}.txt"
    path = packaged if packaged.is_file() else Path(utterance_list).expanduser()
    try:
        # an id's line may name its subset, so that one list serves several choices of subsets
        listed = [line.split() for line in path.read_text().splitlines() if line.strip()]
    except OSError as error:
        raise UserError(f"cannot read data.utterance_list={utterance_list}: {error.strerror}") from error
    subsets = set(rows["subset"].unique().to_pylist())
    wanted = {fields[-1] for fields in listed if len(fields) == 1 or fields[0] in subsets}
    found = rows.filter(pc.is_in(rows["utterance"], pa.array(sorted(wanted), pa.string())))
    missing = wanted.difference(found["utterance"].to_pylist())
    if missing:
        raise UserError(
            f"{len(missing)} of the {len(wanted)} utterances of {utterance_list} are not in {root}, "
            f"{min(missing)} for one; the corpus there is not complete. {HOW_TO_GET}"
        )
    return found


def _sexes(path: Path, speakers: np.ndarray) -> np.ndarray:
    table = read_speakers(path)
    unknown = [str(speaker) for speaker in speakers if speaker not in table]
    if unknown:
        raise UserError(
            f"{path} does not list {len(unknown)} of the {len(speakers)} speakers whose folders are there, "
            f"speaker {unknown[0]} for one; add a line `{unknown[0]} | F or M | SUBSET | MINUTES | NAME`"
        )
    return np.array([SEXES.index(table[str(speaker)]) for speaker in speakers], np.int8)


def read_speakers(path: Path) -> dict[str, str]:
    """Sex by speaker id, from LibriSpeech's `SPEAKERS.TXT`.

    Raises:
        UserError: the file is missing, or a line is not `ID | SEX | SUBSET | MINUTES | NAME`.
    """
    try:
        text = path.read_text(encoding="utf-8-sig", errors="replace")
    except OSError as error:
        raise UserError(
            f"cannot read {path} ({error.strerror}): LibriSpeech's table of speakers tells their sex, "
            "one line a speaker: `ID | F or M | SUBSET | MINUTES | NAME`"
        ) from error
    table: dict[str, str] = {}
    for number, line in enumerate(text.split("\n"), start=1):
        if not line.strip() or line.startswith(";"):
            continue
        # a reader is called |CBW|Simon: the name is all that follows the fourth bar
        speaker, sex = [field.strip() for field in line.split("|", 4)][:2] if "|" in line else ("", "")
        if not speaker or sex.upper() not in SEXES:
            raise UserError(
                f"{path}, line {number}: expected `ID | F or M | SUBSET | MINUTES | NAME`, found {line[:80]!r}"
            )
        if table.setdefault(speaker, sex.upper()) != sex.upper():
            raise UserError(f"{path}, line {number}: speaker {speaker} is listed twice, as F and as M")
    return table


def _splits_of_subsets(
    speakers: np.ndarray, speaker: np.ndarray, subset_of: pa.ChunkedArray, subsets: Sequence[Sequence[str]]
) -> np.ndarray:
    """The split of each speaker, where every split is some subsets.

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
