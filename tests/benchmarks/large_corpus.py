"""Simulated corpora of any size: their index, their tree, and pools of sparse files."""

import itertools
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import soundfile

from speaker_count.data import corpus, pool, pool_builder
from speaker_count.data.activity import frame_length
from speaker_count.data.clips import MixedClips
from speaker_count.data.corpus import Corpus
from speaker_count.data.splits import by_speaker
from speaker_count.labels import SEXES

RATE = 16_000
SECONDS = (5.0, 19.6)  # of an utterance, uniform: 12.3 s in the mean, as in LibriSpeech
OF_SPEAKER, OF_CHAPTER = 120, 40  # utterances
CHECKED = 30  # clips


def simulated(hours: float) -> tuple[Corpus, np.ndarray]:
    """A corpus of the given length without files, and the number of samples of each utterance."""
    number = round(hours * 3600 / np.mean(SECONDS))
    speakers = max(24, round(number / OF_SPEAKER))
    speaker = (np.arange(number) * speakers // number).astype(np.int32)
    names = (10**6 + np.arange(speakers)).astype(str)
    sexes = (np.arange(speakers) % 2).astype(np.int8)
    chapter, place = np.divmod(np.arange(number) - np.searchsorted(speaker, np.arange(speakers))[speaker], OF_CHAPTER)
    utterances, paths = [], []
    for start in range(0, number, pool.NAMED_AT_ONCE):
        rows = slice(start, start + pool.NAMED_AT_ONCE)
        ids = list(zip(names[speaker[rows]].tolist(), chapter[rows].tolist(), place[rows].tolist(), strict=True))
        utterances.append(pa.array([f"{a}-{b}-{c:04}" for a, b, c in ids]))
        paths.append(pa.array([f"speech/{a}/{b}/{a}-{b}-{c:04}.flac" for a, b, c in ids]))
    subsets = pa.chunked_array([pa.repeat("speech", number)])
    listed = Corpus(
        Path("simulated"), pa.chunked_array(utterances), pa.chunked_array(paths), subsets, np.zeros(number, np.int64),
        np.zeros((number, 2), np.int64), speaker, names, sexes, by_speaker(names, sexes),
    )  # fmt: skip
    return listed, (np.random.default_rng(0).uniform(*SECONDS, number) * RATE).astype(np.int64)


def make_pool(listed: Corpus, frames: np.ndarray, folder: Path) -> None:
    """A pool's folder as `pool_builder.build` makes it, but with sparse files of samples and activity."""
    folder.mkdir()
    pool_builder.write_index(folder, listed, frames, RATE)
    for name, size in (("samples.int16", 2 * frames), ("activity.int32", 4 * (frames // frame_length(RATE) + 1))):
        with open(folder / name, "wb") as file:
            file.truncate(int(size.sum()))


def make_tree(listed: Corpus, root: Path) -> None:
    """The files of a corpus, empty."""
    for folder, paths in itertools.groupby(listed.paths.to_pylist(), key=os.path.dirname):
        (root / folder).mkdir(parents=True)
        for path in paths:
            os.close(os.open(root / path, os.O_CREAT | os.O_WRONLY))
    write_speakers(listed.speakers.tolist(), listed.sexes.tolist(), root)


def repeat_tree(source: Path, hours: float, root: Path) -> None:
    """A tree of the given hours that repeats the speech in `source`, each time under other speakers' names."""
    listed = corpus.index(source)
    paths = [listed.root.absolute() / path for path in listed.paths.to_pylist()]
    rows = zip(paths, listed.speakers[listed.speaker].tolist(), listed.sexes[listed.speaker].tolist(), strict=True)
    left, sexes = hours * 3600 * RATE, {}
    for number, (path, speaker, sex) in enumerate(itertools.cycle(rows)):
        name = f"{speaker}x{number // len(paths)}"
        sexes[name] = sex
        folder = root / "speech" / name / "0"
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"{name}-{path.name}").symlink_to(path)
        left -= soundfile.info(path).frames
        if left <= 0:
            break
    write_speakers(list(sexes), list(sexes.values()), root)


def write_speakers(names: Sequence[str], sexes: Sequence[int], root: Path) -> None:
    lines = [f"{name} | {SEXES[sex]} | speech | 1 | Nobody" for name, sex in zip(names, sexes, strict=True)]
    (root / "SPEAKERS.TXT").write_text("\n".join(lines))


def check_samples(clips: MixedClips) -> dict[str, Any]:
    """Write noise to the crops of `CHECKED` clips, and compare the clips with sums of what the file holds.

    Returns:
        The number of voices; how many lie beyond sample 2^31, `far`; and whether all clips agree, `right`.
    """
    plan = clips.plan(0, CHECKED)
    path = clips.pool.path / "samples.int16"
    begins = clips.pool.offsets[plan.utterances] + plan.starts
    begins = [row[:count].tolist() for row, count in zip(begins, plan.count, strict=True)]
    random = np.random.default_rng(0)
    with open(path, "r+b") as file:
        for begin in itertools.chain(*begins):
            file.seek(2 * begin)
            file.write(random.integers(-(2**15), 2**15, plan.samples).astype("<i2").data)
    sums = [sum(np.fromfile(path, "<i2", plan.samples, offset=2 * at).astype(int) for at in row) for row in begins]
    right = np.array_equal(clips.render(plan), np.rint(np.array(sums) / plan.count[:, None]))
    return {"voices": int(plan.count.sum()), "far": sum(at >= 2**31 for row in begins for at in row), "right": right}
