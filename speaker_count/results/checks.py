"""What a run from anywhere may hold: plain data. Nothing of it is ever interpolated, instantiated or called."""

import math
import re
import reprlib
import types
import typing
from collections.abc import Mapping, Sequence
from typing import Any

from speaker_count.labels import SPLITS

MOST = 1e15  # no number of a run is as large; longer integers have no float
WIDEST = 2**16  # no net has a layer as wide or as many layers: to build it would take all memory
LONGEST = 2**24  # samples of a clip: a quarter of an hour at 16 kHz
NAME = re.compile(r"(?!(null|true|false)$)\w[\w.-]*(/\w[\w.-]*)*", re.ASCII | re.IGNORECASE)  # of a config
KEY = re.compile(r"\w[\w-]*")
GROUPS = ("data", "mix", "net", "training")
KINDS = ("waveform", "spectrogram")
TEXTS = ("paper_name", "identity", "test_sha256", "validation_sha256", "commit", "device")


def fits(value: Any, hint: Any) -> bool:
    """Whether a JSON value has the type of a field; numbers are at least 0 and not absurdly large."""
    kinds = typing.get_args(hint) if isinstance(hint, types.UnionType) else (hint,)
    return any(_is(value, typing.get_origin(kind) or kind) for kind in kinds)


def _is(value: Any, kind: Any) -> bool:
    if kind in (int, float):
        return is_number(value) and bool(0 <= value < MOST) and (kind is float or isinstance(value, int))
    return isinstance(value, kind) and not (kind is Sequence and isinstance(value, str))


def is_number(value: Any) -> bool:
    """Whether a JSON value is a number, NaN included."""
    return isinstance(value, int | float) and not isinstance(value, bool)


def is_nan(value: Any) -> bool:
    """Whether a JSON value is not a number; a whole number may be too large to become a float."""
    return isinstance(value, float) and math.isnan(value)


def short(value: Any) -> str:
    """A value as a message shows it."""
    shortened = reprlib.Repr()
    shortened.maxstring = shortened.maxother = shortened.maxlong = 40
    return shortened.repr(value)


def without_classes(tree: Any) -> Any:
    """A tree of a config without Hydra's keys (`_target_`): they say what is built, not what a run is."""
    if isinstance(tree, Mapping):
        return {key: without_classes(value) for key, value in tree.items() if not key.startswith("_")}
    return [without_classes(value) for value in tree] if isinstance(tree, list | tuple) else tree


def written(tree: Any) -> Any:
    """As `without_classes`, for a file: of a class without arguments nothing is left, not even an empty mapping."""
    if isinstance(tree, Mapping):
        values = {key: written(value) for key, value in tree.items() if not key.startswith("_")}
        return {key: value for key, value in values.items() if value != {} or tree[key] == {}}
    return without_classes(tree)


def check_plain(tree: Mapping[str, Any], where: str) -> None:
    """Check that a config holds only words as keys, and scalars and lists as values, without interpolation.

    Args:
        where: its key.

    Raises:
        ValueError: it has something else.
    """
    for key, value in tree.items():
        if not KEY.fullmatch(key):
            raise ValueError(f"{where} has the key {short(key)}")
        _check_value(value, f"{where}.{key}")


def _check_value(value: Any, where: str) -> None:
    if isinstance(value, Mapping) and value:
        check_plain(value, where)
    elif isinstance(value, list):
        for each in value:
            _check_value(each, where)
    elif not _is_scalar(value):
        raise ValueError(f"{where}={short(value)} is not plain: a run holds scalars and lists")


def _is_scalar(value: Any) -> bool:
    if is_number(value):
        return isinstance(value, float) or -MOST < value < MOST
    return value is None or isinstance(value, bool) or (isinstance(value, str) and "${" not in value and value != "???")


