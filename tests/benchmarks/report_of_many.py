"""`python -m tests.benchmarks.report_of_many RUN_DIR`: the duration of a report on seven nets and three seeds.

The 21 runs are copies of one finished run under other names, with some predictions changed: their scores mean nothing.
"""

import argparse
import json
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from omegaconf import OmegaConf

from speaker_count.compose import compose
from speaker_count.results.tables import paper
from speaker_count.training.recipe import TRAINING


def copy(run: Path, folder: Path, model: str, seed: int) -> None:
    """The run under another name, with a twentieth of its predictions changed."""
    folder.mkdir(parents=True)
    result = json.loads((run / "result.json").read_text())
    net = OmegaConf.to_container(compose([f"model={model}"]).model, resolve=True)
    net = {key: value for key, value in net.items() if key not in TRAINING}
    kind = "spectrogram" if model.startswith("spec") else "waveform"
    result |= {"model": model, "seed": seed, "kind": kind, "paper_name": paper()[model]["name"], "net": net}
    (folder / "result.json").write_text(json.dumps(result))
    shutil.copy(run / "metrics.csv", folder)
    table = pq.read_table(run / "predictions.parquet")
    random = np.random.default_rng([seed, *model.encode()])
    predicted = table["predicted"].to_numpy().copy()
    changed = random.random(len(predicted)) < 0.05
    predicted[changed] = random.integers(1, 4, changed.sum())
    place = table.column_names.index("predicted")
    pq.write_table(table.set_column(place, "predicted", pa.array(predicted)), folder / "predictions.parquet")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("run_dir", type=Path, help="the folder of a finished run, whose corpus is on this machine")
    run = parser.parse_args().run_dir
    with tempfile.TemporaryDirectory() as folder:
        for model in paper():
            for seed in range(3):
                copy(run, Path(folder, f"{model}-seed{seed}"), model, seed)
        begin = time.perf_counter()
        subprocess.run(
            [Path(sys.executable).with_name("speaker-count"), "report", folder], check=True, stdout=subprocess.DEVNULL
        )
        seconds = time.perf_counter() - begin
        page = Path(folder, "report", "index.html").stat().st_size
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    print(
        f"{seconds:.0f} s ({used.ru_utime + used.ru_stime:.0f} s of CPU), {used.ru_maxrss / 1e6:.2f} GB at most, "
        f"page of {page / 1e6:.1f} MB"
    )


if __name__ == "__main__":
    main()
