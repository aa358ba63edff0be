"""What the report says of nets that name the speakers' sexes, and of the size of errors."""

from dataclasses import replace

import numpy as np
import pytest

from speaker_count.results import comparison, composition, count_errors
from speaker_count.results.comparison import Comparison, Entry
from speaker_count.results.page import Figure, Table, Text
from speaker_count.results.record import RunResult
from tests.conftest import REPOSITORY

MEASURED = REPOSITORY / "multirun" / "measured" / "paper-librispeech_sample-paper" / "m5-seed0"
CLIPS = 900
SEXES = np.array(["M", "F", "MM", "MF", "FF", "MMM", "MMF", "MFF", "FFF"])


def compared(of_sexes: float, without: float | None = None, unknown: float = 0.0, name: str = "same") -> Comparison:
    """A net that names the sexes, right on a share of the clips, else one speaker off; and one that only counts."""
    random = np.random.default_rng(0)
    sexes = SEXES[np.arange(CLIPS) % 9]
    count = np.char.str_len(sexes)
    run = RunResult.read(MEASURED)
    made = Comparison([], count, random.integers(0, 40, (CLIPS, 3)))
    made.sexes = np.where(random.random(CLIPS) < unknown, "sexes unknown", sexes)
    place = random.permutation(CLIPS) / CLIPS
    for weight, share in ((0.5, of_sexes), (None, without)):
        if share is not None:
            right = place < share
            said = np.where(
                right, sexes, np.array(["MM", "MM", "M", "M", "M", "MM", "MM", "MM", "MM"])[np.arange(CLIPS) % 9]
            )
            net = {**run.net, "loss": {"composition_weight": weight, "label_smoothing": 0.05}}
            if weight is None and name != "same":
                net["name"] = name
            entry = Entry(f"net{weight or ''}", "waveform", results=[replace(run, net=net)])
            entry.predicted, entry.composed = [np.char.str_len(said)], [said] if weight else []
            entry.probabilities = [np.eye(3)[np.char.str_len(said) - 1]]
            made.entries.append(entry)
    comparison.score(made)
    return made


def test_how_often_sexes_are_right_and_what_they_are_taken_for():
    figure, table, recall = composition.blocks(compared(0.8), "")
    assert isinstance(figure, Figure)
    (panel,) = figure.draw().axes
    assert [text.get_text() for text in panel.get_xticklabels()] == SEXES.tolist()
    cells = [int(text.get_text()) for text in panel.texts]
    assert sum(cells) == pytest.approx(900, abs=9)
    (row,) = table.rows
    assert row["composition accuracy"].value == pytest.approx(0.8)
    assert row["composition accuracy"].low < 0.8 < row["composition accuracy"].high
    assert row["sexes accuracy"].value == 1  # where this net counts right it names the sexes, too
    assert [row["composition"] for row in recall.rows] == SEXES.tolist()
    assert {row["clips"] for row in recall.rows} == {100}
    assert np.mean([row["net0.5 accuracy"].value for row in recall.rows]) == pytest.approx(0.8)


def test_clips_of_unknown_sex_are_left_out_and_counted():
    made = compared(1, unknown=0.25)
    _, table, recall = composition.blocks(made, "")
    left_out = (made.sexes == "sexes unknown").sum()
    assert f"Left out: {left_out} of 900 clips" in table.note
    assert sum(row["clips"] for row in recall.rows) == 900 - left_out
    assert table.rows[0]["composition accuracy"].value == 1
    assert f"of known sex ({1 - left_out / 900:.1%})" in composition.answer(made)
    (text,) = composition.blocks(compared(1, unknown=1.1), "")
    assert isinstance(text, Text)
    assert composition.blocks(compared(0.5, unknown=1.1), "")[0].text.startswith(
        "No test clip has speakers of known sex"
    )


@pytest.mark.parametrize(
    ("of_sexes", "without", "says"),
    [
        (0.8, 0.8, "the count is not shown to suffer (+0.000"),
        (0.6, 0.9, "the count suffers (-0.300"),
        (0.9, 0.6, "the count gains (+0.300"),
        (0.9, None, "Whether the count suffers is not known"),
    ],
)
def test_whether_the_count_suffers(of_sexes, without, says):
    assert says in composition.answer(compared(of_sexes, without))


def test_only_the_same_net_without_the_sexes_shows_it():
    assert "is not known" in composition.answer(compared(0.8, 0.9, name="another"))
    plain = compared(0.8, 0.9)
    plain.entries = plain.entries[1:]
    assert composition.answer(plain) == ""
    assert composition.blocks(plain, "") == []


def test_libricount_s_errors_stand_beside_the_published_ones():
    made = compared(0.8)
    assert [table.name for table in count_errors.blocks(made, "")] == ["mae"]
    (entry,) = made.entries
    (result,) = entry.results
    entry.results = [replace(result, data={**result.data, "name": "libricount"}, mix={**result.mix, "clip_seconds": 5})]
    table, beside = count_errors.blocks(made, "_2")
    assert isinstance(table, Table)
    assert [(row["net"], row["seconds"]) for row in beside.rows[:2]] == [
        ("net0.5", "5"),
        ("CountNet (Stöter et al. 2019)", "1"),
    ]
    assert [row["error"] for row in beside.rows[1:]] == [0.64, 0.42, 0.39, 0.34, 0.26]
    assert beside.rows[0]["error"] == table.rows[0]["error"]
    assert beside.name == "libricount_2"
