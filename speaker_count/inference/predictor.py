"""From recordings to counts over time."""

import math
import os
from collections import deque
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from tqdm import tqdm

from speaker_count import labels
from speaker_count.errors import UserError, printable
from speaker_count.inference import audio
from speaker_count.inference.audio import Recording
from speaker_count.inference.overview import Overview
from speaker_count.inference.prediction import Prediction
from speaker_count.inference.session import BATCH, Session, packaged
from speaker_count.inference.windows import reach, smoothed, windows

HOP = 0.25  # s
LEAST_HOP = 0.05
SMOOTH = 0.5  # s
SILENCE_DB = -60.0  # of full scale
MOST_THREADS = 1024
LONG_SECONDS = 60  # from here on a terminal shows a bar


class Moment(NamedTuple):
    """The count of one window while a recording continues: the window's centre in seconds, the number of speakers, the
    probability of each class, `(classes,)`, and for how many seconds it holds: a hop; the first and the last hold to
    the recording's ends.
    """

    time: float
    speakers: int
    probabilities: np.ndarray
    seconds: float


class Predictor:
    """Counts the speakers in many recordings with one net.

    A window's count is of those who speak at a time in its middle half; with a net that gives no `middle`
    (`inference.session`), of those who speak anywhere in it.

    Args:
        model: an ONNX file that `speaker-count export` wrote, or its content; None: the packaged `recommended`.
        hop: from one window to the next, in seconds: from 0.05 to the length of a window.
        smooth: within how many seconds neighbours are averaged into a window's probabilities, see `windows.smoothed`;
            0: none are.
        silence_db: a window whose level (RMS without its mean) is lower, in dB of full scale, is silence: nobody
            speaks, whatever the net says.
        channel: the one that is counted in, from 1; None: the mean of all.
        threads: how many compute; None: as many as this process may use cores.
        progress: show a bar on recordings longer than a minute, where the error stream is a terminal.

    Attributes:
        classes: the number of speakers of each class.
        labels: the names of the classes, such as `2 speakers`.
        sample_rate: of the sound that the net takes, in Hz; any recording is converted to it.
        clip_samples, window_seconds: the length of a window.
        hop_samples, hop_seconds: from one window to the next; a whole number of samples.
        smooth, channel, progress: as given.
        silence: the level of `silence_db`, against full scale at 1.

    Raises:
        UserError: the model cannot be read, or a number is out of range.
    """

    def __init__(
        self,
        model: str | Path | bytes | None = None,
        *,
        hop: float = HOP,
        smooth: float = SMOOTH,
        silence_db: float = SILENCE_DB,
        channel: int | None = None,
        threads: int | None = None,
        progress: bool = False,
    ) -> None:
        if threads is not None and not 1 <= threads <= MOST_THREADS:
            raise UserError(f"threads={threads}: expected 1 to {MOST_THREADS}")
        if channel is not None and channel < 1:
            raise UserError(f"channel={channel}: expected 1 or more")
        self._session = Session(packaged() if model is None else model, threads)
        net = self._session.described
        self.sample_rate, self.clip_samples = net.sample_rate, net.clip_samples
        self.window_seconds = net.clip_samples / net.sample_rate
        if not LEAST_HOP <= hop <= self.window_seconds:
            raise UserError(f"hop={hop:g}: expected {LEAST_HOP} to {self.window_seconds:g} s, the length of a window")
        if not 0 <= smooth <= 60:
            raise UserError(f"smooth={smooth:g}: expected 0 to 60 s")
        if not -200 <= silence_db <= 0:
            raise UserError(f"silence_db={silence_db:g}: expected -200 to 0 dB of full scale")
        self.hop_samples = round(hop * net.sample_rate)
        self.hop_seconds = self.hop_samples / net.sample_rate
        self.smooth, self.silence, self.channel, self.progress = smooth, 10 ** (silence_db / 20), channel, progress
        # a net whose counts begin with 1 gets a class for silence
        self._silent_added = net.counts[0] > 0
        self.classes = [0] * self._silent_added + net.counts
        self.labels = [*labels.class_names([0])] * self._silent_added + net.labels

    def predict(self, recording: Any, sample_rate: int | None = None) -> Prediction:
        """Count the speakers in a recording.

        Args:
            recording: a path; or an array or a tensor: `(samples,)`, `(samples, channels)` or `(channels, samples)`,
                floats with full scale at 1, or whole numbers.
            sample_rate: of an array, in Hz.

        Raises:
            UserError: the recording is missing, cannot be read, or is shorter than a window.
        """
        if not isinstance(recording, str | os.PathLike):
            return self._predict(audio.of_array(recording, sample_rate), None)
        path = os.fspath(recording)
        with audio.opened(path) as opened:
            return self._predict(opened, path)

    def predict_all(self, recordings: Iterable[str | Path]) -> Iterator[Prediction | UserError]:
        """Count in many files, one after the other; a file that cannot be read gives its error and stops no other."""
        for recording in recordings:
            try:
                yield self.predict(recording)
            except UserError as error:
                yield error

    def _predict(self, recording: Recording, path: str | None) -> Prediction:
        overview, samples, bar = Overview(self.sample_rate), 0, self._bar(recording)

        def heard() -> Iterator[np.ndarray]:
            nonlocal samples
            for block in audio.mono(recording, self.sample_rate, self.channel):
                samples += len(block)
                overview.add(block)
                yield block

        silent = [np.empty(0, bool)]

        def batches() -> Iterator[np.ndarray]:
            for clips in windows(heard(), self.clip_samples, self.hop_samples, BATCH):
                silent.append(clips.std(axis=1) < self.silence)
                yield clips
                bar.update(len(clips) * self.hop_seconds)

        with bar:
            parts = list(self._session.stream(batches(), self._session.over_time))
        duration = samples / self.sample_rate
        if samples < self.clip_samples:
            shown = math.floor(100 * duration) / 100  # rounded, it could be all that is needed
            raise UserError(
                f"{recording.name} has {shown:.2f} s: the net needs at least {self.window_seconds:g} s of sound"
            )
        probabilities = self._smoothed(np.concatenate(parts), np.concatenate(silent))
        starts = np.arange(len(probabilities)) * self.hop_samples
        return Prediction(
            file=path,
            sample_rate=recording.sample_rate,
            duration=duration,
            window_seconds=self.window_seconds,
            hop_seconds=self.hop_seconds,
            labels=self.labels,
            classes=self.classes,
            times=(starts + self.clip_samples / 2) / self.sample_rate,
            counts=np.array(self.classes)[probabilities.argmax(axis=1)],
            probabilities=probabilities,
            overview=overview,
        )

    def _bar(self, recording: Recording) -> "tqdm[Any]":
        """A bar for seconds of a recording; none on a short one, where it would be gone at once."""
        seconds = None if recording.frames is None else recording.frames / recording.sample_rate
        is_short = seconds is not None and seconds < LONG_SECONDS
        form = None if seconds is None else "{desc}: {percentage:3.0f}%|{bar}| {elapsed}<{remaining}"
        name = printable(Path(recording.name).name)[:40]
        hidden = True if is_short or not self.progress else None  # None: unless the error stream is a terminal
        return tqdm(total=seconds, unit="s", desc=name, disable=hidden, leave=False, bar_format=form)

    def follow(self, recording: Recording, at_once: int = 1) -> Iterator[Moment]:
        """Count in a recording while it continues, as `predict` does. Each count comes as soon as the neighbours that
        smooth it are heard.

        Args:
            at_once: how many windows are counted together: 1 gives each count soonest, `BATCH` takes the least time.

        Raises:
            UserError: the recording cannot be read on, or is shorter than a window.
        """
        silent: deque[bool] = deque()
        samples = 0

        def blocks() -> Iterator[np.ndarray]:
            nonlocal samples
            for block in audio.mono(recording, self.sample_rate, self.channel):
                samples += len(block)
                yield block

        def batches() -> Iterator[np.ndarray]:
            for clips in windows(blocks(), self.clip_samples, self.hop_samples, at_once):
                silent.extend((clips.std(axis=1) < self.silence).tolist())
                yield clips

        net, output = self._session, self._session.over_time
        # `stream` holds counts back until more batches come, which would make one window late
        each = (net.probabilities(clips, output) for clips in batches())
        parts = net.stream(batches(), output) if at_once > 1 else each
        # the last count waits for the end of the sound, to which it holds
        ahead = max(reach(self.hop_seconds, self.smooth), 0 if recording.is_endless else 1)
        heard: deque[tuple[np.ndarray, bool]] = deque(maxlen=2 * ahead + 1)
        number = 0
        for row in (row for part in parts for row in part):
            heard.append((row, silent.popleft()))
            number += 1
            if number > ahead:
                yield self._moment(heard, number - 1 - ahead, ahead)
        if not number:
            raise UserError(f"{recording.name} is too short: the net needs at least {self.window_seconds:g} s of sound")
        for behind in range(min(ahead, number) - 1, -1, -1):
            if len(heard) > behind + 1 + ahead:
                heard.popleft()
            end = None if behind else samples / self.sample_rate
            yield self._moment(heard, number - 1 - behind, behind, end)

    def _moment(
        self, heard: Iterable[tuple[np.ndarray, bool]], number: int, behind: int, end: float | None = None
    ) -> Moment:
        """The count of the window `number`, from 0; `heard` has its neighbours, `behind` of which come after it. The
        last one's holds to the `end` of the sound, in seconds.
        """
        rows, silent = zip(*heard, strict=True)
        probabilities = self._smoothed(np.stack(rows), np.array(silent))[-1 - behind]
        time = (number * self.hop_samples + self.clip_samples / 2) / self.sample_rate
        begins = time - self.hop_seconds / 2 if number else 0.0
        ends = time + self.hop_seconds / 2 if end is None else end
        return Moment(time, self.classes[int(probabilities.argmax())], probabilities, ends - begins)

    def _smoothed(self, probabilities: np.ndarray, silent: np.ndarray) -> np.ndarray:
        """Probabilities over time, `(windows, classes)`. Silence is no speaker before they are smoothed, for the
        neighbours, and after.
        """
        if self._silent_added:
            probabilities = np.pad(probabilities, ((0, 0), (1, 0)))
        nobody = np.eye(1, len(self.classes), dtype=np.float32)
        probabilities[silent] = nobody
        probabilities = smoothed(probabilities, self.hop_seconds, self.smooth)
        probabilities[silent] = nobody
        return probabilities


def predict(recording: Any, sample_rate: int | None = None, **settings: Any) -> Prediction:
    """Count the speakers in a recording over time.

    Args:
        recording, sample_rate: as of `Predictor.predict`.
        settings: as of `Predictor`, which is faster for many recordings: it loads the net once.

    Raises:
        UserError: the recording or the net cannot be read.
    """
    return Predictor(**settings).predict(recording, sample_rate)
