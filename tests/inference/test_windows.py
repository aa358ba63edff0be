"""Windows of a stream, and smoothing."""

import numpy as np
import pytest

from speaker_count.inference.windows import smoothed, windows


@pytest.mark.parametrize("batch", [1, 3, 16])
@pytest.mark.parametrize("hop", [3, 10])
def test_windows_do_not_depend_on_blocks_or_batches(batch, hop):
    stream = np.arange(1003)
    cuts = np.sort(np.random.default_rng(0).integers(0, len(stream), 40))
    blocks = np.split(stream, cuts)  # some are empty
    given = np.concatenate([part.copy() for part in windows(blocks, 10, hop, batch)])
    np.testing.assert_array_equal(given, np.stack([stream[at : at + 10] for at in range(0, 994, hop)]))


def test_a_stream_shorter_than_a_window_has_none():
    assert not list(windows([np.arange(9)], 10, 5, 4))
    assert not list(windows([], 10, 5, 4))
    (only,) = windows([np.arange(10)], 10, 5, 4)
    assert only.shape == (1, 10)


def test_smoothing_is_the_weighted_mean_of_neighbours():
    spike = np.zeros((9, 2), np.float32)
    spike[:, 0] = 1
    spike[4] = (0, 1)
    given = smoothed(spike, hop_seconds=0.25, seconds=0.5)  # weights 1/2, 1, 1/2
    np.testing.assert_allclose(given[:, 1], [0, 0, 0, 0.25, 0.5, 0.25, 0, 0, 0], atol=1e-6)
    np.testing.assert_allclose(given.sum(axis=1), 1, atol=1e-6)
    edge = smoothed(spike[4:], 0.25, 0.5)
    np.testing.assert_allclose(edge[:2, 1], [2 / 3, 0.25], atol=1e-6)
    for seconds in (0, 0.25):
        np.testing.assert_array_equal(smoothed(spike, 0.25, seconds), spike)
    np.testing.assert_allclose(smoothed(spike[:1], 0.25, 60), spike[:1])
