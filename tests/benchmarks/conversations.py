"""How well conversations are counted over time: `predict` beside the best constant guess and energy thresholds.

    python -m tests.benchmarks.conversations [--number 6] [--minutes 5] [--seed 0] [--out DIR] [overrides]
    python -m tests.benchmarks.conversations --choose    # smoothing and silence, on validation speakers

Conversations of test speakers (`speaker_count.data.conversations`: turns, overlaps, a room, a noise) are written as WAV
and RTTM files, to a folder of yours with `--out`, counted by `Predictor` with its defaults, and scored against the RTTM
files. The energy thresholds are fitted on as many conversations of validation speakers: on the level of each window
against the recording's median level.
"""

import argparse
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import soundfile
from hydra.utils import instantiate

from speaker_count.compose import compose
from speaker_count.data.conversations import converse
from speaker_count.data.datamodule import ClipDataModule
from speaker_count.data.pool import Pool
from speaker_count.errors import UserError
from speaker_count.inference.prediction import Prediction
from speaker_count.inference.predictor import SILENCE_DB, SMOOTH, Predictor
from speaker_count.inference.scoring import Reference, Score, true_counts
from speaker_count.results.statistics import calibration
from speaker_count.results.tables import markdown
from speaker_count.training.quiet import quiet
from tests.benchmarks.peers import with_speech_at_hand

SMOOTHS = 0.0, 0.3, 0.5, 0.75, 1.0, 1.5  # s
SILENCES = -90.0, -70.0, -60.0, -55.0, -50.0, -45.0  # dB
GAIN = 0.005  # of accuracy, by which another value must be better than the default to replace it
LEVEL_SECONDS = 0.5  # of sound around a window's centre, whose level the thresholds see
LEVEL_STEP_DB = 0.5
LEVELS_DB = np.arange(-60, 30, LEVEL_STEP_DB)  # against the median


def written(pool: Pool, split: str, number: int, seconds: float, seed: int, folder: Path) -> list[Path]:
    """The WAV files of conversations, each beside its RTTM file."""
    paths = []
    for each in range(number):
        path = folder / f"{split}-{seed}-{each}.wav"
        made = converse(pool, split, each, seconds, seed)
        soundfile.write(path, made.samples, made.sample_rate)
        lines = [
            f"SPEAKER {path.stem} 1 {begin:.4f} {end - begin:.4f} <NA> <NA> {'_'.join(speaker.split())} <NA> <NA>\n"
            for speaker, spoken in made.turns.items()
            for begin, end in spoken
        ]
        path.with_suffix(".rttm").write_text("".join(lines))
        paths.append(path)
    return paths


def together(paths: Sequence[Path], predictions: Sequence[Prediction]) -> Score:
    """The score of all conversations as one."""
    scores = [scored(*each) for each in zip(paths, predictions, strict=True)]
    return Score(sum(score.seconds for score in scores), scores[0].classes)


def scored(path: Path, prediction: Prediction) -> Score:
    return Reference(path.with_suffix(".rttm")).score(prediction)


def levels(path: Path, times: np.ndarray) -> np.ndarray:
    """The level of each window against the median of all, in steps of `LEVELS_DB`, `(windows,)` int64."""
    samples, rate = soundfile.read(path)
    half = round(LEVEL_SECONDS * rate / 2)
    around = [samples[max(0, centre - half) : centre + half] for centre in np.rint(times * rate).astype(int)]
    decibels = 20 * np.log10(np.array([part.std() for part in around]) + 1e-9)
    return np.searchsorted(LEVELS_DB, decibels - np.median(decibels))


def windows_at_levels(paths: Sequence[Path], predictions: Sequence[Prediction]) -> np.ndarray:
    """How many windows of each level have each true count, `(levels, counts)`."""
    windows = np.zeros((len(LEVELS_DB) + 1, 1 + predictions[0].classes[-1]))
    for path, prediction in zip(paths, predictions, strict=True):
        np.add.at(windows, (levels(path, prediction.times), true_at(path, prediction.times)), 1)
    return windows


def true_at(path: Path, times: np.ndarray) -> np.ndarray:
    """How many speak at some times of a conversation, `(times,)` int64."""
    begins, counts = true_counts(next(iter(Reference(path.with_suffix(".rttm")).turns.values())))
    return counts[np.searchsorted(begins, times, side="right")]


def fitted(windows: np.ndarray, counts: Sequence[int]) -> tuple[float, np.ndarray]:
    """Thresholds, above which one count after the other is said, that are right for the most windows: for how many,
    and the count at each level, `(levels,)`.
    """
    best: list[tuple[float, list[int]]] = [(0.0, []) for _ in counts]  # where the last level has each count
    for row in windows.tolist():
        lower = [max(best[: place + 1]) for place in range(len(counts))]
        best = [(right + row[count], [*said, count]) for (right, said), count in zip(lower, counts, strict=True)]
    right, said = max(best)
    return right, np.array(said)


