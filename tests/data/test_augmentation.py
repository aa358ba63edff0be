"""How clips vary: every property follows from the clip's number, and is heard in its samples."""

import dataclasses

import numpy as np
import pyarrow.parquet as pq
import pytest
from threadpoolctl import threadpool_limits

from speaker_count.data import augmentation, effects, mixing
from speaker_count.data.datamodule import ClipDataModule
from speaker_count.data.pauses import Pauses
from speaker_count.data.speed import at_speed
from speaker_count.errors import UserError
from tests.conftest import RATE, SMALL, make_tree, mix_of

ALL = {
    "speed": 0.15,
    "backwards_share": 0.5,
    "colour": 0.4,
    "gain_db": [-6, 6],
    "level_db": [-40, -12],
    "noise_share": 0.5,
    "room_share": 0.5,
    "band_share": 0.5,
    "bits_share": 0.5,
}


@pytest.fixture
def clips(make_data):
    """Makes the training clips of an augmentation."""

    def make(counts=(1, 2, 3), **augment):
        return make_data(mix=mix_of(counts=counts, augment=augment)).clips["train"]

    return make


def decibels(ratio):
    return 20 * np.log10(ratio)


def rms(clip):
    return np.sqrt((clip.astype(float) ** 2).mean())


def test_only_the_chosen_splits_vary(make_data):
    paper, varied = make_data(), make_data(mix=mix_of(augment=ALL))
    for split in ("validation", "test"):
        assert varied.clips[split].sha256() == paper.clips[split].sha256()
    assert varied.clips["train"].sha256() != paper.clips["train"].sha256()
    other = make_data(mix=mix_of(augment={**ALL, "splits": ["test"]}))
    assert other.clips["train"].sha256() == paper.clips["train"].sha256()
    assert other.clips["test"].sha256() != paper.clips["test"].sha256()


def test_a_clip_is_made_again_from_its_number(clips):
    varied = clips(counts=(0, 1, 2, 3), **ALL)
    whole = varied.render(varied.plan())
    assert np.array_equal(varied.render(varied.plan_of(np.array([70, 3, 41]))), whole[[70, 3, 41]])
    again = clips(counts=(0, 1, 2, 3), **ALL)
    assert np.array_equal(again.render(again.plan(10, 20)), whole[10:20])
    fewest = dict.fromkeys((name for name, _ in varied.plan().effects.columns()), 4) | {"backwards": 2}
    done = varied.plan().effects
    assert all(len(np.unique(getattr(done, name))) >= values for name, values in fewest.items())  # everything varies


def pitch(clip):
    """The strongest frequency, in Hz."""
    return np.abs(np.fft.rfft(clip.astype(float))).argmax() * RATE / len(clip)


def test_speed_moves_the_pitch(clips):
    plain, varied = clips(counts=(1,)), clips(counts=(1,), speed=0.15)
    plan = varied.plan()
    speeds = plan.effects.speed[:, 0]
    assert speeds.min() < 0.9
    assert speeds.max() > 1.1
    own = {
        speaker: pitch(clip)
        for speaker, clip in zip(plain.plan().speakers[:, 0], plain.render(plain.plan()), strict=True)
    }
    for speaker, speed, clip in zip(plan.speakers[:, 0], speeds, varied.render(plan), strict=True):
        if speaker in own:
            assert pitch(clip) == pytest.approx(own[speaker] * speed, abs=2.5)


def test_a_voice_may_be_played_backwards(clips):
    forwards, varied = clips(counts=(1,)), clips(counts=(1,), backwards_share=0.5)
    plan = varied.plan()
    turned = plan.effects.backwards[:, 0]
    assert 0.3 < turned.mean() < 0.7
    plain = forwards.render(forwards.plan())
    assert np.array_equal(varied.render(plan)[turned], plain[turned, ::-1])
    assert np.array_equal(varied.render(plan)[~turned], plain[~turned])
    active = forwards.active_voices(forwards.plan(), 50)
    assert np.array_equal(varied.active_voices(plan, 50)[turned], active[turned, ::-1])


