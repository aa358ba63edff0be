"""What the tests share: real speech where it is at hand, small trees in LibriSpeech's layout, runs of the command."""

import os
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import soundfile

from speaker_count import cli
from speaker_count.data.datamodule import ClipDataModule
from speaker_count.data.mixing import Mix

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
def cache(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("cache")


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
def tree(tmp_path_factory) -> Path:
    """24 speakers, half of each sex: 12 for training, 3 + 3 of each sex held out; not to be changed."""
    return make_tree(tmp_path_factory.mktemp("tree"))


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


def speaker_count(folder: Path, cache: Path, *arguments: object, **environment: str) -> subprocess.CompletedProcess:
    """Run `speaker-count` as a user does, in `folder`; the returned process has its output as text."""
    variables = {
        "SPEAKER_COUNT_CACHE": str(cache),
        "WANDB_DATA_DIR": str(folder),
        "OMP_NUM_THREADS": "1",
        **environment,
    }
    clean = {key: value for key, value in os.environ.items() if not key.startswith(("WANDB_", "LIBRISPEECH"))}
    return subprocess.run(
        [Path(sys.executable).with_name("speaker-count"), *map(str, arguments)],
        cwd=folder,
        env={**clean, **variables},
        capture_output=True,
        text=True,
        timeout=300,
    )


@pytest.fixture
def command(tmp_path, cache) -> Callable[..., subprocess.CompletedProcess]:
    """`speaker-count` in an empty folder."""
    return partial(speaker_count, tmp_path, cache)


@pytest.fixture
def verb(tmp_path, cache, monkeypatch, capsys) -> Callable[..., tuple[int, str, str]]:
    """`speaker-count VERB` in this process, which spares its start: exit code, output and errors."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SPEAKER_COUNT_CACHE", str(cache))

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


@pytest.fixture(scope="session")
def finished_sweep(tmp_path_factory, cache, tree) -> Path:
    """The folder of a sweep over m3 and m5; not to be changed."""
    folder = tmp_path_factory.mktemp("sweep")
    sweep = ("train", "--multirun", *SMALL, f"data.root={tree}", "model=m5,m3", "logger=csv")
    done = speaker_count(folder, cache, *sweep)
    assert done.returncode == 0, done.stderr
    return folder / "multirun" / "default-folder-paper"
