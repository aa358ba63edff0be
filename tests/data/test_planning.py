"""The law by which clips are drawn: who speaks, which crop, and how active it is."""

from collections import Counter

import numpy as np
import pytest
import soundfile

from speaker_count.errors import UserError
from speaker_count.labels import SPLITS
from tests.conftest import make_tree, mix_of

SAMPLES = 16_000


def test_any_clip_can_be_drawn_by_itself(make_data):
    clips = make_data(mix=mix_of(counts=(1, 2, 3, 4), gain_db=(-5, 5))).clips["train"]
    whole = clips.plan()
    for numbers in ([0], [*range(5, 17)], [94, 95], [50, 3, 3, 95, 4]):
        part, same = clips.plan_of(np.array(numbers)), whole[np.array(numbers)]
        for column in ("index", "count", "speakers", "utterances", "starts", "sexes", "activity", "gains", "scale"):
            assert np.array_equal(getattr(part, column), getattr(same, column)), column


def test_counts_are_balanced_and_speakers_distinct_and_of_the_split(make_data):
    data = make_data(mix=mix_of(train=3000))
    for split, clips in data.clips.items():
        plan = clips.plan()
        for first in range(0, len(plan), 3):
            assert sorted(plan.count[first : first + 3]) == [1, 2, 3]
        for speakers, count in zip(plan.speakers, plan.count, strict=True):
            assert len(set(speakers[:count])) == count
            assert {SPLITS[data.pool.splits[speaker]] for speaker in speakers[:count]} == {split}


def test_the_law_of_drawing(make_data):
    """Each sex half of the time, each of its speakers, utterances and starts equally often."""
    clips = make_data(mix=mix_of(train=30_000)).clips["train"]
    plan = clips.plan()
    single = plan.count == 1
    first = plan.sexes[:, 0]
    assert abs(first.mean() - 0.5) < 0.015
    by_speaker = Counter(plan.speakers[single, 0].tolist())
    assert len(by_speaker) == 18 - 6
    assert max(by_speaker.values()) / min(by_speaker.values()) < 1.3
    assert abs((plan.utterances[single, 0] % 2).mean() - 0.5) < 0.02
    assert abs(plan.starts[:, 0].mean() / 4000 - 1) < 0.03
    assert plan.starts.max() == 24_000 - SAMPLES
    assert plan.starts[plan.starts >= 0].min() == 0
    sexes = Counter("".join(sorted("FM"[sex] for sex in row)) for row in plan.sexes[plan.count == 2, :2])
    assert abs(sexes["FM"] / 10_000 - 0.5) < 0.02


def test_a_sex_that_is_used_up_is_replaced_by_the_other(make_data, tmp_path):
    data = make_data(make_tree(tmp_path / "tree", women=9, men=20), mix=mix_of(counts=(6,)))
    plan = data.clips["test"].plan()
    assert set((plan.sexes == 0).sum(axis=1)) == {3}  # three women, three men, six voices
    assert all(len(set(row)) == 6 for row in plan.speakers)


def with_sexes(tree, sexes):
    """Gives the speakers of a tree other sexes in their table."""
    table = tree / "LibriSpeech" / "SPEAKERS.TXT"
    lines = [line.split("|") for line in table.read_text().splitlines() if "|" in line]
    table.write_text("\n".join("|".join([line[0], sex, *line[2:]]) for line, sex in zip(lines, sexes, strict=True)))
    return tree


@pytest.mark.parametrize("unknown", [24, 8, 1])
def test_speakers_of_unknown_sex_are_drawn_evenly_from_all(make_data, tmp_path, unknown):
    """The others keep their law: half women, half men, however many of each there are."""
    sexes = "U" * unknown + "F" * ((24 - unknown) // 4)
    tree = with_sexes(make_tree(tmp_path / "tree"), sexes + "M" * (24 - len(sexes)))
    clips = make_data(tree, mix=mix_of(train=30_000)).clips["train"]
    women, men, others = clips.roster.of_sex.tolist()
    everyone = women + men + others
    plan = clips.plan()
    alone = plan.count == 1
    drawn = np.bincount(plan.sexes[alone, 0], minlength=3) / 10_000
    known = (everyone - others) / everyone
    assert drawn == pytest.approx([known / 2, known / 2, others / everyone], abs=0.02)
    by_speaker = Counter(plan.speakers[alone & (plan.sexes[:, 0] == 2), 0].tolist())
    assert len(by_speaker) == others
    assert all(abs(times / 10_000 - 1 / everyone) < 0.01 for times in by_speaker.values())
    for speakers, count in zip(plan.speakers, plan.count, strict=True):
        assert len({*speakers[:count].tolist()}) == count
    assert np.array_equal(plan.sexes[alone, 0], clips.pool.sexes[plan.speakers[alone, 0]])


def pauses(tmp_path):
    """Speakers who hum in the first second of three; their second utterance is silent but for a click."""
    tree = make_tree(tmp_path / "tree", seconds=3)
    for path in tree.rglob("*.flac"):
        samples, _ = soundfile.read(path, dtype="int16")
        samples[SAMPLES:] = 3
        if path.stem.endswith("1"):
            samples[:SAMPLES] = 3
            samples[100:900] = 9000
        soundfile.write(path, samples, SAMPLES)
    return tree


def test_activity_and_crops_that_are_active(make_data, tmp_path):
    tree = pauses(tmp_path)
    plan = make_data(tree, mix=mix_of(test=600)).clips["test"].plan()
    hums = (plan.utterances % 2 == 0) & (plan.utterances >= 0)
    expected = np.clip((SAMPLES - plan.starts) / SAMPLES, 0, 1)
    assert plan.activity[hums] == pytest.approx(expected[hums], abs=0.011)  # to the nearest frames of 10 ms
    assert plan.activity[~hums].max() <= 0.06
    assert plan.activity[plan.utterances < 0].max() == 0

    active = make_data(tree, mix=mix_of(test=600, min_active=0.3)).clips["test"].plan()
    heard = active.utterances >= 0
    assert active.activity[heard].min() == pytest.approx(0.3)
    assert set(active.utterances[heard] % 2) == {0}  # the clicks are too short
    assert 11_200 < active.starts.max() < 71 * 160  # a crop from frame 70 is active for 30 %, a later one for less
    assert abs(active.starts[heard].mean() / (71 * 160 / 2) - 1) < 0.05  # evenly among them


def test_too_few_active_speakers_are_refused(make_data, tmp_path):
    with pytest.raises(UserError, match=r"0 speakers with 2\.0 s of speech, 90% of it active \(mix.min_active\)"):
        make_data(pauses(tmp_path), mix=mix_of(min_active=0.9, clip_seconds=2.0))
