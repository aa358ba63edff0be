"""The nets against the paper's parameter counts and the shapes inside them."""

import logging

import pytest
import torch
from hydra.utils import instantiate
from torch import nn

from speaker_count import CONFIG_DIR
from speaker_count.compose import compose
from speaker_count.models.spectrogram import Dropout
from speaker_count.training import counters

PARAMETERS = {
    "m3": 5_923,
    "m5": 37_507,
    "m11": 449_059,
    "m18": 924_643,
    "spec_1": 483,
    "spec_2": 9_795,
    "spec_4": 65_571,
}
OTHERS = {  # those of Dai et al. as their paper rounds them: 0.2, 0.5, 1.8, 3.7 and 4 million
    "m3_dai": 219_395,
    "m5_dai": 555_523,
    "m11_dai": 1_782_851,
    "m18_dai": 3_680_195,
    "m34_res": 1_815_395,
    "m34_res_dai": 4_073_235,
    "crnn": 166_083,
    "countnet": 341_531,
    "conv_tdnn": 666_611,
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
SPECTROGRAM_NETS = [name for name in PARAMETERS if name.startswith("spec")]
NETS = sorted(path.stem for path in (CONFIG_DIR / "model").glob("*.yaml"))


def build(name, *overrides):
    torch.manual_seed(0)
    return instantiate(compose([f"model={name}", *overrides]).model, _convert_="all")


def noise(clips):
    """Clips of noise, each at its own level and with its own low-pass."""
    random = torch.Generator().manual_seed(1)
    white = torch.randn(clips, 16_000 + clips, generator=random)
    waves = [
        white[i, i:][:16_000] + i / 4 * white[i].cumsum(0)[:16_000].diff(prepend=white[i, :1]) for i in range(clips)
    ]
    return (torch.stack(waves) * torch.logspace(2, 3.3, clips)[:, None]).clamp(-32_768, 32_767).to(torch.int16)


@pytest.fixture
def fast_bfloat16(monkeypatch):
    """bfloat16 is used on every processor."""
    monkeypatch.setattr(counters, "bfloat16_is_fast", lambda: True)


@pytest.fixture(params=NETS)
def net(request):
    return request.param, build(request.param)


@pytest.mark.parametrize("name", NETS)
def test_has_its_number_of_parameters(name):
    module = build(name)
    expected = {**PARAMETERS, **OTHERS}[name]
    assert sum(parameter.numel() for parameter in module.parameters() if parameter.requires_grad) == expected


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
    assert sizes == [size if isinstance(size, tuple) else (1, size) for size in SIZES[name]]
    assert module.net.classifier.in_features == CHANNELS[name]
    assert probabilities == DROPOUT.get(name, [])


def plain_waveform_net(name):
    """The net as the paper draws it, in one dimension, each ReLU before the pooling."""
    layers, channels = [], 1
    sizes = SIZES[name]
    for layer in build(name).net.features:
        if isinstance(layer, nn.Conv2d):
            options = {"kernel_size": 80, "stride": 16} if channels == 1 else {"kernel_size": 3, "padding": 1}
            layers += [
                nn.Conv1d(channels, layer.out_channels, **options),
                nn.BatchNorm1d(layer.out_channels),
                nn.ReLU(),
            ]
            channels = layer.out_channels
        elif isinstance(layer, nn.MaxPool2d):
            layers.append(nn.MaxPool1d(4))
    assert sum(isinstance(layer, nn.Conv1d | nn.MaxPool1d) for layer in layers) == len(sizes)
    return nn.Sequential(*layers, nn.AdaptiveAvgPool1d(1), nn.Flatten(), nn.Linear(channels, 3))


@pytest.mark.parametrize("name", ["m3", "m5", "m11", "m18"])
def test_waveform_nets_are_the_paper_s_one_dimensional_ones(name):
    module, plain = build(name), plain_waveform_net(name)
    weights = plain.state_dict()
    assert weights["0.weight"].shape == (32, 1, 80)
    ours = module.net.state_dict()
    for key, value in zip(ours, weights.values(), strict=True):
        ours[key] = value[:, :, None] if value.ndim == 3 else value  # the height of the two-dimensional kernels
    module.net.load_state_dict(ours)
    waveform, target = noise(8).float() / 32_768, torch.arange(8) % 3
    losses = [nn.functional.cross_entropy(logits, target) for logits in (plain(waveform[:, None]), module(waveform))]
    torch.testing.assert_close(*losses, rtol=1e-4, atol=1e-4)
    slopes = [
        torch.cat([slope.flatten() for slope in torch.autograd.grad(loss, list(net.parameters()))])
        for loss, net in zip(losses, (plain, module), strict=True)
    ]
    assert nn.functional.cosine_similarity(*slopes, dim=0) > 0.999
    torch.testing.assert_close(plain.eval()(waveform[:, None]), module.eval()(waveform), rtol=1e-3, atol=1e-3)


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


def test_scales_16_bit_clips_to_fractions_of_full_scale(net):
    _, module = net
    waveform = torch.randint(-32_768, 32_767, (2, 16_000), dtype=torch.int16)
    module.eval()
    torch.testing.assert_close(module(waveform), module(waveform.float() / 32_768))


def test_the_spectrogram_is_torchaudio_s_in_decibels():
    module = instantiate(compose(["model=spec_2"]).model)
    sine = torch.sin(2 * torch.pi * 1000 * torch.arange(16_000) / 16_000)[None]
    picture = module.front_end(sine)[0, 0]
    assert picture.shape == (201, 81)
    assert (picture[:, 1:-1].argmax(dim=0) == 25).all()  # 1,000 Hz at 40 Hz a bin; the ends are reflected
    # a Hann window of 400 sums to 200
    assert abs(picture[:, 1:-1].max() - 10 * torch.log10(torch.tensor(100.0**2))) < 0.1


def gradients(module, waveform, target):
    """The loss and its gradients in training mode without dropout, as one vector; logits in evaluation mode."""
    for layer in module.modules():
        if isinstance(layer, nn.Dropout):
            layer.p = 0.0
    logits = module.train()(waveform)
    assert logits.dtype == torch.float32
    loss = nn.functional.cross_entropy(logits, target)
    vector = torch.cat([g.flatten() for g in torch.autograd.grad(loss, list(module.parameters()))])
    with torch.inference_mode():
        return loss.detach(), vector, module.eval()(waveform)


@pytest.mark.parametrize("name", SPECTROGRAM_NETS)
def test_bfloat16_computes_the_same_function(name, fast_bfloat16):
    waveform, target = noise(9), torch.arange(9) % 3
    loss, vector, logits = gradients(build(name, "model.autocast=false"), waveform, target)
    loss_16, vector_16, logits_16 = gradients(build(name), waveform, target)
    assert not torch.equal(logits, logits_16)  # bfloat16 was used
    assert vector_16.dtype == logits_16.dtype == torch.float32
    torch.testing.assert_close(loss_16, loss, rtol=0, atol=0.01)
    torch.testing.assert_close(logits_16, logits, rtol=0, atol=0.03)
    assert nn.functional.cosine_similarity(vector_16, vector, dim=0) > 0.99


@pytest.mark.parametrize("name", SPECTROGRAM_NETS)
def test_without_autocast_everything_is_float32(name, fast_bfloat16):
    module, waveform = build(name, "model.autocast=false"), noise(3)
    plain = nn.Sequential()
    for layer in module.net.features:
        plain.append(nn.Dropout(layer.p) if isinstance(layer, nn.Dropout) else layer)
    torch.manual_seed(2)
    logits = module(waveform)
    torch.manual_seed(2)
    assert torch.equal(logits, module.net.classifier(plain(module.front_end(waveform / 32_768)).mean((2, 3))))


def test_a_processor_slow_at_bfloat16_computes_in_float32_and_says_so_once(monkeypatch, caplog):
    monkeypatch.setattr(torch.cpu, "get_capabilities", dict)
    counters.bfloat16_is_fast.cache_clear()
    waveform = noise(3)
    try:
        with caplog.at_level(logging.WARNING):
            logits = [build("spec_1", f"model.autocast={on}").eval()(waveform) for on in ("true", "true", "false")]
        assert torch.equal(logits[0], logits[1])
        assert torch.equal(logits[0], logits[2])
        assert [record.message for record in caplog.records] == [
            "this processor has no AVX512_BF16: spectrogram nets compute in float32, which takes longer"
        ]
    finally:
        counters.bfloat16_is_fast.cache_clear()


def test_bfloat16_training_repeats_bit_for_bit(fast_bfloat16):
    def trained():
        module = build("spec_2", "model.learning_rate=0.01")
        optimiser = module.configure_optimizers()
        for _ in range(4):
            optimiser.zero_grad()
            nn.functional.cross_entropy(module(noise(6)), torch.arange(6) % 3).backward()
            optimiser.step()
        return module.state_dict()

    first, second = trained(), trained()
    assert all(torch.equal(value, second[name]) for name, value in first.items())
    assert all(value.isfinite().all() for value in first.values())


@pytest.mark.parametrize("probability", [0.0, 0.2, 0.4, 1.0])
def test_dropout_of_bfloat16(probability):
    layer = Dropout(probability)
    for shape in ((3, 5, 7, 9), (64, 32, 25, 10)):
        features = torch.ones(shape, dtype=torch.bfloat16).to(memory_format=torch.channels_last).requires_grad_()
        dropped = layer(features)
        dropped.sum().backward()
        assert torch.equal(features.grad, dropped)
        assert dropped.stride() == features.stride()
        assert set(dropped.unique().tolist()) <= {0.0, torch.tensor(1 / max(1 - probability, 0.1)).bfloat16().item()}
    of_a_word = (dropped == 0).float().permute(0, 2, 3, 1).reshape(-1, 4)  # the four that one random word decides
    assert of_a_word.mean(dim=0).tolist() == pytest.approx([probability] * 4, abs=0.006)  # four standard deviations
    if 0 < probability < 1:
        assert of_a_word.T.corrcoef().triu(1).abs().max() < 0.02
    assert torch.equal(layer.eval()(features), features)
