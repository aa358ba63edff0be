"""Ten trials of a search side by side, one per core, against the same trials one after the other.

`python -m tests.benchmarks.search [CLIPS]` searches M5's learning rate on data=demo with one thread a trial, for one
epoch of CLIPS training clips (default 12,000). The times are those of the whole command; the pool is built before.
"""

import sys
import tempfile

import joblib

from tests.benchmarks.commands import run

TRIALS = 10


def main(clips: int = 12_000) -> None:
    cores = joblib.cpu_count()
    search = ["train", "--multirun", "hydra/sweeper=optuna", f"hydra.sweeper.n_trials={TRIALS}"]
    search += [f"hydra.sweeper.n_jobs={cores}", "model.learning_rate=tag(log,interval(1e-5,1e-2))"]
    search += ["data=demo", "model=m5", f"mix.clips.train={clips}", "mix.clips.validation=300", "mix.clips.test=300"]
    search += ["trainer.max_epochs=1", "evaluate_train=false", "logger=csv", "threads=1"]
    run("prepare", "data=demo")
    seconds = {}
    with tempfile.TemporaryDirectory() as folder:
        for jobs in (cores, 1):
            where = (f"hydra.launcher.jobs={jobs}", f"hydra.sweep.dir={folder}/{jobs}")
            seconds[jobs], _ = run(*search, *where)
            print(f"{TRIALS} trials, {jobs} at a time: {seconds[jobs]:.1f} s", flush=True)
    print(f"{cores} at a time are {seconds[1] / seconds[cores]:.2f} times as fast as one")


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
