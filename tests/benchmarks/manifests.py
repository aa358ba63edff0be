"""How long it takes to index a manifest of a million rows.

`python -m tests.benchmarks.manifests [ROWS]` writes a CSV of that many segments of a thousand files, and indexes it.
"""

import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.csv

from speaker_count.data import manifest

FILES, SPEAKERS = 1000, 20_000


def main(rows: int = 10**6) -> None:
    numbers = np.arange(rows)
    begins = numbers // FILES * 3.0
    table = pa.table(
        {"path": names(numbers % FILES), "speaker": names(numbers % SPEAKERS), "start": begins, "end": begins + 2.5}
    )
    with tempfile.TemporaryDirectory() as folder:
        for number in range(FILES):
            (Path(folder) / f"x{number}").touch()
        pyarrow.csv.write_csv(table, Path(folder) / "m.csv")
        begin = time.perf_counter()
        listed = manifest.index(Path(folder) / "m.csv")
        print(f"{len(listed.utterances):,} rows are indexed in {time.perf_counter() - begin:.1f} s")


def names(numbers: np.ndarray) -> pa.Array:
    return pa.array(np.char.add("x", numbers.astype(str)))


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
