"""Batches for training: corpus -> pool -> plan -> mix -> batches; or files of clips -> batches."""

import contextlib
import inspect
import logging
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytorch_lightning as pl

from speaker_count.data import corpus, mixing, pool_builder, sounds, sources, sufficient
from speaker_count.data import pool as pools
from speaker_count.data.clips import Clips
from speaker_count.data.libricount import LibriCountFolder
from speaker_count.data.libricount_clips import LibriCountClips
from speaker_count.data.loader import ClipLoader
from speaker_count.data.pool import Pool
from speaker_count.data.sounds import GENERATED
from speaker_count.data.verification import Verification
from speaker_count.data.wav_folder import WavClips, WavFolder
from speaker_count.errors import UserError, check_number
from speaker_count.labels import SEXES, SPLITS, UNKNOWN

log = logging.getLogger(__name__)
PLACES = ("root", "cache", "pool")  # on this machine: a run does not decide where speech is
NAME_ROOT = "name the folder of the corpus (report: --root DIR; evaluate: data.root=DIR)"


class ClipDataModule(pl.LightningDataModule):
    """Batches of clips of one to a few speakers, mixed during training or read from files.

    Args:
        name: of the corpus, for folders and tables.
        root: where the source's speech is; None: `pool` has it.
        cache: the folder for pools of decoded speech.
        mix: how clips are drawn and mixed.
        source: where the speech comes from, a word in `sources.SOURCES`.
        batch_size: clips in a step of all ranks together.
        seed: the run's; it orders the training clips if they are the same in each epoch.
        sample_rate: of the clips, in Hz.
        resample: convert speech of other rates and several channels while it is decoded; otherwise it is refused.
        pool: the folder of a pool to draw from, whatever `root` holds; None: the pool of the corpus in `root`.
        evaluate_train: also yield the training clips as a second validation set.
        workers: processes of each rank that render training clips; 0: a thread does; None: with a GPU, one for each
            core but one if the clips vary, as their rendering takes longer than a step; else 0.
        arguments: the source's other arguments, see its class.

    Attributes:
        source: the source.
        clips: the clips of each split, after `setup`.
        sounds: the recorded ones that clips are varied with, after `setup`.

    Raises:
        UserError: a value is of the wrong kind or out of range.
    """

    clips: dict[str, Clips]

    def __init__(
        self,
        name: str,
        root: str | Path | None,
        cache: str | Path,
        mix: mixing.Mix,
        source: str = "folder",
        batch_size: int = 32,
        seed: int = 0,
        sample_rate: int = 16_000,
        resample: bool = False,
        pool: str | Path | None = None,
        evaluate_train: bool = False,
        workers: int | None = None,
        **arguments: Any,
    ) -> None:
        super().__init__()
        check_number("data.batch_size", batch_size, int, 1)
        check_number("data.sample_rate", sample_rate, int, 1)
        check_number("seed", seed, int, 0)
        if seed >= 2**32:
            raise UserError(f"seed={seed}: expected a whole number below 4294967296")
        check_number("data.resample", resample, bool)
        check_number("evaluate_train", evaluate_train, bool)
        if workers is not None:
            check_number("data.workers", workers, int, 0)
        if not isinstance(cache, str | Path):
            raise UserError(f"data.cache={cache}: expected a folder")
        self.name, self.mix, self.batch_size, self.seed = name, mix, batch_size, seed
        self.source = sources.make(source, pool if root is None else root, arguments, name)
        self.cache = Path(cache).expanduser()
        self.sample_rate, self.resample, self.evaluate_train = sample_rate, resample, evaluate_train
        self.workers = workers
        self._given = None if pool is None else Path(pool)
        self._built: Path | None = None
        self._pool: Pool | WavFolder | LibriCountFolder | None = None
        self._verification: Verification | None = None
        self.sounds = GENERATED

    @property
    def root(self) -> Path:
        """Where the source's speech is."""
        return self.source.root

    @property
    def rendered(self) -> bool:
        """Whether the clips are read from files instead of being mixed."""
        return isinstance(self.source, sources.ClipFiles)

    @property
    def pool(self) -> Pool | WavFolder | LibriCountFolder:
        """The speech that the clips are made of, after `setup`."""
        if self._pool is None:
            raise RuntimeError("ClipDataModule.setup() opens the pool: call it first")
        return self._pool

    @classmethod
    def of_run(
        cls, data: Mapping[str, Any], mix: Mapping[str, Any], cache: str | Path, root: str | Path | None = None
    ) -> "ClipDataModule":
        """The clips of a finished run, from the plain values in its `result.json`.

        A run may come from anywhere: its speech is looked for among the user's own pools, or where the user says, and
        nothing is downloaded or synthesised.

        Args:
            cache: the folder of pools.
            root: where the corpus is; None: one of the pools.

        Raises:
            UserError: the speech is not there, or a value is of the wrong kind or out of range.
        """
        found = None if sources.source_of_run(data) == "clips" else pools.find(cache, data)
        listed = data.get("utterance_list")
        if found is None and root is None:
            raise UserError(f"the speech of data={data['name']} is not among the pools in {cache}; {NAME_ROOT}")
        if found is None and listed is not None and corpus.packaged_list(listed) is None:
            raise UserError(
                f"the run used data.utterance_list={listed}, a file that is not read because a run names it: make its "
                "pool with `speaker-count prepare data=NAME data.root=DIR data.utterance_list=FILE`"
            )
        own = inspect.signature(cls).parameters.keys() - {*PLACES, "source", "arguments", "mix", "workers"}
        known = {key: data[key] for key in own if key in data} | sources.arguments_of_run(data)
        of_mix = {name: mix[name] for name in inspect.signature(mixing.Mix).parameters if name in mix}
        try:
            drawn = mixing.Mix(**sounds.with_pools(of_mix, data, cache))
            return cls(**known, root=root, cache=cache, pool=found, mix=drawn)
        except (TypeError, ValueError) as error:
            raise UserError(f"the run's data or mix cannot be built: {error}") from error

    def prepare_data(self, force: bool = False) -> Path:  # type: ignore[override]  # Lightning ignores the result
        """Build the pool unless it exists; returns its folder.

        Args:
            force: build the pool even if it exists.

        Raises:
            UserError: as in the source's `index` and `pool_builder.build`.
        """
        if self.rendered:
            return self.root
        if self._given is not None:
            return self._given
        if self._pool is not None and not force:
            return self._pool.path  # Lightning calls this before each fit and test
        self.source.synthesize(self.sample_rate)
        if self._built is None or force:  # the list of a large corpus takes a while
            listed = self.source.index()
            self._built = pool_builder.build(listed, self.cache, self.sample_rate, force, self.resample)
        return self._built

    def setup(self, stage: str | None = None) -> None:
        """Open the pool and check that every split can provide the clips of the mix; or verify the clips in files.

        Raises:
            UserError: a split has too few speakers, or no utterance is as long as a clip; or the files hold other
                clips, or lack some.
        """
        if self._pool is not None:
            return
        if self.rendered:
            folder = WavFolder(self.root)
            folder.verify(self.mix, self.sample_rate)
            if folder.synthetic:
                log.warning("%s holds synthetic speech: scores on it say nothing about real speech", self.root)
            self._pool, self.clips = folder, {split: WavClips(folder, split) for split in SPLITS}
            return
        pool = Pool(self.prepare_data())
        if pool.damaged:
            log.warning("left out: %d damaged utterances, listed in %s", len(pool.damaged), pool.path / "pool.json")
        if self.source.only_tests:
            files = LibriCountFolder(pool, self.root)
            self._pool, self.clips = files, {split: LibriCountClips(files, split, self.mix) for split in SPLITS}
            return
        unknown = (pool.sexes == SEXES.index(UNKNOWN)).sum()
        if unknown:
            others = "all of them" if unknown == len(pool.sexes) else f"{unknown} of {len(pool.sexes)}"
            log.info("speakers of unknown sex, who are drawn evenly from all speakers: %s", others)
        if self.mix.augment is not None:
            self.sounds = sounds.opened(self.mix.augment.roots(), self.cache, self.sample_rate)
        name = f"data={self.name} ({self.root})"
        self.clips = {split: sufficient.clips(pool, split, self.mix, self.sounds, name) for split in SPLITS}
        self._pool = pool
        if self.sounds.responses is not None:
            sounds.log_cut(self.sounds.responses, self.clips["train"].samples)

    def check_divides(self, ranks: int) -> None:
        """Check that all ranks get equally many clips of every training batch, and some clips of every split.

        Raises:
            UserError: they do not.
        """
        if self.batch_size % ranks:
            raise UserError(
                f"data.batch_size={self.batch_size} cannot be divided among {ranks} ranks: choose a multiple of {ranks}"
            )
        for split, clips in self.mix.clips.items():
            if clips < ranks or (split == "train" and clips % ranks):
                raise UserError(
                    f"mix.clips.{split}={clips}: the last batch cannot be divided among {ranks} ranks: choose a "
                    f"multiple of {ranks}"
                )

    @contextlib.contextmanager
    def verified(self) -> Iterator[None]:
        """Verify the decoded speech in the background, while it is used.

        Raises:
            UserError: the pool is damaged; in training at the next batch, otherwise at the end.
        """
        if isinstance(self.pool, WavFolder):  # whose clips are verified when they are read
            yield
            return
        speech = self.pool.pool if isinstance(self.pool, LibriCountFolder) else self.pool
        verification = self._verification = Verification(speech, *dict(self.sounds.opened()).values())
        verification.start()
        yield
        verification.join()
        verification.check()

    def on_before_batch_transfer(self, batch: Any, dataloader_idx: int) -> Any:
        """End a run on damaged speech; Lightning calls this."""
        if self._verification is not None:
            self._verification.check()
        return batch

    def speakers(self) -> dict[str, int]:
        """The number of speakers that each split draws from."""
        return {split: clips.speakers for split, clips in self.clips.items()}

    def described(self) -> dict[str, Any]:
        """What is known after `setup`, as a result's `data` has it: `speakers`, `corpus_sha256`, `samples_sha256`, and
        where clips are varied with recorded sounds `sounds`, with the hashes of each of their pools.
        """
        recorded = self.sounds.described()
        return {
            "speakers": self.speakers(),
            "corpus_sha256": self.pool.sha256,
            "samples_sha256": self.pool.samples_sha256,
            **({"sounds": recorded} if recorded else {}),
        }

    def train_dataloader(self) -> ClipLoader:
        """The training clips: reshuffled in each epoch, or in plan order if they are fresh."""
        module = getattr(self.trainer, "lightning_module", None)
        frame_seconds = getattr(module, "frame_seconds", None)
        return self._loader("train", shuffle=not self.mix.fresh_each_epoch, frame_seconds=frame_seconds)

    def val_dataloader(self) -> list[ClipLoader]:
        """The validation clips; and with `evaluate_train` the training clips in plan order."""
        return [self._loader(split) for split in ("validation", *(["train"] if self.evaluate_train else []))]

    def test_dataloader(self) -> ClipLoader:
        """The test clips."""
        return self._loader("test")

    def _loader(self, split: str, shuffle: bool = False, frame_seconds: float | None = None) -> ClipLoader:
        ranks = self.trainer.world_size if self.trainer else 1
        on_gpu = self.trainer is not None and self.trainer.strategy.root_device.type == "cuda"
        workers = self.workers
        if workers is None:
            workers = (len(os.sched_getaffinity(0)) - 1) // ranks if on_gpu and self.mix.augment_of(split) else 0
        return ClipLoader(
            self.clips[split],
            self.batch_size,
            order_seed=self.seed if shuffle else None,
            rank=self.trainer.global_rank if self.trainer else 0,
            ranks=ranks,
            pin_memory=on_gpu,
            frame_seconds=frame_seconds,
            workers=workers if split == "train" else 0,
        )
