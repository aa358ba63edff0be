"""Counts while a recording continues."""

import dataclasses

import numpy as np
import pytest

import speaker_count
from speaker_count.errors import UserError
from speaker_count.inference import audio
from speaker_count.inference.session import BATCH
from tests.inference.conftest import RATE


@pytest.mark.parametrize("at_once", [1, BATCH])
@pytest.mark.parametrize("settings", [{}, {"smooth": 0}, {"smooth": 1.2, "hop": 0.2}, {"smooth": 30}])
def test_the_counts_are_those_of_the_whole_recording(noise, settings, at_once):
    samples = noise.copy()
    samples[RATE // 2 : 2 * RATE] = 0
    predictor = speaker_count.Predictor(threads=1, **settings)
    for length in (len(samples), RATE):
        expected = predictor.predict(samples[:length], RATE)
        moments = list(predictor.follow(audio.of_array(samples[:length], RATE), at_once))
        assert [moment.time for moment in moments] == expected.times.tolist()
        assert [moment.speakers for moment in moments] == expected.counts.tolist()
        np.testing.assert_allclose([moment.seconds for moment in moments], np.diff(expected.edges))
        found = np.stack([moment.probabilities for moment in moments])
        np.testing.assert_allclose(found, expected.probabilities, atol=1e-5)


def test_a_count_waits_for_its_neighbours_only_and_sound_may_have_no_end(noise):
    given = 0

    def blocks():
        nonlocal given
        while True:
            given += RATE // 10
            yield noise[: RATE // 10, None]

    predictor = speaker_count.Predictor(threads=1, hop=0.25, smooth=0.5)
    endless = audio.Recording("noise", RATE, 1, None, blocks, is_endless=True)
    moments = predictor.follow(endless)
    assert next(moments).time == 0.5
    assert given == 1.3 * RATE  # a window, and one neighbour after it
    assert next(moments).time == 0.75


def test_only_endless_sound_may_be_longer_than_a_recording(noise, monkeypatch):
    monkeypatch.setattr(audio, "MOST_HOURS", 2 / 3600)
    predictor = speaker_count.Predictor(threads=1)
    endless = audio.Recording("noise", RATE, 1, None, lambda: iter([noise[:, None]]), is_endless=True)
    assert len(list(predictor.follow(endless))) == 9
    with pytest.raises(UserError, match="is longer than"):
        list(predictor.follow(dataclasses.replace(endless, is_endless=False)))


def test_what_is_shorter_than_a_window_is_named(noise):
    with pytest.raises(UserError, match="is too short: the net needs at least 1 s"):
        list(speaker_count.Predictor(threads=1).follow(audio.of_array(noise[:8_000], RATE)))
