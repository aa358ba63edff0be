"""What weights say of themselves, which is data from anywhere, as a run folder is."""

import json
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, Self

from speaker_count import weights
from speaker_count.errors import UserError
from speaker_count.results import checks
from speaker_count.results.record import SCHEMA, RunResult

MOST_BYTES = 2**20  # of a description: a net's config and its scores take a hundredth of it
TEMPERATURES = 0.01, 100.0  # a net whose logits need more is none
AGAIN = "ask for another copy, or write it again with `speaker-count weights RUN_DIR`"


@dataclass(frozen=True, kw_only=True)
class Weights(RunResult):
    """What `NAME.json` says of the weights in `NAME.safetensors`: the result of their run, without what is of one
    machine.

    Attributes:
        temperature: by which the logits of counts are divided, so that probabilities are calibrated.
        sha256: of `NAME.safetensors`.
        calibration: the number of validation clips that the temperature was fitted on, the SHA-256 of these clips, and
            their loss and expected calibration error `before` and `after`.
    """

    temperature: float
    sha256: str
    calibration: Mapping[str, Any]

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """As `RunResult.from_dict`."""
        result = super().from_dict(values)
        if not TEMPERATURES[0] <= result.temperature <= TEMPERATURES[1]:
            raise ValueError(f"temperature={checks.short(result.temperature)}: expected a number near 1")
        if not re.fullmatch("[0-9a-f]{64}", result.sha256):
            raise ValueError(f"sha256={checks.short(result.sha256)}: expected 64 hexadecimal digits")
        checks.check_plain(result.calibration, "calibration")
        return result

    @classmethod
    def read_file(cls, path: Path) -> Self:
        """The description in a JSON file.

        Raises:
            UserError: there is none, or it is damaged or absurd.
        """
        try:
            if path.exists() and not path.is_file():
                raise ValueError("it is no regular file")  # a pipe would be waited for
            if path.stat().st_size > MOST_BYTES:
                raise ValueError(f"it is larger than {MOST_BYTES:,} bytes")
            values = json.loads(path.read_text(encoding="utf-8"))
            if not isinstance(values, dict) or values.get("schema") != SCHEMA:
                raise ValueError(f"it does not have schema {SCHEMA}")
            return cls.from_dict(values)
        except OSError as error:
            raise UserError(
                f"cannot read {path} ({error.strerror}): weights are two files, NAME{weights.TENSORS} and "
                f"NAME{weights.DESCRIPTION}; the packaged ones are {', '.join(weights.names())}"
            ) from error
        except (ValueError, TypeError, RecursionError) as error:
            raise UserError(f"{path} does not describe weights: {error}; {AGAIN}") from error


class Trained(NamedTuple):
    """A trained net, wherever it lies.

    Attributes:
        name: of the run's folder or of the weights; that of weights of one's own ends with their SHA-256.
        result: of the run.
        checkpoint: the file of its weights, `.ckpt` or `.safetensors`.
        run_dir: the run's folder; None: these are weights.
    """

    name: str
    result: RunResult
    checkpoint: Path
    run_dir: Path | None


def trained(what: str | Path, checkpoint: str = "last") -> Trained:
    """Find a trained net, and read what is said of it, not its weights.

    Args:
        what: a finished run's folder, a packaged name, or the path of one of the two files of weights; see
            `weights.find`.
        checkpoint: of a run, "last" or "best".

    Raises:
        UserError: there is nothing of that kind, or it is damaged or absurd.
    """
    path = weights.find(what)
    if path is not None:
        described = Weights.read_file(path)
        packaged = path.parent == weights.FOLDER
        name = path.stem if packaged else f"{path.stem}-{described.sha256[:8]}"
        return Trained(name, described, path.with_suffix(weights.TENSORS), None)
    folder = Path(what)
    if isinstance(what, str) and os.sep not in what and not folder.exists():
        raise UserError(
            f"{what} is neither a run's folder nor the name of packaged weights ({', '.join(weights.names())})"
        )
    return Trained(
        folder.absolute().name, RunResult.read(folder), folder / "checkpoints" / f"{checkpoint}.ckpt", folder
    )
