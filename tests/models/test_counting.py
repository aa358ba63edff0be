import pytest
import torch
from torch import nn

from speaker_count.models.counting import CountingNet, calibrated, marginal

COUNTS = [0, 1, 2]


@pytest.mark.parametrize("temperature", [0.5, 1.0, 3.0])
def test_calibrated_compositions_have_calibrated_counts_and_the_same_sexes_within_a_count(temperature):
    outputs = torch.randn(5, 6)
    changed = calibrated(outputs, COUNTS, temperature, composed=True)
    torch.testing.assert_close(marginal(changed, COUNTS), marginal(outputs, COUNTS) / temperature)
    for before, after in zip(outputs.split([1, 2, 3], dim=1), changed.split([1, 2, 3], dim=1), strict=True):
        torch.testing.assert_close(after.softmax(dim=1), before.softmax(dim=1))


def test_calibrated_counts_are_divided():
    outputs = torch.randn(5, 3)
    torch.testing.assert_close(calibrated(outputs, COUNTS, 2.0, composed=False), outputs / 2)


def test_a_counting_net_gives_logits_of_counts():
    outputs = torch.randn(5, 6)
    net = CountingNet(nn.Identity(), nn.Identity(), COUNTS, composed=True, temperature=2.0)
    torch.testing.assert_close(net(outputs), marginal(outputs, COUNTS) / 2)
    assert torch.equal(CountingNet(nn.Identity(), nn.Identity(), COUNTS, composed=False)(outputs), outputs)
