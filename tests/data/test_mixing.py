"""The plan and the mix against a plain reference: one clip, one voice, one word at a time."""

import dataclasses
import hashlib
import subprocess
import sys
import textwrap
from types import SimpleNamespace

import numpy as np
import pytest

from speaker_count.data import mixing
from speaker_count.data.datamodule import ClipDataModule
from speaker_count.data.planning import Plan
from speaker_count.errors import UserError
from speaker_count.labels import SPLITS
from tests.conftest import mix_of

SAMPLES = 16_000


def philox(name, item, per_item):
    """Philox4x64-10 by its paper's formulas, in plain integers: the 32-bit words of an item of a stream."""
    digest = hashlib.sha256(name.encode()).digest()
    words = []
    blocks = -(-per_item // 8)
    for block in range(blocks):
        counter = item * blocks + block + 1  # NumPy counts before it draws
        x = [counter % 2**64, counter >> 64, 0, 0]
        key = [int.from_bytes(digest[:8], "little"), int.from_bytes(digest[8:16], "little")]
        for _ in range(10):
            high0, low0 = divmod(0xD2E7470EE14C6C93 * x[0], 2**64)
            high1, low1 = divmod(0xCA5A826395121157 * x[2], 2**64)
            x = [high1 ^ x[1] ^ key[0], low1, high0 ^ x[3] ^ key[1], low0]
            key = [(key[0] + 0x9E3779B97F4A7C15) % 2**64, (key[1] + 0xBB67AE8584CAA73B) % 2**64]
        for word in x:
            words += [word % 2**32, word >> 32]
    return words[:per_item]


def below(word, bound):
    return word * bound >> 32


def reference(pool, split, seed, epoch, index, counts, samples):
    """Clip `index`: its count, its voices as (sex, speaker, utterance, start), and its samples."""
    block, place = divmod(index, len(counts))
    order = list(counts)
    words = philox(f"count/{split}/{seed}/{epoch}", block, len(counts))
    for last in range(len(counts) - 1, 0, -1):
        other = below(words[last], last + 1)
        order[last], order[other] = order[other], order[last]
    count = order[place]

    utterances = {}
    for row in range(len(pool.utterances)):
        if pool.frames[row] >= samples and SPLITS[pool.splits[pool.speaker[row]]] == split:
            utterances.setdefault(int(pool.speaker[row]), []).append(row)
    remaining = {sex: [speaker for speaker in sorted(utterances) if pool.sexes[speaker] == sex] for sex in (0, 1)}
    words = philox(f"voices/{split}/{seed}/{epoch}", index, 4 * max(counts))
    voices, total = [], np.zeros(samples, np.int64)
    for voice in range(count):
        for_sex, for_speaker, for_utterance, for_start = words[4 * voice : 4 * voice + 4]
        sex = below(for_sex, 2)
        sex = sex if remaining[sex] else 1 - sex
        speaker = remaining[sex].pop(below(for_speaker, len(remaining[sex])))
        utterance = utterances[speaker][below(for_utterance, len(utterances[speaker]))]
        start = below(for_start, int(pool.frames[utterance]) - samples + 1)
        voices.append((sex, speaker, utterance, start))
        begin = pool.offsets[utterance] + start
        total += pool.samples[begin : begin + samples]
    # ties to even, in integers
    quotient, rest = np.divmod(total, count)
    up = (2 * rest > count) | ((2 * rest == count) & (quotient % 2 == 1))
    return count, voices, quotient + up


@pytest.mark.parametrize("counts", [(1, 2, 3), (2,), (1, 2, 3, 4, 5, 6), (1, 4)])
@pytest.mark.parametrize("split", SPLITS)
def test_plan_and_mix_agree_with_the_reference_bit_for_bit(make_data, counts, split):
    clips = make_data(mix=mix_of(counts=counts, seed=5, fresh_each_epoch=True)).clips[split]
    plan = clips.plan(7, 31, epoch=2)
    rendered = clips.render(plan)
    for row, index in enumerate(range(7, 31)):
        epoch = 2 if split == "train" else 0
        count, voices, samples = reference(clips.pool, split, 5, epoch, index, counts, SAMPLES)
        assert (plan.index[row], plan.count[row]) == (index, count)
        columns = (plan.sexes, plan.speakers, plan.utterances, plan.starts)
        assert [tuple(column[row, voice] for column in columns) for voice in range(count)] == voices
        assert all((column[row, count:] == -1).all() for column in columns)
        assert np.array_equal(rendered[row], samples)


def test_gains_scale_and_clipping():
    pool = SimpleNamespace(
        samples=np.array([30_000, -30_000, 3, 5, 20_000, -20_000, 4, 4], np.int16), offsets=np.array([0, 4])
    )
    plan = Plan(
        index=np.arange(2),
        count=np.array([2, 2]),
        speakers=np.zeros((2, 2), np.int32),
        utterances=np.array([[0, 1], [0, 1]], np.int32),
        starts=np.zeros((2, 2), np.int64),
        sexes=np.zeros((2, 2), np.int8),
        activity=np.ones((2, 2), np.float32),
        gains=np.array([[1, 1], [2, 0.5]], np.float32),
        scale=np.array([1, 4], np.float32),
        samples=4,
    )
    clips, clipped, _ = mixing.mix(pool, plan)
    assert clips.dtype == np.int16
    assert clips.tolist() == [[25_000, -25_000, 4, 4], [32_767, -32_768, 16, 24]]  # 3.5 and 4.5 go to the even 4
    assert clipped.tolist() == [0, 2]


def test_silence_stays_silence_and_loud_voices_are_clipped_where_they_are_alone_too():
    samples = np.concatenate([np.zeros(4), [30_000, -30_000, 3, 5], [30_000, -30_000, 4, 4]]).astype(np.int16)
    pool = SimpleNamespace(samples=samples, offsets=np.array([0, 4, 8]))
    plan = Plan(
        index=np.arange(2),
        count=np.array([1, 2]),
        speakers=np.zeros((2, 2), np.int32),
        utterances=np.array([[0, -1], [1, 2]], np.int32),
        starts=np.zeros((2, 2), np.int64),
        sexes=np.zeros((2, 2), np.int8),
        activity=np.ones((2, 2), np.float32),
        gains=np.array([[1, 0], [1, 1]], np.float32),
        scale=np.full(2, np.nan, np.float32),
        samples=4,
        level=30_000.0,
    )
    mixture = mixing.mix(pool, plan)
    assert mixture.clips[0].tolist() == [0, 0, 0, 0]
    assert mixture.scale[0] == 1
    assert np.abs(mixture.clips[1].astype(int)).max() == 32_768
    assert mixture.clipped.tolist() == [0, 2]
    louder = dataclasses.replace(plan, scale=np.array([1, 4], np.float32), level=None)
    voices = mixing.sources(pool, louder)
    assert [each.dtype for each in voices] == [np.int16, np.int16]
    assert voices[1].tolist() == [[32_767, -32_768, 6, 10], [32_767, -32_768, 8, 8]]


def test_level_blind_clips_have_one_level_and_the_paper_s_crops(make_data):
    crops = make_data().clips["test"].plan()
    clips = make_data(mix=mix_of(gain_db=(-5, 5), level_db=-26)).clips["test"]
    plan = clips.plan()
    assert np.array_equal(plan.starts, crops.starts)  # the protocols differ in levels alone
    gains = 20 * np.log10(plan.gains[plan.gains > 0])
    assert gains.min() < -4
    assert gains.max() > 4
    assert abs(gains).max() <= 5.001
    mixture = mixing.mix(clips.pool, plan)
    level = np.sqrt(np.square(mixture.clips, dtype=np.float64).mean(axis=1))
    assert 20 * np.log10(level / 32_768) == pytest.approx(-26, abs=0.01)
    fixed = mixing.mix(clips.pool, dataclasses.replace(plan, scale=mixture.scale, level=None))
    assert np.array_equal(fixed.clips, mixture.clips)  # the mixture's scale is the one that rendering used
    one = clips.plan(5, 6)
    assert np.array_equal(clips.render(one)[0], mixture.clips[5])


def test_sources_sum_up_to_the_clip(make_data):
    clips = make_data(mix=mix_of(gain_db=(-5, 5), level_db=-26)).clips["test"]
    plan = clips.plan(0, 12)
    for voices, clip, count in zip(mixing.sources(clips.pool, plan), clips.render(plan), plan.count, strict=True):
        assert voices.shape == (count, SAMPLES)
        assert abs(voices.sum(axis=0, dtype=np.int64) - clip).max() <= 2


def test_clips_of_any_length_and_count(make_data):
    data = make_data(mix=mix_of(counts=(2, 5), clip_seconds=0.25))
    assert data.clips["test"].render(data.clips["test"].plan(0, 4)).shape == (4, 4000)
    assert set(data.clips["test"].plan().count) == {2, 5}


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"counts": ()}, "mix.counts=[]"),
        ({"counts": 2}, "mix.counts=2"),
        ({"counts": (0,)}, "mix.counts=[0]: expected increasing numbers of speakers, at most 999"),
        ({"counts": (-1, 1)}, "mix.counts=[-1, 1]"),
        ({"counts": (2, 1)}, "such as mix.counts=[1,2,3]"),
        ({"counts": (1, 1000)}, "mix.counts=[1, 1000]"),
        ({"counts": (True, 2)}, "mix.counts=[True, 2]"),
        ({"counts": (1, 2.5)}, "mix.counts=[1, 2.5]"),
        ({"clip_seconds": 0}, "mix.clip_seconds=0"),
        ({"seed": -1}, "mix.seed=-1"),
        ({"fresh_each_epoch": 1}, "mix.fresh_each_epoch=1"),
        ({"test": 0}, "mix.clips.test=0"),
        ({"min_active": 2}, "mix.min_active=2: expected a share of the clip, from 0 to 1"),
        ({"min_active": -0.1}, "mix.min_active=-0.1"),
        ({"gain_db": (5, -5)}, "mix.gain_db=(5, -5): expected the lowest and the highest gain, from -60 to 60"),
        ({"gain_db": (-61, 5)}, "mix.gain_db=(-61, 5)"),
        ({"gain_db": ("loud", 5)}, "mix.gain_db=('loud', 5)"),
        ({"gain_db": (1, 2, 3)}, "mix.gain_db=(1, 2, 3)"),
        ({"gain_db": 5}, "mix.gain_db=5"),
        ({"level_db": 3}, "mix.level_db=3: expected decibels below full scale"),
        ({"level_db": -97}, "mix.level_db=-97"),
    ],
)
def test_an_impossible_mix_is_refused(changes, problem):
    with pytest.raises(UserError) as error:
        mix_of(**changes)
    assert problem in str(error.value)


