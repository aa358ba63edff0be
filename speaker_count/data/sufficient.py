"""The clips of a split, where its speech suffices for them."""

import logging

from speaker_count.data.clips import MixedClips
from speaker_count.data.mixing import Mix
from speaker_count.data.pool import Pool
from speaker_count.data.sounds import Sounds
from speaker_count.errors import UserError
from speaker_count.labels import SEXES, SPLITS

log = logging.getLogger(__name__)


def clips(pool: Pool, split: str, mix: Mix, sounds: Sounds, name: str) -> MixedClips:
    """The clips of a split.

    Args:
        name: of the corpus, for messages.

    Raises:
        UserError: no utterance is as long as a clip, or there are too few speakers.
    """
    clips = MixedClips(pool, split, mix, sounds)
    if clips.samples < 1:
        raise UserError(f"mix.clip_seconds={mix.clip_seconds}: a clip needs at least one sample")
    where = f"the {split} split of {name}"
    frames = pool.frames[pool.splits[pool.speaker] == SPLITS.index(split)]
    if len(frames) and frames.max() < clips.crop:
        faster = f" (at mix.augment.speed, {clips.crop / pool.sample_rate:.2f} s)" if clips.augment else ""
        raise UserError(
            f"mix.clip_seconds={mix.clip_seconds}{faster} is longer than every utterance of {where}; "
            f"the longest has {frames.max() / pool.sample_rate:.2f} s"
        )
    most = max(mix.counts)
    if len(clips.roster.speakers) < most:
        raise UserError(
            f"{where} has {len(clips.roster.speakers)} speakers with {mix.clip_seconds} s of speech"
            + (f", {mix.min_active:.0%} of it active (mix.min_active)" if mix.min_active else "")
            + f", but mix.counts asks for {most} at a time: use a corpus with more speakers, or smaller mix.counts"
        )
    *known, unknown = clips.roster.of_sex.tolist()
    for sex, number in zip(SEXES, known, strict=False):
        if number < most and unknown < len(clips.roster.speakers):
            log.warning("%s has %d speakers of sex %s: its clips are not balanced by sex", where, number, sex)
    return clips
