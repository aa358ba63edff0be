"""What came out, in sentences: waveform or spectrogram, which net, at what cost, and the paper's conclusion."""

from speaker_count.results.comparison import Comparison, Entry
from speaker_count.results.tables import signed

PAPER_CLIPS, PAPER_EPOCHS = 100_000, 10
Answer = list[tuple[str, str]]  # questions and what is to be said to each


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
        return f"Only {there} nets were run on these clips; no {missing} net, so this is left open."
    difference = comparison.difference(waveform, spectrogram)
    scores = (
        f"The best waveform net, {waveform.name}, is right on {waveform.accuracy} of the test clips, the best "
        f"spectrogram net, {spectrogram.name}, on {spectrogram.accuracy}."
    )
    if difference.holds_zero:
        return f"It cannot be told. {scores} Their difference, {signed(difference)}, may be chance."
    ahead = "Waveform" if difference.value > 0 else "Spectrogram"
    return f"{ahead}. {scores} The difference is {signed(difference)}."


def _nets(comparison: Comparison, best: Entry) -> str:
    people = comparison.result["data"]["speakers"]["test"]
    intervals = f"Intervals (95 %) are over the {people} test speakers, not over the clips."
    others = comparison.scored[1:]
    if not others:
        return f"Only {best.name} was run: {best.accuracy} of the test clips. {intervals}"
    even = [net.name for net in others if not net.distinguishable]
    if even:
        lead = f"{best.name} has the best score, {best.accuracy}"
        return f"{lead}, but is not distinguishable from {_list(even)}. {intervals}"
    second = others[0]
    lead = comparison.difference(best, second)
    return f"{best.name}, {best.accuracy}: ahead of {second.name} by {signed(lead)} and of all others. {intervals}"


def _cost(comparison: Comparison, best: Entry) -> str:
    def cost(net: Entry) -> str:
        time = f"{net.minutes:.0f} minutes" if net.minutes >= 10 else f"{net.minutes:.1f} minutes"
        return f"{net.name}: {net.results[0]['parameters']:,} parameters, {time} of training on {_device(net)}"

    # the smallest net that is not worse, where there is one
    even = [net for net in comparison.scored[1:] if not net.distinguishable]
    smaller = [net for net in even if net.results[0]["parameters"] < best.results[0]["parameters"]]
    text = cost(best) + "."
    if smaller:
        smallest = min(smaller, key=lambda net: net.results[0]["parameters"])
        text += f" The smallest that is not distinguishable from it is {cost(smallest)}."
    return text


def _device(net: Entry) -> str:
    device = net.results[0]["device"]
    return "a CPU" if device == "cpu" else f"a {device.upper()}"


def conclusion(comparison: Comparison) -> str:
    """What is to be said of the paper's two claims: waveform nets are better, and M5 is the best of them."""
    waveform, spectrogram = comparison.best_of("waveform"), comparison.best_of("spectrogram")
    claims = []
    if waveform and spectrogram:
        difference = comparison.difference(waveform, spectrogram)
        verdict = "cannot be told from chance" if difference.holds_zero else None
        verdict = verdict or ("holds" if difference.value > 0 else "does not hold")
        claims.append(f"That waveform nets do better than spectrogram nets {verdict}.")
    else:
        claims.append("That waveform nets do better than spectrogram nets was not tried on these clips.")
    m5 = next((net for net in comparison.scored if net.model == "m5"), None)
    best = comparison.best
    if m5 is None or len(comparison.scored) == 1:
        claims.append("That M5 is the best of all was not tried.")
    elif m5 is best:
        even = [net.name for net in comparison.scored[1:] if not net.distinguishable]
        claims.append(
            f"That M5 is the best of all: it has the best score, but is not distinguishable from {_list(even)}."
            if even
            else "That M5 is the best of all holds."
        )
    elif m5.distinguishable:
        claims.append(f"That M5 is the best of all does not hold: {best.name} is better.")
    else:
        claims.append(f"That M5 is the best of all cannot be told: {best.name} scores higher, within chance.")
    result = comparison.result
    clips, epochs = result["mix"]["clips"]["train"], result["epochs"]
    if clips < PAPER_CLIPS or epochs < PAPER_EPOCHS:
        claims.append(
            f"These nets had {clips:,} training clips and {epochs} epoch{'s' * (epochs != 1)}, the paper's "
            f"{PAPER_CLIPS:,} and {PAPER_EPOCHS}: read it with that in mind."
        )
    return " ".join(claims)


def _baselines(comparison: Comparison) -> str:
    baselines = [entry for entry in comparison.entries if entry.kind == "baseline" and entry.accuracy]
    if not baselines:
        return "Not known: the corpus is not at hand, so that nothing could be fitted to the clips' energy."
    known = ", ".join(f"{entry.name} ({entry.hears}) {entry.accuracy}" for entry in baselines)
    text = f"What hears no speech is right on so many test clips: {known}."
    beaten = [
        f"Not shown to be better than {baseline.name}: {_list(nets)}."
        for baseline in baselines
        if (nets := [net.name for net in comparison.scored if baseline.name in net.beaten_by])
    ]
    return " ".join([text, *(beaten or ["Every net is better than all of these."])])


def _list(names: list[str]) -> str:
    return " and ".join([", ".join(names[:-1]), names[-1]]) if len(names) > 1 else names[0]
