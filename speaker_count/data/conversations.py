"""Conversations with known turns, mixed of a split's speakers: what counts over time are measured on.

A conversation has `SEATS`, so at most that many speak at once. On each seat turns and pauses alternate. The speaker of
each turn is drawn anew, because few corpora have minutes of one speaker, among those who do not speak then. All are in
one room, each at a place of their own, over one noise. A turn is consecutive phrases of one utterance. The reference
has the phrases, not the silence around and between them: a phrase is a stretch of active frames (`activity`: at most
18 dB below the utterance's mean), with pauses shorter than `PAUSE_SECONDS` counted as speech.
"""

import heapq
from dataclasses import dataclass

import numpy as np

from speaker_count.data import draws, effects
from speaker_count.data.augmentation import DIRECT_DB, TILTS
from speaker_count.data.pool import Pool
from speaker_count.errors import UserError
from speaker_count.labels import FULL_SCALE, SPLITS

SEATS = 3
PAUSE_SECONDS = 0.3  # a shorter pause is within a phrase, as in NIST's evaluations of who spoke when
TURN_SECONDS = 1.0, 8.0  # a length is drawn between these, up to which a turn takes more phrases
MEAN_PAUSE_SECONDS = 5.0  # on a seat, from one turn to the next; exponential
LEVEL_DB = -42.0, -27.0  # RMS of the voices while they are active, of full scale
GAIN_DB = -3.0, 3.0  # of a turn
SNR_DB = 15.0, 40.0  # one voice against the noise
REVERBERATION_SECONDS = 0.1, 0.6  # until the room's sound has decayed by 60 dB
FADE_SECONDS = 0.03  # around a turn
NOISE_SECONDS = 30  # of a piece of noise
WORDS_PER_TURN = 5


@dataclass(frozen=True)
class Phrase:
    """A stretch of an utterance without a long pause: the row in the pool, the first sample, and the end."""

    utterance: int
    begin: int
    end: int


@dataclass(frozen=True)
class Turn:
    """Phrases of one utterance, spoken one after the other.

    Attributes:
        speaker: the row in the pool.
        begin: in samples of the conversation.
        gain: a factor of amplitude.
    """

    speaker: int
    begin: int
    phrases: list[Phrase]
    gain: float

    @property
    def end(self) -> int:
        """In samples of the conversation."""
        return self.begin + self.phrases[-1].end - self.phrases[0].begin


@dataclass(frozen=True)
class Conversation:
    """Sound, and who speaks when.

    Attributes:
        samples: `(samples,)` int16.
        sample_rate: in Hz.
        turns: by the speaker's name, the beginning and the end of each phrase, in seconds.
        noise_db: the RMS of the noise, in decibels of full scale.
        reverberation_seconds: of the room.
    """

    samples: np.ndarray
    sample_rate: int
    turns: dict[str, list[tuple[float, float]]]
    noise_db: float
    reverberation_seconds: float


def converse(pool: Pool, split: str, number: int, seconds: float, seed: int = 0) -> Conversation:
    """Mix a conversation; it follows from pool, split, seed and number alone.

    Args:
        split: whose speakers speak.
        number: of the conversation; another one gives another conversation.
        seconds: the length.

    Raises:
        UserError: the split has too few speakers.
    """
    stream, samples = f"conversation/{split}/{seed}/{number}", round(seconds * pool.sample_rate)
    turns = _turns(pool, split, stream, samples)
    reverberation, level, ratio, tilt = _words(stream, 0, 4)
    room = _between(reverberation, *REVERBERATION_SECONDS)
    voice_db = _between(level, *LEVEL_DB)
    noise_db = voice_db - _between(ratio, *SNR_DB)
    sound = _spoken(pool, turns, stream, samples, room) * np.float32(10 ** (voice_db / 20))
    sound += _noise(stream, _between(tilt, *TILTS), samples, pool.sample_rate) * np.float32(10 ** (noise_db / 20))
    whole = np.clip(np.rint(sound * FULL_SCALE), -FULL_SCALE, FULL_SCALE - 1).astype(np.int16)
    reference: dict[str, list[tuple[float, float]]] = {}
    for turn in turns:
        for phrase in turn.phrases:
            edges = turn.begin - turn.phrases[0].begin + np.array([phrase.begin, phrase.end])
            begin, end = np.minimum(edges, samples).tolist()
            if begin < end:
                spoken = reference.setdefault(str(pool.speakers[turn.speaker]), [])
                spoken.append((begin / pool.sample_rate, end / pool.sample_rate))
    return Conversation(whole, pool.sample_rate, reference, noise_db, room)


