"""The nets against the paper's parameter counts and the shapes inside them."""

import pytest
import torch
from hydra.utils import instantiate
from torch import nn

from speaker_count import CONFIG_DIR
from speaker_count.compose import compose

PARAMETERS = {
    "m3": 5_923,
    "m5": 37_507,
    "m11": 449_059,
    "m18": 924_643,
    "spec_1": 483,
    "spec_2": 9_795,
    "spec_4": 65_571,
}
SIZES = {  # after each convolution and pooling: time steps, or frequency x time
    "m3": [996, 249, 249, 62],
    "m5": [996, 249, 249, 62, 62, 15, 15, 3],
    "m11": [996, 249] + [249] * 2 + [62] + [62] * 2 + [15] + [15] * 3 + [3] + [3] * 2,
    "m18": [996, 249] + [249] * 4 + [62] + [62] * 4 + [15] + [15] * 4 + [3] + [3] * 4,
    "spec_1": [(201, 81), (100, 40)],
    "spec_2": [(201, 81), (100, 40), (100, 40), (50, 20)],
    "spec_4": [(201, 81), (100, 40), (100, 40), (50, 20), (50, 20), (25, 10), (25, 10), (12, 5)],
}
CHANNELS = {"m3": 32, "m5": 128, "m11": 256, "m18": 256, "spec_1": 32, "spec_2": 32, "spec_4": 64}
DROPOUT = {"spec_1": [0.2], "spec_2": [0.2, 0.4], "spec_4": [0.2, 0.2, 0.4]}
NETS = sorted(path.stem for path in (CONFIG_DIR / "model").glob("*.yaml"))


def build(name):
    torch.manual_seed(0)
    return instantiate(compose([f"model={name}"]).model, _convert_="all")


@pytest.fixture(params=NETS)
def net(request):
    return request.param, build(request.param)


@pytest.mark.parametrize("name", PARAMETERS)
def test_has_the_paper_s_number_of_parameters(name):
    module = build(name)
    assert sum(parameter.numel() for parameter in module.parameters() if parameter.requires_grad) == PARAMETERS[name]


@pytest.mark.parametrize("name", PARAMETERS)
def test_has_the_paper_s_shapes(name):
    module = build(name)
    sizes, probabilities = [], []
    for layer in module.net.modules():
        if isinstance(layer, nn.Conv1d | nn.Conv2d | nn.MaxPool1d | nn.MaxPool2d):
            layer.register_forward_hook(lambda _, __, output: sizes.append(tuple(output.shape[2:])))
        if isinstance(layer, nn.Dropout):
            probabilities.append(layer.p)
    logits = module(torch.zeros(2, 16_000, dtype=torch.int16))
    assert logits.shape == (2, 3)
    assert sizes == [size if isinstance(size, tuple) else (size,) for size in SIZES[name]]
    assert module.net.classifier.in_features == CHANNELS[name]
    assert probabilities == DROPOUT.get(name, [])


def test_learns_in_one_step(net):
    _, module = net
    waveform = torch.randint(-3000, 3000, (8, 16_000), dtype=torch.int16)
    target = torch.arange(8) % 3
    optimiser = module.configure_optimizers()
    assert type(optimiser) is torch.optim.Adam
    assert optimiser.defaults["lr"] == 1e-4
    before = [parameter.clone() for parameter in module.parameters()]
    nn.functional.cross_entropy(module(waveform), target).backward()
    optimiser.step()
    assert all(not torch.equal(old, new) for old, new in zip(before, module.parameters(), strict=True))


def test_hears_16_bit_clips_as_fractions_of_full_scale(net):
    _, module = net
    waveform = torch.randint(-32_768, 32_767, (2, 16_000), dtype=torch.int16)
    module.eval()
    torch.testing.assert_close(module(waveform), module(waveform.float() / 32_768))


def test_the_spectrogram_is_torchaudio_s_in_decibels():
    module = instantiate(compose(["model=spec_2"]).model)
    sine = torch.sin(2 * torch.pi * 1000 * torch.arange(16_000) / 16_000)[None]
    picture = module.features(sine)[0, 0]
    assert picture.shape == (201, 81)
    assert (picture[:, 1:-1].argmax(dim=0) == 25).all()  # 1,000 Hz at 40 Hz a bin; the ends are reflected
    assert (
        abs(picture[:, 1:-1].max() - 10 * torch.log10(torch.tensor(100.0**2))) < 0.1
    )  # a Hann window of 400 sums to 200
