"""Recordings to count in."""

from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
import soundfile

from tests.conftest import buzz

RATE = 16_000


class Conversation(NamedTuple):
    """A recording whose speakers are known: the path of the sound, that of the RTTM file, and the samples."""

    path: Path
    reference: Path
    samples: np.ndarray


TURNS = [("anna", 3, 12), ("bert", 8, 12), ("bert", 12, 16), ("carl", 18, 24)]  # who speaks, from when to when


def make_conversation(root: Path, folder: Path) -> None:
    """Three readers who take turns, two of them at once for a while, in a little noise."""
    readers = sorted(path for path in (root / "LibriSpeech").rglob("*.flac") if "test-clean" not in path.parts)
    mixed = np.random.default_rng(0).normal(0, 1e-4, 28 * RATE)
    lines = []
    for speaker, path in zip(("anna", "bert", "carl"), readers[:: max(1, len(readers) // 3)], strict=False):
        utterance = soundfile.read(path)[0]
        speech = np.tile(utterance * (0.05 / utterance.std()), 10)
        for _, begin, end in (turn for turn in TURNS if turn[0] == speaker):
            mixed[begin * RATE : end * RATE] += speech[: (end - begin) * RATE]
            lines.append(f"SPEAKER talk 1 {begin} {end - begin} <NA> <NA> {speaker} <NA> <NA>")
    soundfile.write(folder / "talk.wav", mixed, RATE)
    (folder / "talk.rttm").write_text("\n".join(lines) + "\n")


@pytest.fixture(scope="session")
def conversation(real_speech, made_once) -> Conversation:
    """28 s of real speech: silence, one speaker, two, one, silence, one, silence."""
    folder = made_once("conversation", lambda folder: make_conversation(real_speech, folder))
    return Conversation(folder / "talk.wav", folder / "talk.rttm", soundfile.read(folder / "talk.wav")[0])


@pytest.fixture
def noise() -> np.ndarray:
    """Three seconds of a buzz in noise."""
    return buzz(3)
