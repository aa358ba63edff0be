"""The answer in sentences: waveform or spectrogram, which net, at what cost, and the paper's conclusion."""

from speaker_count.results.comparison import Comparison, Entry
from speaker_count.results.tables import signed

PAPER_CLIPS, PAPER_EPOCHS = 100_000, 10
Answer = list[tuple[str, str]]  # questions and their answers


def answer(comparison: Comparison) -> Answer:
    """The questions that the page opens with, and their answers; empty without predictions."""
    best = comparison.best
    if best is None:
        return []
    return [
        ("Waveform or spectrogram?", _kinds(comparison)),
        ("Which net?", _nets(comparison, best)),
        ("At what cost?", _cost(comparison, best)),
        ("Does the paper's conclusion hold here?", conclusion(comparison)),
        ("Does it listen to speech?", _baselines(comparison)),
    ]


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
    waveform, spectrogram = comparison.best_of("waveform"), comparison.best_of("spectrogram")
    claims = []
    if waveform and spectrogram:
        difference = comparison.difference(waveform, spectrogram)
        verdict = "is neither shown nor refuted: they are not distinguishable" if difference.contains_zero else None
        verdict = verdict or ("holds" if difference.value > 0 else "does not hold")
        claims.append(f"The claim that waveform nets do better than spectrogram nets {verdict}.")
    else:
        claims.append("The claim that waveform nets do better than spectrogram nets was not tested on these clips.")
    m5 = next((net for net in comparison.scored if net.model == "m5"), None)
    best = comparison.best
    if m5 is None or len(comparison.scored) == 1:
        claims.append("The claim that M5 is the best net was not tested.")
    elif m5 is best:
        even = [net.name for net in comparison.scored[1:] if not net.distinguishable]
        claims.append(
            f"M5 has the best score, but is not shown to be the best net: it is not distinguishable from {_list(even)}."
            if even
            else "The claim that M5 is the best net holds."
        )
    elif m5.distinguishable:
        claims.append(f"The claim that M5 is the best net does not hold: {best.name} is better.")
    else:
        claims.append(
            f"The claim that M5 is the best net is neither shown nor refuted: {best.name} scores higher, "
            "but is not distinguishable from M5."
        )
    result = comparison.result
    clips, epochs = result.mix["clips"]["train"], result.epochs
    if clips < PAPER_CLIPS or epochs < PAPER_EPOCHS:
        claims.append(
            f"These nets had {clips:,} training clips and {epochs} epoch{'s' * (epochs != 1)}; the paper's had "
            f"{PAPER_CLIPS:,} and {PAPER_EPOCHS}."
        )
    return " ".join(claims)


def _baselines(comparison: Comparison) -> str:
    baselines = [entry for entry in comparison.entries if entry.kind == "baseline" and entry.accuracy]
    if not baselines:
        return "Not known: the corpus is not available, so no baseline could be fitted to the clips' energy."
    known = ", ".join(f"{entry.name} ({entry.hears}) {entry.accuracy}" for entry in baselines)
    text = f"Speech-blind baselines are right on these shares of the test clips: {known}."
    beaten = [
        f"Not shown to be better than {baseline.name}: {_list(nets)}."
        for baseline in baselines
        if (nets := [net.name for net in comparison.scored if baseline.name in net.beaten_by])
    ]
    return " ".join([text, *(beaten or ["Every net is better than all of these."])])


def _list(names: list[str]) -> str:
    return " and ".join([", ".join(names[:-1]), names[-1]]) if len(names) > 1 else names[0]
