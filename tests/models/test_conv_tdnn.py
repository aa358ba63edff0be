import torch
from torch import nn
from torchaudio.transforms import MelSpectrogram

from speaker_count.models.conv_tdnn import ConvTDNN, TemporalConv, masked
from speaker_count.models.front_end import LogMelFrontEnd


def test_the_bands_are_torchaudio_s():
    torch.manual_seed(0)
    waveform = torch.randn(2, 16_000)
    waveform /= waveform.square().mean(dim=1, keepdim=True).sqrt()
    bands = MelSpectrogram(16_000, n_fft=640, win_length=600, hop_length=200, f_min=20.0, n_mels=80)(waveform)
    front_end = LogMelFrontEnd(n_fft=640, win_length=600, hop_length=200)
    torch.testing.assert_close(front_end(waveform)[:, 0], torch.log(bands + 0.01) / 4, atol=1e-4, rtol=0)


def test_a_convolution_over_time_is_torch_s():
    torch.manual_seed(0)
    features = torch.randn(3, 8, 25)
    ours, plain = TemporalConv(8, 16, 3, dilation=2), nn.Conv1d(8, 16, 3, padding=2, dilation=2, bias=False)
    plain.load_state_dict(ours.state_dict())
    heights = features[:, :, None].contiguous(memory_format=torch.channels_last)
    torch.testing.assert_close(ours(heights)[:, :, 0], plain(features))


def test_the_level_does_not_matter():
    torch.manual_seed(0)
    front_end = LogMelFrontEnd()
    waveform = torch.randn(2, 16_000).clamp(-3, 3) * 3000
    quiet = front_end((waveform / 10).round().to(torch.int16))
    torch.testing.assert_close(quiet, front_end(waveform.round().to(torch.int16)), atol=0.05, rtol=0)
    silence = front_end(torch.zeros(1, 16_000, dtype=torch.int16))
    assert silence.isfinite().all()
    assert silence.shape == (1, 1, 80, 101)


def test_frames_are_given_in_training_alone():
    net = ConvTDNN(classes=4, frame_classes=5)
    spectrogram = torch.randn(3, 1, 80, 101)
    logits, frames = net(spectrogram)
    assert logits.shape == (3, 4)
    assert frames.shape == (3, 5, 26)  # a step in 40 ms
    assert net.eval()(spectrogram).shape == (3, 4)


def test_masked_stripes_have_the_clip_s_mean():
    torch.manual_seed(0)
    spectrogram = torch.randn(200, 1, 80, 101)
    for dim, widest in ((2, 8), (3, 20)):
        striped = masked(spectrogram, dim, widest)
        changed = (striped != spectrogram).any(dim=5 - dim)[:, 0]  # (clips, bands or frames)
        assert 0 < changed.sum(dim=1).max() <= 2 * widest
        assert changed.any(dim=0).all()  # at any place
        means = spectrogram.mean(dim=(1, 2, 3))
        where = striped != spectrogram
        torch.testing.assert_close(striped[where], means[:, None, None, None].expand_as(striped)[where])
    assert masked(spectrogram, 2, 0) is spectrogram
