"""Recorded noise and rooms: folders of files, pools of their own, drawn by a clip's number."""

import json
import shutil

import numpy as np
import pyarrow.parquet as pq
import pytest
import soundfile

from speaker_count.data import effects, sounds
from speaker_count.errors import UserError
from speaker_count.results.record import RunResult
from tests.conftest import RATE, SMALL, mix_of


def hum(folder, name, hertz, seconds, rate=RATE, channels=1):
    """A file with a tone in all of its channels."""
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    tone = 0.3 * np.sin(2 * np.pi * hertz * np.arange(round(seconds * rate)) / rate)
    soundfile.write(path, np.stack([tone] * channels, axis=1), rate)
    return path


def clap(folder, name, seconds, delay=40, frames=None):
    """A response: the direct sound after `delay` samples, and one echo after `seconds` more."""
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    response = np.zeros(frames or round(seconds * RATE) + delay + 100)
    response[delay] = 0.8
    if delay + round(seconds * RATE) < len(response):
        response[delay + round(seconds * RATE)] = 0.6
    soundfile.write(path, response, RATE)
    return path


@pytest.fixture
def noise(tmp_path):
    """Noise of three kinds: longer than a clip, shorter, and of another rate with two channels."""
    folder = tmp_path / "noise"
    hum(folder, "a/long.wav", 3000, 4)
    hum(folder, "a/short.flac", 5000, 0.3)
    hum(folder, "b/c/stereo.wav", 7000, 2, rate=44_100, channels=2)
    return folder


@pytest.fixture
def rooms(tmp_path):
    """Two rooms, one with two places."""
    folder = tmp_path / "rooms"
    clap(folder, "hall/near.wav", 0.2)
    clap(folder, "hall/far.wav", 0.25)
    clap(folder, "office/desk.wav", 0.05)
    return folder


NOISY = {"noise_share": 1, "snr_db": [0, 0]}


def strongest(clip):
    """The strongest frequency, in Hz."""
    return np.abs(np.fft.rfft(clip)).argmax() * RATE / len(clip)


def test_noise_is_drawn_from_the_files_of_a_folder(make_data, noise):
    data = make_data(mix=mix_of(augment={**NOISY, "noise_root": str(noise)}))
    clips, quiet = data.clips["train"], make_data(mix=mix_of()).clips["train"]
    names = ["a/long.wav", "a/short.flac", "b/c/stereo.wav"]
    assert data.sounds.noise.utterances.tolist() == names
    plan = clips.plan()
    assert np.bincount(plan.effects.noise_file).min() > 96 / 6  # uniformly
    tones = {"a/long.wav": 3000, "a/short.flac": 5000, "b/c/stereo.wav": 7000}
    frames = data.sounds.noise.frames
    for row, clip, clean in zip(range(96), clips.render(plan), quiet.render(quiet.plan()), strict=True):
        file, start = plan.effects.noise_file[row], plan.effects.noise_start[row]
        assert 0 <= start < frames[file]
        assert frames[file] < RATE or start + RATE <= frames[file]
        rest = clip.astype(float) - clean
        assert strongest(rest) == pytest.approx(tones[names[file]], abs=3)
        assert rest.std() / clean.std() == pytest.approx(1, abs=0.02)  # 0 dB
    assert len(np.unique(plan.effects.noise_start)) > 80
    # the others are as without a folder, and training clips alone vary
    assert data.clips["test"].sha256() == make_data().clips["test"].sha256()


def test_a_share_of_the_clips_has_recorded_noise_and_rooms(make_data, noise, rooms):
    shares = {"noise_share": 0.5, "noise_root": str(noise), "room_share": 0.5, "response_root": str(rooms)}
    clips = make_data(mix=mix_of(counts=(0, 1, 2, 3), augment=shares)).clips["train"]
    plan = clips.plan()
    for drawn in (plan.effects.noise_file >= 0, plan.effects.response_file[:, 0] >= 0):
        assert 0.3 < drawn.mean() < 0.7
    assert ((plan.effects.noise_file >= 0) == (plan.effects.noise > 0)).all()
    whole = clips.render(plan)
    assert np.array_equal(clips.render(clips.plan_of(np.array([70, 3, 41]))), whole[[70, 3, 41]])


def test_what_is_drawn_beside_recorded_sounds_is_as_without(make_data, noise, rooms):
    every = {"speed": 0.1, "level_db": [-40, -12], "noise_share": 0.5, "room_share": 0.5, "bits_share": 0.5}
    roots = {"noise_root": str(noise), "response_root": str(rooms)}
    generated, recorded = (
        make_data(mix=mix_of(augment={**every, **more})).clips["train"].plan() for more in ({}, roots)
    )
    for name in ("speed", "noise", "bits", "level"):
        assert np.array_equal(getattr(generated.effects, name), getattr(recorded.effects, name), equal_nan=True)


def test_the_voices_of_a_clip_stand_in_one_room(make_data, rooms):
    data = make_data(mix=mix_of(counts=(1, 3), augment={"room_share": 1, "response_root": str(rooms)}))
    files = data.clips["train"].plan().effects.response_file
    room = data.sounds.responses.speaker[files]
    assert (room == room[:, :1]).all()
    assert 0.3 < room[:, 0].mean() < 0.7  # each room as often, whatever its places
    assert len({*map(tuple, files[room[:, 0] == 0].tolist())}) == 8


