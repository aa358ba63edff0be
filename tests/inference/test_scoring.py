"""Predictions against who really spoke when."""

import numpy as np
import pytest

from speaker_count.errors import UserError
from speaker_count.inference.prediction import Prediction
from speaker_count.inference.scoring import Reference, true_counts


def prediction_of(counts: list[int], file: str | None = "talk.wav", classes: int = 4) -> Prediction:
    """Windows of a second, one a second, whose count is certain."""
    return Prediction(
        file=file,
        sample_rate=16_000,
        duration=float(len(counts)),
        window_seconds=1.0,
        hop_seconds=1.0,
        labels=[f"{count} speakers" for count in range(classes)],
        classes=list(range(classes)),
        times=np.arange(len(counts)) + 0.5,
        counts=np.array(counts),
        probabilities=np.eye(classes, dtype=np.float32)[counts],
    )


def reference_of(tmp_path, *turns: tuple[float, float, str], name: str = "talk") -> Reference:
    lines = [f"SPEAKER {name} 1 {begin} {end - begin} <NA> <NA> {who} <NA> <NA>" for begin, end, who in turns]
    (tmp_path / "x.rttm").write_text("\n".join([";; a comment", *lines]) + "\n")
    return Reference(tmp_path / "x.rttm")


def test_a_speaker_s_turns_that_overlap_are_one():
    changes, counts = true_counts({"a": [(1, 3), (2, 5), (7, 8)], "b": [(4, 6), (4.5, 5)]})
    at = [0.5, 1.5, 2.5, 4.5, 5.5, 6.5, 7.5, 9]
    assert counts[np.searchsorted(changes, at, side="right")].tolist() == [0, 1, 1, 2, 1, 0, 1, 0]


def test_shares_errors_and_minutes_are_of_time(tmp_path):
    # true: 0 until 1 s, 1 until 3 s, 2 until 4.5 s, 1 until 6 s, 0 until 10 s
    reference = reference_of(tmp_path, (1, 4.5, "a"), (3, 6, "b"))
    score = reference.score(prediction_of([0, 1, 1, 3, 2, 1, 0, 0, 0, 1]))
    assert score.accuracy == pytest.approx(0.75)
    assert score.over == pytest.approx(0.25)
    assert score.under == 0
    assert score.mae == pytest.approx(0.25)
    assert score.constant == (0, pytest.approx(0.5))
    minutes = score.minutes()
    assert minutes[1] == (pytest.approx(3.5 / 60), pytest.approx(4 / 60))
    assert sum(true for true, _ in minutes.values()) == pytest.approx(sum(said for _, said in minutes.values()))
    lines = score.lines()
    assert "right 75.0% of the time (always 0: 50.0%)" in lines[0]
    assert "too many 25.0%, too few 0.0%" in lines[1]
    assert max(map(len, lines)) < 80


def test_more_speakers_than_a_net_knows_are_right_as_its_most_and_wrong_by_the_rest(tmp_path):
    reference = reference_of(tmp_path, *((0, 2, who) for who in "abcde"))
    score = reference.score(prediction_of([3, 2]))
    assert (score.accuracy, score.under) == (0.5, 0.5)
    assert score.mae == 2.5


def test_a_reference_of_several_recordings_is_looked_up_by_name(tmp_path):
    text = "SPEAKER one 1 0 1 <NA> <NA> a <NA> <NA>\nSPEAKER a_b 1 0 2 <NA> <NA> a <NA> <NA>\n"
    (tmp_path / "x.rttm").write_text(text)
    reference = Reference(tmp_path / "x.rttm")
    assert reference.score(prediction_of([1, 1], "somewhere/a b.flac")).accuracy == 1
    with pytest.raises(UserError, match="has no recording talk; it has a_b, one"):
        reference.score(prediction_of([1, 1]))
    only = reference_of(tmp_path, (0, 2, "a"), name="another")
    assert only.score(prediction_of([1, 1])).accuracy == 1
    with pytest.raises(UserError, match="has no recording talk; it has another"):
        only.score(prediction_of([1, 1]), alone=False)


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "it has no line that begins with SPEAKER"),
        (b"\xff\xfe\x00", "it is no text in UTF-8"),
        (b"SPEAKER x 1 0 1\n", "line 1: it is no line of an RTTM file"),
        (b"\nSPEAKER x 1 nan 1 <NA> <NA> a\n", "line 2"),
        (b"SPEAKER x 1 0 inf <NA> <NA> a\n", "line 1"),
        (b"SPEAKER x 1 -1 2 <NA> <NA> a\n", "line 1"),
    ],
)
def test_what_is_no_reference_is_one_line(tmp_path, content, says):
    (tmp_path / "x.rttm").write_bytes(content)
    with pytest.raises(UserError, match=says):
        Reference(tmp_path / "x.rttm")
    for name, why in (("none.rttm", "none.rttm: No such file"), (".", "is no RTTM file")):
        with pytest.raises(UserError, match=why):
            Reference(tmp_path / name)
