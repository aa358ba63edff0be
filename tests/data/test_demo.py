import hashlib
from itertools import combinations

import numpy as np
import pytest
import soundfile

from speaker_count.data import corpus, demo
from speaker_count.errors import UserError

pytest.importorskip("espeakng_loader", reason="the extra demo is not installed")
pytest.importorskip("scipy", reason="the extra demo is not installed")


def digest(root):
    files = sorted(path for path in root.rglob("*") if path.is_file())
    return [(str(path.relative_to(root)), hashlib.sha256(path.read_bytes()).hexdigest()) for path in files]


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    root = tmp_path_factory.mktemp("demo") / "corpus"
    demo.synthesize(root, 16_000)
    return root


def test_is_laid_out_as_librispeech_with_48_speakers_half_of_each_sex(made):
    listed = corpus.index(made)
    assert len(listed.speakers) == 48
    assert np.bincount(listed.sexes).tolist() == [24, 24]
    assert len(listed.utterances) == 48 * 6
    assert np.bincount(listed.splits).tolist() == [32, 8, 8]


def test_utterances_are_speech_at_the_given_rate(made):
    for path in made.rglob("*.flac"):
        samples, rate = soundfile.read(path, dtype="int16")
        assert rate == 16_000
        assert 2 < len(samples) / rate < 6
        assert 500 < np.sqrt(np.mean(np.square(samples, dtype=float))) < 10_000
        assert abs(samples).max() < 32_767


def test_no_two_speakers_are_the_same(made):
    voices = demo.speakers(48)
    assert len({(voice.variant, voice.pitch, voice.rate) for voice in voices}) == 48
    sounds = [soundfile.read(made / f"LibriSpeech/demo/{voice.name}/1/{voice.name}-1-0000.flac")[0] for voice in voices]
    for one, other in combinations(sounds, 2):
        assert len(one) != len(other) or not np.array_equal(one, other)


def test_is_the_same_bytes_each_time_and_made_once(made, tmp_path):
    demo.synthesize(tmp_path / "again", 16_000)
    assert digest(tmp_path / "again") == digest(made)
    before = (made / "LibriSpeech" / "SPEAKERS.TXT").stat().st_mtime_ns
    demo.synthesize(made, 16_000)
    assert (made / "LibriSpeech" / "SPEAKERS.TXT").stat().st_mtime_ns == before


def test_a_folder_with_other_files_is_left_alone(tmp_path):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("the only copy")
    with pytest.raises(UserError, match="holds other files than the demo corpus"):
        demo.synthesize(tmp_path / "mine", 16_000)
    assert (tmp_path / "mine" / "thesis.txt").read_text() == "the only copy"


def test_more_speakers_than_espeak_has_voices_are_refused(tmp_path):
    with pytest.raises(UserError, match="data.voices=1000: expected 2 to 80"):
        demo.synthesize(tmp_path / "many", 16_000, speakers=1000)
