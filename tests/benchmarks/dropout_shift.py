"""Does dropout mislead a finished net's batch norm? Its test accuracy with each of the two in training and in
evaluation mode.

    python -m tests.benchmarks.dropout_shift RUN_DIR

Dropout before batch norm raises the variance that batch norm sees in training and keeps for evaluation, where dropout
is off (Li et al. 2018, arXiv 1801.05134). If that lowers a net's scores, statistics of the batch, or dropout in
evaluation, restore them.
"""

import sys
from itertools import product
from pathlib import Path

import torch
from torch import nn

from speaker_count.compose import compose, rebuild
from speaker_count.data.datamodule import ClipDataModule
from speaker_count.results.record import RunResult
from speaker_count.results.tables import markdown
from speaker_count.training.module import SpeakerCounter
from speaker_count.training.saved_state import load_weights


def accuracy(module: SpeakerCounter, data: ClipDataModule, batch_statistics: bool, dropout: bool) -> float:
    """The share of test clips whose count is right.

    Args:
        batch_statistics, dropout: whether batch norm and dropout work as in training.
    """
    module.eval()
    for layer in module.modules():
        if isinstance(layer, nn.modules.batchnorm._BatchNorm):
            layer.train(batch_statistics)
            layer.momentum = 0.0  # the running statistics stay unchanged
        elif isinstance(layer, nn.Dropout):
            layer.train(dropout)
    torch.manual_seed(0)
    right = 0
    with torch.inference_mode():
        for plan, waveforms in data.clips["test"].batches(data.batch_size):
            predicted = torch.tensor(module.counts)[module(torch.from_numpy(waveforms)).argmax(1)]
            right += (predicted == torch.from_numpy(plan.count)).sum().item()
    return right / len(data.clips["test"])


def main() -> None:
    folder = Path(sys.argv[1])
    result = RunResult.read(folder)
    data = ClipDataModule.of_run(result.data, result.mix, compose([]).data.cache)
    data.setup()
    module = rebuild(result)
    load_weights(module, folder / "checkpoints" / "last.ckpt")
    rows = [
        {
            "batch norm": "of the batch" if batch_statistics else "running statistics",
            "dropout": "on" if dropout else "off",
            "test accuracy": accuracy(module, data, batch_statistics, dropout),
        }
        for batch_statistics, dropout in product((False, True), repeat=2)
    ]
    print(f"{folder.name}\n\n{markdown(rows, {name: name for name in rows[0]})}")


if __name__ == "__main__":
    main()