def test_the_ends_of_what_is_possible():
    assert mix_of(counts=(999,), level_db=0, gain_db=(-60, 60), min_active=1, seed=0).level_db == 0
    assert mix_of(level_db=-96, gain_db=(3, 3), min_active=0).min_active == 0
    with pytest.raises(UserError, match="mix.clips=7: expected a number for each split"):
        mixing.Mix("m", 7)
    with pytest.raises(UserError, match="mix.clips.validation"):
        mixing.Mix("m", {"train": 1, "test": 1})


def test_another_process_with_another_batch_size_renders_the_same(real_speech, cache):
    script = """
        import hashlib, sys
        from speaker_count.data.datamodule import ClipDataModule
        from speaker_count.data.mixing import Mix
        mix = Mix("paper", {"train": 500, "validation": 10, "test": 10}, fresh_each_epoch=True)
        data = ClipDataModule("s", sys.argv[1], sys.argv[2], mix, "librispeech", int(sys.argv[3]),
                              train_subsets=["train-clean-100"], utterance_list="librispeech_sample")
        data.setup()
        digest = hashlib.sha256()
        for batch in data.train_dataloader():
            digest.update(batch["waveform"].numpy().tobytes())
        print(digest.hexdigest())
    """
    command = [sys.executable, "-c", textwrap.dedent(script), str(real_speech), str(cache)]
    outputs = [
        subprocess.run([*command, size], capture_output=True, text=True, check=True).stdout for size in ("32", "77")
    ]
    assert outputs[0] == outputs[1]


def test_the_paper_s_clips_of_the_sample_keep_their_hashes(real_speech, cache):
    """A change of these hashes changes the data set, and with it every figure that was measured on it."""
    mix = mix_of(train=100_000, validation=10_000, test=10_000)
    subsets = {"train_subsets": ["train-clean-100"], "utterance_list": "librispeech_sample"}
    data = ClipDataModule("librispeech_sample", str(real_speech), str(cache), mix, "librispeech", **subsets)
    data.setup()
    assert data.pool.sha256 == "774efab4d28012e393204d417a472ea1e24035647869b24b300e4cc07fcd4964"
    assert data.clips["validation"].sha256() == "820a26213d73c6d7dd1de71ec012e7193f31583c0ce930d48c675e4c5bf092b3"
    assert data.clips["test"].sha256() == "058d5576ad3cd8c6304bb44ba5972a2df5cb0d17d2a9844e273d4997c0fd698e"
