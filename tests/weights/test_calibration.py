import numpy as np
import pytest

from speaker_count.weights.calibration import cross_entropy, fit_temperature


def drawn(temperature, clips=20_000):
    """Logits of four classes, and classes drawn from the probabilities that they have at a temperature."""
    random = np.random.default_rng(0)
    logits = 3 * random.normal(size=(clips, 4))
    noise = random.gumbel(size=logits.shape)  # its maximum is a draw from the softmax
    return logits, (logits / temperature + noise).argmax(axis=1)


@pytest.mark.parametrize("temperature", [0.5, 1.0, 2.5])
def test_the_temperature_that_made_the_classes_is_found(temperature):
    logits, target = drawn(temperature)
    found = fit_temperature(logits, target)
    assert found == pytest.approx(temperature, rel=0.05)
    for other in (0.9 * found, 1.1 * found):
        assert cross_entropy(logits, target, found) < cross_entropy(logits, target, other)


def test_a_net_that_is_always_right_gets_the_smallest_temperature_and_a_net_of_chance_the_largest():
    logits = np.eye(3)[[0, 1, 2]].astype(np.float32)
    assert fit_temperature(logits, np.array([0, 1, 2])) == pytest.approx(1 / 20, rel=0.05)
    assert fit_temperature(logits, np.array([1, 2, 0])) == pytest.approx(20, rel=0.05)
