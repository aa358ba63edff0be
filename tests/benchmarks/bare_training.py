"""A finished run of a waveform net against a bare PyTorch loop: the same initial weights, clips, order and recipe,
without Lightning.

    python -m tests.benchmarks.bare_training RUN_DIR

prints validation and test accuracy of both at the last epoch. It takes as long as the run did.
"""

import sys
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from hydra.utils import instantiate

from speaker_count.compose import compose
from speaker_count.data.clips import Clips
from speaker_count.data.datamodule import ClipDataModule
from speaker_count.data.draws import permutation
from speaker_count.data.planning import Plan
from speaker_count.labels import FULL_SCALE, class_of
from speaker_count.results.record import RunResult


def accuracy(net: torch.nn.Module, clips: Clips) -> float:
    """The share of clips whose count is right, in evaluation mode."""
    net.eval()
    right = 0
    with torch.inference_mode():
        for plan, waveforms in clips.batches(32):
            right += int((net(as_input(waveforms)).argmax(1) == target(plan, clips.mix.counts)).sum())
    return right / len(clips)


def as_input(waveforms: np.ndarray) -> torch.Tensor:
    """`(batch, samples)` int16 -> `(batch, 1, samples)` float."""
    return torch.from_numpy(waveforms)[:, None].float() / FULL_SCALE


def target(plan: Plan, counts: Sequence[int]) -> torch.Tensor:
    """The classes of clips, `(batch,)`."""
    return class_of(torch.from_numpy(plan.count), list(counts))


def main() -> None:
    result = RunResult.read(Path(sys.argv[1]))
    if result.kind != "waveform":
        sys.exit(f"{sys.argv[1]} holds a {result.kind} net: the bare loop trains nets on the waveform")
    data = ClipDataModule.of_run(result.data, result.mix, compose([]).data.cache)
    data.setup()
    clips = data.clips["train"]

    torch.manual_seed(result.seed)
    net = instantiate(compose([f"model={result.model}"]).model.net)(classes=len(data.mix.counts))
    optimiser = torch.optim.Adam(net.parameters(), lr=result.net["learning_rate"])
    for epoch in range(result.epochs):
        begin = time.perf_counter()
        net.train()
        order = permutation(f"order/{result.seed}/{epoch}", len(clips))
        plan = clips.plan()
        for start in range(0, len(order), data.batch_size):
            rows = plan[order[start : start + data.batch_size]]
            logits = net(as_input(clips.render(rows)))
            loss = torch.nn.functional.cross_entropy(logits, target(rows, data.mix.counts))
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
        print(f"epoch {epoch + 1}: {time.perf_counter() - begin:.0f} s", flush=True)

    print("| | Lightning | bare loop | difference |\n|---|---|---|---|")
    for split in ("validation", "test"):
        ours, bare = result.last.of(split)["accuracy"], accuracy(net, data.clips[split])
        print(f"| {split} accuracy | {ours:.4f} | {bare:.4f} | {ours - bare:+.4f} |")


if __name__ == "__main__":
    main()
