import json
import os
import pickle
import shutil
import subprocess
import sys
import textwrap
import threading

import numpy as np
import pytest
import soundfile

from speaker_count.data import corpus, pool, pool_builder
from speaker_count.errors import UserError
from tests.conftest import RATE, make_tree


@pytest.fixture
def own_tree(tree, tmp_path):
    """A copy of the small tree that a test may damage."""
    return shutil.copytree(tree, tmp_path / "own")


def flac(tree, number, utterance=0):
    return tree / "LibriSpeech" / "speech" / str(100 + number) / "7" / f"{100 + number}-7-{utterance:04}.flac"


def test_holds_the_samples_of_every_utterance(tree, tmp_path):
    listed = corpus.index(tree)
    opened = pool.Pool(pool_builder.build(listed, tmp_path, RATE))
    opened.verify()
    assert opened.utterances.tolist() == listed.utterances.to_pylist()
    for row, path in enumerate(listed.paths.to_pylist()):
        samples, _ = soundfile.read(listed.root / path, dtype="int16")
        begin = opened.offsets[row]
        assert np.array_equal(opened.samples[begin : begin + opened.frames[row]], samples)
        assert opened.speakers[opened.speaker[row]] == path.split("/")[1]
    assert (opened.sexes == listed.sexes).all()
    assert (opened.splits == listed.splits).all()


def test_pickles_to_its_path(tree, tmp_path):
    opened = pool.Pool(pool_builder.build(corpus.index(tree), tmp_path, RATE))
    pickled = pickle.dumps(opened)
    assert len(pickled) < 500
    assert np.array_equal(pickle.loads(pickled).samples, opened.samples)


def test_is_built_once_and_again_when_a_file_changes(own_tree, tmp_path):
    first = pool_builder.build(corpus.index(own_tree), tmp_path, RATE)
    built = (first / "samples.int16").stat().st_mtime_ns
    assert pool_builder.build(corpus.index(own_tree), tmp_path, RATE) == first
    assert (first / "samples.int16").stat().st_mtime_ns == built
    moved = shutil.move(own_tree, tmp_path / "elsewhere")
    assert pool_builder.build(corpus.index(moved), tmp_path, RATE) == first  # the same corpus in another place
    soundfile.write(flac(moved, 0), np.zeros(2 * RATE, np.int16), RATE)
    second = pool_builder.build(corpus.index(moved), tmp_path, RATE)
    assert second != first
    assert pool.Pool(second).sha256 != pool.Pool(first).sha256


def test_files_replaced_by_others_of_the_same_length_are_another_pool(own_tree, tmp_path, caplog):
    """Their names, sizes and times of modification may be the same: WAV files of one length have one size."""
    caplog.set_level("INFO")
    replaced = flac(own_tree, 0).with_suffix(".wav")
    flac(own_tree, 0).unlink()
    random = np.random.default_rng(0)
    soundfile.write(replaced, random.integers(-9, 9, 2 * RATE).astype(np.int16), RATE)
    times = replaced.stat().st_atime_ns, replaced.stat().st_mtime_ns
    first = pool.Pool(pool_builder.build(corpus.index(own_tree), tmp_path, RATE))
    before = replaced.read_bytes()
    soundfile.write(replaced, random.integers(-9, 9, 2 * RATE).astype(np.int16), RATE)
    os.utime(replaced, ns=times)
    second = pool.Pool(pool_builder.build(corpus.index(own_tree), tmp_path, RATE))
    assert second.path != first.path
    assert second.sha256 == first.sha256  # of the index
    assert second.samples_sha256 != first.samples_sha256
    assert np.array_equal(second.samples[: 2 * RATE], soundfile.read(replaced, dtype="int16")[0])
    replaced.write_bytes(before)
    assert pool_builder.build(corpus.index(own_tree), tmp_path, RATE) == first.path  # the same bytes, the same pool
    assert "comparing what they hold" in caplog.text
    caplog.clear()
    assert pool_builder.build(corpus.index(own_tree), tmp_path, RATE) == first.path
    assert not caplog.text  # it is known now


