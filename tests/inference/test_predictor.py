"""Counts over time in recordings, from Python."""

import itertools

import numpy as np
import pytest
import soundfile

import speaker_count
from speaker_count.data.datamodule import ClipDataModule
from speaker_count.errors import UserError
from speaker_count.inference import audio
from speaker_count.inference.overview import COLUMNS
from speaker_count.inference.scoring import Reference
from tests.benchmarks import conversations
from tests.conftest import mix_of
from tests.inference.conftest import RATE


@pytest.fixture(scope="module")
def predictor():
    return speaker_count.Predictor(threads=1)


def test_a_conversation_is_counted_better_than_by_any_constant(predictor, conversation):
    prediction = predictor.predict(conversation.path)
    score = Reference(conversation.reference).score(prediction)
    assert score.accuracy > max(0.8, score.constant[1] + 0.15)
    at = dict(zip(prediction.times, prediction.counts, strict=True))
    assert [at[time] for time in (1.5, 5.5, 10.0, 14.0, 17.0, 22.0, 26.0)] == [0, 1, 2, 1, 0, 1, 0]
    assert (prediction.most, prediction.labels[2]) == (2, "2 speakers")


def test_minutes_of_turns_and_overlaps_in_a_room_are_counted(predictor, real_speech, cache, tmp_path):
    listed = {"train_subsets": ["train-clean-100"], "utterance_list": "librispeech_sample"}
    data = ClipDataModule("librispeech_sample", str(real_speech), str(cache), mix_of(), "librispeech", **listed)
    data.setup()
    paths = conversations.written(data.pool, "test", number=2, seconds=60, seed=0, folder=tmp_path)
    score = conversations.together(paths, [predictor.predict(path) for path in paths])
    assert score.seconds.sum() == pytest.approx(120)
    assert score.accuracy > max(0.75, score.constant[1] + 0.15)


def test_a_prediction_s_arrays_fit_each_other_and_the_recording(predictor, conversation):
    prediction = predictor.predict(conversation.path)
    assert prediction.times[:3].tolist() == [0.5, 0.75, 1.0]
    assert prediction.times[-1] == 27.5
    assert prediction.probabilities.shape == (len(prediction.times), 4)
    np.testing.assert_allclose(prediction.probabilities.sum(axis=1), 1, atol=1e-5)
    assert (prediction.edges[0], prediction.edges[-1]) == (0, prediction.duration) == (0, 28)
    assert sum(prediction.seconds().values()) == pytest.approx(28)
    stretches = prediction.stretches()
    assert all(one.end == two.begin and one.speakers != two.speakers for one, two in itertools.pairwise(stretches))
    table = prediction.to_dataframe()
    assert list(table) == ["time", "count", "p_0", "p_1", "p_2", "p_3"]
    assert table["count"].tolist() == prediction.counts.tolist()


def test_file_array_and_channels_give_the_same_counts_whatever_the_block(predictor, conversation, monkeypatch):
    expected = predictor.predict(conversation.path).probabilities
    monkeypatch.setattr(audio, "BLOCK", 7_001)
    two = np.stack([conversation.samples, conversation.samples], axis=1)
    for array in (conversation.samples, two):
        given = predictor.predict(array, RATE)
        np.testing.assert_allclose(given.probabilities, expected, atol=1e-3)
        assert given.file is None
    once = speaker_count.predict(conversation.path, smooth=0, hop=1.0)
    assert once.times.tolist() == [number + 0.5 for number in range(28)]


def test_silence_is_no_speaker_and_the_threshold_is_a_level(predictor, noise):
    assert predictor.predict(noise * 0, RATE).counts.tolist() == [0] * 9
    assert predictor.predict(noise * 0 + 0.5, RATE).counts.tolist() == [0] * 9  # a constant has no level
    assert predictor.predict(noise, RATE).counts.tolist() == [1] * 9
    loud = speaker_count.predict(noise, RATE, silence_db=-10)  # the buzz is at -21 dB
    assert loud.counts.tolist() == [0] * 9
    np.testing.assert_array_equal(loud.probabilities[:, 0], 1)


def test_a_net_without_a_class_for_silence_gets_one(tmp_path, noise):
    from speaker_count.sweeping.exporting import onnx_of

    (tmp_path / "m5.onnx").write_bytes(onnx_of(speaker_count.load_run("m5")))
    half = np.concatenate([noise, noise * 0])
    prediction = speaker_count.predict(half, RATE, model=tmp_path / "m5.onnx", smooth=0)
    assert (prediction.classes, prediction.labels[0]) == ([0, 1, 2, 3], "0 speakers")
    assert (prediction.counts[:9] > 0).all()
    assert prediction.counts[-5:].tolist() == [0] * 5


def test_several_files_are_counted_and_one_that_is_none_stops_no_other(predictor, noise, tmp_path):
    soundfile.write(tmp_path / "good.wav", noise, RATE)
    soundfile.write(tmp_path / "short.wav", noise[: RATE - 1], RATE)
    one, two, three = predictor.predict_all([tmp_path / "short.wav", tmp_path / "none.wav", tmp_path / "good.wav"])
    assert str(one).endswith("short.wav has 0.99 s: the net needs at least 1 s of sound")
    assert isinstance(two, UserError)
    assert len(three.times) == 9


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"hop": 0}, "hop=0: expected 0.05 to 1 s"),
        ({"hop": 1.5}, "hop=1.5: expected"),
        ({"hop": float("nan")}, "hop=nan: expected"),
        ({"smooth": -1}, "smooth=-1: expected"),
        ({"silence_db": 3}, "silence_db=3: expected"),
        ({"threads": 0}, "threads=0: expected"),
        ({"channel": 0}, "channel=0: expected 1 or more"),
    ],
)
def test_settings_out_of_range_are_refused(settings, says):
    with pytest.raises(UserError, match=says):
        speaker_count.Predictor(**settings)


def test_a_picture_is_written_whole_and_its_size_does_not_follow_the_recording(predictor, conversation, tmp_path):
    prediction = predictor.predict(np.tile(conversation.samples, 3), RATE)
    assert COLUMNS <= len(prediction.overview.extremes()) <= 2 * COLUMNS
    assert prediction.overview.seconds == pytest.approx(84, abs=0.1)
    largest = np.abs(conversation.samples).max()
    assert np.abs(prediction.overview.extremes()).max() == pytest.approx(largest, rel=1e-5)
    for ending in ("png", "svg"):
        prediction.plot(tmp_path / f"x.{ending}")
    assert (tmp_path / "x.png").read_bytes().startswith(b"\x89PNG")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["x.png", "x.svg"]
    with pytest.raises(UserError, match="the name of a picture ends with"):
        prediction.plot(tmp_path / "x.txt")


def test_who_really_spoke_is_drawn_beside_the_count(predictor, conversation):
    figure = predictor.predict(conversation.path).plot(turns={"anna": [(3, 12)], "bert": [(8, 16)]})
    count = figure.axes[2]
    (drawn,) = (each for each in count.patches if each.get_label() == "reference")
    assert drawn.get_data().values.tolist() == [0, 1, 2, 1, 0]
    assert drawn.get_data().edges.tolist() == [0, 3, 8, 12, 16, 28]
    assert [text.get_text() for text in count.get_legend().get_texts()] == ["counted", "reference"]
