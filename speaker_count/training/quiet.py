"""Silence what says nothing about a run: Lightning's list of devices, its hints, and warnings without consequence."""

import logging
import warnings


def quiet() -> None:
    """Silence them in this process, in which Lightning has been imported: that sets its level."""
    for name in ("pytorch_lightning", "lightning_fabric"):
        logging.getLogger(name).setLevel(logging.WARNING)
    for message in (
        ".*LeafSpec.*",
        ".*smaller than the logging interval.*",
        "Checkpoint directory .* not empty.*",
        ".*self.log.*sync_dist=True.*",  # what is logged is of all ranks already
        ".*`srun` command is available.*",  # a run starts its ranks itself
        ".*single device to ensure each sample.*",  # the loader yields each clip once
    ):
        warnings.filterwarnings("ignore", message)
