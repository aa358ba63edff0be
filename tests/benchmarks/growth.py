"""How cost grows with the corpus, and with the clips of an epoch.

    python -m tests.benchmarks.growth [--hours 1 100 960 10000] [--clips 100000 ... 100000000] [--json FILE] [data=...]

Up to one hour the speech is real: data=librispeech_sample where LibriSpeech is on this machine, else data=demo,
repeated under other speakers' names. Larger corpora are simulated: an index like LibriSpeech's, and sparse files of
samples and activity. The pool's own code opens, plans and renders them. Each line is measured in a fresh process,
everything on one core.
"""

import argparse
import json
import multiprocessing
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
from hydra.utils import instantiate

from speaker_count.compose import compose
from speaker_count.data import corpus, draws, pool, pool_builder
from speaker_count.data.clips import MixedClips
from speaker_count.data.loader import PLANNED_AHEAD, ClipLoader
from speaker_count.data.mixing import Mix
from speaker_count.labels import SPLITS
from speaker_count.results.tables import markdown
from speaker_count.training.quiet import quiet
from tests.benchmarks.large_corpus import RATE, check_samples, make_pool, make_tree, repeat_tree, simulated
from tests.benchmarks.peers import on_cores, with_speech_at_hand

DECODED_HOURS = 1  # larger corpora are simulated
LISTED_HOURS = 1000  # larger corpora have no tree of empty files to list
BATCH, RENDERED = 32, 1600  # clips
EPOCH = 100_000  # clips, where the corpus grows
Row = dict[str, Any]


def memory() -> Row:
    """Of this process, in MB: anonymous memory, mapped files, page tables, and the peak of the first two so far."""
    fields = {"own": "RssAnon", "mapped": "RssFile", "page tables": "VmPTE", "most": "VmHWM"}
    status = Path("/proc/self/status")
    if not status.exists():  # not Linux
        return dict.fromkeys(fields, float("nan"))
    values = dict(line.split(":", 1) for line in status.read_text().splitlines())
    return {name: int(values[field].split()[0]) * 1024 / 1e6 for name, field in fields.items()}


def alone(task: Callable[..., Row], *arguments: Any) -> Row:
    """The result of a task in a fresh process."""
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as process:
        return process.submit(task, *arguments).result()


def list_tree(root: Path) -> Row:
    begin = time.perf_counter()
    pool_builder.existing(corpus.index(root), root, RATE)
    return {"listing": time.perf_counter() - begin, "listing's most": memory()["most"]}


def decode(root: Path, cache: Path) -> Row:
    listed = corpus.index(root)
    begin = time.perf_counter()
    return {"folder": pool_builder.build(listed, cache, RATE), "building": time.perf_counter() - begin}


def index_and_truncate(hours: float, folder: Path) -> Row:
    listed, frames = simulated(hours)
    begin = time.perf_counter()
    make_pool(listed, frames, folder)
    return {"writing the index": time.perf_counter() - begin}


