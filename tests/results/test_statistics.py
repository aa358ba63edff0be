from collections import Counter

import numpy as np
import pytest

from speaker_count.results import statistics


def clips_of(people, clips, seed=0):
    """Clips of one to three of these people."""
    random = np.random.default_rng(seed)
    speakers = np.full((clips, 3), -1)
    for row in speakers:
        count = random.integers(1, 4)
        row[:count] = random.choice(people, count, replace=False)
    return speakers


def test_a_clip_weighs_the_product_of_its_speakers_multiplicities():
    """Against a plain reference: the drawn speakers counted one by one, every clip multiplied out."""
    speakers = clips_of(6, 40) * 10  # any numbers may name them
    speakers[speakers < 0] = -1
    values = np.random.default_rng(1).random((40, 2))
    random = np.random.default_rng(0)
    drawn = random.multinomial(6, np.full(6, 1 / 6), size=5)
    people = sorted({*speakers[speakers >= 0].tolist()})
    expected = []
    for replicate in drawn:
        times = Counter(dict(zip(people, replicate.tolist(), strict=True)))
        weights = [np.prod([times[person] for person in row if person >= 0]) for row in speakers.tolist()]
        expected.append([np.average(column, weights=weights) for column in values.T])
    assert statistics.resampled_means(speakers, values, replicates=5, seed=0) == pytest.approx(np.array(expected))


def test_a_few_voices_are_uncertain_however_many_clips_they_speak():
    """Clips of a speaker are all right or all wrong: 10,000 of them tell no more than their 20 speakers."""
    speakers = np.repeat(np.arange(20), 500)[:, None]
    right = (speakers < 14).astype(float)
    found = statistics.interval(right.mean(), statistics.resampled_means(speakers, right)[:, 0])
    assert found.value == pytest.approx(0.7)
    assert found.low == pytest.approx(0.5, abs=0.06)  # as with 20 independent trials
    assert found.high == pytest.approx(0.9, abs=0.06)


def test_intervals_cover_the_truth_as_often_as_they_say():
    """Speakers of varying difficulty; the truth is the mean over endlessly many of them."""
    random = np.random.default_rng(3)
    covered = 0
    for repeat in range(60):
        ease = random.beta(4, 2, 30)
        speakers = clips_of(30, 900, seed=repeat)
        heard = speakers >= 0
        chance = np.where(heard, ease[speakers], 0).sum(axis=1) / heard.sum(axis=1)
        right = (random.random(900) < chance)[:, None]
        found = statistics.interval(right.mean(), statistics.resampled_means(speakers, right, replicates=300)[:, 0])
        covered += found.low <= 4 / 6 <= found.high
    assert covered >= 50  # 57 expected


def test_differences_are_paired():
    speakers = clips_of(10, 500)
    right = np.random.default_rng(0).random(500) < 0.6
    better = right.copy()
    better[np.flatnonzero(~right)[:20]] = True
    resamples = statistics.resampled_means(speakers, np.stack([right, right, better], axis=1))
    same = statistics.interval(0, resamples[:, 0] - resamples[:, 1])
    assert (same.low, same.high) == (0, 0)
    assert same.contains_zero
    gain = statistics.interval(0.04, resamples[:, 2] - resamples[:, 0])
    assert (
        not gain.contains_zero
    )  # the same clips: a lead of 20 of them is seen, though each score is uncertain by more
    alone = statistics.interval(right.mean(), resamples[:, 0])
    assert alone.high - alone.low > gain.high - gain.low


def test_means_over_a_part_of_the_clips_and_empty_parts():
    speakers = clips_of(8, 300)
    values = np.random.default_rng(0).random((300, 2))
    part = np.zeros((300, 2), bool)
    part[:150, 0] = True
    resamples = statistics.resampled_means(speakers, values, part)
    assert resamples[:, 0] == pytest.approx(statistics.resampled_means(speakers[:150], values[:150])[:, 0])
    assert np.isnan(statistics.interval(0.5, resamples[:, 1]).low)


def test_clips_in_which_nobody_speaks_have_no_interval():
    speakers = np.concatenate([clips_of(8, 100), np.full((50, 3), -1)])
    silent = np.arange(150) >= 100
    values = np.ones((150, 3))
    spoken, alone, both = statistics.means(speakers, values, np.stack([~silent, silent, silent | ~silent], axis=1))
    assert str(spoken) == str(both) == "1.000 [1.000, 1.000]"
    assert str(alone) == "1.000"  # to draw speakers does not say how sure it is
    assert str(*statistics.means(np.full((5, 0), -1), values[:5, :1])) == "1.000"


def test_mcnemar_counts_only_where_two_nets_differ():
    first = np.array([True] * 10 + [False] * 2 + [True] * 50)
    second = np.array([False] * 10 + [True] * 2 + [True] * 50)
    # 2 * P(at most 2 of 12 fair coins) = 2 * (1 + 12 + 66) / 4096
    assert statistics.mcnemar(first, second) == pytest.approx(2 * 79 / 4096)
    assert statistics.mcnemar(first, first) == 1


def test_calibration_compares_what_is_said_with_what_is_so():
    probabilities = np.array([[0.9, 0.1]] * 10 + [[0.4, 0.6]] * 10)
    correct = np.array([True] * 6 + [False] * 4 + [True] * 6 + [False] * 4)
    found = statistics.calibration(probabilities, correct, bins=10)
    assert found.error == pytest.approx(0.5 * 0.3)  # half of the clips say 0.9 and are right on 0.6
    assert found.share.sum() == 1
    assert found.accuracy[9] == pytest.approx(0.6)
    sure = statistics.calibration(np.array([[1.0, 0.0]]), np.array([True]))
    assert sure.error == 0


def test_seeds_have_a_mean_and_a_spread():
    assert statistics.mean_and_spread([0.7, 0.8, 0.9]) == pytest.approx((0.8, 0.1))
    assert statistics.mean_and_spread([0.7]) == (0.7, None)
