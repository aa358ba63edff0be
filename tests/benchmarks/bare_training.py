"""A finished run against a bare PyTorch loop: the same initial weights, clips, order and recipe, without Lightning.

    python -m tests.benchmarks.bare_training RUN_DIR

prints validation and test accuracy of both at the last epoch. It takes as long as the run did.
"""

import sys
import time
from pathlib import Path

import torch
from hydra import compose, initialize_config_dir
from hydra.utils import instantiate

from speaker_count import CONFIG_DIR
from speaker_count.data.datamodule import ClipDataModule
from speaker_count.data.draws import permutation
from speaker_count.data.mixing import mix
from speaker_count.results.record import read_result


def accuracy(net: torch.nn.Module, clips) -> float:
    net.eval()
    right = 0
    with torch.inference_mode():
        for plan, waveforms in clips.batches(32):
            right += (net(as_input(waveforms)).argmax(1) == torch.from_numpy(plan.count) - 1).sum().item()
    return right / len(clips)


def as_input(clips) -> torch.Tensor:
    return torch.from_numpy(clips)[:, None].float() / 32_768


def main() -> None:
    result = read_result(Path(sys.argv[1]))
    data = ClipDataModule.of_result(result)
    data.setup()
    clips = data.clips["train"]

    torch.manual_seed(result["seed"])
    with initialize_config_dir(str(CONFIG_DIR), version_base="1.3"):
        net = instantiate(compose("config", [f"model={result['model']}"]).model.net)(classes=len(data.mix.counts))
    optimiser = torch.optim.Adam(net.parameters(), lr=result["net"]["learning_rate"])
    for epoch in range(result["epochs"]):
        begin = time.perf_counter()
        net.train()
        order = permutation(f"order/{result['seed']}/{epoch}", len(clips))
        plan = clips.plan()
        for start in range(0, len(order), data.batch_size):
            rows = plan[order[start : start + data.batch_size]]
            loss = torch.nn.functional.cross_entropy(
                net(as_input(mix(data.pool, rows)[0])), torch.from_numpy(rows.count) - 1
            )
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
        print(f"epoch {epoch + 1}: {time.perf_counter() - begin:.0f} s", flush=True)

    print("| | Lightning | bare loop | difference |\n|---|---|---|---|")
    for split in ("validation", "test"):
        ours, bare = result["last"][split]["accuracy"], accuracy(net, data.clips[split])
        print(f"| {split} accuracy | {ours:.4f} | {bare:.4f} | {ours - bare:+.4f} |")


if __name__ == "__main__":
    main()