def table(rows: dict[str, Score]) -> str:
    """The scores, one a row; of the minutes at each count, their error."""
    columns = {"what": "what", "accuracy": "frame accuracy", "mean error": "MAE", "over share": "over"}
    columns |= {"under share": "under"}
    shown: list[dict[str, str | float]] = []
    for name, score in rows.items():
        figures = (score.accuracy, score.mae, score.over, score.under)
        minutes = {f"{count} difference": said - true for count, (true, said) in score.minutes().items()}
        shown.append({"what": name, **dict(zip([*columns][1:], figures, strict=False)), **minutes})
        columns |= {key: f"minutes at {key[0]}" for key in minutes}
    return markdown(shown, columns)


def with_counts(prediction: Prediction, counts: np.ndarray) -> Prediction:
    return replace(prediction, counts=counts)


def measured(conversations: Callable[[str], list[Path]], split: str) -> str:
    """The table of a split, and the accuracy on each conversation."""
    predictor = Predictor()
    paths, fit_on = conversations(split), conversations("validation")
    predictions = [predictor.predict(path) for path in paths]
    rows = {"predict": together(paths, predictions)}
    constant = rows["predict"].constant[0]
    windows = windows_at_levels(fit_on, [predictor.predict(path) for path in fit_on])
    somebody = max((fitted(windows, (0, count)) for count in predictor.classes[1:]), key=lambda each: each[0])[1]
    for name, said in (
        (f"energy threshold: nobody, or {somebody.max()}", somebody),
        ("energy thresholds: level as count", fitted(windows, predictor.classes)[1]),
    ):
        by_level = [
            with_counts(each, said[levels(path, each.times)]) for path, each in zip(paths, predictions, strict=True)
        ]
        rows[name] = together(paths, by_level)
    always = [with_counts(each, np.full_like(each.counts, constant)) for each in predictions]
    rows[f"always {constant}, the best constant"] = together(paths, always)
    correct = [each.counts == true_at(path, each.times) for path, each in zip(paths, predictions, strict=True)]
    calibrated = calibration(np.concatenate([each.probabilities for each in predictions]), np.concatenate(correct))
    each = [scored(*pair).accuracy for pair in zip(paths, predictions, strict=True)]
    minutes = ", ".join(f"{count}: {true:.2f}" for count, (true, _) in rows["predict"].minutes().items())
    return (
        f"{table(rows)}\n\nMinutes at each count: {minutes}. "
        f"Accuracy of predict on each conversation: {', '.join(f'{value:.3f}' for value in sorted(each))}. "
        f"Calibration error: {calibrated.error:.3f}."
    )


def choose(paths: Sequence[Path]) -> None:
    """Print the accuracy for each smoothing, then for each threshold of silence, and which are chosen: the defaults,
    unless another is better by `GAIN`.
    """
    chosen: dict[str, float] = {"smooth": SMOOTH, "silence_db": SILENCE_DB}
    for name, values in (("smooth", SMOOTHS), ("silence_db", SILENCES)):
        accuracy = {}
        for value in values:
            predictor = Predictor(**{**chosen, name: value})
            accuracy[value] = together(paths, [predictor.predict(path) for path in paths]).accuracy
            print(f"{name}={value:g}: {accuracy[value]:.4f}", flush=True)
        best = max(accuracy, key=accuracy.__getitem__)
        if accuracy[best] >= accuracy[chosen[name]] + GAIN:
            chosen[name] = best
    print("chosen:", ", ".join(f"{name}={value:g}" for name, value in chosen.items()))


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--number", type=int, default=6, help="of conversations (6)")
    parser.add_argument("--minutes", type=float, default=5, help="of each (5)")
    parser.add_argument("--seed", type=int, default=0, help="another one gives other conversations")
    parser.add_argument("--split", choices=("validation", "test"), default="test", help="whose speakers speak (test)")
    parser.add_argument("--choose", action="store_true", help="choose smoothing and silence on validation speakers")
    parser.add_argument("--out", type=Path, help="a folder for the conversations, WAV and RTTM; none: they are deleted")
    parser.add_argument("overrides", nargs="*", help="as for train: data=..., data.root=...")
    arguments = parser.parse_intermixed_args()
    quiet()
    config = compose(with_speech_at_hand(arguments.overrides))
    data: ClipDataModule = instantiate(config.data, mix=config.mix, _convert_="all")
    data.setup()
    pool = data.pool
    assert isinstance(pool, Pool)
    with tempfile.TemporaryDirectory() as temporary:
        folder = arguments.out or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)

        def conversations(split: str) -> list[Path]:
            return written(pool, split, arguments.number, 60 * arguments.minutes, arguments.seed, folder)

        if arguments.choose:
            choose(conversations("validation"))
        else:
            about = f"{arguments.number} conversations of {arguments.minutes:g} minutes, {data.name}, {arguments.split}"
            print(f"{about} speakers, seed {arguments.seed}\n\n{measured(conversations, arguments.split)}")


if __name__ == "__main__":
    try:
        main()
    except UserError as error:  # such as that there is no speech
        sys.exit(str(error))
