"""Clips that vary: a plan with effects, rendered."""

import numpy as np

from speaker_count.data import augmentation, effects, pauses
from speaker_count.data.augmentation import Effects
from speaker_count.data.planning import Plan
from speaker_count.data.pool import Pool
from speaker_count.data.sounds import Sounds
from speaker_count.data.speed import STEPS, at_speed
from speaker_count.labels import FULL_SCALE

VOICE_OVER_PAUSE = 10 ** (30 / 20)  # of amplitude, in most recordings; noise is as loud as it would be beside a voice


def render(pool: Pool, plan: Plan, sounds: Sounds) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Each voice at its speed and in its room, then the clip with noise, limited band, level and quantisation.

    Args:
        sounds: those that the plan was drawn with.

    Returns:
        Clips, clipped samples and scale, as in `mixing.Mixture`.
    """
    assert plan.effects is not None
    done, samples = plan.effects, plan.samples
    clips = np.empty((len(plan), samples), np.int16)
    clipped = np.zeros(len(plan), np.int64)
    scale = np.ones(len(plan), np.float32)
    for row in range(len(plan)):
        clip = _mean_of_voices(pool, plan, row, sounds)
        if done.noise[row]:
            voice = (effects.rms(clip) or 1.0) * (1.0 if plan.count[row] else VOICE_OVER_PAUSE)
            clip += np.float32(voice * done.noise[row]) * _noise(done, row, samples, sounds)
        if done.high[row]:
            clip = effects.limit_band(clip, float(done.low[row]), float(done.high[row]), pool.sample_rate)
        if not np.isnan(done.level[row]):
            scale[row] = done.level[row] / (effects.rms(clip) or np.inf)
            clip *= scale[row]
        np.rint(clip, out=clip)
        clipped[row] = np.count_nonzero((clip < -FULL_SCALE) | (clip > FULL_SCALE - 1))
        np.clip(clip, -FULL_SCALE, FULL_SCALE - 1, out=clip)
        np.copyto(clips[row], clip, casting="unsafe")
        if done.bits[row]:
            clips[row] = effects.mu_law(int(done.bits[row]))[clips[row].astype(np.int32) + FULL_SCALE]
    return clips, clipped, scale


def _noise(done: Effects, row: int, samples: int, sounds: Sounds) -> np.ndarray:
    """A clip's noise, of RMS 1, `(samples,)` float32."""
    start = int(done.noise_start[row])
    if done.noise_file is None:
        return effects.noise(start, float(done.tilt[row]), samples)
    assert sounds.noise is not None
    return effects.recorded_noise(sounds.noise.read(int(done.noise_file[row])), start, samples)


def _mean_of_voices(pool: Pool, plan: Plan, row: int, sounds: Sounds) -> np.ndarray:
    """The mean of a clip's voices, each in its room, `(samples,)` float32; without a speaker, its pause."""
    count = int(plan.count[row])
    if not count:
        pause = pauses.repeated(pool, plan.pause, row, plan.samples).astype(np.float32)
        return _coloured(plan, row, 0, pause) if plan.utterances.shape[1] else pause
    spoken = voices(pool, plan, row)
    responses = _responses(plan, row, pool.sample_rate, sounds)
    total = effects.in_room(spoken, responses) if responses else spoken.sum(axis=0)
    mean: np.ndarray = total / np.float32(count)
    return mean


def _responses(plan: Plan, row: int, sample_rate: int, sounds: Sounds) -> list[np.ndarray]:
    """The room response of each voice of a clip, without its direct sound; empty: no room."""
    assert plan.effects is not None
    count, done = int(plan.count[row]), plan.effects
    if done.response_file is not None:
        files = done.response_file[row, :count].tolist()
        assert sounds.responses is not None
        pool = sounds.responses
        return [effects.recorded_response(pool.read(file), plan.samples) for file in files if file >= 0]
    seconds = float(done.reverberation[row])
    numbers, direct = done.response[row, :count].tolist(), done.direct[row, :count].tolist()
    places = zip(numbers, direct, strict=True) if seconds else ()
    return [effects.room_response(number, seconds, near, sample_rate) for number, near in places]


def _coloured(plan: Plan, row: int, voice: int, samples: np.ndarray) -> np.ndarray:
    """A voice or a pause, `(samples,)` float32, through the filter of that voice."""
    assert plan.effects is not None
    taps, delays = plan.effects.taps[row, voice], plan.effects.delays[row, voice]
    return effects.coloured(samples, taps, delays.tolist()) if taps.any() else samples


def voices(pool: Pool, plan: Plan, row: int) -> np.ndarray:
    """A clip's voices, each at its speed, with its colour and its gain, `(count, samples)` float32."""
    count, samples = int(plan.count[row]), plan.samples
    spoken = np.empty((count, samples), np.float32)
    for voice in range(count):
        speed = 1.0 if plan.effects is None else float(plan.effects.speed[row, voice])
        begin = pool.offsets[plan.utterances[row, voice]] + plan.starts[row, voice]
        crop = pool.samples[begin : begin + augmentation.crop_length(samples, speed)]
        spoken[voice] = crop if speed == 1 else at_speed(crop, round(speed * STEPS), samples)
        if plan.effects is not None:
            if plan.effects.backwards[row, voice]:
                spoken[voice] = spoken[voice, ::-1]
            spoken[voice] = _coloured(plan, row, voice, spoken[voice])
        spoken[voice] *= plan.gains[row, voice]
    return spoken
