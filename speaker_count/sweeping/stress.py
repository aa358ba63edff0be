"""Trained nets under stress: on the same clips of test speakers, one property changed at a time."""

import hashlib
import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from speaker_count import __version__, files
from speaker_count.compose import compose_like, rebuild, recipe
from speaker_count.data.augmentation import Augment
from speaker_count.data.clips import MixedClips
from speaker_count.data.datamodule import ClipDataModule
from speaker_count.data.loader import ClipLoader
from speaker_count.data.mixing import Mix
from speaker_count.data.pool import Pool, is_speech_of
from speaker_count.errors import UserError, printable
from speaker_count.results import stress
from speaker_count.results.record import RunResult
from speaker_count.results.stress import Condition, Outcome
from speaker_count.sweeping import evaluation
from speaker_count.training.module import SpeakerCounter
from speaker_count.training.saved_state import load_weights
from speaker_count.weights.reading import Trained, trained

CLIPS = 3000  # of a condition
BATCH_SIZE = 64
BASE = "level_blind"  # the mix that each condition changes
MOST_LETTERS = 80  # of a folder's name


@dataclass
class Stressed:
    """A run and its net.

    Attributes:
        name: of its own among the runs.
        module: in evaluation mode; its forward gives logits of counts.
        sha256: of the weights.
    """

    name: str
    result: RunResult
    module: SpeakerCounter
    sha256: str


def load(net: Trained, config_dir: str | None) -> SpeakerCounter:
    """A trained net, as it was after the last epoch.

    Raises:
        UserError: it cannot be made.
    """
    module = rebuild(net.result, config_dir)
    load_weights(module, net.checkpoint)
    return module.eval()


def load_all(nets: Sequence[str], config_dir: str | None) -> list[Stressed]:
    """The nets, each with a name of its own: that of weights, or of a run's folder, and of the folders around it where
    it is not enough.

    Args:
        nets: folders of finished runs, or weights, as of `trained`.

    Raises:
        UserError: one of them cannot be loaded, or is named twice.
    """
    found = [trained(net) for net in nets]
    paths = [(net.run_dir or net.checkpoint.with_name(net.name)).absolute() for net in found]
    if len({*paths}) < len(paths):
        raise UserError("a run is named twice: name each run once")
    loaded = []
    for net, path in zip(found, paths, strict=True):
        parts = next(
            parts
            for parts in range(1, len(path.parts) + 1)
            if sum(other.parts[-parts:] == path.parts[-parts:] for other in paths) == 1
        )
        module = load(net, config_dir)
        loaded.append(Stressed("/".join(path.parts[-parts:]), net.result, module, _sha256(module)))
    return loaded


def _sha256(module: torch.nn.Module) -> str:
    digest = hashlib.sha256()
    for name, weight in sorted(module.state_dict().items()):
        if name.startswith(("net.", "front_end.")):
            digest.update(f"{name} {tuple(weight.shape)} {weight.dtype}".encode())
            digest.update(weight.cpu().contiguous().view(torch.uint8).numpy() if weight.ndim else repr(weight).encode())
    return digest.hexdigest()