def check_run(values: Mapping[str, Any]) -> None:
    """Check the parts of a `result.json` that every reader relies on; fields have the right types already.

    Raises:
        ValueError: a part is missing or absurd.
    """
    for group in GROUPS:
        check_plain(values[group], group)
    for key, name in (("data.name", values["data"].get("name")), ("mix.name", values["mix"].get("name"))):
        _check_text(key, name)
        if "/" in name or name.startswith("."):  # files are named after it
            raise ValueError(f"{key}={short(name)}: expected a name, no path")
    if not re.fullmatch("[0-9a-f]{8}", values["identity"]):
        raise ValueError(f"identity={short(values['identity'])}: expected eight hexadecimal digits")
    if not is_name(values["model"]):
        raise ValueError(f"model={short(values['model'])} is not a valid name")
    if values["kind"] not in KINDS:
        raise ValueError(f"kind={short(values['kind'])}: expected {' or '.join(KINDS)}")
    for key in (key for key in TEXTS if values[key] is not None):
        _check_text(key, values[key])
    for change in values["changes"]:
        _check_text("changes", change)
    counts = values["net"].get("counts")
    whole = isinstance(counts, list) and all(fits(count, int) and 0 <= count < 1000 for count in counts)
    if not whole or len(counts) < 2 or counts != sorted({*counts}):
        raise ValueError(f"net.counts={short(counts)}: expected increasing numbers of speakers")
    for key, value, kind in (
        ("data.sample_rate", values["data"].get("sample_rate"), int),
        ("data.corpus_sha256", values["data"].get("corpus_sha256"), str),
        ("data.source", values["data"].get("source", "unknown"), str),
        ("data.samples_sha256", values["data"].get("samples_sha256", "unknown"), str),
        ("mix.clip_seconds", values["mix"].get("clip_seconds"), float),
        *((f"mix.clips.{split}", _at(values["mix"], "clips", split), int) for split in SPLITS),
        *((f"data.speakers.{split}", _at(values["data"], "speakers", split), int) for split in SPLITS),
    ):
        if not fits(value, kind):
            raise ValueError(f"{key}={short(value)}: expected {'a name' if kind is str else 'a number'}")
    _check_widths(values["net"], "net")
    if values["mix"]["clip_seconds"] * values["data"]["sample_rate"] > LONGEST:
        raise ValueError(f"mix.clip_seconds={short(values['mix']['clip_seconds'])}: no clip is as long")
    for when in ("last", "best"):
        _check_scores(values[when], when, len(counts))


def _check_widths(value: Any, where: str) -> None:
    inner = value.items() if isinstance(value, Mapping) else enumerate(value) if isinstance(value, list) else ()
    for key, each in inner:
        _check_widths(each, f"{where}.{key}")
    if isinstance(value, int) and abs(value) > WIDEST:
        raise ValueError(f"{where}={short(value)}: no net is as large")


def _at(tree: Mapping[str, Any], key: str, split: str) -> Any:
    inner = tree.get(key)
    return inner.get(split) if isinstance(inner, Mapping) else None


def is_name(value: Any) -> bool:
    """Whether a value names a config, perhaps in a sub-folder of its group (`mine/tiny`)."""
    return isinstance(value, str) and NAME.fullmatch(value) is not None


def _check_text(key: str, text: Any) -> None:
    if not (isinstance(text, str) and text.isprintable()):
        raise ValueError(f"{key}={short(text)}: expected a line of text")


def _check_scores(scores: Mapping[str, Any], when: str, classes: int) -> None:
    for split in ("running", *SPLITS):
        metrics = scores.get(split, {})
        if not isinstance(metrics, Mapping):
            raise ValueError(f"{when}.{split}={short(metrics)} holds no metrics")
        for name, value in metrics.items():
            if name != "confusion" and not (fits(value, float) or is_nan(value)):
                raise ValueError(f"{when}.{split}.{name}={short(value)}: expected a number, at least 0")
    test = scores.get("test", {})
    if not {"loss", "accuracy", "confusion"} <= test.keys():
        raise ValueError(f"{when}.test lacks the loss, the accuracy or the confusion matrix")
    rows = test["confusion"]
    if not isinstance(rows, list) or len(rows) != classes or not all(_is_row(row, classes) for row in rows):
        raise ValueError(f"{when}.test.confusion={short(rows)}: expected {classes} rows of {classes} numbers of clips")


def _is_row(row: Any, classes: int) -> bool:
    return isinstance(row, list) and len(row) == classes and all(fits(number, int) for number in row)