def phrases_of(pool: Pool, utterance: int) -> list[Phrase]:
    """The phrases of an utterance, in their order."""
    first, length = pool.activity_offsets[utterance], pool.frame_length
    active = np.diff(pool.active_before[first : first + pool.frames[utterance] // length + 1]) > 0
    edges = np.flatnonzero(np.diff(active, prepend=False, append=False))  # beginnings and ends in turn
    inner = edges[1:-1].reshape(-1, 2)
    inner = inner[np.diff(inner)[:, 0] * length >= PAUSE_SECONDS * pool.sample_rate]
    edges = np.concatenate([edges[:1], inner.reshape(-1), edges[-1:]]) * length
    return [Phrase(utterance, begin, end) for begin, end in edges.reshape(-1, 2).tolist()]


def _turns(pool: Pool, split: str, stream: str, samples: int) -> list[Turn]:
    """The turns that begin within a conversation, in the order of their beginnings."""
    phrases: dict[int, list[Phrase]] = {}
    for row in np.flatnonzero(pool.splits[pool.speaker] == SPLITS.index(split)).tolist():
        phrases.setdefault(int(pool.speaker[row]), []).extend(phrases_of(pool, row))
    speakers = sorted(speaker for speaker, spoken in phrases.items() if spoken)
    if len(speakers) < SEATS:
        raise UserError(f"a conversation needs {SEATS} speakers: the split {split} has {len(speakers)}")
    seats = [(_pause(word, pool.sample_rate), seat) for seat, word in enumerate(_words(f"seats/{stream}", 0, SEATS))]
    heapq.heapify(seats)
    talking: dict[int, Turn] = {}  # by seat
    turns: list[Turn] = []
    while seats[0][0] < samples:
        begin, seat = heapq.heappop(seats)
        who, where, length, pause, gain = _words(f"turns/{stream}", len(turns), WORDS_PER_TURN)
        busy = {turn.speaker for turn in talking.values() if turn.end > begin}
        free = [speaker for speaker in speakers if speaker not in busy]
        speaker = free[who * len(free) >> 32]
        place = where * len(phrases[speaker]) >> 32
        longest = _between(length, *TURN_SECONDS) * pool.sample_rate
        spoken = _consecutive(phrases[speaker], place, longest)
        talking[seat] = Turn(speaker, begin, spoken, 10 ** (_between(gain, *GAIN_DB) / 20))
        turns.append(talking[seat])
        heapq.heappush(seats, (talking[seat].end + _pause(pause, pool.sample_rate), seat))
    return turns


def _consecutive(phrases: list[Phrase], place: int, longest: float) -> list[Phrase]:
    """The phrase at a place, and those of the same utterance that follow it within a length, in samples."""
    first = phrases[place]
    return [first] + [
        phrase
        for phrase in phrases[place + 1 :]
        if phrase.utterance == first.utterance and phrase.end - first.begin <= longest
    ]


def _spoken(pool: Pool, turns: list[Turn], stream: str, samples: int, room: float) -> np.ndarray:
    """The turns in their room, `(samples,)` float32: each has an RMS of 1 before its gain, but for its pauses."""
    total, fade = np.zeros(samples, np.float32), round(FADE_SECONDS * pool.sample_rate)
    ramp = np.linspace(0, 1, fade, dtype=np.float32)
    for turn in turns:
        number, direct = _words(f"places/{stream}", turn.speaker, 2)
        utterance = pool.read(turn.phrases[0].utterance)
        before, after = (max(turn.phrases[0].begin - fade, 0), turn.phrases[-1].end + fade)
        crop = utterance[before:after].astype(np.float32)
        active = np.concatenate([utterance[phrase.begin : phrase.end] for phrase in turn.phrases]).astype(np.float32)
        crop *= np.float32(turn.gain / (effects.rms(active) or 1.0))
        crop[:fade] *= ramp[: len(crop)]
        crop[-fade:] *= ramp[: len(crop)][::-1]
        amplitude = 10 ** (_between(direct, *DIRECT_DB) / 20)
        response = effects.room_response(int(number), room, amplitude, pool.sample_rate)
        heard = effects.in_room(np.pad(crop, (0, len(response)))[None], [response])
        start = turn.begin - (turn.phrases[0].begin - before)
        if start < 0:
            heard, start = heard[-start:], 0
        heard = heard[: samples - start]
        total[start : start + len(heard)] += heard
    return total


def _noise(stream: str, tilt: float, samples: int, sample_rate: int) -> np.ndarray:
    """Coloured noise of RMS 1, `(samples,)` float32."""
    length = NOISE_SECONDS * sample_rate
    pieces = [
        effects.noise(_words(f"noise/{stream}", piece, 1)[0], tilt, length) for piece in range(-(-samples // length))
    ]
    return np.concatenate(pieces)[:samples]


def _words(name: str, item: int, number: int) -> list[int]:
    words: list[int] = draws.words(name, np.array([item]), number)[0].tolist()
    return words


def _pause(word: int, sample_rate: int) -> int:
    """A pause on a seat, in samples."""
    return round(-MEAN_PAUSE_SECONDS * float(np.log1p(-word / 2**32)) * sample_rate)


def _between(word: int, low: float, high: float) -> float:
    return low + (high - low) * (int(word) / 2**32)
