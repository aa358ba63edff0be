"""Conversations with known turns."""

import itertools

import numpy as np
import pytest

from speaker_count.data import conversations
from speaker_count.data.conversations import converse, phrases_of
from speaker_count.data.datamodule import ClipDataModule
from speaker_count.errors import UserError
from speaker_count.labels import FULL_SCALE, SPLITS
from tests.conftest import RATE, make_tree, mix_of

SECONDS = 20


@pytest.fixture(scope="module")
def real_pool(real_speech, cache):
    listed = {"train_subsets": ["train-clean-100"], "utterance_list": "librispeech_sample"}
    data = ClipDataModule("librispeech_sample", str(real_speech), str(cache), mix_of(), "librispeech", **listed)
    data.setup()
    return data.pool


def speaking(turns, margin=0.0):
    """How many speak at each sample, where each turn has a margin, in seconds, before and after."""
    voices = np.zeros((len(turns), SECONDS * RATE), bool)
    for row, (begin, end) in ((row, turn) for row, spoken in enumerate(turns.values()) for turn in spoken):
        voices[row, max(0, round((begin - margin) * RATE)) : round((end + margin) * RATE)] = True
    return voices.sum(axis=0)


def likeness(sound, utterance):
    """The largest correlation of a sound with a part of an utterance as long, from -1 to 1."""
    size = len(sound) + len(utterance)
    products = np.fft.irfft(np.fft.rfft(utterance, size) * np.fft.rfft(sound, size).conj(), size)
    energy = np.cumsum(np.pad(np.square(utterance), (1, 0)))
    places = len(utterance) - len(sound) + 1
    return float((products[:places] / np.sqrt((energy[len(sound) :] - energy[:places]) * np.dot(sound, sound))).max())


@pytest.mark.parametrize("number", [0, 1])
def test_a_conversation_s_reference_is_what_was_mixed(real_pool, number):
    made = converse(real_pool, "test", number, SECONDS)
    sound = made.samples / FULL_SCALE
    assert sound.shape == (SECONDS * RATE,)
    splits = dict(zip(real_pool.speakers.tolist(), real_pool.splits.tolist(), strict=True))
    assert {splits[speaker] for speaker in made.turns} == {SPLITS.index("test")}
    counts = speaking(made.turns)
    assert 2 <= counts.max() <= conversations.SEATS
    row = {name: int(np.flatnonzero(real_pool.speaker == place)[0]) for place, name in enumerate(real_pool.speakers)}
    for speaker, (begin, end) in ((name, turn) for name, spoken in made.turns.items() for turn in spoken):
        assert 0 <= begin < end <= SECONDS
        part = slice(round(begin * RATE), round(end * RATE))
        if end - begin < 0.5 or counts[part].mean() > 1.5:
            continue  # too short, or too much of it is others' sound
        like = {name: likeness(sound[part], real_pool.read(row[name]).astype(float)) for name in made.turns}
        assert max(like, key=like.get) == speaker
        assert like[speaker] > 0.5
    alone = speaking(made.turns, conversations.FADE_SECONDS + made.reverberation_seconds) == 0
    assert alone.sum() > RATE / 4
    assert 20 * np.log10(sound[alone].std()) == pytest.approx(made.noise_db, abs=1.5)


def test_the_phrases_of_an_utterance_have_long_pauses_between_them_and_none_within(real_pool):
    length = real_pool.frame_length
    for utterance in range(20):
        first = real_pool.activity_offsets[utterance]
        counted = real_pool.active_before[first : first + real_pool.frames[utterance] // length + 1]
        active = np.diff(counted) > 0
        phrases = phrases_of(real_pool, utterance)
        inside = np.zeros(len(active), bool)
        for phrase in phrases:
            begin, end = phrase.begin // length, phrase.end // length
            inside[begin:end] = True
            assert active[[begin, end - 1]].all()
            longest = max(map(len, "".join(" x"[int(frame)] for frame in active[begin:end]).split("x")))
            assert longest * length < conversations.PAUSE_SECONDS * RATE
        assert not active[~inside].any()
        for one, other in itertools.pairwise(phrases):
            assert other.begin - one.end >= conversations.PAUSE_SECONDS * RATE


def test_a_conversation_follows_from_its_number_and_seed_alone(make_data):
    pool = make_data().pool
    made, again = (converse(pool, "validation", 1, SECONDS) for _ in range(2))
    np.testing.assert_array_equal(made.samples, again.samples)
    assert made.turns == again.turns
    for other in (converse(pool, "validation", 2, SECONDS), converse(pool, "validation", 1, SECONDS, seed=1)):
        assert other.turns != made.turns


def test_a_split_with_too_few_speakers_is_refused(tmp_path, cache):
    root = make_tree(tmp_path, women=6, men=0)
    data = ClipDataModule("folder", str(root), str(cache), mix_of(counts=[1]))
    data.setup()
    with pytest.raises(UserError, match="a conversation needs 3 speakers: the split test has 1"):
        converse(data.pool, "test", 0, SECONDS)
