"""A run of more epochs than a finished one beside it continues that one, from a copy of its last state."""

import logging
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from speaker_count import files
from speaker_count.results.record import is_finished
from speaker_count.training.run_folder import RunFolder, last_checkpoint, read_identity

log = logging.getLogger(__name__)

EPOCHS = "trainer.max_epochs"
SCHEDULE = "model.scheduler."
# callbacks that do after an epoch what they would do after it in a longer run
ENDLESS = {
    f"pytorch_lightning.callbacks.{name}" for name in ("EarlyStopping", "EMAWeightAveraging", "LearningRateMonitor")
}


def begin(folder: RunFolder) -> Path | None:
    """Copy the last state of a finished run that is this one, but for fewer epochs.

    Returns:
        The checkpoint to continue from; None where there is no such run, or where it depends on its number of epochs.
    """
    shorter = max(_shorter(folder), key=lambda found: int(found[1][EPOCHS]), default=None)
    if shorter is None:
        return None
    path, identity = shorter
    reason = _depends_on_end(folder.identity, identity)
    if reason:
        log.info(
            "starting at epoch 1: %s cannot be continued, because %s depends on the number of epochs", path, reason
        )
        return None
    for name in ("metrics.csv", "checkpoints/best.ckpt", "checkpoints/last.ckpt"):  # the last one makes it resumable
        (folder.path / name).parent.mkdir(exist_ok=True)
        with files.replacing(folder.path / name) as partial:
            shutil.copyfile(path / name, partial)
    log.info("continuing %s, which ended after epoch %d", path, identity[EPOCHS])
    return last_checkpoint(folder.path)


def _shorter(folder: RunFolder) -> Iterator[tuple[Path, Mapping[str, Any]]]:
    """The finished runs beside a run that are the same but for fewer epochs and the schedule."""
    for path in folder.path.parent.iterdir():
        if path == folder.path or path.is_symlink() or not is_finished(path) or last_checkpoint(path) is None:
            continue
        identity = read_identity(path)
        epochs = identity.get(EPOCHS)
        same = _without_end(identity) == _without_end(folder.identity)
        if same and isinstance(epochs, int) and epochs < folder.identity[EPOCHS]:
            yield path, identity


def _without_end(identity: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in identity.items() if key != EPOCHS and not key.startswith(SCHEDULE)}


def _depends_on_end(identity: Mapping[str, Any], shorter: Mapping[str, Any]) -> str:
    """What of a run would have been otherwise in a longer one; empty if nothing."""
    schedules = [{key: value for key, value in of.items() if key.startswith(SCHEDULE)} for of in (identity, shorter)]
    if schedules[0] != schedules[1] or identity.get(f"{SCHEDULE}interval") == "step":
        return "its learning rate"
    named = {value for key, value in identity.items() if key.startswith("callbacks.") and key.endswith("._target_")}
    return "one of its callbacks" if named - ENDLESS or "trainer.callbacks" in identity else ""
