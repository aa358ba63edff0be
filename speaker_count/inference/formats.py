"""A prediction as text for other programs."""

import csv
import io
import json
import re
from collections.abc import Iterator
from pathlib import Path

from speaker_count import files
from speaker_count.errors import printable
from speaker_count.inference.prediction import Prediction


def lines(prediction: Prediction, form: str, first: bool) -> Iterator[str]:
    """A prediction for another program, line by line.

    Args:
        form: "json", "csv", "rttm" or "audacity".
        first: whether it is the first of several, where a table begins with the names of its columns.
    """
    if form == "json":
        return iter([json.dumps(prediction.to_dict())])
    if form == "csv":
        return _csv(prediction, first)
    return _rttm(prediction) if form == "rttm" else _audacity(prediction)


def _csv(prediction: Prediction, first: bool) -> Iterator[str]:
    """A row for each window."""
    if first:
        yield _row(["file", "time", "count", *(f"p_{count}" for count in prediction.classes)])
    name = files.not_computed(prediction.file or "")
    rows = zip(prediction.times.tolist(), prediction.counts.tolist(), prediction.probabilities.tolist(), strict=True)
    for time, count, probabilities in rows:
        yield _row([name, f"{time:.3f}", count, *(f"{value:.4f}" for value in probabilities)])


def _row(values: list[object]) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator="").writerow(values)
    return text.getvalue()


def _rttm(prediction: Prediction) -> Iterator[str]:
    """NIST's Rich Transcription Time Marked: voice N speaks where N or more do. It says how many, not who."""
    name = recording_id(prediction.file)
    for voice in range(1, prediction.most + 1):
        begin = None
        stretches = prediction.stretches()
        for place, stretch in enumerate(stretches):
            if stretch.speakers >= voice and begin is None:
                begin = stretch.begin
            is_last = place + 1 == len(stretches) or stretches[place + 1].speakers < voice
            if begin is not None and is_last:
                yield f"SPEAKER {name} 1 {begin:.3f} {stretch.end - begin:.3f} <NA> <NA> voice{voice} <NA> <NA>"
                begin = None


def _audacity(prediction: Prediction) -> Iterator[str]:
    """A track of labels for Audacity, File > Import > Labels."""
    names = dict(zip(prediction.classes, prediction.labels, strict=True))
    for stretch in prediction.stretches():
        yield f"{stretch.begin:.3f}\t{stretch.end:.3f}\t{printable(names[stretch.speakers])}"


def recording_id(file: str | None) -> str:
    """A recording's name as RTTM has it, which ends at a space."""
    return re.sub(r"\s", "_", printable(Path(file).stem)) if file is not None else "recording"
