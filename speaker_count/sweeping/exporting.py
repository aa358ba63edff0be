"""A trained net as one ONNX file: clips in, calibrated probabilities of counts out, the front end inside."""

import hashlib
import json
import logging
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from speaker_count import files
from speaker_count.errors import UserError, first_line, needed_by
from speaker_count.inference import session
from speaker_count.labels import FULL_SCALE
from speaker_count.loading import LoadedRun, load_run
from speaker_count.models.counting import CountingNet
from speaker_count.models.folded import folded
from speaker_count.sweeping.evaluation import open_like
from speaker_count.training import weights_file
from speaker_count.weights.reading import Trained, Weights, trained

OPSET = 18
SUFFIX = ".onnx"
CLIPS = 1000  # on which the file is compared with the net, at most
LARGEST_DIFFERENCE = 1e-4  # of a probability


class Exported(NamedTuple):
    """A written file, and how it compares with the net: the number of clips, the largest difference of a probability,
    and the number of clips on which every output has the same most probable count.
    """

    path: Path
    clips: int
    difference: float
    same: int


class Probabilities(nn.Module):
    """What is exported of a net: clips `(batch, samples)` -> probabilities `(batch, classes)`, those of the clip and,
    where the net knows it, those of its middle.
    """

    def __init__(self, net: CountingNet) -> None:
        super().__init__()
        self.net = net

    def forward(self, waveform: Tensor) -> tuple[Tensor, ...]:
        logits = self.net.with_middle(waveform) if self.net.knows_middle else (self.net(waveform),)
        return tuple(each.softmax(dim=1) for each in logits)


def export(what: str, out: str | None, overrides: Sequence[str], config_dir: str | None) -> Exported:
    """Write a trained net as an ONNX file, once it gives what the net gives on real clips.

    Args:
        what: a finished run's folder, a packaged name, or a file of weights.
        out: the path of the file; None: NAME.onnx in the run's folder, or in the working directory.
        overrides: those of train for data and mix, which give the test clips of the comparison; and `force`.
        config_dir: a folder of the user's own configs and nets.

    Raises:
        UserError: there is no such net, its speech is not there, the file exists, the net cannot be exported, or the
            file gives other probabilities.
    """
    found = trained(what)
    path = _path(found, out)
    run = load_run(what, config_dir)
    _, data, _, force = open_like(run.result, overrides, config_dir)
    if (path.exists() or path.is_symlink()) and not force:
        raise UserError(f"{path} exists: name another file, or give force=true, which replaces it")
    split = data.clips["test"]
    with data.verified():
        clips = split.render(split.plan(0, min(CLIPS, len(split)))).astype(np.float32) / FULL_SCALE
    content = onnx_of(run)
    written = session.Session(content)
    with torch.inference_mode():
        expected = [each.numpy() for each in Probabilities(_net(run))(torch.from_numpy(clips))]
    given = [written.probabilities(clips, name) for name in outputs_of(run)]
    difference = max(float(np.abs(one - other).max()) for one, other in zip(given, expected, strict=True))
    same = [one.argmax(axis=1) == other.argmax(axis=1) for one, other in zip(given, expected, strict=True)]
    if not difference <= LARGEST_DIFFERENCE:
        raise UserError(
            f"the ONNX file of {found.name} gives other probabilities than the net, by up to {difference:.2g} on "
            f"{len(clips):,} clips: nothing is written"
        )
    path.parent.mkdir(parents=True, exist_ok=True)
    with files.replacing(path) as partial:
        partial.write_bytes(content)
    return Exported(path, len(clips), difference, int(np.all(same, axis=0).sum()))


def _net(run: LoadedRun) -> CountingNet:
    assert isinstance(run.net, CountingNet)
    return run.net


def outputs_of(run: LoadedRun) -> list[str]:
    """The names of the outputs of a net's ONNX file."""
    return [session.OUTPUT, session.MIDDLE] if _net(run).knows_middle else [session.OUTPUT]


def onnx_of(run: LoadedRun) -> bytes:
    """The content of an ONNX file; see `inference.session` for what it takes and gives.

    Raises:
        UserError: the net has something that ONNX cannot express, or the packages for it are not installed.
    """
    with needed_by("an export"):
        import onnx
        import onnxscript  # noqa: F401  (torch exports by it)
    example = torch.zeros(2, run.clip_samples)  # a batch of one clip would become a constant
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)  # it names operators of packages that are not installed
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of torch's own future
            program = torch.onnx.export(
                Probabilities(folded(_net(run))).eval(),
                (example,),
                dynamo=True,
                dynamic_shapes=({0: torch.export.Dim("batch")},),
                input_names=[session.INPUT],
                output_names=outputs_of(run),
                opset_version=OPSET,
                verbose=False,
            )
    except Exception as error:  # whatever a net of the user's own does
        raise UserError(f"the net {run.result.model} cannot be written as ONNX: {first_line(error)}") from error
    assert program is not None
    model = program.model_proto
    for node in model.graph.node:  # where in the source a node comes from: paths of this machine
        node.ClearField("metadata_props")
        node.ClearField("doc_string")
    del model.graph.value_info[:]
    del model.metadata_props[:]
    onnx.helper.set_model_props(model, metadata(run))
    return bytes(model.SerializeToString())


def metadata(run: LoadedRun) -> dict[str, str]:
    """What an ONNX file says of itself."""
    result = run.result
    if isinstance(result, Weights):
        sha256, temperature = result.sha256, result.temperature
    else:
        sha256, temperature = hashlib.sha256(weights_file.save(_net(run).net.state_dict())).hexdigest(), 1.0
    return {
        "counts": json.dumps(run.counts),
        "labels": json.dumps(run.labels),
        "sample_rate": str(run.sample_rate),
        "clip_samples": str(run.clip_samples),
        "model": result.model,
        "identity": str(result.identity),
        "sha256": sha256,
        "temperature": f"{temperature:g}",
    }


def _path(found: Trained, out: str | None) -> Path:
    """Where the file is written.

    Raises:
        UserError: the name has another ending.
    """
    name = f"{found.name}{SUFFIX}"
    if out is None:
        return Path(name) if found.run_dir is None else found.run_dir / name
    path = Path(out).expanduser()
    if path.is_dir():
        return path / name
    if path.suffix != SUFFIX:
        raise UserError(f"{path}: the name of an ONNX file ends with {SUFFIX}")
    return path
