"""A sweep of the seven nets on a Slurm of two slots against the same on one.

`python -m tests.benchmarks.cluster [CLIPS]` starts a Slurm of its own on this machine, as the tests do. The runs train
on synthetic hums, for one epoch of CLIPS training clips (default 12,000). The times are those of the whole command.
"""

import subprocess
import sys
import tempfile
import time
from pathlib import Path

from tests.conftest import make_tree
from tests.sweeping import slurm_server

NETS = "m3,m5,m11,m18,spec_1,spec_2,spec_4"


def main(clips: int = 12_000) -> None:
    why = slurm_server.missing()
    if why:
        sys.exit(why)
    with tempfile.TemporaryDirectory() as name, slurm_server.running(Path(name, "slurm")) as running:
        folder = Path(name)
        tree = make_tree(folder / "tree")
        sweep = [
            "train",
            "--multirun",
            "data=folder",
            f"data.root={tree}",
            f"data.cache={folder / 'cache'}",
        ]
        sweep += [f"model={NETS}", f"mix.clips.train={clips}", "mix.clips.validation=300"]
        sweep += ["mix.clips.test=300", "trainer.max_epochs=1", "evaluate_train=false", "hydra/launcher=slurm"]
        sweep += ["hydra.launcher.cpus_per_task=1", "hydra.launcher.mem_gb=2", "hydra.launcher.timeout_min=60"]
        command = [str(Path(sys.executable).with_name("speaker-count")), *sweep]
        seconds = {}
        for slots in (2, 1):
            begin = time.perf_counter()
            options = [f"hydra.launcher.array_parallelism={slots}", f"hydra.sweep.dir={folder / str(slots)}"]
            with open(folder / f"{slots}.log", "w") as log:
                subprocess.run([*command, *options], env=running.environment, stdout=log, stderr=log, check=True)
            seconds[slots] = time.perf_counter() - begin
            print(f"seven runs on {slots} slots: {seconds[slots]:.1f} s", flush=True)
        print(f"two slots are {seconds[1] / seconds[2]:.2f} times as fast as one")


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
