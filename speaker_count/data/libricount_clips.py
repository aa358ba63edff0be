"""Test clips from LibriCount's recordings, which are mixed already: the beginning of each."""

import logging

import numpy as np

from speaker_count.data.clips import Clips
from speaker_count.data.libricount import Annotation, LibriCountFolder
from speaker_count.data.mixing import Mix
from speaker_count.data.planning import Plan
from speaker_count.errors import UserError

log = logging.getLogger(__name__)


class LibriCountClips(Clips):
    """The clips of one split: for test, one of each recording; none for the others.

    A clip is the beginning of a recording, as it was recorded. A clip of a whole recording has the recording's count:
    the largest number of people who speak at the same time. A shorter clip has this number for its own length, by the
    annotation. Clips with other counts than the mix's are left out; the mix's number of clips does not matter.

    Attributes:
        folder: the recordings.
        other_counts: the counts of clips that are left out.

    Raises:
        UserError: recordings are shorter than a clip, or none has a count of the mix.
    """

    def __init__(self, folder: LibriCountFolder, split: str, mix: Mix) -> None:
        self.folder, self.split, self.mix = folder, split, mix
        self.samples = round(mix.clip_seconds * folder.pool.sample_rate)
        frames = folder.pool.frames
        if (frames < self.samples).any():
            raise UserError(
                f"mix.clip_seconds={mix.clip_seconds} is longer than {(frames < self.samples).sum()} of the "
                f"{len(frames)} recordings of data=libricount; the shortest has "
                f"{frames.min() / folder.pool.sample_rate:.2f} s"
            )
        of_file = zip(folder.annotations, frames.tolist(), strict=True)
        heard = [self._heard(annotation, length) for annotation, length in of_file] if split == "test" else []
        count = np.array([len(voices) for voices in heard], np.int64)
        self.files = np.flatnonzero(np.isin(count, mix.counts))
        self.other_counts = sorted({*count.tolist()}.difference(mix.counts))
        if len(self.files) < len(count):
            log.info("left out: %d of %d recordings with other counts", len(count) - len(self.files), len(count))
        if heard and not len(self.files):
            raise UserError(f"no recording of data=libricount has a count of mix.counts={list(mix.counts)}")
        self._plan = self._planned([heard[file] for file in self.files.tolist()])

    def _heard(self, annotation: Annotation, frames: int) -> list[int]:
        """The speakers who count in the clip of a recording with so many samples."""
        if self.samples >= frames:
            return [*range(len(annotation.speakers))]
        return annotation.most_at_once(self.samples / self.folder.pool.sample_rate)

    def _planned(self, heard: list[list[int]]) -> Plan:
        """The plan of all clips; activity is not known."""
        count = np.array([len(voices) for voices in heard], np.int64)
        shape = (len(heard), max(1, *self.mix.counts))
        speakers, sexes = np.full(shape, -1, np.int32), np.full(shape, -1, np.int8)
        for row, (file, voices) in enumerate(zip(self.files.tolist(), heard, strict=True)):
            annotation = self.folder.annotations[file]
            names = [annotation.speakers[voice] for voice in voices]
            speakers[row, : len(voices)] = np.searchsorted(self.folder.speakers, names)
            sexes[row, : len(voices)] = [annotation.sexes[voice] for voice in voices]
        spoken = np.arange(shape[1]) < count[:, None]
        return Plan(
            index=np.arange(len(heard)),
            count=count,
            speakers=speakers,
            utterances=np.where(spoken, self.files[:, None], -1).astype(np.int32),
            starts=np.where(spoken, 0, -1),
            sexes=sexes,
            activity=np.where(spoken, np.nan, 0).astype(np.float32),
            gains=spoken.astype(np.float32),
            scale=np.ones(len(heard), np.float32),
            samples=self.samples,
        )

    def __len__(self) -> int:
        return len(self.files)

    @property
    def speakers(self) -> int:
        """The number of speakers in the clips."""
        return len(np.unique(self._plan.speakers[self._plan.speakers >= 0]))

    def plan_of(self, index: np.ndarray, epoch: int = 0, activity: bool = True) -> Plan:
        """As `Clips.plan_of`; the clips are the same in every epoch."""
        return self._plan[index]

    def render(self, plan: Plan) -> np.ndarray:
        """`(clips, samples)` int16."""
        clips = np.empty((len(plan), self.samples), np.int16)
        for row, file in enumerate(self.files[plan.index].tolist()):
            clips[row] = self.folder.pool.read(file)[: self.samples]
        return clips

    def active_voices(self, plan: Plan, frames: int) -> np.ndarray:
        """Raises UserError: the clips are for test alone."""
        raise UserError("data=libricount holds recordings for test, which no net is trained on")

    def sources(self, plan: Plan) -> list[np.ndarray]:
        """Raises UserError: recordings hold no separate voices."""
        raise UserError("data=libricount holds recordings of several people, not their separate voices")
