"""What augmentation does to sound: rooms, noise, limited bands, quantisation. Plain functions of arrays."""

import functools
from collections.abc import Sequence

import numpy as np
import scipy.fft

BANK = 2**20  # samples of white noise that all generated noise and rooms are cut from
ROLL_OFF_HZ = 300.0  # over which a limited band fades
PREDELAY_SECONDS = 0.002  # between the direct sound and the first reflection
MU = 255.0
LEAST_GAIN = 1e-6  # of a filter's echo


@functools.cache
def _bank() -> np.ndarray:
    """White noise of RMS 1, `(BANK,)` float32."""
    return np.random.Generator(np.random.Philox(key=20_160)).standard_normal(BANK, dtype=np.float32)


def _cut(number: int, length: int) -> np.ndarray:
    """A piece of the bank, which begins at a place that follows from a number of 32 bits."""
    start = number * (BANK - length) >> 32
    return _bank()[start : start + length]


def coloured(voice: np.ndarray, taps: np.ndarray, delays: Sequence[int]) -> np.ndarray:
    """A voice through a filter, with the RMS that it had, `(samples,)` float32.

    Args:
        taps: `(taps,)` float32, the coefficients of what is added to the voice.
        delays: after how many samples each is added.
    """
    heard = voice.copy()
    for tap, delay in zip(taps, delays, strict=True):
        heard[delay:] += tap * voice[:-delay]
    heard *= np.float32(rms(voice) / (rms(heard) or 1.0))
    return heard


def room_response(number: int, seconds: float, direct: float, rate: int) -> np.ndarray:
    """The reverberation of a room without the direct sound: noise that decays by 60 dB in `seconds`, float32.

    Args:
        number: of 32 bits; voices with other numbers stand at other places.
        direct: the amplitude of the direct sound, against that of all reverberation.
    """
    length = max(2, round(seconds * rate))
    decay = np.exp(np.float32(-np.log(1000) / length) * np.arange(length, dtype=np.float32))
    tail: np.ndarray = _cut(number, length) * decay
    tail[: round(PREDELAY_SECONDS * rate)] = 0
    energy = float(np.sqrt(np.dot(tail, tail)))
    tail /= np.float32(direct * energy or 1)
    return tail


def in_room(voices: np.ndarray, responses: list[np.ndarray]) -> np.ndarray:
    """The sum of voices with their reverberation, `(samples,)` float32.

    Args:
        voices: `(voices, samples)` float32.
        responses: of each voice, as `room_response` makes them.
    """
    samples = voices.shape[1]
    size = _fast_length(samples + max(map(len, responses)))
    spectrum = sum(
        scipy.fft.rfft(voice, size) * scipy.fft.rfft(response, size)
        for voice, response in zip(voices, responses, strict=True)
    )
    heard: np.ndarray = voices.sum(axis=0) + scipy.fft.irfft(spectrum, size)[:samples]
    return heard


def noise(number: int, tilt: float, samples: int) -> np.ndarray:
    """Coloured noise of RMS 1, `(samples,)` float32.

    Args:
        number: of 32 bits.
        tilt: the pole of a filter of first order: 0 is white, towards 1 brown.
    """
    noise: np.ndarray = _cut(number, samples).copy()
    # 1 / (1 - a z) is (1 + a z)(1 + a^2 z^2)(1 + a^4 z^4) ...: in a third of the time of a recursion
    lag, gain, scaled = 1, np.float32(tilt), np.empty_like(noise)
    while lag < samples and abs(gain) > LEAST_GAIN:
        noise[lag:] += np.multiply(noise[:-lag], gain, out=scaled[lag:])
        lag, gain = 2 * lag, gain * gain
    noise /= np.float32(max(rms(noise), 1e-9))
    return noise


def _fast_length(least: int) -> int:
    """A length whose Fourier transform is fast: 1, 1.125, 1.25 or 1.5 times a power of two. SciPy's `next_fast_len` is
    closer, and up to twice as slow.
    """
    power = 1 << max(3, (least - 1).bit_length() - 1)
    return next(length for eighths in (8, 9, 10, 12, 16) if (length := power * eighths // 8) >= least)


def recorded_noise(sound: np.ndarray, start: int, samples: int) -> np.ndarray:
    """A piece of a recording, scaled to an RMS of 1, `(samples,)` float32; a piece without sound stays so.

    Args:
        sound: `(frames,)` int16; one that is shorter than the piece is repeated.
        start: of the piece, in samples.
    """
    piece = sound[start : start + samples]
    if len(piece) < samples:
        piece = np.resize(np.concatenate([sound[start:], sound[:start]]), samples)
    noise: np.ndarray = piece.astype(np.float32)
    noise /= np.float32(rms(noise) or 1)
    return noise


def recorded_response(sound: np.ndarray, samples: int) -> np.ndarray:
    """The response of a room, as `room_response` makes it: without the direct sound, for voices of `samples`.

    The response begins with its strongest sample, so that voices stay where they are in time, and has an energy of 1,
    so that they stay as loud. One without sound is no room.

    Args:
        sound: `(frames,)` int16.
    """
    begin = int(np.abs(sound.astype(np.int32)).argmax())
    response: np.ndarray = sound[begin : begin + samples].astype(np.float32)
    energy = float(np.dot(response, response))
    if energy:
        response /= np.float32(energy**0.5)
    response[0] -= bool(energy)
    return response


def limit_band(clip: np.ndarray, low: float, high: float, rate: int) -> np.ndarray:
    """A clip without what lies below `low` and above `high` Hz, `(samples,)` float32."""
    size = _fast_length(len(clip))
    hertz = np.arange(size // 2 + 1, dtype=np.float32) * np.float32(rate / size)
    kept = np.clip((high + ROLL_OFF_HZ - hertz) / ROLL_OFF_HZ, 0, 1) * np.clip(hertz / low, 0, 1) ** 2
    limited: np.ndarray = scipy.fft.irfft(scipy.fft.rfft(clip, size) * kept, size)[: len(clip)]
    return limited


@functools.cache
def mu_law(bits: int) -> np.ndarray:
    """What each 16-bit sample becomes in `2**bits` steps of mu-law (ITU-T G.711's curve), `(65536,)` int16, from the
    sample -32768 on.
    """
    sample = np.arange(-32_768, 32_768) / 32_768
    compressed = np.sign(sample) * np.log1p(MU * np.abs(sample)) / np.log1p(MU)
    steps = 2 ** (bits - 1) - 1
    quantised = np.rint(compressed * steps) / steps
    expanded = np.sign(quantised) * np.expm1(np.abs(quantised) * np.log1p(MU)) / MU
    heard: np.ndarray = np.clip(np.rint(expanded * 32_768), -32_768, 32_767).astype(np.int16)
    return heard


def rms(clip: np.ndarray) -> float:
    """The root of the mean square."""
    return float(np.sqrt(np.dot(clip, clip) / len(clip)))
