"""Batches of clips: each is rendered once, ahead of the step."""

import itertools
import multiprocessing
from collections import deque
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader

from speaker_count.data import draws
from speaker_count.data.clips import Clips
from speaker_count.data.planning import Plan

RENDERED_AT_ONCE = 128  # clips that the thread hands over at a time, with as many again rendered ahead
PLANNED_AHEAD = 8192  # clips

Batch = dict[str, Tensor]


class Rendering:
    """Renders plans: as the dataset of a `DataLoader`, which looks them up in its processes.

    Args:
        frames: as `Clips.active_voices`; None: without.
    """

    def __init__(self, clips: Clips, frames: int | None) -> None:
        self.clips, self.frames = clips, frames

    def __getitem__(self, plan: Plan) -> dict[str, np.ndarray]:
        """The arrays of a batch, as `ClipLoader` yields them."""
        women, men = ((plan.sexes == sex).sum(axis=1) for sex in range(2))
        arrays = {"waveform": self.clips.render(plan), "count": plan.count, "women": women, "men": men}
        arrays["index"] = plan.index
        if self.frames is not None:
            arrays["active"] = self.clips.active_voices(plan, self.frames)
        return arrays


class ClipLoader:
    """Batches of clips, planned and rendered on a background thread, or in processes, while the step computes.

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
        workers: processes that render; 0: the thread does.
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
        workers: int = 0,
    ) -> None:
        seconds = clips.mix.clip_seconds
        frames = None if frame_seconds is None else max(1, round(seconds / frame_seconds))
        self.rendering, self.workers = Rendering(clips, frames), workers
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
        batches = map(self._tensors, self._rendered(self._plans(epoch, before)))
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

    def _rendered(self, plans: Iterator[Plan]) -> Iterator[dict[str, np.ndarray]]:
        if not self.workers:
            return map(self.rendering.__getitem__, plans)
        context = multiprocessing.get_context("forkserver")
        context.set_forkserver_preload([__name__])
        return iter(
            DataLoader(
                self.rendering,  # type: ignore[arg-type]  # looks plans up, not numbers
                batch_size=None,
                sampler=plans,
                num_workers=self.workers,
                collate_fn=_unchanged,  # tensors would go through shared memory, of which containers have little
                multiprocessing_context=context,
                generator=torch.Generator(),  # the global one's numbers are the net's
            )
        )

    def _tensors(self, arrays: dict[str, np.ndarray]) -> Batch:
        tensors = {name: torch.from_numpy(array) for name, array in arrays.items()}
        return {name: tensor.pin_memory() for name, tensor in tensors.items()} if self.pin_memory else tensors


def _unchanged(arrays: Any) -> Any:
    return arrays


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
