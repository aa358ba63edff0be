import numpy as np
import pytest
import torch
from hydra.utils import instantiate
from torch import nn

from speaker_count.compose import compose
from speaker_count.errors import UserError
from speaker_count.training.counters import WaveformCounter
from speaker_count.training.quiet import quiet
from speaker_count.training.saved_state import load_weights
from tests.conftest import mix_of


class Loudness(nn.Module):
    """Logits from nothing but the level, so that a test knows what is predicted."""

    def __init__(self, classes):
        super().__init__()
        self.linear = nn.Linear(1, classes)

    def forward(self, waveform):
        return self.linear(waveform.abs().mean(dim=2) * 30)


@pytest.fixture
def trainer(tmp_path):
    quiet()
    settings = {"logger": False, "enable_checkpointing": False, "enable_progress_bar": False, "max_epochs": 1}
    return instantiate(compose(["trainer=default"]).trainer, default_root_dir=str(tmp_path), **settings)


@pytest.mark.parametrize("counts", [(1, 2, 3), (2, 5)])
def test_metrics_are_those_of_the_predictions(make_data, trainer, counts):
    torch.manual_seed(1)
    data = make_data(mix=mix_of(test=77, counts=counts))
    module = WaveformCounter(Loudness, counts)
    metrics = trainer.test(module, datamodule=data, verbose=False)[0]

    plan = data.clips["test"].plan()
    with torch.no_grad():
        logits = module(torch.from_numpy(data.clips["test"].render(plan)))
    target = torch.from_numpy(np.searchsorted(counts, plan.count))
    predicted = np.array(counts)[logits.argmax(1)]
    assert metrics["test/loss"] == pytest.approx(nn.functional.cross_entropy(logits, target).item(), abs=1e-5)
    assert metrics["test/accuracy"] == pytest.approx((predicted == plan.count).mean())
    assert metrics["test/mae"] == pytest.approx(abs(predicted - plan.count).mean())
    for count in counts:
        of = plan.count == count
        assert metrics[f"test/accuracy_{count}"] == pytest.approx((predicted[of] == count).mean())
    confusion = [[((plan.count == a) & (predicted == b)).sum() for b in counts] for a in counts]
    assert module.confusion.tolist() == confusion
    index, probabilities = module.test_outputs
    assert index.tolist() == list(range(77))
    torch.testing.assert_close(probabilities, logits.softmax(1))


def test_training_clips_are_evaluated_apart_from_the_running_average(make_data, trainer):
    data = make_data(evaluate_train=True)
    module = WaveformCounter(Loudness, learning_rate=0.05)
    trainer.fit(module, datamodule=data)
    metrics = trainer.callback_metrics
    plan = data.clips["train"].plan()
    module.eval()
    with torch.no_grad():
        logits = module(torch.from_numpy(data.clips["train"].render(plan)))
    right = (logits.argmax(1) == torch.from_numpy(plan.count) - 1).float().mean().item()
    assert metrics["train/accuracy"].item() == pytest.approx(right)
    assert metrics["running/loss"] > metrics["train/loss"]
    assert {"val/accuracy", "val/mae", "val/accuracy_3", "running/accuracy"} <= metrics.keys()


def test_checkpoint_of_another_net_or_none_at_all_is_refused(make_data, trainer, tmp_path):
    module = WaveformCounter(Loudness)
    trainer.fit(module, datamodule=make_data())
    trainer.save_checkpoint(tmp_path / "a.ckpt")
    other = instantiate(compose(["model=m3"]).model)
    with pytest.raises(UserError, match="is that of another net"):
        load_weights(other, tmp_path / "a.ckpt")
    again = WaveformCounter(Loudness)
    load_weights(again, tmp_path / "a.ckpt")
    assert torch.equal(again.net.linear.weight, module.net.linear.weight)
    (tmp_path / "cut.ckpt").write_bytes((tmp_path / "a.ckpt").read_bytes()[:500])
    for path in (tmp_path / "cut.ckpt", tmp_path / "none.ckpt"):
        with pytest.raises(UserError, match="cannot read the checkpoint"):
            load_weights(module, path)
