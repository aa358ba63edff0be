"""What a net is trained to do beside naming the count."""

import json

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from torch import nn

from speaker_count import labels
from speaker_count.errors import UserError
from speaker_count.training.counters import WaveformCounter
from speaker_count.training.objective import IGNORED, Objective, composition_of, marginal
from tests.conftest import mix_of

COUNTS = (0, 1, 2, 3)


def batch(count, women, men):
    return {name: torch.tensor(values) for name, values in (("count", count), ("women", women), ("men", men))}


def test_the_nine_compositions_of_the_paper():
    assert labels.compositions((1, 2, 3)) == ["M", "F", "MM", "MF", "FF", "MMM", "MMF", "MFF", "FFF"]
    names = labels.compositions(COUNTS)
    of = batch([0, 1, 2, 3, 3, 2], [0, 1, 1, 0, 2, 0], [0, 0, 1, 3, 1, 1])
    places = composition_of(of, COUNTS).tolist()
    assert [names[place] for place in places[:-1]] == ["", "F", "MF", "MMM", "MFF"]
    assert places[-1] == IGNORED  # the sex of a voice is not known


def test_the_count_is_the_compositions_marginal():
    outputs = torch.randn(5, 10)
    probabilities = outputs.softmax(1)
    expected = [probabilities[:, :1], probabilities[:, 1:3], probabilities[:, 3:6], probabilities[:, 6:]]
    expected = torch.stack([part.sum(1) for part in expected], 1)
    torch.testing.assert_close(marginal(outputs, COUNTS).softmax(1), expected)


def test_each_part_of_the_loss():
    torch.manual_seed(0)
    of = batch([1, 2, 3, 0], [1, 1, 2, 0], [0, 1, 0, 0])  # of the third, a voice's sex is not known
    logits, target = torch.randn(4, 4), torch.tensor([1, 2, 3, 0])
    plain = nn.functional.cross_entropy(logits, target)
    torch.testing.assert_close(Objective().loss(logits, None, of, COUNTS), plain)
    expected = (logits.softmax(1) * torch.arange(4.0)).sum(1)
    ordinal = plain + 0.5 * ((expected - of["count"]) ** 2).mean()
    torch.testing.assert_close(Objective(ordinal_weight=0.5).loss(logits, None, of, COUNTS), ordinal)
    smoothed = nn.functional.cross_entropy(logits, target, label_smoothing=0.2)
    torch.testing.assert_close(Objective(label_smoothing=0.2).loss(logits, None, of, COUNTS), smoothed)

    outputs = torch.randn(4, 10)
    known = nn.functional.cross_entropy(outputs[[0, 1, 3]], torch.tensor([2, 4, 0]))
    both = nn.functional.cross_entropy(marginal(outputs, COUNTS), target) + 2 * known
    torch.testing.assert_close(Objective(composition_weight=2).loss(outputs, None, of, COUNTS), both)

    of["active"] = torch.tensor([[0, 0, 1, 1], [2, 2, 0, 0], [3, 3, 3, 3], [0, 0, 0, 0]], dtype=torch.int8)
    frames = torch.randn(4, 4, 2)
    active = nn.functional.cross_entropy(frames, torch.tensor([[0, 1], [2, 0], [3, 3], [0, 0]]))
    torch.testing.assert_close(Objective(frame_weight=3).loss(logits, frames, of, COUNTS), plain + 3 * active)


@pytest.mark.parametrize(
    ("loss", "problem"),
    [
        ({"frame_weight": -1}, "model.loss.frame_weight=-1"),
        ({"label_smoothing": 1}, "model.loss.label_smoothing=1: expected less than 1"),
        ({"frames": 1}, "model.loss.frames: no such key; there are label_smoothing, ordinal_weight"),
        ({"ordinal_weight": "much"}, "model.loss.ordinal_weight=much"),
    ],
)
def test_losses_that_are_none(loss, problem):
    with pytest.raises(UserError) as error:
        Objective.of(loss)
    assert problem in str(error.value)


class Ones(nn.Module):
    """A net without frames."""

    def __init__(self, classes):
        super().__init__()
        self.linear = nn.Linear(1, classes)

    def forward(self, waveform):
        return self.linear(waveform.mean(2))


