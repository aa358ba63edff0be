"""The clips of a split: their plan, and their samples."""

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Iterator

import numpy as np

from speaker_count.data import augmentation, mixing, planning
from speaker_count.data.pauses import Pauses
from speaker_count.data.planning import Plan
from speaker_count.data.pool import Pool
from speaker_count.data.roster import Roster
from speaker_count.data.sounds import GENERATED, Sounds

MAPPED_FOR_GOOD = 2**37  # bytes of samples: 1200 h, whose page tables take 256 MB; larger pools are mapped again


class Clips(ABC):
    """The clips of one split: their plan, and their samples.

    Attributes:
        split: its name.
        mix: how the clips are drawn and mixed.
        samples: length of a clip.
    """

    split: str
    mix: mixing.Mix
    samples: int

    def __len__(self) -> int:
        return self.mix.clips[self.split]

    @property
    @abstractmethod
    def speakers(self) -> int:
        """The number of speakers that the clips are drawn from."""

    @abstractmethod
    def plan_of(self, index: np.ndarray, epoch: int = 0, activity: bool = True) -> Plan:
        """The plan of the clips with these numbers, in this order.

        Args:
            index: `(clips,)` int64.
            epoch: matters only to training clips that are fresh in each epoch.
            activity: look up how active each crop is; rendering does not need it.
        """

    @abstractmethod
    def render(self, plan: Plan) -> np.ndarray:
        """`(clips, samples)` int16."""

    @abstractmethod
    def active_voices(self, plan: Plan, frames: int) -> np.ndarray:
        """How many voices are active in each of `frames` equal parts of the clips, `(clips, frames)` int8.

        Raises:
            UserError: the clips are stored without it.
        """

    @abstractmethod
    def sources(self, plan: Plan) -> list[np.ndarray]:
        """Each clip's voices, `(count, samples)` int16, as the clip holds them.

        Raises:
            UserError: the clips are stored without their separate voices.
        """

    def plan(self, start: int = 0, stop: int | None = None, epoch: int = 0) -> Plan:
        """The plan of clips `start` to `stop`; `epoch` as in `plan_of`."""
        return self.plan_of(np.arange(start, len(self) if stop is None else stop), epoch)

    def batches(self, batch_size: int = 128) -> Iterator[tuple[Plan, np.ndarray]]:
        """All clips in plan order, batch by batch, with their plan."""
        for start in range(0, len(self), batch_size):
            plan = self.plan(start, min(start + batch_size, len(self)))
            yield plan, self.render(plan)

    def sha256(self) -> str:
        """The SHA-256 of all clips in plan order, as little-endian 16-bit integers."""
        digest = hashlib.sha256()
        for _, clips in self.batches():
            digest.update(clips.astype("<i2", copy=False).data)
        return digest.hexdigest()


class MixedClips(Clips):
    """Clips that are mixed from a pool; they pickle to the pool's path and the roster, never to samples.

    Attributes:
        pool: the decoded speech.
        roster: the speakers, utterances and crops that the clips are drawn from.
        sounds: recorded ones that the clips are varied with.
        crop: the most that a voice takes of an utterance, in samples.
    """

    def __init__(self, pool: Pool, split: str, mix: mixing.Mix, sounds: Sounds = GENERATED) -> None:
        self.pool, self.split, self.mix, self.sounds = pool, split, mix, sounds
        self.samples = round(mix.clip_seconds * pool.sample_rate)
        self.augment = mix.augment_of(split)
        self.crop = augmentation.longest_crop(self.augment, self.samples)
        self.roster = Roster.of(pool, split, self.crop, mix.min_active)
        self.pauses = Pauses.of(pool, split) if 0 in mix.counts else None

    @property
    def speakers(self) -> int:
        """The number of speakers that the clips are drawn from."""
        return len(self.roster.speakers)

    def plan_of(self, index: np.ndarray, epoch: int = 0, activity: bool = True) -> Plan:
        """As `Clips.plan_of`."""
        if self.pool.samples.nbytes > MAPPED_FOR_GOOD:
            self.pool.map()
        return planning.plan(
            self.pool,
            self.split,
            self.mix.seed,
            epoch if self.split == "train" and self.mix.fresh_each_epoch else 0,
            index,
            roster=self.roster,
            counts=self.mix.counts,
            samples=self.samples,
            gain_db=self.mix.gain_db,
            level_db=self.mix.level_db,
            augment=self.augment,
            sounds=self.sounds,
            pauses=self.pauses,
            activity=activity,
        )

    def render(self, plan: Plan) -> np.ndarray:
        """`(clips, samples)` int16."""
        return mixing.mix(self.pool, plan, self.sounds).clips

    def active_voices(self, plan: Plan, frames: int) -> np.ndarray:
        """As `Clips.active_voices`."""
        heard = np.arange(plan.starts.shape[1]) < plan.count[:, None]
        lengths = np.full(plan.starts.shape, self.samples)
        if plan.effects is not None:
            lengths = np.rint(lengths * plan.effects.speed).astype(np.int64)
        active = self.pool.active_frames(np.maximum(plan.utterances, 0), np.maximum(plan.starts, 0), lengths, frames)
        if plan.effects is not None:
            active = np.where(plan.effects.backwards[..., None], active[..., ::-1], active)
        voices: np.ndarray = (active & heard[..., None]).sum(axis=1, dtype=np.int8)
        return voices

    def sources(self, plan: Plan) -> list[np.ndarray]:
        """Each clip's voices, `(count, samples)` int16, as the clip holds them."""
        return mixing.sources(self.pool, plan, self.sounds)