def stream(folder: Path, check: bool) -> Row:
    """Open a pool, take the first batch of a shuffled epoch, then `RENDERED` clips."""
    before = memory()
    begin = time.perf_counter()
    opened = pool.Pool(folder)
    opening = time.perf_counter() - begin
    of_split = {split: MixedClips(opened, split, mix_of(EPOCH)) for split in SPLITS}
    batches = iter(ClipLoader(of_split["train"], BATCH, order_seed=0))
    next(batches)
    row = {
        "utterances": len(opened.frames),
        "speakers": len(opened.speakers),
        "samples": len(opened.samples),
        "bytes": sum(file.stat().st_size for file in folder.iterdir()),
        "opening": opening,
        "first batch": time.perf_counter() - begin,
        "before": before,
        "at the first batch": memory(),
    }
    for _ in range(RENDERED // BATCH):
        next(batches)
    return {**row, **memory(), "check": check_samples(of_split["train"]) if check else None}


def plan_epoch(folder: Path, clips: int) -> Row:
    """The cost of planning an epoch: its order, and its clips in several places."""
    train = MixedClips(pool.Pool(folder), "train", mix_of(clips))
    before = memory()
    begin = time.perf_counter()
    order = next(draws.permuted("order/0/0", clips))
    ordering = time.perf_counter() - begin
    row = {"clips": clips, "to the first": ordering, "order": ordering / len(order) * 1e6}
    for name, first in (("first", 0), ("middle", clips // 2), ("last", clips - PLANNED_AHEAD)):
        row[name] = microseconds(train, np.arange(first, first + PLANNED_AHEAD))
    row["shuffled"] = microseconds(train, order[:PLANNED_AHEAD])
    plan = train.plan_of(order[:PLANNED_AHEAD], activity=False)
    columns = [column for column in vars(plan).values() if isinstance(column, np.ndarray)]
    row["whole plan"] = sum(column.nbytes for column in columns) / len(plan) * clips / 1e6
    return {**row, "most": memory()["most"] - before["most"]}


def microseconds(clips: MixedClips, numbers: np.ndarray, rounds: int = 5) -> float:
    """The time to plan one of these clips, the median of some rounds."""
    taken = []
    for _ in range(rounds):
        begin = time.perf_counter()
        clips.plan_of(numbers, activity=False)
        taken.append(time.perf_counter() - begin)
    return statistics.median(taken) / len(numbers) * 1e6


def mix_of(clips: int) -> Mix:
    return Mix("paper", {"train": clips, "validation": 10_000, "test": 10_000})


def of_corpus(hours: float, folder: Path, real: Row) -> Row:
    """A line of the first table.

    Args:
        real: the measurements of the decoded hour.
    """
    if hours <= DECODED_HOURS:
        return {"hours": hours, "is real": True, **real, **alone(stream, real["folder"], False)}
    row = {"hours": hours, "is real": False, "extrapolated": ["building"]}
    row |= {"building": real["building"] * hours / DECODED_HOURS}
    row |= alone(index_and_truncate, hours, folder / "pool")
    if hours <= LISTED_HOURS:
        make_tree(simulated(hours)[0], folder / "tree")
        row |= alone(list_tree, folder / "tree")
    return row | {"folder": folder / "pool"} | alone(stream, folder / "pool", True)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("overrides", nargs="*", help="data=... of the real speech")
    parser.add_argument("--hours", type=float, nargs="+", default=[1, 100, 960, 10_000], help="corpora, increasing")
    parser.add_argument("--clips", type=int, nargs="+", default=[10**5, 10**6, 10**7, 10**8], help="epochs")
    parser.add_argument("--json", type=Path, help="write all measurements to this file")
    arguments = parser.parse_args()
    quiet()
    config = compose(with_speech_at_hand(arguments.overrides))
    data = instantiate(config.data, mix=config.mix, _convert_="all")
    data.prepare_data()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        repeat_tree(data.root, DECODED_HOURS, folder / "real")
        real = alone(list_tree, folder / "real") | alone(decode, folder / "real", folder)
        corpora = []
        for hours in arguments.hours:
            own = folder / f"{hours:g}"
            own.mkdir()
            corpora.append(of_corpus(hours, own, real))
        most = [row for row in corpora if "listing" in row][-1:] or [{"hours": DECODED_HOURS, **real}]
        for row in corpora:
            if "listing" not in row:
                row["listing"] = most[0]["listing"] * row["hours"] / most[0]["hours"]
                row["extrapolated"].append("listing")
        folders = {row["hours"]: row["folder"] for row in corpora}
        planned = max((hours for hours in folders if hours <= LISTED_HOURS), default=min(folders))
        epochs = [alone(plan_epoch, folders[planned], clips) for clips in arguments.clips]
    if arguments.json:
        arguments.json.write_text(json.dumps({"corpora": corpora, "epochs": epochs}, indent=1, default=str))
    print(tables(data.name, corpora, planned, epochs))


def tables(speech: str, corpora: Sequence[Row], planned: float, epochs: Sequence[Row]) -> str:
    """Both tables in Markdown, and how to read them."""
    sizes = [
        {
            "speech, h": f"{row['hours']:,g}" + ("" if row["is real"] else " (simulated)"),
            "utterances": f"{row['utterances']:,}",
            "speakers": f"{row['speakers']:,}",
            "samples": f"{row['samples']:.2g}",
            "pool": f"{row['bytes'] / 1e9:,.1f} GB",
            "listing": duration(row, "listing"),
            "building": duration(row, "building"),
            "opening": f"{row['opening']:.2f} s",
            "first batch": f"{row['first batch']:.2f} s",
            "memory": f"{row['own']:,.0f} MB",
            "mapped": f"{row['mapped']:,.0f} MB",
            "page tables": f"{row['page tables']:,.0f} MB",
        }
        for row in corpora
    ]
    plans = [
        {
            "clips an epoch": f"{row['clips']:,}",
            "order": f"{row['order']:.2f} us",
            "first clips": f"{row['first']:.2f} us",
            "middle clips": f"{row['middle']:.2f} us",
            "last clips": f"{row['last']:.2f} us",
            "shuffled": f"{row['shuffled']:.2f} us",
            "first piece of the order": f"{row['to the first']:.2f} s",
            "size of a whole plan": f"{row['whole plan']:,.0f} MB",
            "peak memory added": f"{row['most']:,.0f} MB",
        }
        for row in epochs
    ]
    checks = [row["check"] for row in corpora if row.get("check")]
    voices, far, right = (sum(check[key] for check in checks) for key in ("voices", "far", "right"))
    before = statistics.median(row["before"]["own"] for row in corpora)
    return f"""\
Up to {DECODED_HOURS} h: {speech}, repeated to one hour. (simulated): sparse files of samples. ~: in proportion to a
measured value. Every start lists the files; simulated files are empty. First batch: {BATCH} clips of a shuffled epoch
of {EPOCH:,}, after the imports, with opening the pool. Memory: after {RENDERED:,} clips, {before:.0f} MB of it before
the pool was opened. Mapped: the pool's pages, which the system can reclaim.

{markdown(sizes, {name: name for name in sizes[0]})}

{voices} voices were written into the simulated pools, {far} of them beyond sample 2^31; the clips of {right} of
{len(checks)} pools agree with the files.

Planning on {planned:g} h, time per clip. Peak memory added: by planning, to the process.

{markdown(plans, {name: name for name in plans[0]})}"""


def duration(row: Row, name: str) -> str:
    """A time, marked if it is extrapolated."""
    seconds = row[name]
    units = (("h", 3600), ("min", 60), ("s", 1))
    unit, size = next((unit, size) for unit, size in units if seconds >= 2 * size or size == 1)
    return f"{'~ ' * (name in row.get('extrapolated', ()))}{seconds / size:.1f} {unit}"


if __name__ == "__main__":
    with on_cores(1):
        main()
