import hashlib
import shutil

import numpy as np
import pytest

from speaker_count.data import corpus
from speaker_count.data.splits import by_speaker
from speaker_count.errors import UserError
from speaker_count.labels import SEXES, SPLITS
from tests.conftest import make_tree


def test_lists_every_utterance_with_its_speaker_and_sex(tree):
    listed = corpus.index(tree)
    assert len(listed.utterances) == 48
    row = listed.utterances.to_pylist().index("101-7-0001")
    path = listed.paths[row].as_py()
    assert path == "speech/101/7/101-7-0001.flac"
    assert listed.sizes[row] == (listed.root / path).stat().st_size
    assert listed.speakers[listed.speaker[row]] == "101"
    assert [SEXES[sex] for sex in listed.sexes] == ["F"] * 12 + ["M"] * 12


def test_root_may_be_the_folder_of_subsets_itself(tree):
    inner, outer = corpus.index(tree / "LibriSpeech"), corpus.index(tree)
    assert inner.paths.to_pylist() == outer.paths.to_pylist()


def test_other_files_in_the_tree_are_ignored(tmp_path):
    make_tree(tmp_path, women=1, men=1, utterances=1)
    chapter = tmp_path / "LibriSpeech" / "speech" / "100" / "7"
    (chapter / "100-7.trans.txt").write_text("100-7-0000 HELLO")
    (chapter / "._100-7-0000.flac").write_text("macOS leaves such files")
    assert len(corpus.index(tmp_path).utterances) == 2


def test_speakers_are_divided_by_the_hash_of_their_id_within_each_sex():
    speakers, sexes = np.array([str(number) for number in range(40)]), np.array([0] * 10 + [1] * 30)
    splits = by_speaker(speakers, sexes)
    for members, held_out in ((speakers[:10], 3), (speakers[10:], 4)):  # at least three from nine on; round(0.15 * 30)
        ordered = sorted(members, key=lambda speaker: hashlib.sha256(speaker.encode()).hexdigest())
        named = {str(speaker): SPLITS[split] for speaker, split in zip(speakers, splits, strict=True)}
        assert {named[speaker] for speaker in ordered[:held_out]} == {"validation"}
        assert {named[speaker] for speaker in ordered[held_out : 2 * held_out]} == {"test"}
        assert {named[speaker] for speaker in ordered[2 * held_out :]} == {"train"}


def test_splits_by_subset(tmp_path):
    for number, subset in enumerate(("a", "b", "c")):
        make_tree(tmp_path / subset, women=2, men=2, utterances=1, subset=subset)
        for folder in (tmp_path / subset / "LibriSpeech" / subset).iterdir():  # other speakers in each subset
            folder.rename(folder.with_name(f"{number}{folder.name}"))
        shutil.copytree(tmp_path / subset / "LibriSpeech" / subset, tmp_path / "all" / subset)
    lines = [f"{number}{100 + row} | {'FFMM'[row]} | x | 1 | x" for number in range(3) for row in range(4)]
    (tmp_path / "all" / "SPEAKERS.TXT").write_text("\n".join(lines))
    listed = corpus.index(tmp_path / "all", ["a"], ["b"], ["c"])
    splits = {(speaker[0], SPLITS[split]) for speaker, split in zip(listed.speakers, listed.splits, strict=True)}
    assert splits == {("0", "train"), ("1", "validation"), ("2", "test")}
    with pytest.raises(UserError, match="train and the test split"):
        corpus.index(tmp_path / "all", ["a"], ["b"], ["a"])
    shutil.copytree(tmp_path / "all" / "a" / "0100", tmp_path / "all" / "c" / "0100")
    with pytest.raises(UserError, match="more than once"):
        corpus.index(tmp_path / "all", ["a"], ["b"], ["c"])
    for file in (tmp_path / "all" / "c" / "0100" / "7").iterdir():
        file.rename(file.with_name(f"other-{file.name}"))
    with pytest.raises(UserError, match="speaker 0100 is in the train and the test split"):
        corpus.index(tmp_path / "all", ["a"], ["b"], ["c"])


def test_splits_are_all_subsets_or_none(tree):
    for named in ((None, ["b"], ["c"]), (["a"], ["b"], None), (None, None, ["c"])):
        with pytest.raises(UserError, match=r"data\.validation_subsets and data\.test_subsets, or neither"):
            corpus.index(tree, *named)


def test_the_packaged_sample_has_the_same_216_speakers_everywhere(real_speech):
    listed = corpus.index(real_speech, ["train-clean-100"], utterance_list="librispeech_sample")
    assert len(listed.utterances) == len(listed.speakers) == 216
    assert np.bincount(listed.splits).tolist() == [152, 32, 32]
    assert {tuple(np.bincount(listed.sexes[listed.splits == split])) for split in (1, 2)} == {(16, 16)}


def test_a_reader_with_bars_in_the_name_is_read(tmp_path):
    table = tmp_path / "SPEAKERS.TXT"
    table.write_bytes(b"; comment\n60 | M | train-clean-100 | 20.18 | |CBW|Simon\n61|f|x|1|\xe9\xff\x85 odd bytes\n")
    assert corpus.read_speakers(table) == {"60": "M", "61": "F"}


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("100 | X | x | 1 | y", "line 1"),
        ("; fine\njust words", "line 2"),
        ("100 | F | x | 1 | y\n100 | M | x | 1 | y", "listed twice"),
        ("7 | F | x | 1 | y", "does not list 24 of the 24 speakers"),
        ("", "does not list"),
    ],
)
def test_a_malformed_speakers_table_is_refused(tree, tmp_path, text, says):
    copy = shutil.copytree(tree, tmp_path / "copy")
    (copy / "LibriSpeech" / "SPEAKERS.TXT").write_text(text)
    with pytest.raises(UserError, match=says):
        corpus.index(copy)


def test_a_missing_speakers_table_is_refused(tree, tmp_path):
    copy = shutil.copytree(tree, tmp_path / "copy")
    (copy / "LibriSpeech" / "SPEAKERS.TXT").unlink()
    with pytest.raises(UserError, match=r"SPEAKERS\.TXT"):
        corpus.index(copy)


def test_missing_speech_names_the_ways_to_get_some(tmp_path):
    for root in (tmp_path, tmp_path / "nowhere"):
        with pytest.raises(UserError, match=r"prepare data=librispeech.*data\.root=DIR.*data=demo"):
            corpus.index(root)
    with pytest.raises(UserError, match=r"no train-clean-100, dev-clean, test-clean in .*prepare"):
        corpus.index(tmp_path, ["train-clean-100"], ["dev-clean"], ["test-clean"])


def test_utterances_that_the_list_names_and_the_tree_lacks_are_reported(tree, tmp_path):
    (tmp_path / "mine.txt").write_text("100-7-0000\n101-7-0000\n")
    assert len(corpus.index(tree, utterance_list=tmp_path / "mine.txt").utterances) == 2
    (tmp_path / "mine.txt").write_text("100-7-0000\n999-7-0000\n")
    with pytest.raises(UserError, match="1 of the 2 utterances.*999-7-0000"):
        corpus.index(tree, utterance_list=tmp_path / "mine.txt")
