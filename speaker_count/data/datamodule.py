"""The stream: corpus -> pool -> plan -> mix -> batches; or clips that are in files already -> batches."""

import inspect
import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytorch_lightning as pl

from speaker_count.data import corpus, download, mixing
from speaker_count.data.loader import ClipLoader, Clips
from speaker_count.data.pool import Pool, build
from speaker_count.data.wav_folder import WavClips, WavFolder
from speaker_count.errors import UserError, check_list, check_number

log = logging.getLogger(__name__)


class ClipDataModule(pl.LightningDataModule):
    """Clips of one to a few speakers, mixed while they are asked for.

    Args:
        name: of the corpus, for folders and tables.
        root: the folder that holds `LibriSpeech/`, or that folder itself; or with `rendered`, a folder of clips.
        cache: the folder for pools of decoded speech.
        mix: how clips are drawn and mixed.
        batch_size: clips in a step of all ranks together.
        seed: the run's; it orders the training clips where they are the same in each epoch.
        sample_rate: of the corpus, in Hz.
        train_subsets, validation_subsets, test_subsets, utterance_list: see `corpus.index`.
        url: of the folder of archives from which `download` gets the subsets; None: there is none.
        synthesize: where given, the arguments with which `demo.synthesize` makes the corpus, if it is not there.
        rendered: the clips are in files, which `speaker-count clips` wrote to `root`; none is mixed.
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
        rendered: bool = False,
        evaluate_train: bool = False,
    ):
        super().__init__()
        check_number("data.batch_size", batch_size, int, 1)
        check_number("data.sample_rate", sample_rate, int, 1)
        check_number("seed", seed, int, 0)
        check_number("data.rendered", rendered, bool)
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
        self.utterance_list, self.url, self.rendered = utterance_list, url, rendered
        self.pool: Pool | WavFolder | None = None

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
        if self.rendered:
            return self.root
        if self.pool is not None and not force:
            return self.pool.path  # Lightning asks again before each fit and test
        if self.synthesize is not None:
            from speaker_count.data import demo  # needs eSpeak NG, an optional extra

            demo.synthesize(self.root, sample_rate=self.sample_rate, **self.synthesize)
        listed = corpus.index(self.root, *self.subsets, utterance_list=self.utterance_list)
        return build(listed, self.cache, self.sample_rate, force)

    def setup(self, stage: str | None = None) -> None:
        """Open the pool and see that every split can give the clips that are asked for; or verify those in files.

        Raises:
            UserError: a split has too few speakers, or no utterance is as long as a clip; or the files hold other
                clips, or not all of them.
        """
        if self.pool is not None:
            return
        if self.rendered:
            folder = WavFolder(self.root)
            folder.verify(self.mix, self.sample_rate)
            if folder.synthetic:
                log.warning("%s holds synthetic speech: scores on it say nothing about real speech", self.root)
            self.pool, self.clips = folder, {split: WavClips(folder, split) for split in corpus.SPLITS}
            return
        self.pool = Pool(self.prepare_data())
        if self.pool.damaged:
            log.warning(
                "%d utterances are left out as damaged: %s", len(self.pool.damaged), self.pool.path / "pool.json"
            )
        self.clips = {split: self._clips(split) for split in corpus.SPLITS}

    def check_divides(self, ranks: int) -> None:
        """See that each rank gets as many clips as the others in every training batch, and some of every split.

        Raises:
            UserError: it does not.
        """
        if self.batch_size % ranks:
            raise UserError(f"data.batch_size={self.batch_size}, of all processes together: {ranks} do not divide it")
        for split, clips in self.mix.clips.items():
            last = clips % self.batch_size
            if clips < ranks or (split == "train" and last % ranks):
                raise UserError(
                    f"mix.clips.{split}={clips}: {ranks} processes do not divide the last batch ({last or clips} clips)"
                )

    def speakers(self) -> dict[str, int]:
        """How many speakers each split draws from."""
        return {split: clips.speakers for split, clips in self.clips.items()}

    def train_dataloader(self) -> ClipLoader:
        return self._loader("train", shuffle=not self.mix.fresh_each_epoch)

    def val_dataloader(self) -> list[ClipLoader]:
        return [self._loader(split) for split in ("validation", *(["train"] if self.evaluate_train else []))]

    def test_dataloader(self) -> ClipLoader:
        return self._loader("test")

    def _loader(self, split: str, shuffle: bool = False) -> ClipLoader:
        return ClipLoader(
            self.clips[split],
            self.batch_size,
            order_seed=self.seed if shuffle else None,
            rank=self.trainer.global_rank if self.trainer else 0,
            ranks=self.trainer.world_size if self.trainer else 1,
            pin_memory=self.trainer is not None and self.trainer.strategy.root_device.type == "cuda",
        )

    def _clips(self, split: str) -> Clips:
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