def clips_of(runs: Sequence[Stressed], overrides: Sequence[str], config_dir: str | None) -> ClipDataModule:
    """The speech that all runs are tested on, and the mix that each condition changes, set up.

    Raises:
        UserError: the runs have other counts or other speech, and the overrides do not say which to take; or the speech
            consists of clips in files.
    """
    first = runs[0].result
    named = {override.partition("=")[0].lstrip("+~") for override in overrides}
    if "mix.counts" not in named and any(run.result.counts != first.counts for run in runs):
        common = set(first.counts).intersection(*(run.result.counts for run in runs))
        known = "; ".join(f"{run.name}: {run.result.counts}" for run in runs)
        raise UserError(
            f"these runs know other counts of speakers ({known}): name counts that all of them know, "
            f"mix.counts={json.dumps(sorted(common), separators=(',', ':'))}"
        )
    own = {
        "mix": BASE,
        "mix.counts": json.dumps(first.counts, separators=(",", ":")),
        "mix.clip_seconds": float(first.mix["clip_seconds"]),
        "mix.clips.test": CLIPS,
    }
    given = [f"{key}={value}" for key, value in own.items() if key not in named]
    config = compose_like(first, [*given, *overrides], config_dir)
    asked = config.mix.counts if isinstance(config.mix.counts, Sequence) else [config.mix.counts]
    unknown = [count for count in asked if not all(count in run.result.counts for run in runs)]
    if unknown:
        raise UserError(f"mix.counts asks for {unknown}, which not every net distinguishes")
    speech = named.intersection(evaluation.SPEECH)
    made = evaluation.with_speech(recipe(config, overrides=overrides, only=("data", "mix")), first, speech)
    data = made.data()
    if data.rendered:
        raise UserError(f"data={data.name} consists of clips in files, which cannot vary: name their speech, data=NAME")
    data.setup()
    for run in runs:
        if int(run.result.data["sample_rate"]) != data.sample_rate:
            raise UserError(f"{run.name} takes clips at {run.result.data['sample_rate']} Hz, not {data.sample_rate} Hz")
        if not speech and not is_speech_of(data.pool, run.result.data):
            raise UserError(
                f"{data.root} does not hold the speech of {run.name}, whose test speakers are others: name the speech "
                "to test on, data=NAME or data.root=DIR"
            )
    return data


def measure(
    runs: Sequence[Stressed], data: ClipDataModule, conditions: Sequence[Condition], cache: Path
) -> list[Outcome]:
    """The nets' predictions in each condition, scored; one line is printed for each.

    Args:
        cache: where the predictions lie, so that no condition is computed twice.
    """
    files.check_writable(cache, "name another folder with data.cache=DIR")
    counts = list(data.mix.counts)
    outcomes: list[Outcome] = []
    begun, computed = time.monotonic(), 0
    for number, condition in enumerate(conditions, start=1):
        outcome, fresh = _measured(runs, data, condition, cache)
        stress.score(outcome, runs[0].name, counts)
        outcomes.append(outcome)
        computed += fresh
        said = ", ".join(f"{net} {stress.value_of(score):.3f}" for net, score in outcome.accuracy.items())
        said = said or "left out"
        left = (time.monotonic() - begun) / max(1, computed) * (len(conditions) - number)
        about = f" (about {left / 60:.0f} min left)" if computed and left >= 60 else ""
        print(f"{number} of {len(conditions)}, {condition.name}: {said}{about}", flush=True)
    return outcomes


def _measured(
    runs: Sequence[Stressed], data: ClipDataModule, condition: Condition, cache: Path
) -> tuple[Outcome, bool]:
    """The outcome of a condition, and whether something had to be computed."""
    assert isinstance(data.pool, Pool)
    clips = MixedClips(data.pool, "test", changed(data.mix, condition.keys))
    nobody = Outcome(condition, np.zeros(0, np.int64), np.full((0, 1), -1))
    reason = _impossible(clips, data, condition, runs[0].result.counts)
    if reason:
        nobody.reasons = {run.name: reason for run in runs}
        return nobody, False
    plan = clips.plan_of(np.arange(len(clips)), activity=False)
    chosen = plan.count == 0 if condition.axis == "voices" and not condition.value else slice(None)
    outcome = Outcome(condition, plan.count[chosen], plan.speakers[chosen])
    missing: list[tuple[Stressed, Path]] = []
    for run in runs:
        path = cache / f"{_key(run, data.pool, clips.mix)}.npy"
        kept = _kept(path, len(clips), run.result.counts)
        if kept is not None:
            outcome.predicted[run.name] = kept
        elif clips.samples == run.result.clip_samples or _takes(run.module, clips.samples):
            missing.append((run, path))
        else:
            outcome.reasons[run.name] = f"the net takes no clips of {clips.mix.clip_seconds:g} s"
    if missing:
        for (run, path), said in zip(missing, _predict([run for run, _ in missing], clips), strict=True):
            with files.replacing(path) as partial, open(partial, "wb") as file:
                np.save(file, said, allow_pickle=False)
            outcome.predicted[run.name] = said
    predicted = outcome.predicted
    outcome.predicted = {run.name: predicted[run.name][chosen] for run in runs if run.name in predicted}
    return outcome, bool(missing)


