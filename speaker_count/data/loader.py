"""The clips of a split, and batches of them: one render a batch, on a thread ahead of the step."""

import hashlib
import itertools
from collections import deque
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import torch
from torch import Tensor

from speaker_count.data import draws, mixing
from speaker_count.data.pool import Pool
from speaker_count.data.roster import Roster

RENDERED_AT_ONCE = 128  # clips, before they are handed from one thread to the other; as many again are ahead of them
PLANNED_AHEAD = 8192  # clips
MAPPED_FOR_GOOD = 2**37  # bytes of samples: 1200 h, whose page tables are 256 MB

Batch = dict[str, Tensor]


class Clips:
    """The clips of one split; pickles to the pool's path and the index, never to samples."""

    def __init__(self, pool: Pool, split: str, mix: mixing.Mix):
        self.pool, self.split, self.mix = pool, split, mix
        self.samples = round(mix.clip_seconds * pool.sample_rate)
        self.roster = Roster.of(pool, split, self.samples, mix.min_active)

    def __len__(self) -> int:
        return self.mix.clips[self.split]

    @property
    def speakers(self) -> int:
        """How many speakers the clips are drawn from."""
        return len(self.roster.speakers)

    def plan(self, start: int = 0, stop: int | None = None, epoch: int = 0) -> mixing.Plan:
        """Clips `start` to `stop`; `epoch` matters only to training clips that are fresh in each."""
        return self.plan_of(np.arange(start, len(self) if stop is None else stop), epoch)

    def plan_of(self, index: np.ndarray, epoch: int = 0, activity: bool = True) -> mixing.Plan:
        """The clips of these numbers, in this order; without their activity it is enough to render them."""
        if self.pool.samples.nbytes > MAPPED_FOR_GOOD:
            self.pool.map()
        return mixing.plan(
            self.pool,
            self.split,
            self.mix.seed,
            epoch if self.split == "train" and self.mix.fresh_each_epoch else 0,
            index,
            counts=self.mix.counts,
            samples=self.samples,
            roster=self.roster,
            gain_db=self.mix.gain_db,
            level_db=self.mix.level_db,
            activity=activity,
        )

    def render(self, plan: mixing.Plan) -> np.ndarray:
        """`(clips, samples)` int16."""
        return mixing.mix(self.pool, plan).clips

    def sources(self, plan: mixing.Plan) -> list[np.ndarray]:
        """Each clip's voices, `(count, samples)` int16: as they are heard in it, each alone."""
        return mixing.sources(self.pool, plan)

    def batches(self, batch_size: int = 128) -> Iterator[tuple[mixing.Plan, np.ndarray]]:
        """All clips in plan order, with their plan, a few at a time."""
        for start in range(0, len(self), batch_size):
            plan = self.plan(start, min(start + batch_size, len(self)))
            yield plan, self.render(plan)

    def sha256(self) -> str:
        """Of all clips in plan order, as little-endian 16-bit integers."""
        digest = hashlib.sha256()
        for _, clips in self.batches():
            digest.update(clips.astype("<i2", copy=False).data)
        return digest.hexdigest()


class ClipLoader:
    """Batches of clips, planned and rendered on a background thread while the step computes.

    A batch is a dictionary: `waveform` `(batch, samples)` int16, `count` `(batch,)` int64 (how many people speak) and
    `index` `(batch,)` int64 (the clip's number in the plan). Which clips there are does not depend on `batch_size` or
    on `ranks`. The position within an epoch is state, so that training goes on where it was.

    Args:
        batch_size: clips in a batch of all ranks together.
        order_seed: shuffles the clips, anew in each epoch; None: plan order.
    """

    def __init__(
        self,
        clips: Clips,
        batch_size: int,
        order_seed: int | None = None,
        rank: int = 0,
        ranks: int = 1,
        pin_memory: bool = False,
    ):
        self.clips, self.batch_size, self.order_seed = clips, batch_size, order_seed
        self.rank, self.ranks, self.pin_memory = rank, ranks, pin_memory
        self.epoch = 0
        self._position = {"epoch": 0, "batch": 0}  # how many batches of which epoch were taken
        self._resume: dict[str, int] | None = None

    batch_sampler = None  # Lightning looks for it where there is a sampler

    @property
    def sampler(self) -> "ClipLoader":
        """Lightning tells the sampler of a loader which epoch it is; here, that is the loader itself."""
        return self

    def set_epoch(self, epoch: int) -> None:
        self.epoch = epoch

    def state_dict(self) -> dict[str, int]:
        return self._position

    def load_state_dict(self, state: dict[str, int]) -> None:
        self._resume = state

    def __len__(self) -> int:
        return -(-len(self.clips) // self.batch_size)

    def __iter__(self) -> Iterator[Batch]:
        # runs when the first batch is asked for: by then Lightning has set the epoch and the position
        epoch = self.epoch
        resume, self._resume = self._resume, None
        before = resume["batch"] % len(self) if resume and resume["epoch"] == epoch else 0
        batches = (self._batch(plan) for plan in self._plans(epoch, before))
        at_once = max(1, RENDERED_AT_ONCE // self.batch_size)
        for taken, batch in enumerate(_ahead(batches, at_once), start=before + 1):
            self._position = {"epoch": epoch, "batch": taken}
            yield batch

    def _plans(self, epoch: int, taken: int) -> Iterator[mixing.Plan]:
        """This rank's part of the plan of each batch that is not taken yet."""
        for numbers in self._numbers(epoch, taken * self.batch_size):
            chunk = self.clips.plan_of(numbers, epoch, activity=False)
            for start in range(0, len(chunk), self.batch_size):
                yield chunk[start + self.rank : start + self.batch_size : self.ranks]

    def _numbers(self, epoch: int, begin: int) -> Iterator[np.ndarray]:
        """Which clips come, without the first `begin`: whole batches, some at a time."""
        step, end = self.batch_size * max(1, PLANNED_AHEAD // self.batch_size), len(self.clips)
        if self.order_seed is None:
            yield from (np.arange(start, min(start + step, end)) for start in range(begin, end, step))
            return
        left = np.zeros(0, np.int64)  # of the piece before, too few for a batch
        for piece in draws.permuted(f"order/{self.order_seed}/{epoch}", end):
            left, begin = np.concatenate([left, piece[begin:]]), max(0, begin - len(piece))
            whole = len(left) - len(left) % self.batch_size
            yield from (left[start : min(start + step, whole)] for start in range(0, whole, step))
            left = left[whole:]
        if len(left):
            yield left

    def _batch(self, plan: mixing.Plan) -> Batch:
        arrays = {"waveform": self.clips.render(plan), "count": plan.count, "index": plan.index}
        tensors = {name: torch.from_numpy(array) for name, array in arrays.items()}
        return {name: tensor.pin_memory() for name, tensor in tensors.items()} if self.pin_memory else tensors


def _ahead(items: Iterator[Batch], at_once: int) -> Iterator[Batch]:
    """The same items, made on one background thread before they are asked for, some of them at once."""

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
