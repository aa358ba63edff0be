"""Sources of speech, a class each: where the files of a corpus are, how they get there, and how they are listed.

A run's folder names its source by a word in `SOURCES`, never by a class.
"""

import dataclasses
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from speaker_count.data import corpus, download, libricount, manifest
from speaker_count.data.corpus import Corpus
from speaker_count.errors import UserError, check_list, check_number
from speaker_count.labels import SPLITS


@dataclass(frozen=True)
class Source(ABC):
    """Where speech comes from.

    Attributes:
        root: the folder or the file that holds or names the speech.
        needs: what `root` is, for messages.
        synthetic: whether a synthesiser speaks.
        only_tests: whether its clips are for test alone.
    """

    root: Path
    needs: ClassVar[str]
    synthetic: ClassVar[bool] = False
    only_tests: ClassVar[bool] = False

    @abstractmethod
    def index(self) -> Corpus:
        """List the utterances, and divide their speakers into splits.

        Raises:
            UserError: the speech is missing, or its list is malformed.
        """

    def check_trains(self, name: str | None) -> None:
        """Check that a net can be trained on the clips.

        Args:
            name: of the corpus.

        Raises:
            UserError: they are for test alone.
        """
        if self.only_tests:
            raise UserError(
                f"data={name} holds clips for test alone: train on another corpus, then `speaker-count evaluate "
                f"RUN_DIR data={name} data.root={self.root}`"
            )

    def download(self) -> None:  # noqa: B027  (most sources have nothing to download)
        """Download what is missing, from where the source says."""

    def synthesize(self, sample_rate: int) -> None:  # noqa: B027
        """Make what is missing, in Hz, if the source is a synthesiser's speech."""


@dataclass(frozen=True)
class Folder(Source):
    """A tree in LibriSpeech's layout, whose speakers are divided among the splits.

    Args:
        root: the folder that holds `LibriSpeech/`, or the folder of subsets itself.
        utterance_list: as in `corpus.index`.
    """

    utterance_list: str | None = None
    needs: ClassVar[str] = "DIR, a folder in LibriSpeech's layout"

    def index(self) -> Corpus:
        """As in `corpus.index`."""
        return corpus.index(self.root, utterance_list=self.utterance_list)


@dataclass(frozen=True)
class LibriSpeech(Folder):
    """LibriSpeech (OpenSLR 12), or another tree of its layout whose splits are its subsets.

    Args:
        train_subsets, validation_subsets, test_subsets: as in `corpus.index`.
        url: of the folder of archives that `download` gets the subsets from; None: nothing can be downloaded.
    """

    train_subsets: Sequence[str] | None = None
    validation_subsets: Sequence[str] | None = None
    test_subsets: Sequence[str] | None = None
    url: str | None = None
    needs: ClassVar[str] = "DIR, the folder that holds LibriSpeech/, or that folder itself"

    def __post_init__(self) -> None:
        for split, names in zip(SPLITS, self._subsets, strict=True):
            check_list(f"data.{split}_subsets", names)

    @property
    def _subsets(self) -> tuple[Sequence[str] | None, Sequence[str] | None, Sequence[str] | None]:
        return self.train_subsets, self.validation_subsets, self.test_subsets

    def index(self) -> Corpus:
        """As in `corpus.index`."""
        return corpus.index(self.root, *self._subsets, self.utterance_list)

    def missing(self) -> list[str]:
        """The missing subsets that can be downloaded."""
        folder = corpus.find_root(self.root) if self.root.is_dir() else self.root
        named = dict.fromkeys(subset for subsets in self._subsets for subset in subsets or ())
        return [subset for subset in named if self.url is not None and not (folder / subset).is_dir()]

    def download(self) -> None:
        """Download the missing subsets.

        Raises:
            UserError: as in `download.fetch`.
        """
        for subset in self.missing():
            download.fetch(self.root, subset, str(self.url))


@dataclass(frozen=True)
class Manifest(Source):
    """The files that a table names, in any tree.

    Args:
        root: the table, see `manifest`.
    """

    needs: ClassVar[str] = f"FILE, a manifest: CSV or Parquet with {manifest.COLUMNS_IN_WORDS}"

    def index(self) -> Corpus:
        """As in `manifest.index`."""
        return manifest.index(self.root)