def changed(mix: Mix, keys: Mapping[str, Any]) -> Mix:
    """A mix for test clips, with some keys changed."""
    values = dict(vars(mix))
    own = mix.augment_of("test")
    effects = {**(vars(own) if own else {}), **keys.get("augment", {})}
    augment = Augment(**{**effects, "splits": ("test",)}) if effects else None
    return Mix(**{**values, **keys, "augment": augment})


def _impossible(clips: MixedClips, data: ClipDataModule, condition: Condition, counts: Sequence[int]) -> str | None:
    """Why no net can be scored in a condition; None: they can."""
    least, most = min(clips.mix.counts), max(clips.mix.counts)
    if clips.augment is not None and clips.augment.band_share and min(clips.augment.band_hz) >= data.sample_rate / 2:
        return f"clips at {data.sample_rate} Hz have nothing above it"
    if condition.axis == "voices" and least not in counts and least < max(counts):
        return "the nets do not know this count"
    if clips.speakers < max(1, most):
        return f"only {clips.speakers} test speakers have {clips.mix.clip_seconds:g} s of speech"
    return None


def _key(run: Stressed, pool: Pool, mix: Mix) -> str:
    """What the predictions of a condition follow from, as a hash."""
    known = [run.sha256, run.result.model, pool.sha256, pool.samples_sha256, __version__]
    values = json.dumps([known, {**vars(mix), "name": None}], sort_keys=True, default=vars)
    return hashlib.sha256(values.encode()).hexdigest()[:32]


def _kept(path: Path, clips: int, counts: Sequence[int]) -> np.ndarray | None:
    """Predictions that were computed before; None where there are none that can be used."""
    try:
        kept = np.load(path, allow_pickle=False)
    except (OSError, ValueError, EOFError):
        return None
    usable = kept.shape == (clips,) and kept.dtype == np.int16 and np.isin(kept, counts).all()
    return kept if usable else None


def _takes(module: SpeakerCounter, samples: int) -> bool:
    """Whether a net takes clips of another length than its own: those that pool over all time do."""
    try:
        with torch.inference_mode():
            logits = module(torch.zeros(2, samples, dtype=torch.int16))
    except (RuntimeError, ValueError, AssertionError):
        return False
    return bool(logits.shape == (2, len(module.counts)) and logits.isfinite().all())


def _predict(runs: Sequence[Stressed], clips: MixedClips) -> list[np.ndarray]:
    """The counts that each net predicts, `(clips,)` int16; each clip is rendered once."""
    said: list[list[np.ndarray]] = [[] for _ in runs]
    with torch.inference_mode():
        for batch in ClipLoader(clips, BATCH_SIZE):
            for run, spoken in zip(runs, said, strict=True):
                chosen = run.module(batch["waveform"]).argmax(dim=1).numpy()
                spoken.append(np.array(run.module.counts, np.int16)[chosen])
    return [np.concatenate(spoken) for spoken in said]


def folder_of(runs: Sequence[Stressed]) -> Path:
    """The folder for the page of these runs, below `multirun/stress`."""
    name = "+".join(run.name.replace("/", "_") for run in runs)
    if len(name) > MOST_LETTERS:
        name = f"{len(runs)}-runs-{hashlib.sha256(name.encode()).hexdigest()[:8]}"
    return Path("multirun", "stress", name)


def footer(runs: Sequence[Stressed], data: ClipDataModule) -> list[tuple[str, str]]:
    """What the results rest on."""
    mix = json.dumps({key: value for key, value in vars(data.mix).items() if value is not None}, default=vars)
    lines = [("clips", f"data={data.name}, {len(data.clips['test']):,} clips of each condition"), ("base mix", mix)]
    lines += [("speech", f"{data.pool.sha256}, samples {data.pool.samples_sha256}")]
    lines += [(run.name, f"{run.result.model}, weights {run.sha256[:16]}: {run.result.command}") for run in runs]
    return [(name, printable(value)) for name, value in [*lines, ("version", __version__)]]
