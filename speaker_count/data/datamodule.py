"""The stream: corpus -> pool -> plan -> mix -> batches, one render per batch, on a thread ahead of the step."""

import hashlib
import inspect
import logging
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytorch_lightning as pl
import torch
from torch import Tensor

from speaker_count.data import corpus, download, mixing
from speaker_count.data.pool import Pool, build
from speaker_count.errors import UserError, check_list, check_number

log = logging.getLogger(__name__)
RENDERED_AHEAD = 4  # batches
PLANNED_AHEAD = 8192  # clips, where they are streamed in plan order

Batch = dict[str, Tensor]


class ClipDataModule(pl.LightningDataModule):
    """Clips of one to a few speakers, mixed while they are asked for.

    Args:
        name: of the corpus, for folders and tables.
        root: the folder that holds `LibriSpeech/`, or that folder itself.
        cache: the folder for pools of decoded speech.
        mix: how clips are drawn and mixed.
        batch_size: clips in a step of all ranks together.
        seed: the run's; it orders the training clips where they are the same in each epoch.
        sample_rate: of the corpus, in Hz.
        train_subsets, validation_subsets, test_subsets, utterance_list: see `corpus.index`.
        url: of the folder of archives from which `download` gets the subsets; None: there is none.
        synthesize: where given, the arguments with which `demo.synthesize` makes the corpus, if it is not there.
        evaluate_train: also yield the training clips as a second validation set.
    """

    def __init__(
        self,
        name: str,
        root: str,
        cache: str,
        mix: mixing.Mix,
        batch_size: int = 32,
        seed: int = 0,
        sample_rate: int = 16_000,
        train_subsets: Sequence[str] | None = None,
        validation_subsets: Sequence[str] | None = None,
        test_subsets: Sequence[str] | None = None,
        utterance_list: str | None = None,
        url: str | None = None,
        synthesize: Mapping[str, int] | None = None,
        evaluate_train: bool = False,
    ):
        super().__init__()
        check_number("data.batch_size", batch_size, int, 1)
        check_number("data.sample_rate", sample_rate, int, 1)
        check_number("seed", seed, int, 0)
        check_number("evaluate_train", evaluate_train, bool)
        for key, value in (("root", root), ("cache", cache)):
            if not isinstance(value, str | Path):
                raise UserError(f"data.{key}={value}: expected a folder")
        for split, names in zip(corpus.SPLITS, (train_subsets, validation_subsets, test_subsets), strict=True):
            check_list(f"data.{split}_subsets", names)
        self.name, self.mix, self.batch_size, self.seed = name, mix, batch_size, seed
        self.root, self.cache = Path(root).expanduser(), Path(cache).expanduser()
        self.sample_rate, self.evaluate_train, self.synthesize = sample_rate, evaluate_train, synthesize
        self.subsets = (train_subsets, validation_subsets, test_subsets)
        self.utterance_list, self.url = utterance_list, url
        self.pool: Pool | None = None

    @classmethod
    def of_result(cls, result: Mapping[str, Any]) -> "ClipDataModule":
        """The data of a finished run, from the plain values in its `result.json`."""
        known = inspect.signature(cls).parameters
        mix = mixing.Mix(**{key: value for key, value in result["mix"].items() if not key.startswith("_")})
        return cls(**{key: value for key, value in result["data"].items() if key in known}, mix=mix)

    def download(self) -> None:
        """Get the subsets that are not there."""
        if self.url is not None:
            for subset in (subset for subsets in self.subsets for subset in subsets or ()):
                download.fetch(self.root, subset, self.url)

    def prepare_data(self, force: bool = False) -> Path:
        """Make the pool, if it is not there; returns its folder."""
        if self.pool is not None and not force:
            return self.pool.path  # Lightning asks again before each fit and test
        if self.synthesize is not None:
            from speaker_count.data import demo  # needs eSpeak NG, an optional extra

            demo.synthesize(self.root, sample_rate=self.sample_rate, **self.synthesize)
        listed = corpus.index(self.root, *self.subsets, utterance_list=self.utterance_list)
        return build(listed, self.cache, self.sample_rate, force)

    def setup(self, stage: str | None = None) -> None:
        """Open the pool and see that every split can give the clips that are asked for.

        Raises:
            UserError: a split has too few speakers, or no utterance is as long as a clip.
        """
        if self.pool is not None:
            return
        self.pool = Pool(self.prepare_data())
        if self.pool.damaged:
            log.warning(
                "%d utterances are left out as damaged: %s", len(self.pool.damaged), self.pool.path / "pool.json"
            )
        self.clips = {split: self._clips(split) for split in corpus.SPLITS}

    def speakers(self) -> dict[str, int]:
        """How many speakers each split draws from."""
        return {split: len(clips.roster.speakers) for split, clips in self.clips.items()}

    def train_dataloader(self) -> "ClipLoader":
        return self._loader("train", shuffle=not self.mix.fresh_each_epoch)

    def val_dataloader(self) -> list["ClipLoader"]:
        return [self._loader(split) for split in ("validation", *(["train"] if self.evaluate_train else []))]

    def test_dataloader(self) -> "ClipLoader":
        return self._loader("test")

    def _loader(self, split: str, shuffle: bool = False) -> "ClipLoader":
        return ClipLoader(
            self.clips[split],
            self.batch_size,
            order_seed=self.seed if shuffle else None,
            rank=self.trainer.global_rank if self.trainer else 0,
            ranks=self.trainer.world_size if self.trainer else 1,
            pin_memory=self.trainer is not None and self.trainer.strategy.root_device.type == "cuda",
        )

    def _clips(self, split: str) -> "Clips":
        clips = Clips(self.pool, split, self.mix)
        if clips.samples < 1:
            raise UserError(f"mix.clip_seconds={self.mix.clip_seconds}: a clip needs at least one sample")
        where = f"the {split} split of data={self.name} ({self.root})"
        frames = self.pool.frames[self.pool.splits[self.pool.speaker] == corpus.SPLITS.index(split)]
        if len(frames) and frames.max() < clips.samples:
            raise UserError(
                f"mix.clip_seconds={self.mix.clip_seconds} is longer than every utterance of {where}; "
                f"the longest has {frames.max() / self.sample_rate:.2f} s"
            )
        most = max(self.mix.counts)
        if len(clips.roster.speakers) < most:
            raise UserError(
                f"{where} has {len(clips.roster.speakers)} speakers with {self.mix.clip_seconds} s of speech"
                + (f", {self.mix.min_active:.0%} of it active (mix.min_active)" if self.mix.min_active else "")
                + f", but mix.counts asks for {most} at a time: use a corpus with more speakers, or smaller mix.counts"
            )
        for sex, number in zip(corpus.SEXES, clips.roster.of_sex, strict=True):
            if number < most:
                log.warning("%s has %d speakers of sex %s: its mixtures are not balanced by sex", where, number, sex)
        return clips


