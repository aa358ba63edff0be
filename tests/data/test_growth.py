"""A large corpus must not change the samples that are read, nor a long epoch the cost of a slice of its plan."""

import os
import time
import tracemalloc
from dataclasses import replace

import numpy as np
import pytest

from speaker_count.data import draws
from speaker_count.data.clips import MixedClips
from speaker_count.data.loader import ClipLoader
from speaker_count.data.pool import Pool
from tests.benchmarks.large_corpus import RATE, check_samples, make_pool, simulated
from tests.conftest import mix_of

LONG = 10**8  # clips


@pytest.fixture
def hundred_hours(tmp_path):
    """A pool of 5.8 * 10^9 samples, in files with holes."""
    make_pool(*simulated(100), tmp_path / "pool")
    status = (tmp_path / "pool" / "samples.int16").stat()
    if 512 * status.st_blocks > status.st_size / 100:
        pytest.skip("this file system keeps no holes")
    return tmp_path / "pool"


def test_samples_beyond_2_to_the_31_are_the_right_ones(hundred_hours):
    noise = np.random.default_rng(0).integers(-(2**15), 2**15, RATE).astype("<i2")
    with open(hundred_hours / "samples.int16", "r+b") as file:
        file.seek(-noise.nbytes, os.SEEK_END)
        file.write(noise.data)
    pool = Pool(hundred_hours)
    clips = MixedClips(pool, "train", mix_of(counts=(1,)))
    last = len(pool.frames) - 1
    plan = clips.plan(0, 1)
    plan = replace(
        plan, utterances=np.full_like(plan.utterances, last), starts=plan.starts * 0 + pool.frames[-1] - RATE
    )
    assert pool.offsets[-1] > 2**32
    assert np.array_equal(clips.render(plan)[0], noise)

    found = check_samples(MixedClips(pool, "train", mix_of()))
    assert found["far"] > 20
    assert found["right"]


def test_a_pool_that_is_mapped_again_gives_the_same_clips(make_data, monkeypatch):
    clips = make_data().clips["test"]
    expected = clips.render(clips.plan())
    monkeypatch.setattr("speaker_count.data.clips.MAPPED_FOR_GOOD", 0)
    before = clips.pool.samples
    assert np.array_equal(clips.render(clips.plan()), expected)
    assert clips.pool.samples is not before


def test_the_end_of_a_long_epoch_is_drawn_by_itself_in_little_time_and_memory(make_data):
    clips = make_data(mix=mix_of(train=LONG)).clips["train"]
    tracemalloc.start()
    begin = time.process_time()
    part = clips.plan(LONG - 999, LONG)
    seconds, (_, most) = time.process_time() - begin, tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert seconds < 1
    assert most < 2e6
    assert part.index.tolist() == list(range(LONG - 999, LONG))
    rows = np.array([998, 0, 500])
    alone = clips.plan_of(LONG - 999 + rows)
    for column in ("index", "count", "speakers", "utterances", "starts", "sexes", "activity"):
        assert np.array_equal(getattr(alone, column), getattr(part[rows], column)), column


def test_an_order_in_pieces_is_the_order_of_the_whole(make_data, monkeypatch):
    whole = [batch["index"].tolist() for batch in ClipLoader(make_data().clips["train"], 10, order_seed=3)]
    monkeypatch.setattr(draws, "SORTED_AT_ONCE", 25)  # four pieces of the 96 clips
    assert len([*draws.permuted("order/3/0", 96)]) == 4
    loader = ClipLoader(make_data().clips["train"], 10, order_seed=3)
    assert [batch["index"].tolist() for batch in loader] == whole
    loader.load_state_dict({"epoch": 0, "batch": 6})
    assert [batch["index"].tolist() for batch in loader] == whole[6:]
