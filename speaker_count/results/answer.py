"""The answer in sentences: waveform or spectrogram, which net, at what cost, and the paper's conclusion."""

from speaker_count.results import composition
from speaker_count.results.comparison import Comparison, Entry
from speaker_count.results.tables import signed

PAPER_CLIPS, PAPER_EPOCHS = 100_000, 10
MOST_NAMES = 6  # of nets in a sentence; others are counted
Answer = list[tuple[str, str]]  # questions and their answers


def answer(comparison: Comparison) -> Answer:
    """The questions that the page opens with, and their answers; empty without predictions.

    If no net is shown to beat a speech-blind baseline, that comes first: all else is worth little then.
    """
    best = comparison.best
    if best is None:
        return []
    speech = ("Does it listen to speech?", _baselines(comparison))
    nets = [
        ("Waveform or spectrogram?", _kinds(comparison)),
        ("Which net?", _nets(comparison, best)),
        ("At what cost?", _cost(comparison, best)),
        ("Does the paper's conclusion hold here?", conclusion(comparison)),
    ]
    sexes = composition.answer(comparison)
    nets += [("Women or men?", sexes)] if sexes else []
    return [speech, *nets] if _unbeaten(comparison) else [*nets, speech]


def _kinds(comparison: Comparison) -> str:
    waveform, spectrogram = comparison.best_of("waveform"), comparison.best_of("spectrogram")
    if waveform is None or spectrogram is None:
        there, missing = ("waveform", "spectrogram") if waveform else ("spectrogram", "waveform")
        return f"Only {there} nets were run on these clips and no {missing} net, so the question stays open."
    difference = comparison.difference(waveform, spectrogram)
    scores = (
        f"The best waveform net, {waveform.name}, is right on {waveform.accuracy} of the test clips, and the best "
        f"spectrogram net, {spectrogram.name}, on {spectrogram.accuracy}."
    )
    if difference.contains_zero:
        return f"Not distinguishable. {scores} The interval of their difference, {signed(difference)}, contains 0."
    ahead = "Waveform" if difference.value > 0 else "Spectrogram"
    ahead += ", comparing the best of each kind" * (len(comparison.scored) > 2)
    return f"{ahead}. {scores} The difference is {signed(difference)}."


def _nets(comparison: Comparison, best: Entry) -> str:
    people = comparison.result.data["speakers"]["test"]
    intervals = f"The 95 % intervals resample the {people} test speakers, not the clips."
    others = comparison.scored[1:]
    if not others:
        return f"Only {best.name} was run. It is right on {best.accuracy} of the test clips. {intervals}"
    even = [net.name for net in others if not net.distinguishable]
    if even:
        lead = f"{best.name} has the best score, {best.accuracy}"
        return f"{lead}, but is not distinguishable from {_list(even)}. {intervals}"
    second = others[0]
    ahead = signed(comparison.difference(best, second))
    return f"{best.name}, {best.accuracy}: ahead of {second.name} by {ahead}, and of all others. {intervals}"


def _cost(comparison: Comparison, best: Entry) -> str:
    def cost(net: Entry) -> str:
        minutes = net.minutes or 0
        time = f"{minutes:.0f} minutes" if minutes >= 10 else f"{minutes:.1f} minutes"
        return f"{net.name}: {net.results[0].parameters:,} parameters, {time} of training on {_device(net)}"

    # the smallest net that is not distinguishable from the best, if there is one
    even = [net for net in comparison.scored[1:] if not net.distinguishable]
    smaller = [net for net in even if net.results[0].parameters < best.results[0].parameters]
    text = cost(best) + "."
    if smaller:
        smallest = min(smaller, key=lambda net: net.results[0].parameters)
        text += f" The smallest net that is not distinguishable from it is {cost(smallest)}."
    return text


def _device(net: Entry) -> str:
    device = net.results[0].device
    return "a CPU" if device == "cpu" else f"a {device.upper()}"


def conclusion(comparison: Comparison) -> str:
    """Whether the paper's two claims hold: waveform nets are better, and M5 is the best of them."""
    claims = [f"The claim that waveform nets do better than spectrogram nets {_first_claim(comparison)}."]
    claims.append(_second_claim(comparison))
    result = comparison.result
    clips, epochs = result.mix["clips"]["train"], result.epochs
    if clips < PAPER_CLIPS or epochs < PAPER_EPOCHS:
        claims.append(
            f"These nets had {clips:,} training clips and {epochs} epoch{'s' * (epochs != 1)}; the paper's had "
            f"{PAPER_CLIPS:,} and {PAPER_EPOCHS}."
        )
    return " ".join(claims)


