"""Checkpoints that do harm or are of no use, by what is wrong with them: each is made of a valid one, in its place."""

import pickle
import zipfile
from pathlib import Path

import torch

GIGABYTES = 3


class Payload:
    """Touches a file when it is unpickled."""

    def __init__(self, canary: Path):
        self.canary = str(canary)

    def __reduce__(self):
        return open, (self.canary, "w")


class Bytes:
    """Makes bytes out of nothing when it is unpickled."""

    def __reduce__(self):
        return bytearray, (GIGABYTES << 30,)


def load(path):
    return torch.load(path, weights_only=True)


def changed(path, values):
    torch.save({**load(path), **values}, path)


def repacked(path, compression, name="", content=b""):
    """Pack the parts of a checkpoint again, one of them with other contents."""
    with zipfile.ZipFile(path) as archive:
        parts = {entry: archive.read(entry) for entry in archive.namelist()}
    with zipfile.ZipFile(path, "w", compression) as archive:
        for entry, part in parts.items():
            archive.writestr(entry, content if name and entry.endswith(name) else part)


def weights_of(path, change):
    changed(path, {"state_dict": {name: change(weight) for name, weight in load(path)["state_dict"].items()}})


def giant(path):
    """A checkpoint whose only tensor says that it has 2 billion numbers; the file holds a thousand."""
    torch.save({"speaker_count": "0.2.0", "state_dict": {"net": torch.zeros(1000)}}, path)
    with zipfile.ZipFile(path) as archive:
        content = archive.read(f"{path.stem}/data.pkl")
    repacked(path, zipfile.ZIP_STORED, "data.pkl", content.replace(b"M\xe8\x03", b"J\x00\x94\x35\x77"))


def bomb(path):
    """A valid checkpoint, with zeros that unpack to a thousand times their size."""
    changed(path, {"more": torch.zeros(1 << 20)})
    repacked(path, zipfile.ZIP_DEFLATED)


def overlapping(path):
    """A valid checkpoint in whose list of parts one part stands a thousand times."""
    with zipfile.ZipFile(path, "a") as archive:
        largest = max(archive.infolist(), key=lambda entry: entry.file_size)
        archive.filelist += [largest] * 1000
        archive.writestr("last", b"")


def linked(path, target):
    path.unlink()
    path.symlink_to(target)
    return target


PICKLES = {
    "as torch saves it": lambda path, payload: torch.save(payload, path),
    "as torch saved it once": lambda path, payload: torch.save(payload, path, _use_new_zipfile_serialization=False),
    "as a bare pickle": lambda path, payload: path.write_bytes(pickle.dumps(payload)),
    "among the weights": lambda path, payload: changed(path, {"state_dict": {"net": payload}}),
    "among the states": lambda path, payload: changed(path, {"callbacks": {"Checkpoints": payload}}),
    "as a version": lambda path, payload: changed(path, {"pytorch-lightning_version": payload}),
    "behind a link": lambda path, payload: torch.save(payload, linked(path, path.with_suffix(".other"))),
}
BOMBS = {"compressed zeros": bomb, "one part a thousand times": overlapping}
ABSURD = {
    "cut off": lambda path: path.write_bytes(path.read_bytes()[:-100]),
    "empty": lambda path: path.write_bytes(b""),
    "a text": lambda path: path.write_text("weights"),
    "of another program": lambda path: torch.save({"model": {"layer": torch.zeros(1)}}, path),
    "a list": lambda path: torch.save([1, 2], path),
    "without weights": lambda path: changed(path, {"state_dict": None}),
    "legacy, and harmless": lambda path: torch.save(load(path), path, _use_new_zipfile_serialization=False),
    "a giant tensor": giant,
    "a number repeated for ever": lambda path: changed(path, {"more": torch.zeros(1).expand(10**12)}),
    "bytes out of nothing": lambda path: changed(path, {"more": Bytes()}),
    "a link to a device": lambda path: linked(path, "/dev/zero"),
    "a link to a text": lambda path: linked(path, "/etc/hostname"),
    "a link to nothing": lambda path: linked(path, "nowhere"),
    "other shapes": lambda path: weights_of(path, lambda weight: weight.new_zeros(5)),
    "other names": lambda path: changed(path, {"state_dict": {"a\x1b[2J" * 99: torch.zeros(1)}}),
    "NaN": lambda path: weights_of(path, lambda weight: weight * float("nan")),
    "infinity": lambda path: weights_of(path, lambda weight: weight / 0 if weight.ndim > 1 else weight),
    "numbers": lambda path: weights_of(path, lambda weight: 1.0),
}
