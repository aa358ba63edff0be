"""Finished runs and weights in Python."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from speaker_count import labels
from speaker_count.compose import rebuild
from speaker_count.errors import UserError
from speaker_count.models.counting import CountingNet
from speaker_count.results.record import RunResult
from speaker_count.training.saved_state import load_weights
from speaker_count.weights.reading import trained


@dataclass(frozen=True)
class LoadedRun:
    """A trained net, ready to count.

    Attributes:
        net: in evaluation mode, with its front end: `(batch, samples)` int16, or float in [-1, 1), -> logits of counts
            `(batch, classes)`, also where it distinguishes sexes. Those of weights are calibrated.
        counts: the number of speakers of each class.
        labels: the names of the classes, such as `2 speakers`.
        sample_rate: of the clips, in Hz.
        clip_samples: the length of a clip.
        result: the contents of `result.json`; of weights a `Weights`, with the temperature.
    """

    net: nn.Module
    counts: list[int]
    labels: list[str]
    sample_rate: int
    clip_samples: int
    result: RunResult

    def predict(self, clips: np.ndarray | Tensor) -> np.ndarray:
        """The probability of each class.

        Args:
            clips: `(batch, samples)`, or `(samples,)` for one: int16, or float in [-1, 1); at `sample_rate`, of
                `clip_samples` samples.

        Returns:
            `(batch, classes)` float32, or `(classes,)` for one.

        Raises:
            ValueError: clips of another length or kind.
        """
        waveform = torch.as_tensor(clips)
        if waveform.ndim not in (1, 2) or waveform.shape[-1] != self.clip_samples:
            raise ValueError(
                f"expected clips of {self.clip_samples} samples ({self.clip_samples / self.sample_rate:g} s at "
                f"{self.sample_rate} Hz), as (batch, samples) or (samples,); these have the shape "
                f"{tuple(waveform.shape)}"
            )
        if waveform.dtype != torch.int16 and not waveform.is_floating_point():
            raise ValueError(f"expected int16, or floats in [-1, 1); these clips are {waveform.dtype}")
        waveform = waveform if waveform.dtype == torch.int16 else waveform.float()
        with torch.inference_mode():
            probabilities = self.net(waveform.reshape(-1, self.clip_samples)).softmax(dim=1)
        result: np.ndarray = probabilities.numpy()
        return result if waveform.ndim == 2 else result[0]


def load_run(run_dir: str | Path, config_dir: str | Path | None = None, checkpoint: str = "last") -> LoadedRun:
    """Load a finished run, or weights.

    Args:
        run_dir: the run's folder; or the name of packaged weights, such as `recommended` (`speaker_count.weights.names`
            lists them); or the path of a file of weights. `./recommended` is a folder.
        config_dir: a folder of your own configs and nets, as for `speaker-count train --config-dir`.
        checkpoint: of a run, "last", the net after the last epoch, or "best", the net of the best validation accuracy.

    Raises:
        UserError: there is no finished run and there are no weights, they cannot be read, or the net is not installed.
    """
    if checkpoint not in ("last", "best"):
        raise UserError(f"checkpoint={checkpoint!r}: expected 'last' or 'best'")
    found = trained(run_dir, checkpoint)
    if found.run_dir is None and checkpoint != "last":
        raise UserError(f"checkpoint={checkpoint!r}: {run_dir} has only the weights after the last epoch")
    result = found.result
    module = rebuild(result, config_dir)
    load_weights(module, found.checkpoint)
    composed = module.compositions is not None
    return LoadedRun(
        net=CountingNet(module.front_end, module.net, result.counts, composed, module.temperature).eval(),
        counts=result.counts,
        labels=labels.class_names(result.counts),
        sample_rate=result.data["sample_rate"],
        clip_samples=result.clip_samples,
        result=result,
    )
