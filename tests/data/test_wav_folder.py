import json
import pickle
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from speaker_count.data.sources import Demo
from speaker_count.data.wav_folder import WavClips, WavFolder
from speaker_count.data.wav_writer import write
from speaker_count.errors import UserError
from speaker_count.labels import SPLITS
from tests.conftest import mix_of

LEVEL_BLIND = {"gain_db": (-5, 5), "level_db": -26}


@pytest.fixture(scope="module")
def written(make_data, tmp_path_factory) -> Path:
    """A folder of clips of the small tree; not to be changed."""
    folder = tmp_path_factory.mktemp("clips")
    write(make_data(mix=mix_of(**LEVEL_BLIND)), folder, ["data=folder", "mix=level_blind"], 2)
    return folder


@pytest.fixture
def folder(written, tmp_path) -> Path:
    """A copy of it."""
    return shutil.copytree(written, tmp_path / "clips")


def test_yields_the_clips_of_the_stream_in_its_order(written, make_data):
    mix = mix_of(**LEVEL_BLIND)
    stream, files = (
        make_data(mix=mix, evaluate_train=True),
        make_data(written, mix, source="clips", evaluate_train=True),
    )
    for epoch in range(2):
        pairs = [
            (stream.train_dataloader(), files.train_dataloader()),
            *zip(stream.val_dataloader(), files.val_dataloader(), strict=True),
            (stream.test_dataloader(), files.test_dataloader()),
        ]
        for expected, loader in pairs:
            expected.set_epoch(epoch)
            loader.set_epoch(epoch)
            for batch, same in zip(expected, loader, strict=True):
                assert batch.keys() == same.keys()
                assert all(torch.equal(batch[name], same[name]) for name in batch)
                assert all(batch[name].dtype == same[name].dtype for name in batch)
    assert files.speakers() == stream.speakers()
    assert files.pool.sha256 == stream.pool.sha256


def test_plan_and_hashes_are_the_stream_s(written, make_data):
    mix = mix_of(**LEVEL_BLIND)
    stream, files = make_data(mix=mix), make_data(written, mix, source="clips")
    for split in SPLITS:
        expected, plan = (data.clips[split].plan(5, 30) for data in (stream, files))
        for column in ("index", "count", "starts", "sexes", "activity", "gains"):
            values = getattr(plan, column)
            assert np.array_equal(getattr(expected, column), values), column
            assert getattr(expected, column).dtype == values.dtype, column
        for row, count in enumerate(plan.count):
            for names in ("speakers", "utterances"):
                streamed, read = (
                    getattr(data.pool, names)[getattr(columns, names)[row, :count]].tolist()
                    for data, columns in ((stream, expected), (files, plan))
                )
                assert streamed == read
        assert not np.isnan(plan.scale).any()
        assert files.clips[split].sha256() == stream.clips[split].sha256()


def test_changing_a_batch_leaves_the_plan_alone(written, make_data):
    files = make_data(written, mix_of(**LEVEL_BLIND), source="clips")
    next(iter(files.test_dataloader()))["count"].zero_()
    assert files.clips["test"].plan().count.min() == 1


def test_pickles_to_a_path(written):
    clips = WavClips(WavFolder(written), "train")
    pickled = pickle.dumps(clips)
    assert len(pickled) < 2000
    assert pickle.loads(pickled).sha256() == clips.sha256()


def test_another_mix_is_refused_with_the_overrides_that_fit(written, make_data):
    with pytest.raises(UserError) as refused:
        make_data(written, mix_of(train=97, seed=1), source="clips")
    assert str(refused.value) == (
        f"the clips in {written} were mixed differently; to use them, add mix.seed=0 mix.gain_db=[-5,5] "
        "mix.level_db=-26 mix.clips.train=96"
    )
    with pytest.raises(UserError, match=r"add data\.sample_rate=16000$"):
        make_data(written, mix_of(**LEVEL_BLIND), source="clips", sample_rate=8000)
    with pytest.raises(UserError, match=r"add mix\.counts=\[1,2,3\] mix\.min_active=null$"):
        make_data(written, mix_of(counts=[1, 2], min_active=0.3, **LEVEL_BLIND), source="clips")


def remove(path):
    path.unlink()


def cut(path):
    path.write_bytes(path.read_bytes()[:-1000])