def test_colour_changes_the_spectrum_and_keeps_the_loudness(clips):
    plain, varied = clips(counts=(1,)), clips(counts=(1,), colour=0.4)
    before, after = plain.render(plain.plan()).astype(float), varied.render(varied.plan()).astype(float)
    assert [rms(clip) for clip in after] == pytest.approx([rms(clip) for clip in before], rel=0.01)
    low, high = (decibels(np.abs(np.fft.rfft(clips)) + 1) for clips in (before, after))
    assert 1 < (high - low).std() < 12
    delays = varied.plan().effects.delays[:, 0]
    assert delays.min(axis=0).tolist() == [1, 2, 5]
    assert delays.max(axis=0).tolist()[:2] == [1, 4]


@pytest.mark.parametrize("steps", [50, 87, 93, 100, 107, 115, 150])
def test_a_voice_at_another_speed_is_as_if_it_was_recorded_so(steps):
    crop = augmentation.crop_length(8_000, steps / 100)

    def tone(hertz, samples):
        return 10_000 * np.sin(2 * np.pi * hertz * np.arange(samples) / RATE)

    for hertz in (200, 2_000, 4_000):
        played = at_speed(tone(hertz, crop), steps, 8_000)
        assert played.shape == (8_000,)
        rest = (played - tone(hertz * steps / 100, 8_000))[100:-100]  # beyond the crop is silence
        assert decibels(rms(rest) / 7_071) < -65
    if steps > 100:  # what would lie above half the rate
        assert decibels(rms(at_speed(tone(0.99 * RATE / 2, crop), steps, 8_000)[100:-100]) / 7_071) < -65


@pytest.mark.parametrize("seconds", [0.5, 1, 3])
def test_clips_are_the_same_bits_however_many_threads_blas_has(make_data, seconds, tmp_path):
    root = make_tree(tmp_path, seconds=4)
    clips = make_data(root, mix=mix_of(clip_seconds=seconds, augment=ALL)).clips["train"]
    hashes = set()
    for threads in (1, 2, 4):
        with threadpool_limits(threads):
            hashes.add(clips.sha256())
    assert len(hashes) == 1


@pytest.mark.parametrize("tilt", augmentation.TILTS)
def test_noise_is_coloured_by_its_tilt(tilt):
    noise, white = effects.noise(2**30, tilt, RATE), effects.noise(2**30, 0, RATE)
    assert rms(noise) == pytest.approx(1, rel=1e-5)
    steps = noise[1:] - np.float32(tilt) * noise[:-1]
    assert np.corrcoef(steps, white[1:])[0, 1] == pytest.approx(1, abs=1e-5)


def test_noise_has_its_signal_to_noise_ratio(clips):
    quiet, noisy = clips(), clips(noise_share=1, snr_db=[20, 20])
    plan = noisy.plan()
    for clean, clip in zip(quiet.render(quiet.plan()), noisy.render(plan), strict=True):
        assert decibels(rms(clean) / rms(clip.astype(float) - clean)) == pytest.approx(20, abs=0.1)
    half = clips(noise_share=0.5).plan().effects.noise > 0
    assert 0.3 < half.mean() < 0.7


def test_every_clip_has_its_level(clips):
    varied = clips(level_db=[-40, -20])
    plan = varied.plan()
    levels = [decibels(rms(clip) / 32_768) for clip in varied.render(plan)]
    assert levels == pytest.approx(decibels(plan.effects.level / 32_768), abs=0.01)
    assert min(levels) < -38
    assert max(levels) > -22


def test_a_room_prolongs_sounds():
    click = np.zeros((1, RATE), np.float32)
    click[0, 1000] = 1
    response = effects.room_response(2**31, 0.5, direct=1.0, rate=RATE)
    wet = effects.in_room(click, [response])
    assert wet[1000] == pytest.approx(1)
    assert not np.abs(wet[:1000]).max() > 1e-6
    energy = [np.square(wet[start : start + 800]).sum() for start in (1100, 5000)]
    # 60 dB in 8,000 samples
    assert 10 * np.log10(energy[0] / energy[1]) == pytest.approx(60 * 3900 / 8000, abs=3)
    assert np.square(response).sum() == pytest.approx(1, rel=1e-4)


