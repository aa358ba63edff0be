"""What the tests share: real speech where it is at hand, small trees in LibriSpeech's layout, runs of the command."""

import itertools
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path

import filelock
import numpy as np
import pytest
import soundfile
import torch

from speaker_count import cli
from speaker_count.data.datamodule import ClipDataModule
from speaker_count.data.mixing import Mix
from speaker_count.training import processes
from speaker_count.training.module import SpeakerCounter

signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's "&" ignores it, also in what the tests start
REPOSITORY = Path(__file__).parent.parent
RATE = 16_000


@pytest.fixture(scope="session")
def real_speech() -> Path:
    """The folder of a LibriSpeech that has the utterances of `data=librispeech_sample`."""
    root = Path(os.environ.get("LIBRISPEECH", REPOSITORY.parent / "shared" / "librispeech-sample"))
    if not (root / "LibriSpeech").is_dir():
        pytest.skip(f"no real speech: {root} holds no LibriSpeech; set LIBRISPEECH")
    return root


@pytest.fixture(scope="session")
def made_once(tmp_path_factory) -> Callable[[str, Callable[[Path], object]], Path]:
    """Makes a folder by its name and a function that fills it, in whichever of the tests' processes asks first."""
    shared = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        shared = shared.parent

    def make(name: str, fill: Callable[[Path], object]) -> Path:
        folder, done = shared / name, shared / f"{name}.done"
        with filelock.FileLock(shared / f"{name}.lock"):
            if not done.exists():
                shutil.rmtree(folder, ignore_errors=True)
                folder.mkdir()
                fill(folder)
                done.touch()
        return folder

    return make


@pytest.fixture(scope="session")
def cache(made_once) -> Path:
    """A folder for pools."""
    return made_once("cache", lambda folder: None)


def make_tree(
    root: Path, women: int = 12, men: int = 12, utterances: int = 2, seconds: float = 1.5, subset: str = "speech"
) -> Path:
    """A tree in LibriSpeech's layout: each speaker hums at a pitch of their own, in some noise."""
    lines = ["; made for a test"]
    for number in range(women + men):
        speaker, sex = str(100 + number), "F" if number < women else "M"
        lines.append(f"{speaker} | {sex} | {subset} | 0.10 | Nobody {number}")
        chapter = root / "LibriSpeech" / subset / speaker / "7"
        chapter.mkdir(parents=True)
        random = np.random.default_rng(number)
        time = np.arange(round(seconds * RATE)) / RATE
        for utterance in range(utterances):
            wave = 6000 * np.sin(2 * np.pi * (80 + 12 * number) * time) + random.normal(0, 500, len(time))
            soundfile.write(chapter / f"{speaker}-7-{utterance:04}.flac", wave.astype(np.int16), RATE)
    with open(root / "LibriSpeech" / "SPEAKERS.TXT", "a") as table:
        table.write("\n".join(lines) + "\n")
    return root


@pytest.fixture(scope="session")
def tree(made_once) -> Path:
    """24 speakers, half of each sex: 12 for training, 3 + 3 of each sex held out; not to be changed."""
    return made_once("tree", make_tree)


def mix_of(train: int = 96, validation: int = 48, test: int = 48, **changes) -> Mix:
    return Mix("paper", {"train": train, "validation": validation, "test": test}, **changes)


@pytest.fixture(scope="session")
def make_data(tree, cache) -> Callable[..., ClipDataModule]:
    """A DataModule over the small tree, set up."""

    def make(root: Path = tree, mix: Mix | None = None, **changes) -> ClipDataModule:
        data = ClipDataModule("folder", str(root), str(cache), mix or mix_of(), **changes)
        data.setup()
        return data

    return make


SMALL = (
    "data=folder",
    "mix.clips.train=96",
    "mix.clips.validation=48",
    "mix.clips.test=48",
    "trainer.max_epochs=2",
)


PATIENCE = 300  # seconds that a command has


