"""What a checkpoint holds. The file may come from anywhere: it gives plain values and tensors, and calls nothing."""

import pickle
import pickletools
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from speaker_count.errors import UserError
from speaker_count.training import weights_file
from speaker_count.weights import TENSORS

MOST_CHARACTERS = 200  # in a message, of what a checkpoint says


def read(path: Path) -> dict[str, Any]:
    """Read a checkpoint into the main memory, where it takes no more than the file does on the disk.

    Raises:
        UserError: the file is no checkpoint, or one of version 0.1.0.
    """
    try:
        _check_archive(path)
        checkpoint: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
        _check_size(checkpoint, path.stat().st_size)
        _check_weights(checkpoint)
    except Exception as error:  # whatever is in a file that is no checkpoint
        raise UserError(
            f"cannot read the checkpoint {path} ({_reason(error)}): put another copy of it there; without the file, an "
            "unfinished run starts again, and a finished one does with force=true"
        ) from error
    if "speaker_count" not in checkpoint:
        raise UserError(
            f"the checkpoint {path} was written by version 0.1.0 of speaker-count: use it with that version, or train "
            "again with force=true, which moves the old folder aside"
        )
    return checkpoint


def load_weights(module: Any, path: Path) -> None:
    """Load the weights of a checkpoint, or those in a safetensors file with the temperature that is said of them.

    Args:
        module: a `SpeakerCounter`.

    Raises:
        UserError: the file is no checkpoint, that of another version or another net, or its weights are unusable.
    """
    if path.suffix == TENSORS:
        weights, described = weights_file.read(path, module.net)
        _load(module.net, weights, f"the file {path}")
        module.temperature = described.temperature
    else:
        _load(module, read(path)["state_dict"], f"the checkpoint {path}")


def _load(module: nn.Module, weights: Mapping[str, Tensor], what: str) -> None:
    try:
        module.load_state_dict(weights)
    except (RuntimeError, TypeError) as error:
        reason = str(error).splitlines()[-1].strip()[:MOST_CHARACTERS]
        raise UserError(f"{what} is that of another net: {reason}") from error
    check_numbers(module, weights, what)


def check_numbers(module: nn.Module, weights: Mapping[str, Tensor], what: str) -> None:
    """Check that a net can compute with weights.

    Args:
        what: they are, for the message.

    Raises:
        UserError: some are infinite or not a number.
    """
    parameters = dict(module.named_parameters())
    for name, weight in weights.items():  # a net may keep infinity in a mask
        unusable = ~weight.isfinite() if name in parameters else weight.isnan()
        if unusable.any():
            raise UserError(
                f"{what} is unusable: {name[:MOST_CHARACTERS]} is infinite or not a number; put another copy of it "
                "there, or train again with force=true and a lower model.learning_rate"
            )


def _reason(error: Exception) -> str:
    if isinstance(error, pickle.UnpicklingError):
        return "it holds something other than plain values and tensors"
    if isinstance(error, zipfile.BadZipFile):
        return "it is cut off or no checkpoint"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return str(error) if type(error) is ValueError else type(error).__name__


def _check_archive(path: Path) -> None:
    """Check that a file is an archive as torch writes it, which can be loaded without harm.

    Raises:
        ValueError: it would take more memory than the file is large.
        OSError, BadZipFile: it is none.
    """
    if path.exists() and not path.is_file():
        raise ValueError("it is no regular file")  # a pipe would be waited for
    with zipfile.ZipFile(path) as archive:
        entries = archive.infolist()
        if sum(entry.file_size for entry in entries) > path.stat().st_size:
            raise ValueError("it unpacks to more than the file holds")
        for entry in entries:
            if entry.filename.lower().endswith(".pkl"):
                _check_pickle(archive.read(entry))


def _check_pickle(content: bytes) -> None:
    """Check that a pickle makes no bytes out of nothing: torch lets it call `bytearray(10**12)`.

    Raises:
        ValueError: it does.
    """
    for opcode, argument, _ in pickletools.genops(content):
        if opcode.name == "GLOBAL" and str(argument).endswith(" bytearray"):
            raise ValueError("it holds something other than plain values and tensors")


def _check_size(checkpoint: Any, most: int) -> None:
    """Check that the tensors together take at most that many bytes, also when they are copied.

    Raises:
        ValueError: they do not; a tensor may repeat one number for ever.
    """
    stored: dict[int, int] = {}
    for tensor in _tensors(checkpoint):
        storage = tensor.untyped_storage()
        stored[storage.data_ptr()] = storage.nbytes()
        if tensor.nbytes > storage.nbytes() or sum(stored.values()) > most:
            raise ValueError("its tensors are larger than the file")


def _tensors(checkpoint: Any) -> Iterator[Tensor]:
    """The tensors in a tree, each once: parts of a tree may be one and the same, many times over."""
    left, seen = [checkpoint], set()
    while left:
        node = left.pop()
        if id(node) in seen:
            continue
        seen.add(id(node))
        if isinstance(node, Tensor):
            yield node
        elif isinstance(node, Mapping):
            left += [*node.keys(), *node.values()]
        elif isinstance(node, list | tuple | set):
            left += node


def _check_weights(checkpoint: Any) -> None:
    weights = checkpoint.get("state_dict") if isinstance(checkpoint, dict) else None
    if not isinstance(weights, dict) or not all(
        isinstance(name, str) and isinstance(weight, Tensor) for name, weight in weights.items()
    ):
        raise ValueError("it holds no weights")
