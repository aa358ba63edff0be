"""LibriCount's form, made from the tests' speech: what a net is scored on, and what is refused."""

import json

import numpy as np
import pyarrow.parquet as pq
import pytest
import soundfile

from speaker_count.data.datamodule import ClipDataModule
from speaker_count.data.libricount import Annotation
from speaker_count.errors import UserError
from tests.conftest import RATE, SMALL, mix_of


@pytest.fixture(scope="session")
def libricount(made_once, make_data):
    """Five recordings with each of 0 to 4 people, of 1.5 s; not to be changed."""

    def fill(folder):
        clips = make_data(mix=mix_of(train=25, counts=(0, 1, 2, 3, 4), clip_seconds=1.5)).clips["train"]
        plan = clips.plan()
        inner = folder / "LibriCount10-0dB" / "test"
        inner.mkdir(parents=True)
        for row, samples in enumerate(clips.render(plan)):
            count = plan.count[row]
            name = inner / f"{count}_{row:04x}"
            soundfile.write(name.with_suffix(".wav"), samples, RATE)
            voices = [
                # the last of several people speaks only after a second
                {"sex": "FM"[sex], "activity": [[16_400 * (voice == 1), 24_000]], "speaker_id": int(speaker) + 1000}
                for voice, (sex, speaker) in enumerate(zip(plan.sexes[row, :count], plan.speakers[row], strict=False))
            ]
            name.with_suffix(".json").write_text(json.dumps(voices))

    return made_once("libricount", fill)


def opened(root, cache, **mix):
    data = ClipDataModule("libricount", str(root), str(cache), mix_of(**mix), source="libricount")
    data.setup()
    return data


def test_whole_recordings_have_their_count(libricount, cache):
    data = opened(libricount, cache, counts=(0, 1, 2, 3, 4), clip_seconds=1.5)
    assert [len(data.clips[split]) for split in ("train", "validation", "test")] == [0, 0, 25]
    clips = data.clips["test"]
    plan = clips.plan()
    files = data.pool.utterances[clips.files].tolist()
    assert plan.count.tolist() == [int(name.split("/")[-1].split("_")[0]) for name in files]
    for name, clip in zip(files, clips.render(plan), strict=True):
        assert np.array_equal(clip, soundfile.read(libricount / name, dtype="int16")[0])
    assert {*data.pool.speakers[plan.speakers[plan.speakers >= 0]]} <= {str(1000 + number) for number in range(24)}


def test_a_shorter_clip_counts_those_who_speak_at_the_same_time(libricount, cache):
    clips = opened(libricount, cache, counts=(0, 1, 2, 3, 4)).clips["test"]
    plan = clips.plan()
    assert clips.render(plan).shape == (25, RATE)
    assert np.bincount(plan.count).tolist() == [5, 10, 5, 5]  # who begins after a second is not in it
    assert ((plan.speakers >= 0).sum(axis=1) == plan.count).all()


def test_the_most_people_who_speak_at_the_same_time():
    spans = np.array([[0, 1], [3, 4], [1, 3.5], [3.2, 5]])
    annotation = Annotation(["a", "b", "c"], [0, 0, 1], spans, np.array([0, 0, 1, 2]))
    assert annotation.most_at_once(0.9) == [0]
    assert annotation.most_at_once(2) in ([0], [1])  # one after the other
    assert annotation.most_at_once(3.1) == [0, 1]
    assert annotation.most_at_once(5) == [0, 1, 2]
    assert Annotation([], [], np.empty((0, 2)), np.empty(0, np.int64)).most_at_once(1) == []


