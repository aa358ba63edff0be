"""How fast everything is, each thing beside a peer that does the same, in the same run.

    python -m tests.benchmarks [--json FILE] [overrides]

or `make bench`: ten minutes at most, on data=librispeech_sample where it is at hand, else on data=demo. Streaming keeps
to one core; nets are trained with one thread, and clips are mixed on another.
"""

import argparse
import time
from pathlib import Path

import torch
from hydra.utils import instantiate

from speaker_count.callbacks import quiet
from speaker_count.compose import compose
from speaker_count.data.datamodule import ClipDataModule
from speaker_count.results.record import provenance, write_json
from speaker_count.results.tables import markdown
from speaker_count.room import cores, keep_freed_memory
from tests.benchmarks import building, commands, nets, streaming
from tests.benchmarks.peers import Row, on_cores, with_speech_at_hand

COLUMNS = {
    "what": "what",
    "ours": "ours",
    "unit": "unit",
    "peer": "peer",
    "its": "the peer's",
    "ratio": "ratio",
    "peak": "peak memory",
}


def shown(line: Row) -> dict[str, str | None]:
    """A row as it is printed."""

    def figure(value: float | None) -> str | None:
        return None if value is None else f"{value:,.0f}" if value >= 100 else f"{value:.3g}"

    ratio = None if line["ratio"] is None else f"{line['ratio']:.2f}"
    peak = f"{line['peak_bytes'] / 1e6:,.0f} MB" if line["peak_bytes"] else None
    return {**line, "ours": figure(line["ours"]), "its": figure(line["its"]), "ratio": ratio, "peak": peak}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--json", type=Path, help="write the rows to this file as well")
    parser.add_argument("overrides", nargs="*", help="as of train: data=..., mix=..., ...")
    arguments = parser.parse_intermixed_args()
    quiet()
    keep_freed_memory()  # as runs do
    begin = time.perf_counter()
    overrides = with_speech_at_hand(arguments.overrides)
    config = compose([f"mix.clips.train={streaming.STREAMED}", "evaluate_train=false", *overrides])
    data: ClipDataModule = instantiate(config.data, mix=config.mix, _convert_="all")
    data.setup()

    lines = commands.starts(overrides)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    lines += building.rows(data)
    with on_cores(1):
        lines += streaming.rows(data)
    lines += nets.rows(data)
    torch.set_num_threads(threads)
    if cores() > 1:
        m5 = next(line["ours"] for line in lines if line["what"] == "training m5: whole stack")
        lines += commands.sweeps(overrides, m5)

    about = {
        "corpus": data.name,
        "pool_bytes": 2 * int(data.pool.frames.sum()),
        "batch_size": data.batch_size,
        "cores": cores(),
        "minutes": round((time.perf_counter() - begin) / 60, 1),
        **provenance(),
    }
    if arguments.json:
        write_json(arguments.json, {**about, "rows": lines})
    print(
        f"\n{data.name}: a pool of {about['pool_bytes'] / 1e6:.0f} MB; batches of {data.batch_size}; {cores()} cores; "
        f"torch {torch.__version__}; {about['minutes']} minutes\n\n{markdown(list(map(shown, lines)), COLUMNS)}"
    )


if __name__ == "__main__":
    main()
