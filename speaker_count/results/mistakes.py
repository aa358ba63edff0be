"""The report's section on where the best net errs: which clips, how sure it was, and whether the labels are right."""

import itertools
from functools import partial
from typing import Any

import numpy as np

from speaker_count.labels import UNKNOWN
from speaker_count.results import composition, figures, scores, statistics
from speaker_count.results.comparison import Comparison, Entry
from speaker_count.results.matrices import confusions
from speaker_count.results.page import Card, Cards, Figure, Table, Text, sound
from speaker_count.results.sections import Facts
from speaker_count.results.tables import Row

MOST_MATRICES = 24  # of nets, in a figure
LOUDNESS_STEPS = (0, 3, 6, 10, 15, np.inf)  # dB between the loudest and the quietest voice


def label_audit(comparison: Comparison, facts: Facts, suffix: str) -> list[Any]:
    """Accuracy over all clips, and over those in which every speaker is really heard: a table, and before it the best
    net's in a sentence; nothing if it is not known who is heard.
    """
    everyone = None if comparison.count is None else scores.heard(facts.activity, comparison.count)
    if not comparison.scored or everyone is None:
        return []
    groups = {"all": np.ones(len(everyone), bool), "heard": everyone, "unheard": ~everyone}
    groups = {name: group for name, group in groups.items() if group.any()}
    values = np.repeat(np.stack([net.correct for net in comparison.scored], axis=1), len(groups), axis=1)
    included = np.tile(np.stack(list(groups.values()), axis=1), len(comparison.scored))
    means = iter(statistics.means(comparison.speakers, values, included))
    rows: list[Row] = [
        {"net": net.name, **{f"{name} accuracy": next(means) for name in groups}} for net in comparison.scored
    ]
    crops = facts.activity[~np.isnan(facts.activity)]
    silent, short = (crops < 0.05).mean(), (crops < scores.HEARD).mean()
    note = (
        f"In {silent:.1%} of the test clips' crops the speaker is active for less than 5 % of the time, in {short:.1%} "
        "for less than 30 %: these are pauses, and the label counts a voice that is not heard. "
        f"{everyone.mean():.1%} of the clips have every speaker active for 30 % or more; mix.min_active=0.3 draws only "
        "such crops."
    )
    columns = {
        "net": "net",
        "all accuracy": "all clips",
        "heard accuracy": "every speaker heard",
        "unheard accuracy": "some speaker not heard",
    }
    title = "Are the labels right? Accuracy where every speaker is heard"
    text = (
        f"{rows[0]['net']} is right on {rows[0].get('heard accuracy')} of them: {everyone.mean():.1%} of the test "
        "clips, in which each speaker is active for at least 30 % of the time."
    )
    sentence = [Text(text, "And on clips whose speakers are all heard?")] if everyone.any() else []
    return [*sentence, Table(f"label_audit{suffix}", title, rows, columns, note, columns)]


def where(comparison: Comparison, facts: Facts | None, suffix: str) -> list[Any]:
    """Accuracy by count, sexes and loudness difference; confusion matrices; calibration."""
    best = comparison.best
    if best is None:
        return []
    names = [str(count) for count in best.results[0].counts]
    shown = comparison.scored[:MOST_MATRICES]
    nets = [net for net in comparison.nets if net in shown]
    matrices = {net.name: np.sum([result.last.test["confusion"] for result in net.results], axis=0) for net in nets}
    caption = "Confusion matrices on the test clips, as shares of each true number of speakers."
    if len(shown) < len(comparison.scored):
        caption += f" Only the {MOST_MATRICES} best nets are shown."
    blocks: list[Any] = [Figure(f"confusion{suffix}", caption, partial(confusions, matrices, names))]
    blocks += composition.blocks(comparison, suffix)
    rows = []
    for name, title, members in _groups(comparison, facts):
        accuracy = comparison.by(best, members)
        rows += [
            {"by": title, "clips are": member, "clips": int(members[member].sum()), "accuracy": value}
            for member, value in accuracy.items()
        ]
        caption = f"Accuracy of {best.name} by {title}, with 95 % intervals over speakers."
        drawing = partial(figures.intervals, accuracy, "test accuracy")
        blocks.append(Figure(f"accuracy_by_{name}{suffix}", caption, drawing))
    columns = {"by": "by", "clips are": "clips", "clips": "number", "accuracy": f"accuracy of {best.name} [95 %]"}
    blocks.append(Table(f"where_it_errs{suffix}", f"Where {best.name} errs", rows, columns))
    return blocks + _calibrations(comparison, suffix)


