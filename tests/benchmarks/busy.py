"""M5 beside a process that keeps a core busy: the number of threads that a run chooses, against each number of them.

`python -m tests.benchmarks.busy [CLIPS]` trains for one epoch of CLIPS clips (default 12,000) on data=demo, and prints
the clips per second of the training steps.
"""

import json
import multiprocessing
import sys
import tempfile
from pathlib import Path

import joblib

from tests.benchmarks.commands import run


def main(clips: int = 12_000) -> None:
    sizes = [f"mix.clips.train={clips}", "mix.clips.validation=300", "mix.clips.test=300", "trainer.max_epochs=1"]
    train = ["train", "data=demo", "model=m5", *sizes, "evaluate_train=false", "logger=csv"]
    run("prepare", "data=demo")
    busy = multiprocessing.get_context("spawn").Process(target=spin, daemon=True)
    busy.start()
    rates = {}
    with tempfile.TemporaryDirectory() as folder:
        for threads in ("null", *range(1, joblib.cpu_count() + 1)):
            path = Path(folder, str(threads))
            run(*train, f"threads={threads}", f"hydra.run.dir={path}")
            chosen = json.loads((path / "threads.json").read_text())["threads"]
            rates[threads] = json.loads((path / "result.json").read_text())["clips_per_second"]
            print(f"threads={threads}, {chosen} taken: {rates[threads]:.0f} clips/s", flush=True)
    busy.kill()
    best = max(rate for threads, rate in rates.items() if threads != "null")
    print(f"the run's own choice gives {rates['null'] / best:.2f} of the best")


def spin() -> None:
    while True:
        pass


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
