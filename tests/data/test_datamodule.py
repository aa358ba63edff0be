import itertools
import multiprocessing
import pickle
import threading

import numpy as np
import pytest
import torch

from speaker_count.data.datamodule import ClipDataModule
from speaker_count.data.loader import ClipLoader
from speaker_count.errors import UserError
from tests.conftest import make_tree, mix_of


def taken(loader):
    """All clips of an epoch by number: count and samples."""
    return {
        int(index): (int(count), waveform.numpy().tobytes())
        for batch in loader
        for index, count, waveform in zip(batch["index"], batch["count"], batch["waveform"], strict=True)
    }


def order(loader):
    return torch.cat([batch["index"] for batch in loader]).tolist()


def test_yields_the_planned_clips_and_counts(make_data):
    data = make_data()
    plan = data.clips["test"].plan()
    batch = next(iter(data.test_dataloader()))
    assert batch["waveform"].shape == (32, 16_000)
    assert batch["waveform"].dtype == torch.int16
    assert batch["count"].tolist() == plan.count[:32].tolist()
    assert np.array_equal(batch["waveform"], data.clips["test"].render(plan[:32]))


@pytest.mark.parametrize("fresh", [False, True])
def test_batch_size_and_ranks_do_not_change_the_clips(make_data, fresh):
    data = make_data(mix=mix_of(fresh_each_epoch=fresh))
    clips, seed = data.clips["train"], None if fresh else 0
    whole = taken(ClipLoader(clips, 32, seed))
    assert len(whole) == 96
    assert taken(ClipLoader(clips, 17, seed)) == whole
    ranks = [ClipLoader(clips, 32, seed, rank=rank, ranks=2) for rank in range(2)]
    first, second = map(taken, ranks)
    assert not first.keys() & second.keys()
    assert {**first, **second} == whole
    for global_batch, *parts in zip(ClipLoader(clips, 32, seed), *ranks, strict=True):  # in the same global batches
        assert set(global_batch["index"].tolist()) == set(torch.cat([part["index"] for part in parts]).tolist())


def test_worker_processes_render_the_same_clips_and_end(make_data):
    varied = mix_of(2048, clip_seconds=0.25, fresh_each_epoch=True, augment={"speed": 0.15, "noise_share": 0.5})
    state = torch.get_rng_state()
    rendered = iter(make_data(mix=varied, workers=2).train_dataloader())
    for batch in itertools.islice(make_data(mix=varied).train_dataloader(), 8):
        other = next(rendered)
        assert all(torch.equal(batch[name], other[name]) for name in batch)
    assert torch.equal(torch.get_rng_state(), state)  # dropout draws the same numbers
    assert multiprocessing.active_children()
    rendered.close()  # as a run that is cut off
    assert not multiprocessing.active_children()


def test_fixed_clips_are_the_same_in_each_epoch_in_a_new_order(make_data):
    loader = make_data().train_dataloader()
    first, first_order = taken(loader), order(loader)
    loader.set_epoch(1)
    assert taken(loader) == first
    assert order(loader) != first_order
    loader.set_epoch(0)
    assert order(loader) == first_order
    assert order(make_data(seed=1).train_dataloader()) != first_order
    assert taken(make_data(seed=1).train_dataloader()) == first  # the run's seed moves the order, nothing else


def test_fresh_clips_are_new_in_each_epoch_in_plan_order(make_data):
    data = make_data(mix=mix_of(fresh_each_epoch=True), evaluate_train=True)
    train, (validation, train_again) = data.train_dataloader(), data.val_dataloader()
    first, held_out = taken(train), taken(validation)
    assert order(train) == list(range(96))
    for loader in (train, validation, train_again):
        loader.set_epoch(1)
    assert taken(train) != first
    assert taken(train_again) == taken(train)  # evaluated on the clips of this epoch's training
    assert taken(validation) == held_out


def test_a_loader_resumes_within_an_epoch(make_data):
    whole = make_data().train_dataloader()
    whole.set_epoch(3)
    loader = make_data().train_dataloader()
    loader.set_epoch(3)
    iterator = iter(loader)
    seen = [next(iterator)["index"]]
    state = loader.state_dict()
    resumed = make_data().train_dataloader()
    resumed.load_state_dict(state)
    resumed.set_epoch(3)
    seen += [batch["index"] for batch in resumed]
    assert torch.cat(seen).tolist() == order(whole)
    resumed.set_epoch(4)
    assert len(order(resumed)) == 96  # the next epoch begins at its beginning


def test_renders_ahead_on_one_thread_that_ends_with_the_iterator(make_data):
    before = threading.active_count()
    iterator = iter(make_data(mix=mix_of(train=3200)).train_dataloader())
    next(iterator)
    assert threading.active_count() == before + 1
    iterator.close()
    assert threading.active_count() == before


def test_an_error_while_rendering_reaches_the_step(make_data):
    loader = make_data().train_dataloader()
    loader.clips.render = lambda plan: 1 / 0
    with pytest.raises(ZeroDivisionError):
        next(iter(loader))


def test_a_loader_pickles_without_samples(make_data):
    loader = make_data().train_dataloader()
    pickled = pickle.dumps(loader)
    assert len(pickled) < 20_000
    assert taken(pickle.loads(pickled)) == taken(loader)


def test_too_few_speakers_and_too_short_speech_are_refused(make_data, tmp_path):
    with pytest.raises(UserError, match=r"validation split .* has 6 speakers .* asks for 7"):
        make_data(mix=mix_of(counts=(1, 7)))
    with pytest.raises(UserError, match=r"clip_seconds=2.0 is longer than every utterance .* 1\.50 s"):
        make_data(mix=mix_of(clip_seconds=2.0))
    with pytest.raises(UserError, match="validation split .* has 0 speakers"):
        make_data(make_tree(tmp_path, women=2, men=2))
    with pytest.raises(UserError, match="batch_size=0"):
        make_data(batch_size=0)


def test_a_split_without_a_sex_draws_the_other_and_warns(make_data, tmp_path, caplog):
    data = make_data(make_tree(tmp_path, women=0, men=12))
    assert "0 speakers of sex F" in caplog.text
    assert set(data.clips["test"].plan().sexes.ravel()) == {-1, 1}


def test_the_pool_is_opened_by_setup(tree, cache):
    data = ClipDataModule("folder", str(tree), str(cache), mix_of())
    with pytest.raises(RuntimeError, match="call it first"):
        _ = data.pool
    data.setup()
    assert data.pool.path == data.prepare_data()