def _groups(comparison: Comparison, facts: Facts | None) -> list[tuple[str, str, dict[str, np.ndarray]]]:
    """Groups of the test clips, `(clips,)` bool each: by count, by sexes and, if it is known, by loudness."""
    counts = {f"{count}": comparison.count == count for count in sorted(set(comparison.count.tolist()))}
    sexes = sorted({*comparison.sexes.tolist()}, key=lambda letters: (len(letters), letters.count("F")))
    groups = [
        ("count", "number of speakers", counts),
        ("sexes", "sexes of the speakers", {letters: comparison.sexes == letters for letters in sexes}),
    ]
    if facts is not None and facts.levels is not None:
        several = comparison.count > 1
        spread = np.zeros(len(comparison.count))
        spread[several] = np.nanmax(facts.levels[several], axis=1) - np.nanmin(facts.levels[several], axis=1)
        bins = {
            f"{low}-{high} dB" if np.isfinite(high) else f"over {low} dB": several & (low <= spread) & (spread < high)
            for low, high in itertools.pairwise(LOUDNESS_STEPS)
        }
        groups.append(("loudness", "difference between the loudest and the quietest voice", bins))
    return groups


def _calibrations(comparison: Comparison, suffix: str) -> list[Any]:
    picked = (comparison.best, comparison.best_of("waveform"), comparison.best_of("spectrogram"))
    shown = {net.name for net in picked if net}
    calibrations = {net.name: _calibrated(comparison, net)[0] for net in comparison.scored if net.name in shown}
    caption = "Calibration on the test clips: is a net right as often as its probability says?"
    if any(len(net.predicted) > 1 for net in comparison.scored if net.name in shown):
        caption += " Of each net, the first seed."
    confidence = [np.mean([each.max(axis=1) for each in net.probabilities], axis=0) for net in comparison.scored]
    excess = [said - net.correct for said, net in zip(confidence, comparison.scored, strict=True)]
    means = statistics.means(comparison.speakers, np.stack(excess, axis=1))
    rows = [
        {
            "net": net.name,
            "expected calibration error": float(np.mean([seed.error for seed in _calibrated(comparison, net)])),
            "overconfidence difference": over,
        }
        for net, over in zip(comparison.scored, means, strict=True)
    ]
    columns = {
        "net": "net",
        "expected calibration error": "expected calibration error",
        "overconfidence difference": "overconfidence [95 %]",
    }
    note = (
        "The error is the mean difference between probability and accuracy, over 15 bins of the predicted count's "
        "probability (Guo et al. 2017). Overconfidence is the mean probability less the accuracy: that of a net "
        "that is too sure is above 0."
    )
    title = "Expected calibration error, 15 bins"
    return [
        Figure(f"calibration{suffix}", caption, partial(figures.reliability, calibrations)),
        Table(f"calibration_error{suffix}", title, rows, columns, note, columns),
    ]


def _calibrated(comparison: Comparison, net: Entry) -> list[statistics.Calibration]:
    """The calibration of each seed."""
    return [
        statistics.calibration(probabilities, predicted == comparison.count)
        for probabilities, predicted in zip(net.probabilities, net.predicted, strict=True)
    ]


def confidently_wrong(comparison: Comparison, number: int) -> list[int]:
    """Rows of the test clips on which the best net's first seed is most confidently wrong."""
    if comparison.best is None:
        return []
    wrong = np.flatnonzero(comparison.best.predicted[0] != comparison.count)
    confidence = comparison.best.probabilities[0].max(axis=1)[wrong]
    rows: list[int] = wrong[np.argsort(-confidence, kind="stable")[:number]].tolist()
    return rows


def listening_room(comparison: Comparison, facts: Facts, rows: list[int]) -> list[Any]:
    """The clips on which the best net is most confidently wrong, with each voice alone."""
    best, trace, rate = comparison.best, comparison.trace, facts.sample_rate
    if best is None or not rows or not facts.waveforms:
        return []
    cards = []
    for row in rows:
        sounds = [("the clip", sound(facts.waveforms[row], rate))]
        voices = list(
            zip(
                trace["speakers"][row], trace["utterances"][row], trace["starts"][row], trace["sexes"][row], strict=True
            )
        )
        for number, voice in enumerate(facts.sources.get(row, [])):
            speaker, utterance, start, sex = voices[number]
            active = f", active {facts.activity[row, number]:.0%}"
            known = "sex unknown" if sex == UNKNOWN else sex
            label = f"speaker {speaker} ({known}), {utterance} from {start / rate:.2f} s{active}"
            sounds.append((label, sound(voice, rate)))
        names = [str(count) for count in best.results[0].counts]
        odds = ", ".join(f"p({name}) = {p:.2f}" for name, p in zip(names, best.probabilities[0][row], strict=True))
        image = figures.thumbnail(facts.waveforms[row], rate)
        heading = f"{comparison.count[row]} ({comparison.sexes[row]}), predicted {best.predicted[0][row]}"
        cards.append(Card(heading, image, sounds, [odds, f"test clip {row}"], False))
    note = (
        f"The clips on which {best.name} is most confidently wrong: each clip, and each of its voices alone, as loud "
        "as in the clip. Headphones help."
    )
    return [Cards("Listening room", cards, note)]
