"""The report on nets that name the speakers' sexes: how often they are right, and whether the count suffers."""

from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np

from speaker_count import labels
from speaker_count.results import scores, statistics
from speaker_count.results.comparison import Comparison, Entry
from speaker_count.results.matrices import NOBODY, compositions
from speaker_count.results.page import Figure, Table, Text
from speaker_count.results.tables import Row, signed

MOST_MATRICES = 4  # of nets, in a figure
MOST_COLUMNS = 8  # nets in the table by composition


def blocks(comparison: Comparison, suffix: str) -> list[Any]:
    """Composition accuracy of every net that names the sexes, by composition, and what is taken for what."""
    nets = _nets(comparison)
    if not nets:
        return []
    known = _known(comparison)
    if not known.any():
        return [Text("No test clip has speakers of known sex, so it is not known how well these nets name the sexes.")]
    ranked, rows = _ranked(comparison, nets, known)
    columns = {
        "net": "net",
        "composition accuracy": "sexes and count right [95 %]",
        "accuracy": "count right [95 %]",
        "sexes accuracy": "sexes right where the count is [95 %]",
    }
    left_out = int((~known).sum())
    note = f"Left out: {left_out:,} of {len(known):,} clips, in which the sex of a speaker is not known." * bool(
        left_out
    )
    title = f"Sexes and count together: {len(_names(comparison, known))} compositions"
    return [
        _figure(comparison, ranked, known, suffix),
        Table(f"composition{suffix}", title, rows, columns, note, columns),
        _by_composition(comparison, ranked[:MOST_COLUMNS], known, suffix),
    ]


def answer(comparison: Comparison) -> str:
    """A sentence on the sexes, and whether the count suffers from naming them; empty if no net names them."""
    nets = _nets(comparison)
    if not nets:
        return ""
    known = _known(comparison)
    text = ""
    if known.any():
        (best, *_), (row, *_) = _ranked(comparison, nets, known)
        share = "" if known.all() else f" whose speakers are of known sex ({known.mean():.1%})"
        text = f"{best.name} names both count and sexes on {row['composition accuracy']} of the test clips{share}. "
    return text + does_the_count_suffer(comparison, nets)


def does_the_count_suffer(comparison: Comparison, nets: Sequence[Entry]) -> str:
    """Whether nets that name the sexes count worse than the same nets that do not."""
    sentences = []
    for net in nets:
        twins = [other for other in comparison.scored if not other.composed and _key(other) == _key(net)]
        for other in twins[:1]:
            difference = comparison.difference(net, other)
            lead = (
                f"{net.name} is right on {net.accuracy} of the counts, {other.name}, the same net without the sexes, on"
            )
            end = f"{other.accuracy}: {_verdict(difference)} ({signed(difference)})."
            sentences.append(f"{lead} {end}")
    if not sentences:
        return (
            "Whether the count suffers is not known: no net was trained both with the sexes and without; "
            "model.loss.composition_weight=0,0.5 in a sweep does that."
        )
    return " ".join(sentences)


def _verdict(difference: statistics.Interval) -> str:
    if difference.contains_zero:
        return "the count is not shown to suffer"
    return "the count gains" if difference.value > 0 else "the count suffers"


def _key(net: Entry) -> tuple[Any, ...]:
    """What two nets have in common that differ in the weight of the composition alone."""
    result = net.results[0]
    loss = {
        key: value for key, value in (result.net.get("loss") or {}).items() if key != "composition_weight" and value
    }
    return result.model, result.epochs, {**result.net, "loss": loss}, result.training, result.data.get("batch_size")


def _nets(comparison: Comparison) -> list[Entry]:
    return [net for net in comparison.scored if net.composed]


def _known(comparison: Comparison) -> np.ndarray:
    """The test clips whose speakers' sexes are known, `(clips,)` bool."""
    return scores.known_sexes(comparison.sexes)


def _names(comparison: Comparison, known: np.ndarray) -> list[str]:
    """The compositions of the test clips, in the paper's order."""
    return labels.compositions(sorted({*comparison.count[known].tolist()}))


def _right(comparison: Comparison, net: Entry) -> np.ndarray:
    """The share of seeds that name both count and sexes of each clip, `(clips,)`."""
    right: np.ndarray = np.mean([said == comparison.sexes for said in net.composed], axis=0)
    return right


def _ranked(comparison: Comparison, nets: Sequence[Entry], known: np.ndarray) -> tuple[list[Entry], list[Row]]:
    """The nets and their rows of the table, the best first."""
    columns, included = [], []
    for net in nets:
        # the share of seeds that are right on the sexes, among those that are right on the count
        named = zip(net.composed, net.predicted, strict=True)
        both = np.mean([(said == comparison.sexes) & (count == comparison.count) for said, count in named], axis=0)
        columns += [_right(comparison, net), net.correct, both / np.maximum(net.correct, 1e-9)]
        included += [known, known, known * net.correct]
    means = statistics.means(comparison.speakers, np.stack(columns, axis=1), np.stack(included, axis=1))
    rows: list[Row] = [
        {"net": net.name, "composition accuracy": both, "accuracy": count, "sexes accuracy": sexes}
        for net, both, count, sexes in zip(nets, means[::3], means[1::3], means[2::3], strict=True)
    ]
    order = sorted(range(len(nets)), key=lambda place: -rows[place]["composition accuracy"].value)
    return [nets[place] for place in order], [rows[place] for place in order]


def _by_composition(comparison: Comparison, nets: Sequence[Entry], known: np.ndarray, suffix: str) -> Table:
    """For each composition, how many of its clips each net names."""
    names = [name for name in _names(comparison, known) if (comparison.sexes == name).any()]
    groups = np.stack([comparison.sexes == name for name in names], axis=1)
    values = np.concatenate([np.repeat(_right(comparison, net)[:, None], len(names), axis=1) for net in nets], axis=1)
    means = statistics.means(comparison.speakers, values, np.tile(groups, len(nets)))
    rows: list[Row] = [
        {
            "composition": name or NOBODY,
            "clips": int(groups[:, place].sum()),
            **{f"{net.name} accuracy": means[number * len(names) + place] for number, net in enumerate(nets)},
        }
        for place, name in enumerate(names)
    ]
    columns = {"composition": "sexes", "clips": "clips", **{f"{net.name} accuracy": net.name for net in nets}}
    note = "The share of each composition's clips that a net names, count and sexes (recall), with 95 % intervals."
    return Table(f"composition_recall{suffix}", "Sexes and count, by composition", rows, columns, note, columns)


def _figure(comparison: Comparison, ranked: Sequence[Entry], known: np.ndarray, suffix: str) -> Figure:
    names = labels.compositions(ranked[0].results[0].counts)
    shown = [net for net in ranked if net.results[0].counts == ranked[0].results[0].counts][:MOST_MATRICES]
    place = {name: number for number, name in enumerate(names)}
    true = [place[name] for name in comparison.sexes[known].tolist()]
    matrices = {}
    for net in shown:
        matrix = np.zeros((len(names), len(names)), int)
        for said in net.composed:
            np.add.at(matrix, (true, [place[name] for name in said[known].tolist()]), 1)
        matrices[net.name] = matrix
    caption = (
        "Confusion of sexes and count on the test clips: per cent of each true composition; lines separate the counts."
    )
    if len(shown) < len(ranked):
        caption += f" Only the {len(shown)} best nets are shown."
    drawing = partial(compositions, matrices, names)
    return Figure(f"composition_confusion{suffix}", caption, drawing)
