"""What runs require before they start: speech, its pool, and disk for both."""

import shutil
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from speaker_count.data import download, pool_builder
from speaker_count.data.datamodule import ClipDataModule
from speaker_count.data.sources import Demo, LibriSpeech
from speaker_count.data.wav_folder import WavFolder

DECODED = 1.8  # bytes of a pool for each byte of FLAC
SYNTHETIC_BYTES = 110_000  # of a decoded utterance of the demo corpus


def corpora(datamodules: Iterable[ClipDataModule]) -> list[ClipDataModule]:
    """The first DataModule of each corpus."""
    different: dict[str, ClipDataModule] = {}
    for data in datamodules:
        different.setdefault(repr(data.source), data)
    return list(different.values())


def speech(data: ClipDataModule) -> tuple[list[str], list[tuple[str, float, Path]]]:
    """Where the corpus and its pool are, in words; and what will be added to the disk, as name, bytes and folder.

    Raises:
        UserError: the corpus is missing, and no command gets it.
    """
    if data.rendered:
        WavFolder(data.root)
        return [f"speech: clips in {data.root}"], []
    decoded: float | None
    added: list[tuple[str, float, Path]] = []
    source = data.source
    if isinstance(source, Demo) and not data.root.is_dir():
        utterances = source.voices * source.sentences
        decoded = utterances * SYNTHETIC_BYTES
        found = f"speech: {data.name} is not in {data.root}: {utterances} utterances will be synthesised"
        added.append(("the speech", decoded / DECODED, data.root))
    elif isinstance(source, LibriSpeech) and (missing := source.missing()):
        sizes = [download.ARCHIVE_BYTES.get(subset, 0) for subset in missing]
        decoded = DECODED * sum(sizes) if source.utterance_list is None else None
        found = f"speech: no {', '.join(missing)} in {data.root}: `speaker-count prepare` downloads {_size(sum(sizes))}"
        added.append((f"the speech ({_size(sum(sizes))} once it is unpacked)", sum(sizes) + max(sizes), data.root))
    else:
        listed = source.index()
        decoded = DECODED * listed.sizes[listed.first_of_files()].sum()
        number, speakers = len(listed.utterances), len(listed.speakers)
        found = f"speech: {data.name} is in {data.root}: {number:,} utterances of {speakers:,} speakers"
        folder = pool_builder.existing(listed, data.cache, data.sample_rate, data.resample)
        if folder is not None:
            size = sum(file.stat().st_size for file in folder.iterdir())
            return [found, f"pool: {_size(size)} in {folder}"], []
    if decoded is None:  # how much of the archives the list names is not known
        return [found, "pool: to be decoded first"], added
    return [found, f"pool: about {_size(decoded)}, to be decoded first"], [*added, ("the pool", decoded, data.cache)]


def _size(number: float) -> str:
    return f"{number / 1e9:.1f} GB" if number >= 1e9 else f"{number / 1e6:.0f} MB"


def disk(added: Sequence[tuple[str, float, Path]]) -> Iterator[str]:
    """How much disk is needed and free, in words.

    Args:
        added: name, bytes, folder of each part.
    """
    for name, number, folder in added:
        there = next(path for path in (folder.absolute(), *folder.absolute().parents) if path.is_dir())
        free = shutil.disk_usage(there).free
        scarce = " - NOT ENOUGH" if free < number else ""
        yield f"disk: {_size(number)} for {name} in {folder}, where {_size(free)} are free{scarce}"
