"""Augmentation: how clips vary beyond who speaks, as columns of their plan.

Every property is drawn from the clip's number alone, so that a clip can be made again from its plan.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np

from speaker_count.data import draws
from speaker_count.data.pool import Pool
from speaker_count.data.sounds import GENERATED, ROOTS, Sounds
from speaker_count.data.speed import STEPS
from speaker_count.errors import UserError, check_number
from speaker_count.labels import FULL_SCALE, SPLITS

TILTS = (-0.3, 0.97)  # poles of the filter that colours generated noise: from slightly bright to nearly brown
DIRECT_DB = (-3.0, 12.0)  # a voice's direct sound against its reverberation
LOW_HZ = (20.0, 300.0)  # lower limit of a limited band, as of a telephone
TAP_DELAYS = ((1, 1), (2, 4), (5, 16))  # fewest and most samples of each tap of the filter that colours a voice
WORDS_PER_VOICE, WORDS_PER_CLIP = 4 + 2 * len(TAP_DELAYS), 13


@dataclass(frozen=True)
class Augment:
    """How the clips of some splits vary. Ranges are drawn from uniformly; a share is that of the clips.

    Args:
        splits: the splits whose clips vary; all others are mixed without.
        speed: the largest change of a voice's speed: at 0.15, each voice is played at 0.85 to 1.15 times its speed, and
            its pitch moves with it.
        backwards_share: the share of the voices that are played backwards.
        colour: the largest coefficient of the filter that colours each voice, as microphones and near walls do: three
            taps within a millisecond; at 0.4, single frequencies change by up to some 7 decibels; 0: none.
        gain_db: lowest and highest gain of a voice, in decibels, instead of the mix's; None: the mix's.
        level_db: lowest and highest RMS of a clip, in decibels below full scale, instead of the mix's; None: the mix's.
        noise_share, snr_db: the share of clips with noise, and its lowest and highest signal-to-noise ratio in
            decibels.
        noise_root: a folder of recorded noise, which is drawn from instead of being generated; None: it is generated.
        room_share, reverberation_seconds: the share of clips in a room, and the shortest and longest time in which its
            sound decays by 60 dB.
        response_root: a folder of responses of rooms, each room in a folder of its own below it; None: they are
            generated.
        band_share, band_hz: the share of clips with a limited band, and the lowest and highest upper limit in Hz.
        bits_share, bits: the share of clips that are quantised as a codec does (mu-law), and the fewest and most bits.

    Raises:
        UserError: a value is of the wrong kind or out of range.
    """

    splits: Sequence[str] = ("train",)
    speed: float = 0.0
    backwards_share: float = 0.0
    colour: float = 0.0
    gain_db: Sequence[float] | None = None
    level_db: Sequence[float] | None = None
    noise_share: float = 0.0
    snr_db: Sequence[float] = (15.0, 45.0)
    noise_root: str | None = None
    room_share: float = 0.0
    reverberation_seconds: Sequence[float] = (0.1, 0.6)
    response_root: str | None = None
    band_share: float = 0.0
    band_hz: Sequence[float] = (3000.0, 7500.0)
    bits_share: float = 0.0
    bits: Sequence[int] = (6, 10)

    def __post_init__(self) -> None:
        listed = isinstance(self.splits, Sequence) and not isinstance(self.splits, str)
        if not listed or not all(split in SPLITS for split in self.splits):
            raise UserError(f"mix.augment.splits={self.splits}: expected some of {', '.join(SPLITS)}")
        check_number("mix.augment.speed", self.speed, float, 0)
        if self.speed > 0.5:
            raise UserError(f"mix.augment.speed={self.speed}: expected at most 0.5")
        check_number("mix.augment.colour", self.colour, float, 0)
        if self.colour >= 1:
            raise UserError(f"mix.augment.colour={self.colour}: expected less than 1")
        for share in ("backwards_share", "noise_share", "room_share", "band_share", "bits_share"):
            check_number(f"mix.augment.{share}", getattr(self, share), float, 0)
            if getattr(self, share) > 1:
                raise UserError(f"mix.augment.{share}={getattr(self, share)}: expected a share of the clips, 0 to 1")
        for name in ROOTS.values():
            root = getattr(self, name)
            if root is not None and not isinstance(root, str):
                raise UserError(f"mix.augment.{name}={root}: expected a folder")
        for name, least, most in (
            ("gain_db", -60, 60),
            ("level_db", -96, 0),
            ("snr_db", -60, 100),
            ("reverberation_seconds", 0.01, 10),
            ("band_hz", 500, 96_000),
            ("bits", 2, 16),
        ):
            _check_range(f"mix.augment.{name}", getattr(self, name), least, most, name in ("gain_db", "level_db"))

    @classmethod
    def of(cls, values: Any) -> "Augment | None":
        """Of plain values, as a config or a result has them; None stays None.

        Raises:
            UserError: a key is not known.
        """
        if values is None or isinstance(values, cls):
            return values
        if not isinstance(values, dict):
            raise UserError(f"mix.augment={values}: expected keys such as mix.augment.speed=0.15")
        known = {each.name for each in fields(cls)}
        unknown = sorted(str(key) for key in values if key not in known)
        if unknown:
            raise UserError(f"mix.augment.{unknown[0]}: no such key; there are {', '.join(sorted(known))}")
        return cls(**values)

    def roots(self) -> dict[str, str | None]:
        """The folder of each of `sounds.ROOTS`; None: those sounds are generated."""
        return {name: getattr(self, key) for name, key in ROOTS.items()}


def _check_range(key: str, values: Any, least: float, most: float, may_be_none: bool) -> None:
    if values is None and may_be_none:
        return
    ends = list(values) if isinstance(values, Sequence) and not isinstance(values, str) else []
    kinds = (int,) if key.endswith(".bits") else (int, float)
    if len(ends) != 2 or not all(type(end) in kinds for end in ends) or not least <= ends[0] <= ends[1] <= most:
        raise UserError(f"{key}={values}: expected the lowest and the highest value, from {least:g} to {most:g}")


@dataclass(frozen=True)
class Effects:
    """What is done to clips and their voices; `effects[rows]` is that of these rows.

    Attributes:
        speed: `(clips, voices)` float32, 1 for a voice at its own speed.
        backwards: `(clips, voices)` bool, whether a voice is played backwards.
        taps, delays: `(clips, voices, taps)`, the filter that colours a voice: the coefficients, float32, 0 for none,
            and after how many samples each follows, int8.
        response, direct: `(clips, voices)`: the number that a voice's room response is made from, int64, and its direct
            sound against the reverberation, as a factor of amplitude, float32.
        reverberation: `(clips,)` float32, seconds in which the room's sound decays by 60 dB; 0: no room.
        noise: `(clips,)` float32, the noise's RMS as a factor of the voices'; 0: none.
        noise_start: `(clips,)` int64, the number that a clip's noise is made from; the first sample of a recorded one.
        tilt: `(clips,)` float32, the pole of the filter that colours the noise.
        low, high: `(clips,)` float32, limits of the band in Hz; `high` 0: not limited.
        bits: `(clips,)` int8, of mu-law; 0: not quantised.
        level: `(clips,)` float32, the RMS of the clip in steps of 16 bits; NaN: it stays.
        noise_file: `(clips,)` int64, the row of a clip's noise in its pool; -1: no noise. None: noise is generated.
        response_file: `(clips, voices)` int64, the row of a voice's room response in its pool; -1: no room. None: rooms
            are generated; otherwise `reverberation` is 0.
    """

    speed: np.ndarray
    backwards: np.ndarray
    taps: np.ndarray
    delays: np.ndarray
    response: np.ndarray
    direct: np.ndarray
    reverberation: np.ndarray
    noise: np.ndarray
    noise_start: np.ndarray
    tilt: np.ndarray
    low: np.ndarray
    high: np.ndarray
    bits: np.ndarray
    level: np.ndarray
    noise_file: np.ndarray | None = None
    response_file: np.ndarray | None = None

    def __getitem__(self, rows: slice | np.ndarray) -> "Effects":
        columns: dict[str, Any] = {name: values[rows] for name, values in self.columns()}
        return replace(self, **columns)

    def columns(self) -> Iterator[tuple[str, np.ndarray]]:
        """The columns that there are, by their names."""
        for name, values in vars(self).items():
            if values is not None:
                yield name, values


def longest_crop(augment: Augment | None, samples: int) -> int:
    """How much of an utterance a voice of `samples` may take, in samples."""
    return samples if augment is None or not augment.speed else crop_length(samples, 1 + augment.speed)


def crop_length(samples: int, speed: float) -> int:
    """The samples of an utterance that give `samples` at a speed."""
    return samples if speed == 1 else int(np.ceil(samples * speed)) + 2


def draw(
    augment: Augment,
    stream: str,
    index: np.ndarray,
    voices: int,
    level_db: float | None,
    samples: int,
    sounds: Sounds = GENERATED,
) -> Effects:
    """Draw the effects of clips by their numbers.

    Args:
        stream: names the split, the seed and the epoch.
        index: `(clips,)` int64.
        voices: the most in a clip.
        level_db: the mix's; the augmentation's own counts before it.
        samples: length of a clip.
        sounds: recorded ones, where the augmentation names folders.
    """
    room, noisy, limited, quantised, seconds, ratio, place, tilt, low, high, bits, level, file = draws.words(
        f"effects/{stream}", index, WORDS_PER_CLIP
    ).T
    shape = (voices, WORDS_PER_VOICE)
    words = draws.words(f"voice effects/{stream}", index, voices * WORDS_PER_VOICE).reshape(len(index), *shape)
    speed, response, direct, turned = (words[..., number] for number in range(4))
    taps, delays = words[..., 4::2], words[..., 5::2]
    soonest, latest = np.array(TAP_DELAYS).T
    steps = round(augment.speed * STEPS)
    fewest, most = augment.bits
    levels = augment.level_db or (None if level_db is None else (level_db, level_db))
    loudness = np.nan if levels is None else FULL_SCALE * _factor(_between(level, *levels))

    def in_share(word: np.ndarray, share: float, values: np.ndarray) -> np.ndarray:
        """The values of a share of the clips, and 0 for the others."""
        return np.where(word < share * 2**32, values, 0)

    reverberation, start, noise_file, response_file = (
        _between(seconds, *augment.reverberation_seconds),
        place,
        None,
        None,
    )
    if sounds.noise is not None:
        noise_file, start = _pieces(sounds.noise, file, place, samples)
        noise_file = np.where(noisy < augment.noise_share * 2**32, noise_file, -1)
    if sounds.responses is not None:
        response_file = _responses(sounds.responses, seconds, response)
        response_file[room >= augment.room_share * 2**32] = -1
        reverberation = np.zeros_like(reverberation)

    return Effects(
        speed=((STEPS - steps + draws.below(speed, 2 * steps + 1)) / STEPS).astype(np.float32),
        backwards=turned < augment.backwards_share * 2**32,
        taps=_between(taps, -augment.colour, augment.colour),
        delays=(soonest + draws.below(delays, latest - soonest + 1)).astype(np.int8),
        response=response.astype(np.int64),
        direct=_factor(_between(direct, *DIRECT_DB)),
        reverberation=in_share(room, augment.room_share, reverberation),
        noise=in_share(noisy, augment.noise_share, _factor(-_between(ratio, *augment.snr_db))),
        noise_start=start.astype(np.int64),
        tilt=_between(tilt, *TILTS),
        low=_between(low, *LOW_HZ),
        high=in_share(limited, augment.band_share, _between(high, *augment.band_hz)),
        bits=in_share(quantised, augment.bits_share, fewest + draws.below(bits, most - fewest + 1)).astype(np.int8),
        level=np.broadcast_to(np.float32(loudness), len(index)),
        noise_file=noise_file,
        response_file=response_file,
    )


def _pieces(noise: Pool, file_word: np.ndarray, start_word: np.ndarray, samples: int) -> tuple[np.ndarray, np.ndarray]:
    """A file and the first sample of a piece of it, both uniformly; one that is shorter than a clip is repeated."""
    file = draws.below(file_word, len(noise.frames))
    frames = noise.frames[file]
    return file, draws.below(start_word, np.where(frames < samples, frames, frames - samples + 1))


def _responses(responses: Pool, room_word: np.ndarray, response_words: np.ndarray) -> np.ndarray:
    """A room for each clip, and one of its responses for each voice, both uniformly, `(clips, voices)` int64."""
    _, first, count = np.unique(
        responses.speaker, return_index=True, return_counts=True
    )  # the rows of a folder follow one another
    room = draws.below(room_word, len(first))[:, None]
    drawn: np.ndarray = first[room] + draws.below(response_words, count[room])
    return drawn


def _between(word: np.ndarray, low: float, high: float) -> np.ndarray:
    """Numbers in a range, float32."""
    return (low + (high - low) * (word / 2**32)).astype(np.float32)


def _factor(decibels: np.ndarray) -> np.ndarray:
    return (10 ** (decibels.astype(np.float64) / 20)).astype(np.float32)
