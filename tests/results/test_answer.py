"""The sentences that open the page say what the table of scores says."""

from dataclasses import replace

import numpy as np
import pytest

from speaker_count.results import comparison
from speaker_count.results.answer import answer, conclusion
from speaker_count.results.comparison import Comparison, Entry
from speaker_count.results.record import RunResult
from tests.conftest import REPOSITORY

MEASURED = REPOSITORY / "multirun" / "measured" / "paper-librispeech_sample-paper" / "m5-seed0"
CLIPS = 600
KINDS = {"m3": "waveform", "m5": "waveform", "spec_1": "spectrogram", "spec_2": "spectrogram", "energy": "baseline"}


def compared(**right: float | tuple[float, float]) -> Comparison:
    """Nets and baselines that are right on a share of the clips; a pair: on all clips from one share to another."""
    run = RunResult.read(MEASURED)
    random = np.random.default_rng(0)
    count = random.integers(1, 4, CLIPS)
    made = Comparison([], count, random.integers(0, 30, (CLIPS, 3)))
    place = random.permutation(CLIPS) / CLIPS
    for name, share in right.items():
        kind = KINDS[name]
        low, high = share if isinstance(share, tuple) else (0, share)
        predicted = np.where((place >= low) & (place < high), count, count % 3 + 1)
        entry = Entry(name, kind, hears=f"the {kind}", predicted=[predicted])
        if kind == "baseline":
            entry.scores = {"accuracy": {}, "loss": {}}
        else:
            entry.results = [replace(run, model=name, kind=kind)]
        made.entries.append(entry)
    comparison.score(made)
    return made


def test_the_claim_of_waveform_nets_holds_if_each_is_better_than_each_spectrogram_net():
    assert "holds: each waveform net is better than each spectrogram net." in conclusion(
        compared(m3=0.8, m5=0.9, spec_1=0.4, spec_2=0.5)
    )


def test_exceptions_to_the_claim_are_named():
    said = conclusion(compared(m3=0.3, m5=0.9, spec_1=0.3, spec_2=0.6))
    assert "holds only in part: m5 is better than spec_2, the best spectrogram net, but m3 is worse than spec_2" in said
    assert "m3 is worse than spec_2 and is not distinguishable from spec_1." in said
    said = conclusion(compared(m3=(0.5, 0.995), m5=0.9, spec_2=0.5))
    assert "m3 scores lower than spec_2, from which it is not distinguishable." in said
    said = conclusion(compared(m3=(0.5, 0.995), m5=0.9, spec_1=(0.5, 0.995), spec_2=0.5))
    assert "m3 scores lower than spec_2 and is not distinguishable from it or from spec_1." in said


@pytest.mark.parametrize(
    ("scores", "verdict"),
    [
        ({"m5": (0.3, 0.9), "spec_2": 0.6}, "is neither shown nor refuted: m5 and spec_2 are not distinguishable."),
        ({"m5": 0.5, "spec_2": 0.9}, "does not hold: spec_2 is better than m5, the best waveform net."),
        ({"m5": 0.5}, "was not tested on these clips."),
    ],
)
def test_the_claim_without_a_better_waveform_net(scores, verdict):
    assert f"do better than spectrogram nets {verdict}" in conclusion(compared(**scores))


def test_a_baseline_that_no_net_beats_opens_the_page():
    first, *others = answer(compared(m3=0.5, m5=0.6, spec_2=0.4, energy=0.9))
    assert first[0] == "Does it listen to speech?"
    assert first[1].startswith(
        "No net shows that it does: energy, which does not hear speech but only the baseline, is"
    )
    assert "is better than every net." in first[1]
    assert others[0][0] == "Waveform or spectrogram?"
    said = answer(compared(m3=0.3, m5=(0.4, 0.995), energy=0.6))[0][1]
    assert "scores at least as high as every net; it is not distinguishable from m5 and is better" not in said
    assert (
        "scores at least as high as every net; it is not distinguishable from m5, and is better than all others" in said
    )


def test_baselines_that_a_net_beats_close_the_answer():
    *_, (question, said) = answer(compared(m3=0.5, m5=0.9, energy=0.6))
    assert question == "Does it listen to speech?"
    assert "No net" not in said
    assert "Not shown to be better than energy: m3." in said