def damage(tree):
    """Damage the first speakers' first utterances, each in its own way; returns what each reason says."""
    whole = flac(tree, 0).read_bytes()
    flac(tree, 0).write_bytes(whole[: len(whole) // 2])
    flipped = bytearray(whole)
    flipped[len(whole) // 2] ^= 255
    flac(tree, 1).write_bytes(flipped)
    flac(tree, 2).write_bytes(b"")
    flac(tree, 3).write_bytes(b"these are words, not music\n" * 50)
    soundfile.write(flac(tree, 4), np.zeros((RATE, 2), np.int16), RATE)
    soundfile.write(flac(tree, 5), np.zeros(RATE, np.int16), 8000)
    soundfile.write(flac(tree, 6).with_suffix(".wav"), np.zeros(0, np.int16), RATE)
    flac(tree, 6).unlink()
    soundfile.write(flac(tree, 7).with_suffix(".wav"), np.zeros(2 * RATE, np.int16), RATE)
    cut = flac(tree, 7).with_suffix(".wav").read_bytes()[:RATE]
    flac(tree, 7).with_suffix(".wav").write_bytes(cut)
    flac(tree, 7).unlink()
    soundfile.write(flac(tree, 8).with_suffix(".wav"), np.full(RATE, np.nan), RATE, subtype="FLOAT")
    flac(tree, 8).unlink()
    return [
        "decoder",
        "decoder",
        "not recognised",
        "not recognised",
        "2 channels",
        "8000 Hz",
        "empty",
        "truncated",
        "only integer PCM",
    ]


def test_a_few_damaged_utterances_are_left_out_and_listed(tmp_path, caplog):
    tree = make_tree(tmp_path / "tree", utterances=40, seconds=0.2)  # 960 utterances: one in a hundred may be damaged
    reasons = damage(tree)
    opened = pool.Pool(pool_builder.build(corpus.index(tree), tmp_path, RATE))
    assert len(opened.utterances) == 960 - len(reasons)
    assert len(opened.damaged) == len(reasons)
    for entry, reason in zip(opened.damaged, reasons, strict=True):
        assert reason in entry["reason"]
        assert entry["reason"]
        assert entry["path"] in caplog.text


def test_too_many_damaged_utterances_are_an_error(own_tree, tmp_path):
    damage(own_tree)
    with pytest.raises(UserError, match=r"9 of the 48 utterances .* are damaged \(at most 3"):
        pool_builder.build(corpus.index(own_tree), tmp_path / "cache", RATE)
    assert not list((tmp_path / "cache" / "pools").glob("*/"))


def test_of_many_damaged_utterances_ten_are_named(own_tree, tmp_path, caplog):
    for number in range(12):
        flac(own_tree, number).write_bytes(b"no audio")
    with pytest.raises(UserError, match="12 of the 48 utterances"):
        pool_builder.build(corpus.index(own_tree), tmp_path / "cache", RATE)
    assert [line.startswith(f"left out: {own_tree}") for line in caplog.messages] == [True] * 10 + [False]
    assert caplog.messages[-1] == "left out: 2 more"


def test_files_that_were_only_touched_are_not_decoded_again(own_tree, tmp_path):
    path = pool_builder.build(corpus.index(own_tree), tmp_path, RATE)
    built = (path / "samples.int16").stat().st_ino
    for number in range(24):
        os.utime(flac(own_tree, number))
    assert pool_builder.existing(corpus.index(own_tree), tmp_path, RATE) == path
    assert pool_builder.build(corpus.index(own_tree), tmp_path, RATE) == path
    assert (path / "samples.int16").stat().st_ino == built
    assert pool_builder.build(corpus.index(own_tree), tmp_path, RATE, force=True) == path
    assert (path / "samples.int16").stat().st_ino != built
    assert pool_builder.existing(corpus.index(own_tree), tmp_path, 8000) is None


def test_a_run_s_speech_is_found_among_the_pools(tree, own_tree, tmp_path):
    flac(own_tree, 3).unlink()
    paths = [pool_builder.build(corpus.index(each), tmp_path, RATE) for each in (tree, own_tree)]
    for path in paths:
        opened = pool.Pool(path)
        recorded = {"corpus_sha256": opened.sha256, "samples_sha256": opened.samples_sha256}
        assert pool.is_speech_of(opened, recorded)
        assert pool.find(tmp_path, recorded) == path
        assert pool.find(tmp_path, {"corpus_sha256": opened.sha256}) == path  # a result of 0.1.0
        for changed in recorded:
            other = {**recorded, changed: "0" * 64}
            assert not pool.is_speech_of(opened, other)
            assert pool.find(tmp_path, other) is None
    (paths[0] / "pool.json").write_text("{")
    assert pool.find(tmp_path, recorded) == paths[1]  # one that is damaged hides no other
    description = json.loads((paths[1] / "pool.json").read_text())
    (paths[1] / "pool.json").write_text(json.dumps({**description, "format": 3}))
    assert pool.find(tmp_path, recorded) is None


def test_what_is_verified_is_noted_until_it_changes(tree, tmp_path):
    path = pool_builder.build(corpus.index(tree), tmp_path, RATE)
    noted = json.loads((path / "verified.json").read_text())
    assert noted == pool.states_of(path)  # of what was just decoded
    pool.Pool(path).verify(again=True)
    os.utime(path / "activity.int32")
    pool.Pool(path).verify()
    assert json.loads((path / "verified.json").read_text()) == pool.states_of(path) != noted
    for text in ("{", "[]", ""):
        (path / "verified.json").write_text(text)
        pool.Pool(path).verify()
        assert json.loads((path / "verified.json").read_text()) == pool.states_of(path)


def test_a_second_process_waits_for_the_first(tree, tmp_path, caplog):
    listed = corpus.index(tree)
    path = pool_builder.build(listed, tmp_path, RATE)
    shutil.rmtree(path)
    (lock,) = path.parent.glob("*.lock")
    hold = f"import filelock\nwith filelock.FileLock({str(lock)!r}): print(flush=True); input()"
    with subprocess.Popen([sys.executable, "-c", hold], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as other:
        other.stdout.readline()  # it has the lock
        timer = threading.Timer(1, other.kill)
        timer.start()
        assert pool_builder.build(listed, tmp_path, RATE) == path
        timer.join()
    assert "another process is building the pool" in caplog.text


def test_the_remains_of_a_killed_build_are_not_used(tree, tmp_path):
    listed = corpus.index(tree)
    path = pool_builder.build(listed, tmp_path, RATE)
    shutil.rmtree(path)
    (lock,) = path.parent.glob("*.lock")
    partial = lock.with_suffix(".partial")
    partial.mkdir()
    (partial / "samples.int16").write_bytes(b"half")
    assert pool.Pool(pool_builder.build(listed, tmp_path, RATE)).frames.sum() == 48 * 1.5 * RATE
    assert not partial.exists()


def test_a_truncated_or_altered_pool_is_reported(tree, tmp_path):
    path = pool_builder.build(corpus.index(tree), tmp_path, RATE)
    samples = bytearray((path / "samples.int16").read_bytes())
    samples[1000] ^= 1
    (path / "samples.int16").write_bytes(samples)
    with pytest.raises(UserError, match="is damaged: delete"):
        pool.Pool(path).verify()
    # a failing disk alters samples without a trace
    (path / "verified.json").write_text(json.dumps(pool.states_of(path)))
    pool.Pool(path).verify()
    with pytest.raises(UserError, match="is damaged: delete"):
        pool.Pool(path).verify(again=True)
    (path / "samples.int16").write_bytes(samples[:-2])
    with pytest.raises(UserError, match="is damaged: delete"):
        pool.Pool(path)
    (path / "samples.int16").write_bytes(samples)
    index = bytearray((path / "index.parquet").read_bytes())
    index[len(index) // 3] ^= 1
    (path / "index.parquet").write_bytes(index)
    with pytest.raises(UserError, match="is damaged: delete"):
        pool.Pool(path)
    index[len(index) // 3] ^= 1
    (path / "index.parquet").write_bytes(index)
    (path / "activity.int32").unlink()
    with pytest.raises(UserError, match="is damaged: delete"):
        pool.Pool(path)


def test_a_folder_that_cannot_be_written_is_reported(tree, tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(UserError, match=r"cannot write the pool .* data\.cache=DIR"):
        pool_builder.build(corpus.index(tree), tmp_path / "file" / "cache", RATE)


def test_a_full_disk_is_reported_and_leaves_no_files(tree, tmp_path):
    script = f"""
        import resource
        from speaker_count.data import corpus, pool, pool_builder
        resource.setrlimit(resource.RLIMIT_FSIZE, (500_000, 500_000))  # a file may grow no more, as on a full disk
        try:
            pool_builder.build(corpus.index({str(tree)!r}), {str(tmp_path)!r}, {RATE})
        except pool_builder.UserError as error:
            print(error)
    """
    child = subprocess.run([sys.executable, "-c", textwrap.dedent(script)], capture_output=True, text=True)
    assert "cannot write the pool" in child.stdout
    assert "free some space" in child.stdout
    assert [path.suffix for path in (tmp_path / "pools").iterdir()] == [".lock"]
