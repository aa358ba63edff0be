"""`speaker-count report DIR`: the table of a run or a sweep, beside the paper's figures and what hears no speech."""

import argparse
import json
import logging
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.dummy import DummyClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from speaker_count.data.corpus import SPLITS
from speaker_count.data.datamodule import ClipDataModule, Clips
from speaker_count.errors import UserError
from speaker_count.results import record, tables

log = logging.getLogger(__name__)
MOVED_ASIDE = re.compile(r"\.\d{4}-\d\d-\d\d_\d\d-\d\d-\d\d$")  # by force=true
SYNTHETIC = "Synthetic speech, made by eSpeak NG: these scores say nothing about real speech."


def finished(folder: Path) -> list[dict[str, Any]]:
    """The results of a run's folder, or of all runs in a sweep's.

    Raises:
        UserError: there is none.
    """
    if not folder.is_dir():
        raise UserError(f"no folder {folder}: name a run's or a sweep's, such as multirun/paper-librispeech-paper")
    folders = [folder, *sorted(path.parent for path in folder.glob("*/result.json"))]
    results = []
    for job in folders:
        if (job / "result.json").is_file() and not (job != folder and MOVED_ASIDE.search(job.name)):
            try:
                results.append(record.read_result(job))
            except UserError as error:
                log.warning("left out: %s", error)
    if not results:
        raise UserError(f"no finished run in {folder}: give the command of the run or sweep again, it goes on")
    return results


def groups(results: Sequence[dict[str, Any]]) -> Iterator[list[dict[str, Any]]]:
    """Results that can be compared: of the same corpus and mix."""
    by_clips: dict[str, list[dict[str, Any]]] = {}
    for result in results:
        mix = {key: value for key, value in result["mix"].items() if key != "name"}
        key = json.dumps([result["data"]["corpus_sha256"], mix], sort_keys=True)
        by_clips.setdefault(key, []).append(result)
    yield from by_clips.values()


def baselines(datamodule: ClipDataModule) -> list[tables.Row]:
    """What is right without hearing speech: the majority class, and a logistic regression on the clip's level.

    Both are fitted on the training clips and scored on the clips of each split.
    """
    level, count = zip(*(_levels(datamodule.clips[split]) for split in SPLITS), strict=True)
    models = {
        "majority class": DummyClassifier(strategy="prior"),
        "level (RMS)": make_pipeline(StandardScaler(), LogisticRegression()),
    }
    rows = []
    for name, model in models.items():
        model.fit(level[0], count[0])
        row: tables.Row = {"net": name}
        for split, features, target in zip(SPLITS, level, count, strict=True):
            row[f"{split} accuracy"] = float(model.score(features, target))
            row[f"{split} loss"] = float(log_loss(target, model.predict_proba(features)))
        rows.append(row)
    return rows


def _levels(clips: Clips) -> tuple[np.ndarray, np.ndarray]:
    """The RMS of each clip, `(clips, 1)`, in steps of 16 bits, and its count of speakers, `(clips,)`."""
    levels, counts = [], []
    for plan, waveforms in clips.batches():
        power = np.square(waveforms, dtype=np.float32).mean(axis=1, dtype=np.float64)
        levels.append(np.sqrt(power))
        counts.append(plan.count)
    return np.concatenate(levels)[:, None], np.concatenate(counts)


def title(result: Mapping[str, Any]) -> str:
    """What the runs of a table have in common."""
    data, mix = result["data"], result["mix"]
    clips = " / ".join(f"{mix['clips'][split]:,}" for split in SPLITS)
    speakers = " / ".join(str(data["speakers"][split]) for split in SPLITS)
    return (
        f"data={data['name']}, mix={mix['name']}: {clips} clips of {speakers} speakers "
        f"(training / validation / test); test clips {result['test_sha256'][:12]}"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split(":", 1)[1].strip())
    parser.add_argument("dir", type=Path, help="the folder of a run or a sweep")
    parser.add_argument("--root", help="where the corpus lies now, if it is not where the runs found it")
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.WARNING, format="%(message)s")

    sections, all_rows = [], []
    for results in groups(finished(arguments.dir)):
        notes = [SYNTHETIC] if results[0]["data"].get("synthesize") else []
        rows = tables.sweep(results)
        if any(result["kind"] == "spectrogram" and result["paper_name"] for result in results):
            notes.append(
                "The paper's figures of its Architectures 1 to 3 are its best over the epochs, ours the last's."
            )
        try:
            data = {**results[0]["data"], **({"root": arguments.root} if arguments.root else {})}
            datamodule = ClipDataModule.of_result({**results[0], "data": data})
            datamodule.setup()
            if datamodule.pool.sha256 != results[0]["data"]["corpus_sha256"]:
                raise UserError(f"{datamodule.root} holds another corpus than the runs'")
            rows += [{**dict.fromkeys(rows[0]), **row} for row in baselines(datamodule)]
        except UserError as error:
            notes.append(f"No baselines, because the corpus is not at hand: {error}")
        all_rows += [{"data": results[0]["data"]["name"], "mix": results[0]["mix"]["name"], **row} for row in rows]
        sections.append("\n\n".join([f"## {title(results[0])}", *notes, *tables.of_metrics(rows)]))

    text = "\n\n".join(["# Results at the last epoch", *sections]) + "\n"
    folder = arguments.dir / "report" / "tables"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "sweep.md").write_text(text)
    (folder / "sweep.csv").write_text(tables.csv_text(all_rows))
    print(text)
    print(f"written: {folder / 'sweep.md'}, {folder / 'sweep.csv'}")