def _first_claim(comparison: Comparison) -> str:
    waveform, spectrogram = comparison.best_of("waveform"), comparison.best_of("spectrogram")
    if waveform is None or spectrogram is None:
        return "was not tested on these clips"
    difference = comparison.difference(waveform, spectrogram)
    if difference.contains_zero:
        return f"is neither shown nor refuted: {waveform.name} and {spectrogram.name} are not distinguishable"
    if difference.value < 0:
        return f"does not hold: {spectrogram.name} is better than {waveform.name}, the best waveform net"
    exceptions = _exceptions(comparison)
    if not exceptions:
        return "holds: each waveform net is better than each spectrogram net"
    shown, others = exceptions[:MOST_NAMES], len(exceptions) - MOST_NAMES
    more = [f"so it is with {others} more waveform nets"] if others > 0 else []
    best = f"{waveform.name} is better than {spectrogram.name}, the best spectrogram net"
    return f"holds only in part: {best}, but {'; '.join(shown + more)}"


def _exceptions(comparison: Comparison) -> list[str]:
    """The waveform nets that are not shown to be better than each spectrogram net, and than which they are not."""
    sentences = []
    for net in (net for net in comparison.scored if net.kind == "waveform"):
        worse: list[str] = []
        lower: list[str] = []
        even: list[str] = []
        for other in (other for other in comparison.scored if other.kind == "spectrogram"):
            difference = comparison.difference(net, other)
            if difference.high < 0:
                worse.append(other.name)
            elif difference.low <= 0:
                (lower if difference.value < 0 else even).append(other.name)
        these = {0: "", 1: " it or from"}.get(len(lower), " them or from")
        parts = [
            f"{words} {_list(names)}{rest}"
            for words, names, rest in (
                ("is worse than", worse, ""),
                ("scores lower than", lower, "" if even else ", from which it is not distinguishable"),
                (f"is not distinguishable from{these}", even, ""),
            )
            if names
        ]
        if parts:
            sentences.append(f"{net.name} {_list(parts)}")
    return sentences


def _second_claim(comparison: Comparison) -> str:
    best = comparison.scored[0]
    m5 = next((net for net in comparison.scored if net.model == "m5"), None)
    rivals = [net for net in comparison.scored if net.model != "m5"]
    if m5 is None or not rivals:
        return "The claim that M5 is the best net was not tested."
    if m5 is best:
        even = [net.name for net in rivals if not net.distinguishable]
        if even:
            lead = "M5 has the best score, but is not shown to be the best net"
            return f"{lead}: it is not distinguishable from {_list(even)}."
        return "The claim that M5 is the best net holds."
    if m5.distinguishable:
        return f"The claim that M5 is the best net does not hold: {best.name} is better."
    return (
        f"The claim that M5 is the best net is neither shown nor refuted: {best.name} scores higher, "
        "but is not distinguishable from M5."
    )


def _unbeaten(comparison: Comparison) -> Entry | None:
    """The best of the baselines that no net is shown to beat, if there is one."""
    baselines = [entry for entry in comparison.entries if entry.kind == "baseline" and entry.accuracy]
    unbeaten = [each for each in baselines if all(each.name in net.beaten_by for net in comparison.scored)]
    return max(unbeaten, key=lambda each: each.accuracy.value, default=None)


def _baselines(comparison: Comparison) -> str:
    baselines = [entry for entry in comparison.entries if entry.kind == "baseline" and entry.accuracy]
    if not baselines:
        return "Not known: the corpus is not available, so no baseline could be fitted to the clips' energy."
    known = ", ".join(f"{entry.name} ({entry.hears}) {entry.accuracy}" for entry in baselines)
    text = f"Speech-blind baselines are right on these shares of the test clips: {known}."
    unbeaten = _unbeaten(comparison)
    if unbeaten is not None:
        text = f"No net shows that it does: {_ahead(comparison, unbeaten)}. {text}"
    beaten = [
        f"Not shown to be better than {baseline.name}: {_list(nets)}."
        for baseline in baselines
        if (nets := [net.name for net in comparison.scored if baseline.name in net.beaten_by])
    ]
    return " ".join([text, *(beaten or ["Every net is better than all of these."])])


def _ahead(comparison: Comparison, baseline: Entry) -> str:
    """How far a baseline is ahead of nets that do not beat it."""
    nets = comparison.scored
    even = [net.name for net in nets if comparison.difference(net, baseline).high >= 0]
    blind = f"{baseline.name}, which does not hear speech but only {baseline.hears}"
    if baseline.hears == "nothing":
        blind = f"{baseline.name}, which hears nothing"
    if not even:
        return f"{blind}, is better than {'every net' if len(nets) > 1 else nets[0].name}"
    if baseline.accuracy.value >= nets[0].accuracy.value:
        others = ", and is better than all others" * (len(even) < len(nets))
        return f"{blind}, scores at least as high as every net; it is not distinguishable from {_list(even)}{others}"
    return f"none is shown to be better than {blind}"


def _list(names: list[str]) -> str:
    if len(names) > MOST_NAMES:
        names = [*names[: MOST_NAMES - 1], f"{len(names) - MOST_NAMES + 1} more"]
    return " and ".join([", ".join(names[:-1]), names[-1]]) if len(names) > 1 else names[0]
