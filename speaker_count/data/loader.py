"""The clips of a split, and batches of them: each batch is rendered once, on a thread ahead of the step."""

import hashlib
import itertools
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import torch
from torch import Tensor

from speaker_count.data import augmentation, draws, mixing, planning
from speaker_count.data.pauses import Pauses
from speaker_count.data.planning import Plan
from speaker_count.data.pool import Pool
from speaker_count.data.roster import Roster

RENDERED_AT_ONCE = 128  # clips that the thread hands over at a time, with as many again rendered ahead
PLANNED_AHEAD = 8192  # clips
MAPPED_FOR_GOOD = 2**37  # bytes of samples: 1200 h, whose page tables take 256 MB; larger pools are mapped again

Batch = dict[str, Tensor]


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
        crop: the most that a voice takes of an utterance, in samples.
    """

    def __init__(self, pool: Pool, split: str, mix: mixing.Mix) -> None:
        self.pool, self.split, self.mix = pool, split, mix
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
            pauses=self.pauses,
            activity=activity,
        )

    def render(self, plan: Plan) -> np.ndarray:
        """`(clips, samples)` int16."""
        return mixing.mix(self.pool, plan).clips

    def active_voices(self, plan: Plan, frames: int) -> np.ndarray:
        """As `Clips.active_voices`."""
        heard = np.arange(plan.starts.shape[1]) < plan.count[:, None]
        lengths = np.full(plan.starts.shape, self.samples)
        if plan.effects is not None:
            lengths = np.rint(lengths * plan.effects.speed).astype(np.int64)
        active = self.pool.active_frames(np.maximum(plan.utterances, 0), np.maximum(plan.starts, 0), lengths, frames)
        voices: np.ndarray = (active & heard[..., None]).sum(axis=1, dtype=np.int8)
        return voices

    def sources(self, plan: Plan) -> list[np.ndarray]:
        """Each clip's voices, `(count, samples)` int16, as the clip holds them."""
        return mixing.sources(self.pool, plan)


class ClipLoader:
    """Batches of clips, planned and rendered on a background thread while the step computes.

    A batch is a dictionary: `waveform` `(batch, samples)` int16; `(batch,)` int64 each, `count` (how many people
    speak), `women` and `men` among them, and `index` (the clip's number in the plan); and with `frame_seconds` `active`
    `(batch, frames)` int8 (how many voices are active in each frame). Neither `batch_size` nor `ranks` changes an
    epoch's clips. The position within an epoch is state, so that training resumes where it stopped.

    Args:
        batch_size: clips in a batch of all ranks together.
        order_seed: shuffles the clips, differently in each epoch; None: plan order.
        rank, ranks: which part of every batch this loader yields, and of how many.
        pin_memory: put batches into page-locked memory, from which GPUs copy faster.
        frame_seconds: the length of the frames of `active`; None: batches are without it.
    """

    def __init__(
        self,
        clips: Clips,
        batch_size: int,
        order_seed: int | None = None,
        rank: int = 0,
        ranks: int = 1,
        pin_memory: bool = False,
        frame_seconds: float | None = None,
    ) -> None:
        seconds = clips.mix.clip_seconds
        self.frames = None if frame_seconds is None else max(1, round(seconds / frame_seconds))
        self.clips, self.batch_size, self.order_seed = clips, batch_size, order_seed
        self.rank, self.ranks, self.pin_memory = rank, ranks, pin_memory
        self.epoch = 0
        self._position = {"epoch": 0, "batch": 0}  # the epoch, and how many of its batches were taken
        self._resume: dict[str, int] | None = None

    batch_sampler = None  # Lightning looks for this attribute beside `sampler`

    @property
    def sampler(self) -> "ClipLoader":
        """The loader itself: Lightning sets the epoch of a loader's sampler."""
        return self

    def set_epoch(self, epoch: int) -> None:
        """Set the epoch that the next iteration yields."""
        self.epoch = epoch

    def state_dict(self) -> dict[str, int]:
        """The position: `epoch`, and `batch`, the number of its batches that were taken."""
        return self._position

    def load_state_dict(self, state: dict[str, int]) -> None:
        """Resume at a position; the next iteration of that epoch skips the batches that were taken.

        Raises:
            ValueError: there is no such position.
        """
        if not (state["epoch"] >= 0 and 0 <= state["batch"] <= len(self)):
            raise ValueError(f"batch {state['batch']} of epoch {state['epoch']} does not exist")
        self._resume = state

    def __len__(self) -> int:
        return -(-len(self.clips) // self.batch_size)

    def __iter__(self) -> Iterator[Batch]:
        # this runs at the first batch: Lightning has set the epoch and the position by then
        epoch = self.epoch
        resume, self._resume = self._resume, None
        before = resume["batch"] % len(self) if resume and resume["epoch"] == epoch else 0
        batches = (self._batch(plan) for plan in self._plans(epoch, before))
        at_once = max(1, RENDERED_AT_ONCE // self.batch_size)
        for taken, batch in enumerate(_ahead(batches, at_once), start=before + 1):
            self._position = {"epoch": epoch, "batch": taken}
            yield batch

    def _plans(self, epoch: int, taken: int) -> Iterator[Plan]:
        """This rank's part of the plan of each remaining batch."""
        for numbers in self._numbers(epoch, taken * self.batch_size):
            chunk = self.clips.plan_of(numbers, epoch, activity=False)
            for start in range(0, len(chunk), self.batch_size):
                yield chunk[start + self.rank : start + self.batch_size : self.ranks]

    def _numbers(self, epoch: int, begin: int) -> Iterator[np.ndarray]:
        """The numbers of an epoch's clips in order, without the first `begin`: whole batches, several at a time."""
        step, end = self.batch_size * max(1, PLANNED_AHEAD // self.batch_size), len(self.clips)
        if self.order_seed is None:
            yield from (np.arange(start, min(start + step, end)) for start in range(begin, end, step))
            return
        left = np.zeros(0, np.int64)  # the rest of the last piece, too small for a batch
        for piece in draws.permuted(f"order/{self.order_seed}/{epoch}", end):
            left, begin = np.concatenate([left, piece[begin:]]), max(0, begin - len(piece))
            whole = len(left) - len(left) % self.batch_size
            yield from (left[start : min(start + step, whole)] for start in range(0, whole, step))
            left = left[whole:]
        if len(left):
            yield left

    def _batch(self, plan: Plan) -> Batch:
        women, men = ((plan.sexes == sex).sum(axis=1) for sex in range(2))
        arrays = {"waveform": self.clips.render(plan), "count": plan.count, "women": women, "men": men}
        arrays["index"] = plan.index
        if self.frames is not None:
            arrays["active"] = self.clips.active_voices(plan, self.frames)
        tensors = {name: torch.from_numpy(array) for name, array in arrays.items()}
        return {name: tensor.pin_memory() for name, tensor in tensors.items()} if self.pin_memory else tensors


def _ahead(items: Iterator[Batch], at_once: int) -> Iterator[Batch]:
    """The same items, made ahead on one background thread, `at_once` of them at a time."""

    def some() -> list[Batch]:
        return list(itertools.islice(items, at_once))

    with ThreadPoolExecutor(max_workers=1, thread_name_prefix="mix") as thread:
        try:
            waiting = deque(thread.submit(some) for _ in range(2))
            while made := waiting.popleft().result():
                waiting.append(thread.submit(some))
                yield from made
        finally:
            thread.shutdown(cancel_futures=True)
