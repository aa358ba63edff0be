"""Evaluate nets, those of finished runs as they were after their last epochs, on another corpus or mix; several also
as an ensemble. Everything that is not overridden is as in the run.
"""

import hashlib
import shlex
import sys
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

from speaker_count import files
from speaker_count.compose import compose_like, recipe
from speaker_count.data import corpus, pool, sounds
from speaker_count.data.datamodule import ClipDataModule
from speaker_count.data.libricount_clips import LibriCountClips
from speaker_count.errors import UserError, printable
from speaker_count.results import checks, ensemble, record, scores
from speaker_count.results.record import Evaluation, RunResult
from speaker_count.training import ddp, evaluation_log, run_folder, testing, threads
from speaker_count.training.recipe import Recipe
from speaker_count.training.secrets import masked, masked_override
from speaker_count.weights.reading import Trained, trained

EVALUATIONS = Path("multirun", "evaluations")  # of weights, which may lie where nothing is written
SUBSETS = ("data.train_subsets", "data.validation_subsets", "data.test_subsets")
SPEECH = (
    "data", "data.source", "data.root", *SUBSETS, "data.utterance_list", "data.sample_rate", "data.resample",
    "data.voices", "data.sentences",
)  # fmt: skip


class Evaluated(NamedTuple):
    """What the evaluation of a net gives: its file, and what was tested on which clips."""

    path: Path
    net: Trained
    tested: testing.Tested
    data: ClipDataModule
    made: Recipe


class Opened(NamedTuple):
    """What a net is tested on: the recipe, and its clips, set up."""

    made: Recipe
    data: ClipDataModule
    ranks: int
    force: bool


def open_like(result: RunResult, overrides: Sequence[str], config_dir: str | None) -> Opened:
    """The clips of a run, with some of its config overridden.

    Args:
        overrides: those of train for data, mix and trainer.
        config_dir: a folder of the user's own configs.

    Raises:
        UserError: the net does not take these clips, or the run's speech is not there and no other is named.
    """
    config = compose_like(result, overrides, config_dir)
    counts = config.mix.counts
    unknown = (set(counts) if isinstance(counts, Sequence) else {counts}) - set(result.counts)
    if unknown:
        raise UserError(
            f"mix.counts asks for {sorted(unknown, key=str)}, but the net distinguishes only {result.counts}"
        )
    made = recipe(config, overrides=overrides, only=("data", "mix", "model", "trainer"))
    ddp.trainer_settings(config.trainer)  # raises before anything is done
    ranks = ddp.count_ranks(config.trainer)
    keys = {override.partition("=")[0].lstrip("+~") for override in overrides}
    named = keys.intersection(SPEECH)
    made = _with_sounds(with_speech(made, result, named), result, keys)
    speech = made.values["data"]
    if not named and speech.get("pool") is None and speech.get("root") is None:  # a corpus of its user's own
        raise UserError(
            f"the net's own speech, data={result.data['name']}, is not among your pools: name it with data.root=, or "
            "other speech with data=NAME"
        )
    data = made.data()
    data.check_divides(ranks)
    data.setup()
    clips = data.clips["test"]
    if isinstance(clips, LibriCountClips) and clips.other_counts and "mix.counts" not in keys:
        others, own = (",".join(map(str, counts)) for counts in (clips.other_counts, result.counts))
        raise UserError(
            f"data={data.name} also has clips of {others} speakers, which the net does not distinguish: "
            f"mix.counts=[{own}] evaluates it on the others alone"
        )
    if not named and not pool.is_speech_of(data.pool, result.data):
        raise UserError(
            f"{data.root} does not hold the run's speech: name its folder with data.root=DIR, or other speech with "
            "data=NAME"
        )
    return Opened(made, data, ranks, bool(config.force))


def evaluate(what: str, overrides: Sequence[str], config_dir: str | None, alone: bool) -> Evaluated:
    """Evaluate a net, write its file, and print its scores.

    Args:
        what: as of `trained`: the folder of a finished run, or weights, whose probabilities are calibrated.
        overrides, config_dir: as of `open_like`.
        alone: refuse a net that was evaluated so before; in an ensemble, its file stays as it is.
    """
    net = trained(what)
    result, checkpoint = net.result, net.checkpoint
    made, data, ranks, force = open_like(result, overrides, config_dir)
    path = _path(made, data, net)
    if alone and path.is_file() and not force:
        raise UserError(f"{path} exists; force=true evaluates again and keeps the old file beside it")
    # beside the user's pools: a run folder may come from anywhere, and would say how its net is scored
    evaluating = data.cache / "evaluations" / f"{result.identity}-{path.stem}"
    with (
        data.verified(),
        threads.using(None if net.run_dir is None else threads.noted(net.run_dir)),
        ddp.other_ranks(testing.evaluate, made, checkpoint, evaluating, ranks=ranks),
    ):
        tested = testing.evaluate(made, checkpoint, evaluating, data)
    if not path.is_file() or force:
        _write(path, made, data, result, tested)
    evaluation_log.remove(evaluating)
    evaluated = Evaluated(path, net, tested, data, made)
    _print(evaluated, tested.predictions, tested.metrics, path)
    return evaluated