def test_a_recorded_room_echoes_and_leaves_voices_where_they_are():
    sound = np.zeros(4000, np.int16)
    sound[[500, 1300]] = 16_000, -12_000
    click = np.zeros((1, RATE), np.float32)
    click[0, 1000] = 1
    wet = effects.in_room(click, [effects.recorded_response(sound, RATE)])
    assert np.abs(wet).argsort()[-2:].tolist() == [1800, 1000]
    assert wet[[1000, 1800]] == pytest.approx([0.8, -0.6], abs=1e-4)
    assert np.square(wet).sum() == pytest.approx(1, rel=1e-4)  # as loud as before
    dry = effects.in_room(click, [effects.recorded_response(np.zeros(50, np.int16), RATE)])
    assert dry == pytest.approx(click[0], abs=1e-6)


def test_responses_longer_than_a_clip_are_cut_with_a_word(make_data, tmp_path, caplog):
    caplog.set_level("INFO")
    both = {}
    for name, frames in (("long", 3 * RATE), ("short", RATE)):
        clap(tmp_path / name, "room.wav", 0.5, delay=0, frames=frames)
        augment = {"room_share": 1, "response_root": str(tmp_path / name)}
        both[name] = make_data(mix=mix_of(train=8, augment=augment)).clips["train"]
    assert [record.message for record in caplog.records if "longer than a clip" in record.message] == [
        "1 of 1 responses of rooms are longer than a clip of 1 s: what would sound after its end is cut"
    ]
    assert both["long"].sha256() == both["short"].sha256()


def test_folders_without_sound_are_one_line(make_data, tmp_path):
    (tmp_path / "empty" / "below").mkdir(parents=True)
    (tmp_path / "silent").mkdir()
    soundfile.write(tmp_path / "silent" / "a.wav", np.zeros(RATE), RATE)
    (tmp_path / "text").mkdir()
    (tmp_path / "text" / "a.wav").write_text("no sound")
    for folder, problem in (
        ("nowhere", "mix.augment.noise_root: .*nowhere does not exist"),
        ("text/a.wav", "mix.augment.noise_root: .*a.wav is not a folder"),
        ("empty", r"mix.augment.noise_root: no audio file \(.flac, .*\) in .*empty"),
        ("silent", "mix.augment.noise_root: no sound in its files"),
        ("text", "1 of the 1 utterances in .*text are damaged"),
    ):
        with pytest.raises(UserError, match=problem) as error:
            make_data(mix=mix_of(augment={**NOISY, "noise_root": str(tmp_path / folder)}))
        assert len(str(error.value).splitlines()) == 1
    with pytest.raises(UserError, match="mix.augment.response_root=7: expected a folder"):
        mix_of(augment={"response_root": 7})


def test_the_metadata_name_the_files(verb, tree, noise, rooms, tmp_path):
    roots = (f"mix.augment.noise_root={noise}", f"mix.augment.response_root={rooms}")
    mix = ("mix=varied", "mix.counts=[0,1,2]", "mix.fresh_each_epoch=false", "mix.augment.room_share=0.5")
    write = ("clips", *SMALL[:-1], f"data.root={tree}", *mix, "out=clips")
    code, out, err = verb(*write, *roots)
    assert code == 0, err
    table = pq.read_table(tmp_path / "clips" / "metadata_train.parquet").to_pylist()
    for row in table:
        assert row["noise_file"] in ("a/long.wav", "a/short.flac", "b/c/stereo.wav", None)
        assert (row["noise_file"] is None) == (row["noise"] == 0)
        assert len(row["response_file"]) == row["Speakers"]
        assert {*row["response_file"]} <= {"hall/near.wav", "hall/far.wav"} or {*row["response_file"]} <= {
            "office/desk.wav",
            None,
        }
    code, _, err = verb(*write, roots[0])
    assert code == 2
    assert "holds other clips: sounds is" in err
    moved = shutil.copytree(noise, tmp_path / "moved")
    assert verb(*write, f"mix.augment.noise_root={moved}", roots[1])[0] == 0
    command = out.splitlines()[-1].removeprefix("train from them: speaker-count ")
    assert "_root" not in command


def test_a_run_is_named_by_its_sounds_not_by_where_they_are(verb, tree, noise, tmp_path, cache):
    run = (
        "train",
        *SMALL,
        f"data.root={tree}",
        "model=m3",
        "mix=varied",
        "logger=csv",
        "mix.augment.splits=[train,test]",
    )
    code, _, err = verb(*run, f"mix.augment.noise_root={noise}")
    assert code == 0, err
    (folder,) = (tmp_path / "multirun" / "single-folder-tree-varied").glob("m3-*")
    identity = json.loads((folder / "identity.json").read_text())
    assert not [key for key in identity if key.endswith("_root")]
    assert "noise" in identity
    result = RunResult.read(folder)
    assert sounds.pools.find(cache, result.data["sounds"]["noise"]) is not None
    assert "mix.augment.noise_root=noise" in result.changes

    moved = shutil.copytree(noise, tmp_path / "elsewhere" / "noise")
    code, out, err = verb(*run, f"mix.augment.noise_root='{moved}'")
    assert code == 0, err
    assert "finished already" in out + err
    hum(moved, "more.wav", 1000, 1)
    code, _, err = verb(*run, f"mix.augment.noise_root={moved}")
    assert code == 2
    assert "holds another run: noise=" in err

    shutil.rmtree(noise)  # its pool is enough
    code, _, err = verb("evaluate", folder)
    assert code == 0, err
    (evaluation,) = (folder / "evaluations").glob("*.json")
    assert json.loads(evaluation.read_text())["test_sha256"] == result.test_sha256
    code, _, err = verb("evaluate", folder, f"data.cache={tmp_path / 'other'}", f"data.root={tree}")
    assert (code, len(err.splitlines())) == (2, 1)
    assert "holds the run's noise: decode that folder" in err
