"""Every config is a test case."""

import pytest
import torch
from hydra.utils import instantiate

from speaker_count import CONFIG_DIR
from speaker_count.compose import compose, compose_grid, plain
from speaker_count.training.module import SpeakerCounter

CHOICES = [
    (path.parent.name, path.stem) for path in sorted(CONFIG_DIR.glob("*/*.yaml")) if path.parent.name not in ("hydra",)
]
WITHIN = {"ablation": ["experiment=ablation"]}  # groups that other choices bring


@pytest.mark.parametrize(("group", "name"), CHOICES)
def test_composes(group, name):
    config = compose([*WITHIN.get(group, []), f"{group}={name}"])
    if group in ("data", "mix"):
        assert config[group].name == name  # results and their tables call it by this


@pytest.mark.parametrize("name", [name for group, name in CHOICES if group == "model"])
def test_a_model_s_config_stands_alone(name):
    module = instantiate(compose([f"model={name}", "mix.counts=[1,2,3,4]", "model.learning_rate=0.01"]).model)
    assert isinstance(module, SpeakerCounter)
    assert module(torch.zeros(2, 16_000, dtype=torch.int16)).shape == (2, 4)
    assert module.configure_optimizers().defaults["lr"] == 0.01


@pytest.mark.parametrize("name", [name for group, name in CHOICES if group == "model"])
def test_the_size_of_a_net_is_known_without_its_memory(name):
    model = compose([f"model={name}"]).model
    with torch.device("meta"):  # the report asks so before it builds the nets of runs from anywhere
        sizes = [parameter.numel() for parameter in instantiate(model).parameters()]
    assert sizes == [parameter.numel() for parameter in instantiate(model).parameters()]


def test_the_experiment_is_the_paper_s_protocol():
    config = compose(["experiment=paper"])
    assert (config.data.batch_size, config.trainer.max_epochs, config.model.learning_rate) == (32, 10, 1e-4)
    assert (config.mix.clips, config.mix.counts) == (
        {"train": 100_000, "validation": 10_000, "test": 10_000},
        [1, 2, 3],
    )
    assert config.evaluate_train
    assert not config.mix.fresh_each_epoch


def test_an_ablation_leaves_one_ingredient_out_of_the_recommended_recipe():
    grid = compose_grid(["experiment=ablation"])
    assert {folder.name for _, folder in grid} == {
        f"{name}-{'m5' if name == 'm5' else 'conv_tdnn'}-seed0" for group, name in CHOICES if group == "ablation"
    }
    runs = {config.hydra.runtime.choices.ablation: run_of(config) for config, _ in grid}
    shared = ["mix.clips.train=25000", "callbacks.weight_averaging.decay=0.98", "trainer.max_epochs=2"]
    assert runs.pop("full") == run_of(compose(["experiment=recommended", *shared], with_hydra=True))
    for name, run in runs.items():
        assert run not in [other for other_name, other in runs.items() if other_name != name]
        instantiate(run["model"])


def test_the_second_part_of_the_recipe_hides_nothing_of_a_clip():
    first, second = (compose([f"experiment={name}"]) for name in ("recommended", "refined"))
    assert second.mix.augment == first.mix.augment
    assert (first.model.net.band_mask, first.model.net.dropout, first.model.loss.label_smoothing) == (8, 0.1, 0.05)
    net = second.model.net
    assert (net.band_mask, net.time_mask, net.dropout, second.model.loss.label_smoothing) == (0, 0, 0, None)


def run_of(config):
    """A run's config without what the log and Hydra say."""
    return {key: plain(config[key]) for key in config if key not in ("hydra", "logger")}
