"""M5 beside a process that keeps a core busy: the number of threads that a run chooses, against each number of them.

`python -m tests.benchmarks.busy [CLIPS]` trains for one epoch of CLIPS clips (default 12,000) on data=demo, three times
in turn, and prints the median of the clips per second of the training steps.
"""

import json
import multiprocessing
import statistics
import sys
import tempfile
from collections import defaultdict
from pathlib import Path

import joblib

from tests.benchmarks.commands import run

ROUNDS = 3


def main(clips: int = 12_000) -> None:
    sizes = [f"mix.clips.train={clips}", "mix.clips.validation=300", "mix.clips.test=300", "trainer.max_epochs=1"]
    train = ["train", "data=demo", "model=m5", *sizes, "evaluate_train=false", "logger=csv"]
    run("prepare", "data=demo")
    busy = multiprocessing.get_context("spawn").Process(target=spin, daemon=True)
    busy.start()
    rates, chosen = defaultdict(list), defaultdict(list)
    with tempfile.TemporaryDirectory() as folder:
        for number in range(ROUNDS):
            for threads in ("null", *range(1, joblib.cpu_count() + 1)):
                path = Path(folder, f"{threads}-{number}")
                run(*train, f"threads={threads}", f"hydra.run.dir={path}")
                chosen[threads].append(json.loads((path / "threads.json").read_text())["threads"])
                rates[threads].append(json.loads((path / "result.json").read_text())["clips_per_second"])
    busy.kill()
    medians = {threads: statistics.median(measured) for threads, measured in rates.items()}
    for threads, rate in medians.items():
        print(f"threads={threads}, {chosen[threads]} taken: {rate:.0f} clips/s")
    best = max(rate for threads, rate in medians.items() if threads != "null")
    print(f"the run's own choice gives {medians['null'] / best:.2f} of the best")


def spin() -> None:
    while True:
        pass


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
