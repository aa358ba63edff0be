"""How many people are speaking? Experiments on counting concurrent speakers.

The public names are imported when they are first used, so that `import speaker_count` takes no time, and needs only
what counts in recordings. An `ImportError` says which extra a name needs that is not installed.
"""

import importlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from speaker_count.data.datamodule import ClipDataModule
    from speaker_count.data.mixing import Mix
    from speaker_count.inference.prediction import Prediction
    from speaker_count.inference.predictor import Predictor, predict
    from speaker_count.loading import LoadedRun, load_run
    from speaker_count.models.conv_tdnn import ConvTDNN
    from speaker_count.models.crnn import CRNN
    from speaker_count.models.spectrogram import SpectrogramCNN
    from speaker_count.models.waveform import WaveformCNN
    from speaker_count.results.loading import load_results
    from speaker_count.training.counters import SpectrogramCounter, WaveformCounter

__version__ = "0.3.0"
__all__ = [
    "CRNN",
    "ClipDataModule",
    "ConvTDNN",
    "LoadedRun",
    "Mix",
    "Prediction",
    "Predictor",
    "SpectrogramCNN",
    "SpectrogramCounter",
    "WaveformCNN",
    "WaveformCounter",
    "load_results",
    "load_run",
    "predict",
]

_MODULES = {
    "CRNN": "models.crnn",
    "ClipDataModule": "data.datamodule",
    "ConvTDNN": "models.conv_tdnn",
    "LoadedRun": "loading",
    "Mix": "data.mixing",
    "Prediction": "inference.prediction",
    "Predictor": "inference.predictor",
    "SpectrogramCNN": "models.spectrogram",
    "SpectrogramCounter": "training.counters",
    "WaveformCNN": "models.waveform",
    "WaveformCounter": "training.counters",
    "load_results": "results.loading",
    "load_run": "loading",
    "predict": "inference.predictor",
}
_here = Path(__file__).parent
CONFIG_DIR = _here / "conf" if (_here / "conf").is_dir() else _here.parent / "conf"  # in a wheel; in a checkout


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from speaker_count.errors import needed_by

    with needed_by(f"{__name__}.{name}"):
        return getattr(importlib.import_module(f"{__name__}.{_MODULES[name]}"), name)


def __dir__() -> list[str]:
    """Names that can be had here, as `help()` asks for each: most need the extra `train`."""
    from importlib.util import find_spec

    from speaker_count.errors import EXTRAS

    trains = all(map(find_spec, EXTRAS["train"]))
    return sorted({*globals(), *(name for name in __all__ if trains or _MODULES[name].startswith("inference."))})