def speaker_count(
    folder: Path, cache: Path, *arguments: object, before: Callable[[], None] | None = None, **environment: str
) -> subprocess.CompletedProcess:
    """Run `speaker-count` as a user does, in `folder`; the returned process has its output as text.

    Its process is forked from a server that has imported what the verbs need: a start takes no time.

    Args:
        before: what the process does first; it can be pickled.
    """
    clean = {key: value for key, value in os.environ.items() if not key.startswith(("WANDB_", "LIBRISPEECH"))}
    clean |= {"SPEAKER_COUNT_CACHE": str(cache), "WANDB_DATA_DIR": str(folder), "OMP_NUM_THREADS": "1", **environment}
    words = [str(argument) for argument in arguments]
    processes.CONTEXT.set_forkserver_preload([processes.PRELOADED])
    with tempfile.TemporaryDirectory() as streams:
        process = processes.CONTEXT.Process(target=_command, args=(folder, clean, words, before, streams))
        process.start()
        process.join(PATIENCE)
        if process.is_alive():
            process.kill()
            raise TimeoutError(f"speaker-count {' '.join(words)} takes longer than {PATIENCE} s")
        out, err = (Path(streams, name).read_text() for name in STREAMS)
    return subprocess.CompletedProcess(words, process.exitcode, out, err)


STREAMS = ("stdout", "stderr")


def _command(
    folder: Path, environment: dict[str, str], words: list[str], before: Callable[[], None] | None, streams: str
) -> None:
    for descriptor, name in enumerate(STREAMS, start=1):
        os.dup2(os.open(Path(streams, name), os.O_WRONLY | os.O_CREAT), descriptor)
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environment)
    sys.path[:0] = environment.get("PYTHONPATH", "").split(os.pathsep)
    torch.set_num_threads(int(environment["OMP_NUM_THREADS"]))  # the server read its own
    sys.argv = ["speaker-count", *words]
    if before is not None:
        before()
    cli.main()


def die(step: int, number: signal.Signals) -> None:
    """Let this process get a signal at a training step, the first of which is 1."""
    steps, train = itertools.count(1), SpeakerCounter.training_step

    def dying(self, batch, batch_idx):
        if next(steps) == step:
            os.kill(os.getpid(), number)
        return train(self, batch, batch_idx)

    SpeakerCounter.training_step = dying


@pytest.fixture
def command(tmp_path, cache) -> Callable[..., subprocess.CompletedProcess]:
    """`speaker-count` in an empty folder."""
    return partial(speaker_count, tmp_path, cache)


@pytest.fixture
def verb(tmp_path, cache, monkeypatch, capsys) -> Callable[..., tuple[int, str, str]]:
    """`speaker-count VERB` in this process, which spares its start: exit code, output and errors."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SPEAKER_COUNT_CACHE", str(cache))
    monkeypatch.setenv("COLUMNS", "100")  # so wide that no name is broken

    def run(*arguments: object) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["speaker-count", *map(str, arguments)])
        capsys.readouterr()
        code = 0
        try:
            cli.main()
        except SystemExit as end:
            code = end.code
        return code, *capsys.readouterr()

    return run


def buzz(seconds: int) -> np.ndarray:
    """A buzz in noise at 16 kHz, `(samples,)` float32: no speech, but its pitch moves as that of a voice, and the
    packaged net counts one speaker.
    """
    hertz = 120 + 10 * np.sin(6 * np.pi * np.arange(seconds * 16_000) / 16_000)
    phase = 2 * np.pi * np.cumsum(hertz) / 16_000
    harmonics = sum(np.sin(number * phase) / number for number in range(1, 30))
    return (0.1 * harmonics + np.random.default_rng(0).normal(0, 0.01, len(phase))).astype(np.float32)


@pytest.fixture(scope="session")
def finished_sweep(made_once, cache, tree) -> Path:
    """The folder of a sweep over m3 and m5; not to be changed."""

    def fill(folder: Path) -> None:
        sweep = ("train", "--multirun", *SMALL, f"data.root={tree}", "model=m5,m3", "logger=csv")
        done = speaker_count(folder, cache, *sweep)
        assert done.returncode == 0, done.stderr

    return made_once("finished", fill) / "multirun" / "default-folder-tree-paper"