def test_a_limited_band_has_nothing_above(clips):
    varied = clips(noise_share=1, snr_db=[0, 0], band_share=1, band_hz=[3000, 3000])
    spectrum = np.abs(np.fft.rfft(varied.render(varied.plan()).astype(float))) ** 2
    hertz = np.fft.rfftfreq(RATE, 1 / RATE)
    assert spectrum[:, hertz > 3400].sum() < 1e-4 * spectrum.sum()


def test_quantised_clips_have_few_values(clips):
    varied = clips(bits_share=1, bits=[6, 6])
    assert max(len(np.unique(clip)) for clip in varied.render(varied.plan())) <= 2**6


def test_where_nobody_pauses_a_clip_without_a_speaker_is_silence(make_data):
    clips = make_data(mix=mix_of(counts=(0, 1, 2))).clips["train"]
    plan = clips.plan()
    assert (plan.count == 0).sum() == 32
    assert not clips.render(plan[plan.count == 0]).any()


@pytest.fixture
def real_clips(real_speech, cache):
    """Makes the clips of real speech's test speakers."""

    def make(counts, **augment):
        listed = {"train_subsets": ["train-clean-100"], "utterance_list": "librispeech_sample"}
        mix = mix_of(counts=counts, augment={"splits": ["test"], **augment} if augment else None)
        data = ClipDataModule("s", str(real_speech), str(cache), mix, source="librispeech", **listed)
        data.setup()
        return data.clips["test"]

    return make


@pytest.mark.parametrize("counts", [(0, 1, 2), (0, 1, 2, 3)])
def test_pauses_of_real_speech(real_clips, counts):
    clips = real_clips(counts)
    pool, plan = clips.pool, clips.plan()
    empty = plan[plan.count == 0]
    utterances, starts, lengths = empty.pause.T
    assert (lengths >= 0.15 * RATE).all()
    assert not pool.active_share(utterances, starts, int(lengths.min())).any()
    assert {*pool.splits[pool.speaker[utterances]]} == {2}  # of speakers of this split alone
    loudness = [np.median([rms(clip) for clip in clips.render(plan[plan.count == count])]) for count in counts]
    assert loudness[0] < loudness[1] / 5
    assert len(Pauses.of(pool, "test").utterances) > 20


def test_noise_in_a_pause_is_as_loud_as_beside_a_voice(real_clips):
    plain, noisy = real_clips((0, 1)), real_clips((0, 1), noise_share=1, snr_db=[20, 20])
    plan = noisy.plan()
    noise = noisy.render(plan).astype(float) - plain.render(plain.plan())
    loudness = [np.median([rms(clip) for clip in noise[plan.count == count]]) for count in (0, 1)]
    assert 0.5 < loudness[0] / loudness[1] < 2
    pauses = plain.render(plain.plan())[plan.count == 0]
    over = [decibels(rms(added) / rms(pause)) for added, pause in zip(noise[plan.count == 0], pauses, strict=True)]
    assert np.median(over) == pytest.approx(10, abs=0.5)


def test_a_pause_is_coloured_as_a_voice_is(real_clips):
    plain, coloured = real_clips((0, 1)), real_clips((0, 1), colour=0.4)
    plan = coloured.plan()
    empty = plan[plan.count == 0]
    taps, delays = empty.effects.taps[3, 0], empty.effects.delays[3, 0].tolist()
    pause = plain.render(plain.plan())[plan.count == 0][3].astype(np.float32)
    assert np.abs(coloured.render(empty)[3] - effects.coloured(pause, taps, delays)).max() <= 0.5


