"""The speed of streaming, training, decoding, counting and the commands, each beside a peer that does the same work.

    python -m tests.benchmarks [--json FILE] [overrides]

or `make bench`: ten minutes at most, on data=librispeech_sample where LibriSpeech is on this machine, else on
data=demo. Streaming uses one core; nets are trained with one thread, and clips are mixed on another.
"""

import argparse
import time
from pathlib import Path

import joblib
import torch
from hydra.utils import instantiate

from speaker_count.compose import compose
from speaker_count.data.datamodule import ClipDataModule
from speaker_count.files import write_json
from speaker_count.results.record import provenance
from speaker_count.results.tables import markdown
from speaker_count.training.memory import keep_freed_memory
from speaker_count.training.quiet import quiet
from tests.benchmarks import building, commands, nets, recordings, streaming
from tests.benchmarks.peers import Row, on_cores, with_speech_at_hand

COLUMNS = {
    "what": "what",
    "ours": "ours",
    "unit": "unit",
    "peer": "peer",
    "theirs": "the peer's",
    "ratio": "ratio",
    "peak": "peak memory",
}


def shown(line: Row) -> dict[str, str | None]:
    """A row of the printed table."""

    def figure(value: float | None) -> str | None:
        return None if value is None else f"{value:,.0f}" if value >= 100 else f"{value:.3g}"

    ratio = None if line["ratio"] is None else f"{line['ratio']:.2f}"
    peak = f"{line['peak_bytes'] / 1e6:,.0f} MB" if line["peak_bytes"] else None
    return {**line, "ours": figure(line["ours"]), "theirs": figure(line["theirs"]), "ratio": ratio, "peak": peak}


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--json", type=Path, help="also write the rows to this file")
    parser.add_argument("overrides", nargs="*", help="as for train: data=..., mix=..., ...")
    arguments = parser.parse_intermixed_args()
    quiet()
    keep_freed_memory()  # as runs do
    begin, cores = time.perf_counter(), joblib.cpu_count()
    overrides = with_speech_at_hand(arguments.overrides)
    config = compose([f"mix.clips.train={streaming.STREAMED}", "evaluate_train=false", *overrides])
    data: ClipDataModule = instantiate(config.data, mix=config.mix, _convert_="all")
    data.setup()

    lines = commands.starts(overrides)
    lines += recordings.rows(data)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    lines += building.rows(data)
    with on_cores(1):
        lines += streaming.rows(data)
    lines += nets.rows(data)
    torch.set_num_threads(threads)
    if cores > 1:
        m5 = next(line["ours"] for line in lines if line["what"] == "training m5: whole stack")
        lines += commands.sweeps(overrides, m5)

    about = {
        "corpus": data.name,
        "pool_bytes": 2 * int(data.pool.frames.sum()),
        "batch_size": data.batch_size,
        "cores": cores,
        "minutes": round((time.perf_counter() - begin) / 60, 1),
        **provenance(),
    }
    if arguments.json:
        write_json(arguments.json, {**about, "rows": lines})
    print(
        f"\n{data.name}: a pool of {about['pool_bytes'] / 1e6:.0f} MB; batches of {data.batch_size}; {cores} cores; "
        f"torch {torch.__version__}; {about['minutes']} minutes\n\n{markdown(list(map(shown, lines)), COLUMNS)}"
    )


if __name__ == "__main__":
    main()