def evaluate_ensemble(evaluated: Sequence[Evaluated]) -> None:
    """Evaluate runs as one, by the mean of their probabilities; write that beside the first one's folder, and print it.

    Raises:
        UserError: they do not distinguish the same counts of speakers, or were not tested on the same clips.
    """
    first = evaluated[0]
    counts = first.net.result.counts
    if any(each.net.result.counts != counts for each in evaluated):
        raise UserError("these runs distinguish other counts of speakers: an ensemble needs nets with the same classes")
    hashes = {each.data.clips["test"].sha256() for each in evaluated}
    if len(hashes) > 1:
        raise UserError("these runs were not tested on the same clips: name the data and the mix, data=NAME mix=NAME")
    everyone = testing.heard(first.tested.predictions, first.data)
    metrics, predictions = ensemble.mean([each.tested.predictions for each in evaluated], counts, everyone)
    identities = [each.net.result.identity for each in evaluated]
    name = hashlib.sha256(" ".join(sorted(identities)).encode()).hexdigest()[:8]
    beside = EVALUATIONS if first.net.run_dir is None else first.net.run_dir.absolute().parent
    path = beside / "ensembles" / f"{first.path.stem}-{name}.json"
    values = {
        "runs": [each.net.name for each in evaluated],
        "identities": identities,
        "data": {**masked(first.made.values["data"]), "pool": None, **first.data.described()},
        "mix": first.made.values["mix"],
        "test": metrics,
        "test_sha256": hashes.pop(),
        **record.provenance(),
        "command": _command(),
    }
    files.make_own(path.parent)
    record.write_predictions(path.with_suffix(".parquet"), predictions)
    files.write_json(path, {"schema": record.SCHEMA, **checks.written(values)})
    _print(first, predictions, metrics, path, f"ensemble of {len(evaluated)} nets")


def _print(
    evaluated: Evaluated, predictions: Mapping[str, Any], metrics: Mapping[str, Any], path: Path, name: str = ""
) -> None:
    """Print scores on the clips of an evaluation, and the file that holds them."""
    result, data, published = evaluated.net.result, evaluated.data, ""
    seconds = data.mix.clip_seconds
    if data.name == "libricount" and seconds in scores.countnet():
        published = f"(Stöter et al. 2019, {seconds:g} s: {scores.countnet()[seconds]})"
    everyone = testing.heard(predictions, data)
    print(printable(f"{name or evaluated.net.name}, data={data.name}, mix={data.mix.name}"))
    print("\n".join(scores.summary(predictions, result.counts, metrics, everyone, published)))
    print(printable(str(path)))


def _command() -> str:
    return shlex.join(["speaker-count", "evaluate", *map(masked_override, sys.argv[1:])])


def with_speech(made: Recipe, result: RunResult, named: Collection[str]) -> Recipe:
    """The recipe with the run's own speech: its pool, if the user has it, or its list of utterances.

    Args:
        named: the keys of the speech that the user overrides.

    Raises:
        UserError: the run used a list of utterances that the user has to name.
    """
    data, listed = dict(made.values["data"]), result.data.get("utterance_list")
    found = None if named or data["source"] == "clips" else pool.find(data["cache"], result.data)
    if found is not None:
        data["pool"] = str(found)
    elif listed is not None and not {"data", "data.utterance_list"} & {*named}:
        if corpus.packaged_list(listed) is None:
            raise UserError(f"the run used its own data.utterance_list={listed}: give data.utterance_list=FILE, too")
        data["utterance_list"] = listed
    return replace(made, values={**made.values, "data": data})


def _with_sounds(made: Recipe, result: RunResult, keys: Collection[str]) -> Recipe:
    """The recipe with the recorded sounds of the run's own mix, where it varies test clips with them.

    Args:
        keys: those that the user overrides.

    Raises:
        UserError: they are not among the user's pools.
    """
    mix = made.values["mix"]
    own = "mix" not in keys and "test" in (mix.get("augment") or {}).get("splits", ())
    if not own or {*run_folder.SOUND_ROOTS} & {*keys}:
        return made
    return replace(
        made, values={**made.values, "mix": sounds.with_pools(mix, result.data, made.values["data"]["cache"])}
    )


def _path(made: Recipe, data: ClipDataModule, net: Trained) -> Path:
    """Where the evaluation is written."""
    result = net.result
    name = f"{data.name}-{data.mix.name}{run_folder.override_hash(made.overrides)}"
    if not pool.is_speech_of(data.pool, result.data):  # data=folder can be many corpora
        other = data.pool.sha256 != result.data["corpus_sha256"]
        name += f"-{(data.pool.sha256 if other else data.pool.samples_sha256)[:8]}"
    return (EVALUATIONS / net.name if net.run_dir is None else net.run_dir / "evaluations") / f"{name}.json"


def _write(path: Path, made: Recipe, data: ClipDataModule, result: RunResult, tested: testing.Tested) -> None:
    files.make_own(path.parent)
    if path.is_file():
        for old in (path, path.with_suffix(".parquet")):
            old.rename(files.aside(old))
    record.write_predictions(path.with_suffix(".parquet"), tested.predictions)
    evaluation = Evaluation(
        model=result.model,
        seed=result.seed,
        identity=result.identity,
        data={**masked(made.values["data"]), "pool": None, **data.described()},
        mix=made.values["mix"],
        test=tested.metrics,
        test_sha256=data.clips["test"].sha256(),
        **record.provenance(),
        device=tested.device,
        command=_command(),
    )
    evaluation.write(path)