def test_a_net_is_evaluated_on_the_counts_that_it_knows(verb, libricount, tree, tmp_path):
    counts = "mix.counts=[0,1,2]"
    code, _, err = verb("train", *SMALL, f"data.root={tree}", "model=m3", "logger=csv", counts, "hydra.run.dir=run")
    assert code == 0, err
    on = ("evaluate", "run", "data=libricount", f"data.root={libricount}")
    code, _, err = verb(*on)
    assert (code, len(err.splitlines())) == (2, 1)
    assert "also has clips of 3 speakers, which the net does not distinguish: mix.counts=[0,1,2] evaluates it on" in err
    code, _, err = verb(*on, counts)
    assert code == 0, err
    (path,) = (tmp_path / "run" / "evaluations").glob("*.json")
    evaluation = json.loads(path.read_text())
    assert [sum(row) for row in evaluation["test"]["confusion"]] == [5, 10, 5]
    assert evaluation["data"]["speakers"]["test"] > 0
    table = pq.read_table(path.with_suffix(".parquet")).to_pandas()
    by_count = (table["predicted"] - table["count"]).abs().groupby(table["count"]).mean()
    assert by_count.index.tolist() == [0, 1, 2]
    assert evaluation["test"]["mae"] == pytest.approx((table["predicted"] - table["count"]).abs().mean())
    assert verb(*on, counts)[0] == 2  # it was evaluated so before
    code, _, err = verb(*on, "mix.counts=[0,1,2,3]")
    assert "mix.counts asks for [3], but the net distinguishes only [0, 1, 2]" in err


def test_no_net_is_trained_on_it(verb, libricount):
    for command in ("train", "forecast", "clips"):
        out = ("out=clips",) if command == "clips" else ()
        code, _, err = verb(command, "data=libricount", f"data.root={libricount}", "model=m3", *out)
        assert (code, len(err.splitlines())) == (2, 1)
        assert "data=libricount holds clips for test alone" in err
    code, out, err = verb("prepare", "data=libricount", f"data.root={libricount}", "mix.counts=[0,1,2,3,4]")
    assert code == 0, err
    assert "test           25 recordings with " in out


@pytest.mark.parametrize(
    ("name", "annotation", "problem"),
    [
        ("three.wav", "[]", "three.wav does not begin with a number of speakers; LibriCount's are called K_NAME.wav"),
        ("1_a.wav", "[]", "1_a.json names 0 speakers, and the file's name another number"),
        ("1_a.wav", None, r"cannot read .*1_a.json \(No such file or directory\)"),
        ("1_a.wav", "[", "1_a.json is damaged"),
        ("1_a.wav", "7", "1_a.json is damaged"),
        ("1_a.wav", "[7]", "1_a.json is damaged"),
        ("1_a.wav", '[{"speaker_id": 7}]', r"1_a.json is damaged \(KeyError: 'activity'\)"),
        ("1_a.wav", '[{"speaker_id": 7, "activity": [[1, 2, 3]]}]', "no list of"),
        ("1_a.wav", '[{"speaker_id": 7, "activity": [[1, NaN]]}]', "no list of"),
        ("1_a.wav", '[{"speaker_id": 7, "activity": 3}]', "no list of"),
        ("1_a.wav", '[{"speaker_id": [7], "activity": []}]', "a speaker_id is no name"),
        (
            "1_a.wav",
            '[{"speaker_id": 7, "activity": []}]',
            r"clip_seconds=1.0 is longer than 1 of the 1 recordings .* 0.50 s",
        ),
        ("4_a.wav", json.dumps([{"speaker_id": 7, "activity": []}] * 4), r"longer"),
    ],
)
def test_what_is_not_of_its_form_is_one_line(tmp_path, cache, name, annotation, problem):
    soundfile.write(tmp_path / name, np.arange(8000, dtype=np.int16), RATE)
    if annotation is not None:
        (tmp_path / name).with_suffix(".json").write_text(annotation)
    with pytest.raises(UserError, match=problem) as error:
        opened(tmp_path, cache)
    assert len(str(error.value).splitlines()) == 1


def test_a_folder_without_the_mix_s_counts(libricount, cache):
    with pytest.raises(UserError, match=r"no recording of data=libricount has a count of mix.counts=\[9\]"):
        opened(libricount, cache, counts=(9,))