@dataclass(frozen=True)
class Demo(Source):
    """The demo corpus, which is synthesised on first use.

    Args:
        root: the folder for it.
        voices: number of speakers.
        sentences: of each speaker.
    """

    voices: int = 48
    sentences: int = 6
    needs: ClassVar[str] = "DIR, a folder for the demo corpus"
    synthetic: ClassVar[bool] = True

    def __post_init__(self) -> None:
        check_number("data.voices", self.voices, int, 2)
        check_number("data.sentences", self.sentences, int, 1)

    def index(self) -> Corpus:
        """As in `corpus.index`."""
        return corpus.index(self.root)

    def synthesize(self, sample_rate: int) -> None:
        """As in `demo.synthesize`."""
        from speaker_count.data import demo  # needs eSpeak NG, an optional extra

        demo.synthesize(self.root, sample_rate, self.voices, self.sentences)


@dataclass(frozen=True)
class ClipFiles(Source):
    """Clips in files that `speaker-count clips` wrote: speech that is mixed already.

    Args:
        root: the folder that holds them.
    """

    needs: ClassVar[str] = "DIR, a folder that `speaker-count clips` wrote"

    def index(self) -> Corpus:
        """Raises UserError: clips are no utterances."""
        raise UserError(f"{self.root} holds mixed clips, not a corpus")


@dataclass(frozen=True)
class LibriCount(Source):
    """LibriCount's recordings, which are mixed already, for test.

    Args:
        root: `LibriCount10-0dB`, or a folder that holds it.
    """

    needs: ClassVar[str] = "DIR, the folder of LibriCount's recordings"
    only_tests: ClassVar[bool] = True

    def index(self) -> Corpus:
        """As in `libricount.index`."""
        return libricount.index(self.root)


SOURCES: Mapping[str, type[Source]] = {
    "librispeech": LibriSpeech,
    "folder": Folder,
    "manifest": Manifest,
    "demo": Demo,
    "clips": ClipFiles,
    "libricount": LibriCount,
}
# what a run's folder may say of its speech; where that is, and how much of it to make, it may not
OF_RUNS = ("train_subsets", "validation_subsets", "test_subsets", "utterance_list")


def make(source: str, root: str | Path | None, arguments: Mapping[str, Any], name: str) -> Source:
    """The source of this word.

    Args:
        root: of the source.
        arguments: the source's others, by their names.
        name: of the corpus, for messages.

    Raises:
        UserError: there is no such source, it has no such argument, or a value is of the wrong kind.
    """
    kind = SOURCES.get(source) if isinstance(source, str) else None
    if kind is None:
        raise UserError(f"data.source={source}: expected one of {', '.join(SOURCES)}")
    odd = sorted(arguments.keys() - _arguments(kind))
    if odd:
        raise UserError(f"data={name} has no key data.{odd[0]}")
    if root is None:
        raise UserError(f"data={name} needs data.root={kind.needs}")
    if not isinstance(root, str | Path):
        raise UserError(f"data.root={root}: expected {kind.needs}")
    return kind(Path(root).expanduser(), **arguments)


def _arguments(kind: type[Source]) -> set[str]:
    return {field.name for field in dataclasses.fields(kind)} - {"root"}


def source_of_run(recorded: Mapping[str, Any]) -> str:
    """The source that a finished run names, if it is known; one that is not is a folder.

    Args:
        recorded: the `data` of the run's result; one of 0.1.0 has flags instead.
    """
    named = recorded.get("source", "clips" if recorded.get("rendered") else "librispeech")
    return named if named in SOURCES else "folder"


def arguments_of_run(recorded: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments with which the speech of a finished run is listed, from plain values that come from anywhere.

    Nothing is downloaded or synthesised: the demo corpus is a folder like others.
    """
    source = source_of_run(recorded)
    source = "folder" if SOURCES[source].synthetic else source
    allowed = _arguments(SOURCES[source]).intersection(OF_RUNS, recorded)
    return {"source": source, **{key: recorded[key] for key in allowed}}