def test_a_net_without_frames_says_so():
    with pytest.raises(UserError, match=r"model.net: .*frame_classes"):
        WaveformCounter(Ones, loss={"frame_weight": 1})


def test_a_run_names_sexes(command, tree, tmp_path):
    """One run through all of it: none to two speakers, every loss, and the table of predictions."""
    words = ("data=folder", f"data.root={tree}", "experiment=recommended", "mix.counts=[0,1,2]", "logger=csv")
    sizes = ("mix.clips.train=64", "mix.clips.validation=32", "mix.clips.test=48", "trainer.max_epochs=1")
    done = command("train", *words, *sizes, "model.loss.ordinal_weight=0.1", "hydra.run.dir=run")
    assert done.returncode == 0, done.stderr
    result = json.loads((tmp_path / "run" / "result.json").read_text())
    assert 0 <= result["last"]["test"]["composition_accuracy"] <= 1
    rows = pq.read_table(tmp_path / "run" / "predictions.parquet").to_pylist()
    sexes = labels.compositions((0, 1, 2))
    for row in rows:
        composed = np.array([row[f"c_{name}"] for name in sexes])
        counted = [row["p_0"], row["p_1"], row["p_2"]]
        assert counted == pytest.approx([composed[0], composed[1:3].sum(), composed[3:].sum()], abs=1e-5)
        assert row["predicted"] == int(np.argmax(counted))
    evaluated = command("evaluate", "run", "mix=paper", "mix.counts=[1,2]", "mix.clips.test=30", f"data.root={tree}")
    assert evaluated.returncode == 0, evaluated.stderr
    (path,) = (tmp_path / "run" / "evaluations").glob("*paper*.json")
    assert {"accuracy_0", "accuracy_1", "accuracy_2"} & {*json.loads(path.read_text())["test"]} == {
        "accuracy_1",
        "accuracy_2",
    }
    assert "\nsexes and count " in evaluated.stdout
    again = command("evaluate", "run", "mix.clips.test=40", "mix.augment.splits=[test]", f"data.root={tree}")
    assert again.returncode == 0, again.stderr
    (noisy,) = (tmp_path / "run" / "evaluations").glob("*varied*.json")
    assert json.loads(noisy.read_text())["mix"]["augment"]["speed"] == 0.25
    reported = command("report", "run")
    assert reported.returncode == 0, reported.stderr


def test_frames_need_clips_that_are_mixed(make_data):
    data = make_data(mix=mix_of(counts=(1, 2)))
    loader = data.train_dataloader()
    assert "active" not in next(iter(loader))


def test_sexes_cannot_be_learned_of_speakers_of_unknown_sex(command, tree, tmp_path):
    lines = [f"{path},{path.parent.parent.name}" for path in sorted(tree.rglob("*.flac"))]
    (tmp_path / "corpus.csv").write_text("path,speaker\n" + "\n".join(lines) + "\n")
    sizes = ("mix.clips.train=48", "mix.clips.validation=48", "mix.clips.test=48", "trainer.max_epochs=1")
    words = ("train", "model=m3", "logger=csv", *sizes, "model.loss.composition_weight=0.5")
    done = command(*words, "data=manifest", "data.root=corpus.csv", "hydra.run.dir=run")
    assert done.returncode == 2
    assert done.stderr.splitlines()[-1].startswith("model.loss.composition_weight=0.5: the training clips of data=")
    assert "have no speakers of known sex" in done.stderr
    assert "Traceback" not in done.stderr
    known = command(*words, "data=folder", f"data.root={tree}", "hydra.run.dir=known")
    assert known.returncode == 0, known.stderr
    evaluated = command("evaluate", "known", "data=manifest", "data.root=corpus.csv")
    assert evaluated.returncode == 0, evaluated.stderr
    assert "sexes and count         not known: the speakers are of unknown sex" in evaluated.stdout
    (path,) = (tmp_path / "known" / "evaluations").glob("*.json")
    assert "composition_accuracy" not in json.loads(path.read_text())["test"]