def extend(path):
    path.write_bytes(path.read_bytes() + b"\0\0")


def alter(path):
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def swap(path):
    other = path.with_name("Audio_Train8.wav")
    content = path.read_bytes()
    path.write_bytes(other.read_bytes())
    other.write_bytes(content)


@pytest.mark.parametrize(
    ("name", "damage", "says"),
    [
        ("Audio_Train7.wav", remove, "1 clip is missing (Audio_Train7.wav)"),
        ("Audio_Validation47.wav", cut, "1 clip is altered (Audio_Validation47.wav)"),
        ("Audio_Test0.wav", extend, "1 clip is altered (Audio_Test0.wav)"),
        ("Audio_Test0.wav", alter, "1 clip is altered (Audio_Test0.wav)"),
        ("Audio_Train7.wav", swap, "2 clips are altered (Audio_Train7.wav, ...)"),
        ("metadata_train.parquet", remove, "metadata_train.parquet is missing"),
        ("metadata_test.parquet", cut, "metadata_test.parquet is altered"),
        ("metadata_validation.csv", alter, "metadata_validation.csv is altered"),
    ],
)
def test_damage_is_reported_with_the_command_that_repairs_it(folder, make_data, name, damage, says):
    damage(folder / name)
    mix = mix_of(**LEVEL_BLIND)
    with pytest.raises(UserError) as refused:
        make_data(folder, mix, source="clips")
    command = f"speaker-count clips data=folder mix=level_blind out={folder}"
    assert says in str(refused.value)
    assert str(refused.value).endswith(f"; to repair the folder, run: {command}")
    write(make_data(mix=mix), folder, ["data=folder", "mix=level_blind"], 1)  # as that command does
    make_data(folder, mix, source="clips")


def test_several_kinds_of_damage_are_reported_at_once(folder, make_data):
    for index in range(3):
        (folder / f"Audio_Train{index}.wav").unlink()
    alter(folder / "Audio_Test5.wav")
    says = r"3 clips are missing \(Audio_Train0.wav, ...\); 1 clip is altered \(Audio_Test5.wav\); to repair"
    with pytest.raises(UserError, match=says):
        make_data(folder, mix_of(**LEVEL_BLIND), source="clips")


def test_other_folders_than_those_of_clips_are_refused(folder, make_data, tmp_path, tree):
    for other in (tree, tmp_path / "nothing", folder / "clips.json"):
        with pytest.raises(UserError, match="holds no clips: cannot read"):
            make_data(other, source="clips")
    path = folder / "clips.json"
    description = json.loads(path.read_text())
    for content, says in (
        (path.read_text()[:50], r"clips\.json is damaged .* delete"),
        ("[]", r"clips\.json is damaged"),
        (json.dumps({**description, "schema": 99}), "has schema 99, this version reads 1"),
        (json.dumps({key: value for key, value in description.items() if key != "mix"}), "damaged \\(no mix\\)"),
        (json.dumps({**description, "mix": {**description["mix"], "reverb": 1}}), r"damaged \(.*reverb"),
        (json.dumps({**description, "metadata": None}), "does not hold all of its clips yet; to complete it, run"),
    ):
        path.write_text(content)
        with pytest.raises(UserError, match=says):
            make_data(folder, source="clips")


def test_a_clip_that_is_lost_during_training_is_reported(folder, make_data):
    files = make_data(folder, mix_of(**LEVEL_BLIND), source="clips")
    (folder / "Audio_Test1.wav").unlink()
    with pytest.raises(UserError, match=r"Audio_Test1\.wav is missing; to repair the folder, run"):
        next(iter(files.test_dataloader()))
    swap(folder / "Audio_Train7.wav")
    with pytest.raises(UserError, match=r"Audio_Train\d\.wav is altered; to repair the folder, run"):
        list(files.train_dataloader())


def test_files_hold_no_separate_voices(written):
    clips = WavClips(WavFolder(written), "test")
    with pytest.raises(UserError, match="holds mixed clips, not their separate voices"):
        clips.sources(clips.plan(0, 1))


def test_synthetic_speech_is_named_as_such(make_data, tmp_path, caplog):
    data = make_data()
    data.source = Demo(data.root)
    write(data, tmp_path, [], 1)
    make_data(tmp_path, source="clips")
    assert "synthetic speech" in caplog.text
