"""A net's weights in a safetensors file, which may come from anywhere: it gives tensors, and calls nothing."""

import hashlib
from pathlib import Path

import safetensors.torch
import torch
from torch import Tensor, nn

from speaker_count import weights
from speaker_count.errors import UserError
from speaker_count.weights.reading import AGAIN, Weights

SPARE = 2**26  # bytes that can be read without harm, whatever the net


def read(path: Path, net: nn.Module) -> tuple[dict[str, Tensor], Weights]:
    """The weights in a file, by their names in the net, and what is said of them.

    Args:
        path: of the safetensors file.
        net: that they are for, or one with other outputs.

    Raises:
        UserError: a file is missing, damaged, absurd or not the one that was described.
    """
    described = Weights.read_file(path.with_suffix(weights.DESCRIPTION))
    try:
        if path.exists() and not path.is_file():
            raise ValueError("it is no regular file")  # a pipe would be waited for
        if path.stat().st_size > SPARE + 2 * sum(tensor.nbytes for tensor in net.state_dict().values()):
            raise ValueError("it is larger than the weights of this net")
        content = path.read_bytes()
        if hashlib.sha256(content).hexdigest() != described.sha256:
            raise ValueError(f"it is not the file that {path.with_suffix(weights.DESCRIPTION).name} describes")
        tensors: dict[str, Tensor] = safetensors.torch.load(content)
    except Exception as error:  # whatever is in a file that holds no weights
        own = error.strerror if isinstance(error, OSError) else str(error) if type(error) is ValueError else None
        raise UserError(f"cannot read the weights {path} ({own or 'it is damaged'}): {AGAIN}") from error
    return tensors, described


def save(tensors: dict[str, Tensor]) -> bytes:
    """Weights as the contents of a safetensors file, in float32."""
    plain = {
        name: (tensor.float() if tensor.is_floating_point() else tensor).clone(memory_format=torch.contiguous_format)
        for name, tensor in tensors.items()
    }
    return safetensors.torch.save(plain, {"format": "pt"})