class Clips:
    """The clips of one split; pickles to the pool's path and the index, never to samples."""

    def __init__(self, pool: Pool, split: str, mix: mixing.Mix):
        self.pool, self.split, self.mix = pool, split, mix
        self.samples = round(mix.clip_seconds * pool.sample_rate)
        self.roster = mixing.Roster.of(pool, split, self.samples, mix.min_active)

    def __len__(self) -> int:
        return self.mix.clips[self.split]

    def plan(self, start: int = 0, stop: int | None = None, epoch: int = 0) -> mixing.Plan:
        """Clips `start` to `stop`; `epoch` matters only to training clips that are fresh in each."""
        return mixing.plan(
            self.pool,
            self.split,
            self.mix.seed,
            epoch if self.split == "train" and self.mix.fresh_each_epoch else 0,
            start,
            len(self) if stop is None else stop,
            counts=self.mix.counts,
            samples=self.samples,
            roster=self.roster,
            gain_db=self.mix.gain_db,
            level_db=self.mix.level_db,
        )

    def render(self, plan: mixing.Plan) -> np.ndarray:
        """`(clips, samples)` int16."""
        return mixing.mix(self.pool, plan).clips

    def batches(self, batch_size: int = 1024) -> Iterator[tuple[mixing.Plan, np.ndarray]]:
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
        for taken, batch in enumerate(_ahead(batches), start=before + 1):
            self._position = {"epoch": epoch, "batch": taken}
            yield batch

    def _plans(self, epoch: int, taken: int) -> Iterator[mixing.Plan]:
        """This rank's part of the plan of each batch that is not taken yet."""
        begin, end = taken * self.batch_size, len(self.clips)
        if self.order_seed is None:
            step = self.batch_size * max(1, PLANNED_AHEAD // self.batch_size)
            chunks = (self.clips.plan(start, min(start + step, end), epoch) for start in range(begin, end, step))
        else:
            order = mixing.permutation(f"order/{self.order_seed}/{epoch}", end)
            chunks = (self.clips.plan(epoch=epoch)[order[begin:]],)
        for chunk in chunks:
            for start in range(0, len(chunk), self.batch_size):
                yield chunk[start + self.rank : start + self.batch_size : self.ranks]

    def _batch(self, plan: mixing.Plan) -> Batch:
        arrays = {"waveform": self.clips.render(plan), "count": plan.count, "index": plan.index}
        tensors = {name: torch.from_numpy(array) for name, array in arrays.items()}
        return {name: tensor.pin_memory() for name, tensor in tensors.items()} if self.pin_memory else tensors


def _ahead(items: Iterator[Batch]) -> Iterator[Batch]:
    """The same items, made on one background thread, up to `RENDERED_AHEAD` of them before they are asked for."""
    with ThreadPoolExecutor(max_workers=1, thread_name_prefix="mix") as thread:
        try:
            waiting = deque(thread.submit(next, items, None) for _ in range(RENDERED_AHEAD))
            while (item := waiting.popleft().result()) is not None:
                waiting.append(thread.submit(next, items, None))
                yield item
        finally:
            thread.shutdown(cancel_futures=True)
