"""LibriCount (Stöter et al., doi.org/10.5281/zenodo.1216072): 5,720 recordings of 0 to 10 people who speak at once.

Its form, as the authors' README and `eval.py` (github.com/faroit/CountNet) have it: `LibriCount10-0dB/test/K_NAME.wav`
(5 s, 16 kHz, 16 bits, mono), where K is the largest number of people who speak at the same time, and
`K_NAME.json` beside it, a list with an object for each of them: `sex` (`F` or `M`), `speaker_id`, and `activity`, the
spans `[begin, end]` in samples in which a detector heard them. `eval.py` takes the length of that list as the truth,
and gives the mean absolute error by count. It scores whole files. The paper also scores shorter pieces; neither README
nor `eval.py` says how a piece is labelled.
"""

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from speaker_count.data import tree
from speaker_count.data.corpus import Corpus
from speaker_count.data.pool import Pool
from speaker_count.errors import UserError
from speaker_count.labels import SEXES, UNKNOWN

ANNOTATED_HZ = 16_000  # in which spans of activity are counted
NAMED = re.compile(r"(\d{1,3})_.+")
FORM = "LibriCount's are called K_NAME.wav, with K people who speak, and have a K_NAME.json beside them"


@dataclass(frozen=True)
class Annotation:
    """Who speaks in a file, and when.

    Attributes:
        speakers: their names.
        sexes: indices into `SEXES`.
        spans: `(spans, 2)` float64, where a speaker is active, in seconds.
        speaker: `(spans,)` int64, whose span it is, increasing.
    """

    speakers: list[str]
    sexes: list[int]
    spans: np.ndarray
    speaker: np.ndarray

    def most_at_once(self, seconds: float) -> list[int]:
        """Those who speak at the moment of the first `seconds` at which the most people speak."""
        begins = np.unique(self.spans[self.spans[:, 0] < seconds, 0])  # where a span begins, the number rises
        if not len(begins):
            return []
        active = (self.spans[:, :1] <= begins) & (begins < self.spans[:, 1:])  # (spans, begins)
        of_speaker = np.stack([active[self.speaker == number].any(axis=0) for number in range(len(self.speakers))])
        most = of_speaker.sum(axis=0).argmax()
        return np.flatnonzero(of_speaker[:, most]).tolist()


class LibriCountFolder:
    """LibriCount's recordings, decoded, with their annotations.

    It takes the pool's place: its speakers are those of the annotations.

    Attributes:
        pool: the decoded files; an utterance is a file.
        path: of the pool.
        sha256: of the pool's index and of all annotations.
        samples_sha256: of the samples.
        annotations: of each file.
        speakers: their names, sorted.
        utterances: the files, relative to the folder.

    Raises:
        UserError: an annotation is missing or damaged, or does not have as many speakers as the file's name says.
    """

    def __init__(self, pool: Pool, root: Path) -> None:
        self.pool, self.path, self.samples_sha256 = pool, pool.path, pool.samples_sha256
        self.utterances = pool.utterances
        digest = hashlib.sha256(pool.sha256.encode())
        self.annotations = []
        for name in self.utterances.tolist():
            path = (root / name).with_suffix(".json")
            try:
                content = path.read_bytes()
            except OSError as error:
                raise UserError(f"cannot read {path} ({error.strerror}): {FORM}") from error
            digest.update(hashlib.sha256(content).digest())
            annotation = _annotation(content, path)
            if len(annotation.speakers) != count_in_name(name):
                raise UserError(f"{path} names {len(annotation.speakers)} speakers, and the file's name another number")
            self.annotations.append(annotation)
        self.sha256 = digest.hexdigest()
        self.speakers = np.unique([name for annotation in self.annotations for name in annotation.speakers])


def index(root: Path) -> Corpus:
    """List LibriCount's recordings, all of which are for test.

    Args:
        root: `LibriCount10-0dB`, or a folder that holds it.

    Raises:
        UserError: it holds no audio file, or one with another name.
    """
    listed = tree.index(root, "test", "data=libricount")
    for name in listed.paths.to_pylist():
        count_in_name(name)
    return listed


def count_in_name(name: str) -> int:
    """The number of speakers that a file's name begins with.

    Raises:
        UserError: there is none.
    """
    found = NAMED.fullmatch(name.rpartition("/")[2])
    if found is None:
        raise UserError(f"data=libricount: {name} does not begin with a number of speakers; {FORM}")
    return int(found[1])


def _annotation(content: bytes, path: Path) -> Annotation:
    try:
        voices = json.loads(content)
        if not isinstance(voices, list):
            raise ValueError("it is no list")
        spans = [_spans(voice) for voice in voices]
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise UserError(f"{path} is damaged ({type(error).__name__}: {error}): {FORM}") from error
    sexes = [SEXES.index(voice["sex"] if voice.get("sex") in SEXES else UNKNOWN) for voice in voices]
    of_speaker = np.repeat(np.arange(len(voices)), list(map(len, spans)))
    return Annotation(
        [str(voice["speaker_id"]) for voice in voices], sexes, np.concatenate([_NONE, *spans]), of_speaker
    )


_NONE = np.empty((0, 2))


def _spans(voice: Mapping[str, Any]) -> np.ndarray:
    """The spans in which a speaker is active, `(spans, 2)` float64, in seconds."""
    if not isinstance(voice["speaker_id"], int | str):
        raise ValueError("a speaker_id is no name")
    spans: np.ndarray = np.array(voice["activity"] or _NONE, np.float64)
    if spans.ndim != 2 or spans.shape[1] != 2 or not np.isfinite(spans).all():
        raise ValueError("an activity is no list of [begin, end]")
    return spans / ANNOTATED_HZ
