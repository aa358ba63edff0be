"""A net that starts from the weights of another one."""

import hashlib
import logging
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from speaker_count.errors import UserError
from speaker_count.training import saved_state, weights_file
from speaker_count.weights import TENSORS
from speaker_count.weights.reading import Trained, trained

log = logging.getLogger(__name__)
PREFIX = "net."  # of a net's weights in a checkpoint, which holds the whole module


def find(what: Any) -> Trained:
    """What `model.weights` names.

    Raises:
        UserError: it names nothing.
    """
    if not isinstance(what, str | Path):
        raise UserError(f"model.weights={what}: expected a packaged name, a run's folder or a file of weights")
    found = trained(what)
    if not found.checkpoint.is_file():  # a pipe would be waited for
        raise UserError(f"model.weights={what}: there is no file {found.checkpoint}")
    return found


def sha256(what: Any) -> str:
    """The SHA-256 of the file that `model.weights` names: it stands for the weights in what a run is."""
    with open(find(what).checkpoint, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def load(net: nn.Module, what: Any, counts: Sequence[int], larger: Callable[[], nn.Module]) -> None:
    """Give a net the weights of another one. Layers that depend on the counts stay as they are where those are others.

    Args:
        what: packaged weights, a run's folder or a file of weights.
        counts: the numbers of speakers that the net distinguishes.
        larger: makes the same net for one more class.

    Raises:
        UserError: the weights are of another form, or unusable.
    """
    found = find(what)
    if found.checkpoint.suffix == TENSORS:
        given, _ = weights_file.read(found.checkpoint, net)
    else:
        state = saved_state.read(found.checkpoint)["state_dict"]
        given = {name.removeprefix(PREFIX): weight for name, weight in state.items() if name.startswith(PREFIX)}
    own = net.state_dict()
    with torch.random.fork_rng(devices=[]):  # the run draws what it would draw without
        of_counts = {name for name, weight in larger().state_dict().items() if _shape(weight) != _shape(own.get(name))}
    taken, new = {}, []
    for name, weight in own.items():
        fits = _shape(given.get(name)) == _shape(weight)
        if fits and (name not in of_counts or found.result.counts == list(counts)):
            taken[name] = given[name]
        elif name in of_counts:
            new.append(name)
        else:
            raise _other(what, name, given.get(name), weight)
    for name in given.keys() - own.keys():
        if not _is_of_frames(given[name], found):
            raise _other(what, name, given[name], None)
    saved_state.check_numbers(net, taken, f"model.weights={what}")
    net.load_state_dict(taken, strict=False)
    parts = {"new": new, "left out": given.keys() - own.keys()}
    said = [f"{words}: {', '.join(layers)}" for words, names in parts.items() if (layers := _layers(names))]
    log.info("starting from the weights %s", "; ".join([str(what), *said]))


def _shape(weight: Tensor | None) -> tuple[int, ...] | None:
    return None if weight is None else tuple(weight.shape)


def _is_of_frames(weight: Tensor, found: Trained) -> bool:
    """Whether weights are those of the layer for time steps, which a net without a loss on them does not have."""
    loss = found.result.net.get("loss")
    has_layer = isinstance(loss, dict) and bool(loss.get("frame_weight"))
    return has_layer and _shape(weight)[:1] == (max(found.result.counts) + 1,)  # type: ignore[index]


def _layers(names: Any) -> list[str]:
    return sorted({name.rpartition(".")[0] or name for name in names})


def _other(what: Any, name: str, there: Tensor | None, here: Tensor | None) -> UserError:
    form = {"there": _shape(there), "in this net": _shape(here)}
    shapes = ", ".join(f"{'missing' if shape is None else shape} {where}" for where, shape in form.items())
    return UserError(
        f"model.weights={what}: they are those of another net ({name[: saved_state.MOST_CHARACTERS]}: {shapes}): "
        "choose the model and the values of model.net that they were trained with"
    )
