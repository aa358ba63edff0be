"""Commands killed at each of their phases: the same command, given again, ends as if nothing had happened."""

import importlib
import itertools
import json
import os
import random
import shutil
import signal
from functools import partial
from pathlib import Path

import pytest
import torch

from tests.conftest import SMALL, speaker_count
from tests.faults.conftest import FULL

SIGNALS = ("SIGKILL", "SIGTERM", "SIGINT", "SIGHUP")
ROUNDS = range(10 if FULL else 1)
EIGHTY = ("data.batch_size=16", "checkpoint_minutes=0")  # six steps an epoch, a checkpoint after each


def die_at(where: str, call: int, number: signal.Signals) -> None:
    """Let this process get a signal when a function, named as `module:path`, is called for the `call`-th time."""
    # as a terminal starts a command: nohup or a shell's "&" ignore some, and Lightning leaves handlers
    signal.signal(signal.SIGINT, signal.default_int_handler)
    for each in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(each, signal.SIG_DFL)
    module, _, path = where.partition(":")
    *owners, name = path.split(".")
    owner = importlib.import_module(module)
    for each in owners:
        owner = getattr(owner, each)
    function, calls = getattr(owner, name), itertools.count(1)

    def dying(*arguments, **named):
        if next(calls) == call:
            os.kill(os.getpid(), number)
        return function(*arguments, **named)

    setattr(owner, name, dying)


def contents(folder: Path, *patterns: str) -> dict[str, bytes]:
    """The files that match, by name. Only what a kill may leave is not there: partial files."""
    assert not [path.name for path in folder.rglob("*.partial*")]
    found = {str(path.relative_to(folder)): path.read_bytes() for each in patterns for path in folder.glob(each)}
    assert found
    return found


def of_pool(folder: Path) -> dict[str, bytes]:
    return contents(folder, "cache/pools/*/*.int*", "cache/pools/*/index.parquet", "cache/pools/*/pool.json")


def of_clips(folder: Path) -> dict[str, bytes]:
    return contents(folder, "clips/*.*")


def of_report(folder: Path) -> dict[str, bytes]:
    return contents(folder, *(f"sweep/report/**/*.{kind}" for kind in ("csv", "md", "svg", "html")))


def of_evaluation(folder: Path) -> dict[str, object]:
    (path,) = folder.glob("run/evaluations/*.json")
    return {"metrics": json.loads(path.read_text())["test"], "rows": path.with_suffix(".parquet").read_bytes()}


def of_run(folder: Path) -> dict[str, object]:
    assert not list(folder.glob("run/checkpoints/evaluating*"))
    result = json.loads((folder / "run" / "result.json").read_text())
    weights = torch.load(folder / "run" / "checkpoints" / "last.ckpt", weights_only=True)["state_dict"]
    return {
        **contents(folder, "run/metrics.csv", "run/predictions.parquet"),
        **{f"result {name}": result[name] for name in ("last", "best", "identity")},
        **{name: weight.numpy().tobytes() for name, weight in weights.items()},
    }


TRAIN = ("train", *SMALL, "model=m3", "logger=csv", "hydra.run.dir=run", *EIGHTY)
# of each phase: the command, the function that is called in it, how often that is at least, and what comes out
PHASES = {
    "building a pool": (("prepare", *SMALL[:4]), "speaker_count.data.decoding:_samples", 48, of_pool),
    "a pool that is complete": (("prepare", *SMALL[:4]), "speaker_count.data.pool_builder:_named", 1, of_pool),
    "writing clips": (("clips", *SMALL[:4], "out=clips"), "speaker_count.data.wav_writer:put", 198, of_clips),
    "a report": (("report", "sweep"), "matplotlib.figure:Figure.savefig", 5, of_report),
    "an evaluation": (
        ("evaluate", "run", "data.batch_size=8"),
        "speaker_count.training.module:SpeakerCounter.test_step",
        6,
        of_evaluation,
    ),
    "a training step": (TRAIN, "speaker_count.training.module:SpeakerCounter.training_step", 12, of_run),
    "writing a checkpoint": (TRAIN, "os:replace", 12, of_run),
    "an evaluation within training": (
        TRAIN,
        "speaker_count.training.module:SpeakerCounter.validation_step",
        18,
        of_run,
    ),
    "the last evaluation": (TRAIN, "speaker_count.training.module:SpeakerCounter.test_step", 3, of_run),
    "the result": (TRAIN, "speaker_count.results.record:RunResult.write", 1, of_run),
}


@pytest.fixture(scope="session")
def given(made_once, cache, tree, finished_sweep):
    """Runs a command in a folder that has what it needs, and says what came out of it."""

    def run(folder, phase, before=None):
        words, _, _, outcome = PHASES[phase]
        own_cache = folder / "cache" if outcome is of_pool else cache
        if words[0] == "report" and not (folder / "sweep").exists():
            shutil.copytree(finished_sweep, folder / "sweep")
        if words[0] == "evaluate" and not (folder / "run").exists():
            shutil.copytree(next(finished_sweep.glob("m3-*")), folder / "run")
        root = [f"data.root={tree}"] if words[0] in ("prepare", "clips", "train") else []
        return speaker_count(folder, own_cache, *words, *root, before=before), outcome

    return run


@pytest.fixture(scope="session")
def undisturbed(made_once, given):
    """What comes out of a phase's command if nothing happens."""

    def outcome_of(phase):
        def fill(folder):
            done, _ = given(folder, phase)
            assert done.returncode == 0, done.stderr

        command = PHASES[phase][0]
        return PHASES[phase][3](made_once(f"undisturbed-{abs(hash(command))}", fill))

    return outcome_of


@pytest.mark.parametrize("round_", ROUNDS)
@pytest.mark.parametrize("name", SIGNALS)
@pytest.mark.parametrize("phase", PHASES)
def test_a_command_that_is_killed_ends_as_undisturbed_when_given_again(
    phase, name, round_, given, undisturbed, tmp_path, tally
):
    number = signal.Signals[name]
    call = random.Random(f"{phase}/{name}/{round_}").randint(1, PHASES[phase][2])
    expected = undisturbed(phase)
    killed, outcome = given(tmp_path, phase, before=partial(die_at, PHASES[phase][1], call, number))
    tally(faults=1)
    if number == signal.SIGKILL:
        assert killed.returncode == -number
    assert killed.returncode != 0, f"call {call} did not end the command"
    assert "Traceback" not in killed.stderr
    again, _ = given(tmp_path, phase)
    assert again.returncode == 0, again.stderr
    assert outcome(tmp_path) == expected
