import pytest
import torch
from torch import nn

from speaker_count.models.conv_tdnn import ConvTDNN
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


def test_the_middle_is_the_mean_of_the_steps_in_the_middle_half_of_a_clip():
    torch.manual_seed(0)
    net = ConvTDNN(classes=6, frame_classes=3)
    spectrogram = torch.randn(2, 1, 80, 101)  # 26 steps
    counting = CountingNet(nn.Identity(), net, COUNTS, composed=True, temperature=2.0).eval()
    assert counting.knows_middle
    logits, middle = counting.with_middle(spectrogram)
    torch.testing.assert_close(logits, counting(spectrogram))
    _, frames = net.with_frames(spectrogram)
    torch.testing.assert_close(middle, frames[:, :, 6:20].mean(dim=2) / 2)


def test_a_net_without_steps_or_with_other_counts_knows_no_middle():
    assert not CountingNet(nn.Identity(), nn.Identity(), COUNTS, composed=False).knows_middle
    assert not CountingNet(nn.Identity(), ConvTDNN(classes=3), COUNTS, composed=False).knows_middle
    assert not CountingNet(nn.Identity(), ConvTDNN(classes=3, frame_classes=4), [1, 2, 3], composed=False).knows_middle