def test_active_voices_are_those_of_each_frame(clips):
    varied = clips(speed=0.15)
    plan, pool = varied.plan(), varied.pool
    active = varied.active_voices(plan, 50)
    for row in range(0, len(plan), 7):
        for frame in range(50):
            expected = 0
            for voice in range(plan.count[row]):
                utterance = plan.utterances[row, voice]
                length = round(RATE * float(plan.effects.speed[row, voice]))
                begin, end = (plan.starts[row, voice] + length * edge // 50 for edge in (frame, frame + 1))
                frames = pool.active_before[pool.activity_offsets[utterance] :]
                last = pool.frames[utterance] // 160
                expected += frames[min(end // 160, last)] > frames[min(begin // 160, last)]
            assert active[row, frame] == expected


def test_the_metadata_of_clips_name_what_was_done(command, tree, tmp_path):
    mix = ("mix=varied", "mix.counts=[0,1,2]", "mix.fresh_each_epoch=false")
    done = command("clips", *SMALL[:-1], f"data.root={tree}", *mix, "out=clips")
    assert done.returncode == 0, done.stderr
    table = pq.read_table(tmp_path / "clips" / "metadata_train.parquet")
    fields = [field.name for field in dataclasses.fields(augmentation.Effects)]
    names = {name for name in fields if not name.endswith("_file")} - {"taps", "delays"}
    names |= {f"{name}_{tap}" for name in ("taps", "delays") for tap in range(3)}
    assert names | {"pause_utterance", "pause_start", "pause_length"} <= {*table.column_names}
    assert [len(speeds) for speeds in table["speed"].to_pylist()] == table["Speakers"].to_pylist()
    test = pq.read_table(tmp_path / "clips" / "metadata_test.parquet")
    assert not names & {*test.column_names} - {"pause_utterance"}
    again = command("train", "data=clips", "data.root=clips", *SMALL[1:], *mix, "model=m3", "logger=csv")
    assert again.returncode == 0, again.stderr


@pytest.mark.parametrize(
    ("augment", "problem"),
    [
        ({"splits": "train"}, "mix.augment.splits=train: expected some of train, validation, test"),
        ({"splits": ["dev"]}, "mix.augment.splits=['dev']"),
        ({"speed": 0.9}, "mix.augment.speed=0.9: expected at most 0.5"),
        ({"speed": -1}, "mix.augment.speed=-1"),
        ({"noise_share": 2}, "mix.augment.noise_share=2: expected a share"),
        ({"snr_db": [30, 10]}, "mix.augment.snr_db=[30, 10]: expected the lowest and the highest value"),
        ({"snr_db": 10}, "mix.augment.snr_db=10"),
        ({"bits": [1, 8]}, "mix.augment.bits=[1, 8]: expected the lowest and the highest value, from 2 to 16"),
        ({"bits": [2.5, 8]}, "mix.augment.bits=[2.5, 8]"),
        ({"snr_db": [float("nan"), 8]}, "mix.augment.snr_db=[nan, 8]"),
        ({"snr_db": [True, 8]}, "mix.augment.snr_db=[True, 8]"),
        ({"snr_db": "10"}, "mix.augment.snr_db=10"),
        ({"splits": [["train"]]}, "mix.augment.splits=[['train']]"),
        ({"splits": None}, "mix.augment.splits=None"),
        ({"level_db": [-20, 3]}, "mix.augment.level_db"),
        ({"reverberation_seconds": [0, 1]}, "mix.augment.reverberation_seconds"),
        ({"pitch": 1}, "mix.augment.pitch: no such key; there are backwards_share, band_hz,"),
        (7, "mix.augment=7: expected keys such as mix.augment.speed=0.15"),
    ],
)
def test_values_that_no_augmentation_has(augment, problem):
    with pytest.raises(UserError) as error:
        mix_of(augment=augment)
    assert problem in str(error.value)


def test_a_pool_without_long_enough_speech_for_the_fastest_voice(make_data):
    with pytest.raises(UserError, match="longer than every utterance"):
        make_data(mix=mix_of(clip_seconds=1.4, augment={"speed": 0.2}))
    assert mixing.Mix("m", {"train": 1, "validation": 1, "test": 1}).augment_of("train") is None
