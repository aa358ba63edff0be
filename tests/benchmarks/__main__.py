"""How fast streaming and training are, each beside a plain loop that does the same, in the same run.

    python -m tests.benchmarks [overrides]

or `make bench`, on data=librispeech_sample where it is at hand, else on data=demo.

Everything runs on one core. Each figure is the median of rounds in which the peers take turns, each ratio the median of
the rounds' ratios: a shared machine's speed drifts, but it drifts for both.
"""

import os
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytorch_lightning as pl
import soundfile
import torch
from hydra.utils import instantiate

from speaker_count.callbacks import quiet
from speaker_count.compose import compose
from speaker_count.data import corpus
from speaker_count.data.datamodule import ClipDataModule
from speaker_count.data.draws import permutation
from speaker_count.results.tables import markdown

ROUNDS = 5
STREAMED = 32_000  # clips a round
READ_FROM_FLAC = 640
TRAINED = 60  # batches a round, after as many as warm up
WARM_UP = 10


def streaming(data: ClipDataModule) -> dict[str, Callable[[], float]]:
    """Clips a second: through the loader, in a bare loop over the decoded samples, and from the FLAC files."""
    clips, samples = data.clips["train"], data.clips["train"].samples
    plan = clips.plan()[permutation(f"order/{data.seed}/0", STREAMED)]  # the loader's first epoch
    root = corpus.find_root(data.root)
    listed = corpus.index(data.root, *data.subsets, utterance_list=data.utterance_list)
    paths = dict(zip(listed.utterances, listed.paths, strict=True))
    files = [str(root / paths[name]) for name in data.pool.utterances]

    def loader() -> float:
        return rate(len(batch["count"]) for batch in data.train_dataloader())

    def bare() -> float:
        pool = data.pool.samples
        begins = (data.pool.offsets[plan.utterances] + plan.starts).tolist()
        counts = plan.count.tolist()
        total = np.empty(samples, np.float32)

        def batches() -> Iterator[int]:
            for start in range(0, STREAMED, data.batch_size):
                batch = np.empty((min(data.batch_size, STREAMED - start), samples), np.int16)
                for row in range(len(batch)):
                    count, voices = counts[start + row], begins[start + row]
                    np.copyto(total, pool[voices[0] : voices[0] + samples])
                    for begin in voices[1:count]:
                        np.add(total, pool[begin : begin + samples], out=total)
                    np.divide(total, np.float32(count), out=total)
                    np.rint(total, out=total)
                    np.copyto(batch[row], total, casting="unsafe")
                yield len(batch)

        return rate(batches())

    def from_flac() -> float:
        def batches() -> Iterator[int]:
            for row in range(READ_FROM_FLAC):
                total = np.zeros(samples, np.float32)
                for utterance, begin in zip(plan.utterances[row], plan.starts[row], strict=True):
                    if utterance >= 0:
                        total += soundfile.read(files[utterance], samples, begin, dtype="int16")[0]
                np.rint(total / plan.count[row]).astype(np.int16)
                yield 1

        return rate(batches())

    return {"train_dataloader()": loader, "bare loop": bare, "soundfile, FLAC": from_flac}


def rate(sizes: Iterator[int]) -> float:
    begin, total = time.perf_counter(), sum(sizes)
    return total / (time.perf_counter() - begin)


class Stopwatch(pl.Callback):
    """Seconds from the end of the warm-up to the end of the epoch."""

    def on_train_batch_start(self, trainer, pl_module, batch, batch_idx) -> None:
        if batch_idx == WARM_UP:
            self.begin = time.perf_counter()

    def on_train_epoch_end(self, trainer, pl_module) -> None:
        self.seconds = time.perf_counter() - self.begin


def training(data: ClipDataModule, model: str) -> dict[str, Callable[[], float]]:
    """Clips a second on the same batches, ready in memory: through Lightning, and in a bare PyTorch loop."""
    loader = iter(data.train_dataloader())
    batches = [next(loader) for _ in range(WARM_UP + TRAINED)]
    config = compose([f"model={model}"])
    config.trainer.callbacks = []

    def lightning() -> float:
        watch = Stopwatch()
        trainer = instantiate(config.trainer, _partial_=True)(
            callbacks=[watch], logger=False, enable_checkpointing=False, enable_progress_bar=False, max_epochs=1
        )
        trainer.fit(instantiate(config.model, _convert_="all"), torch.utils.data.DataLoader(batches, batch_size=None))
        return TRAINED * data.batch_size / watch.seconds

    def bare() -> float:
        module = instantiate(config.model, _convert_="all")
        net = torch.nn.Sequential(module.net)
        optimiser = torch.optim.Adam(net.parameters(), lr=1e-4)
        for number, batch in enumerate(batches):
            if number == WARM_UP:
                begin = time.perf_counter()
            inputs = module.features(batch["waveform"].float() / 32_768)
            loss = torch.nn.functional.cross_entropy(net(inputs), batch["count"] - 1)
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
        return TRAINED * data.batch_size / (time.perf_counter() - begin)

    return {f"{model} through Lightning": lightning, "bare loop": bare}


def compare(what: str, peers: dict[str, Callable[[], float]]) -> list[dict]:
    """A row for each peer of the first one."""
    measured = {name: [] for name in peers}
    for _ in range(ROUNDS):
        for name, measure in peers.items():
            measured[name].append(measure())
    (ours, figures), *others = measured.items()
    return [
        {
            "what": f"{what}: {ours}",
            "clips/s": statistics.median(figures),
            "peer": name,
            "peer's clips/s": f"{statistics.median(theirs):,.0f}",
            "ratio": f"{statistics.median(a / b for a, b in zip(figures, theirs, strict=True)):.2f}",
        }
        for name, theirs in others
    ]


def main() -> None:
    quiet()
    torch.set_num_threads(1)
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    overrides = sys.argv[1:]
    if not any(override.startswith("data=") for override in overrides):
        near = Path(__file__).parents[3] / "shared" / "librispeech-sample"
        if "LIBRISPEECH" not in os.environ and near.is_dir():
            os.environ["LIBRISPEECH"] = str(near)
        overrides.append("data=librispeech_sample" if "LIBRISPEECH" in os.environ else "data=demo")
    config = compose([f"mix.clips.train={STREAMED}", *overrides])
    data: ClipDataModule = instantiate(config.data, mix=config.mix, _convert_="all")
    data.setup()
    rows = compare("streaming", streaming(data)) + compare("training", training(data, "m5"))
    print(f"{data.name}, batches of {data.batch_size}, one core, torch {torch.__version__}\n")
    print(markdown(rows, {name: name for name in rows[0]}))


if __name__ == "__main__":
    main()
