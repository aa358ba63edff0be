"""The report of many runs: their results, and what their corpus shows, put together into sections."""

import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from torch import nn

from speaker_count.compose import rebuild
from speaker_count.data import baselines, metadata
from speaker_count.data.clips import Clips
from speaker_count.data.datamodule import ClipDataModule
from speaker_count.data.pool import is_speech_of
from speaker_count.data.wav_folder import WavFolder
from speaker_count.errors import UserError, printable
from speaker_count.labels import SEXES, SPLITS
from speaker_count.results import ablation, comparison, mistakes, sections, tables
from speaker_count.results.comparison import Comparison
from speaker_count.results.page import Section, Table, Text
from speaker_count.results.record import RunResult

SYNTHETIC = "Synthetic speech, made by eSpeak NG: these scores say nothing about real speech."
MOST_CLIPS = 10**8  # of a split: planning as many takes minutes
MOST_PARAMETERS = 2**28
SHOWN = 32  # test clips, as in the paper
WRONG = 12  # clips in the listening room


def groups(results: Mapping[Path, RunResult]) -> Iterator[dict[Path, RunResult]]:
    """Results that can be compared, of the same corpus and mix; the paper's mix and the larger groups first."""
    by_clips: dict[str, dict[Path, RunResult]] = {}
    for folder, result in results.items():
        mix = {key: value for key, value in result.mix.items() if key != "name" and value is not None}
        if ablation.choice(result):  # of one study, though their training clips vary in other ways
            mix = {ablation.GROUP: True}
        key = json.dumps([result.data["corpus_sha256"], mix, result.test_sha256], sort_keys=True)
        by_clips.setdefault(key, {})[folder] = result

    def rank(group: dict[Path, RunResult]) -> tuple:
        result = next(iter(group.values()))
        return (
            result.data["name"],
            result.mix["name"] != "paper",
            -len({each.model for each in group.values()}),
        )

    yield from sorted(by_clips.values(), key=rank)


def corpus_of(result: RunResult, cache: str, root: str | None) -> ClipDataModule:
    """The data of a run, set up.

    Args:
        cache: the user's folder of pools, where the corpus is looked for.
        root: where the user says that it is.

    Raises:
        UserError: the corpus is not available, or gives other clips than the run's.
    """
    datamodule = ClipDataModule.of_run(result.data, result.mix, cache, root)
    datamodule.setup()
    if not is_speech_of(datamodule.pool, result.data):
        raise UserError(f"{datamodule.root} holds another corpus than the runs'")
    with datamodule.verified():
        if datamodule.clips["test"].sha256() != result.test_sha256:
            raise UserError(f"{datamodule.root} gives other test clips than those the runs were scored on")
    return datamodule


def add_baselines(compared: Comparison, datamodule: ClipDataModule) -> None:
    for baseline in baselines.baselines(datamodule.clips):
        scores = {"accuracy": baseline.accuracy, "loss": baseline.loss}
        comparison.add_baseline(compared, baseline.name, baseline.hears, baseline.predicted, scores)


def facts_of(datamodule: ClipDataModule) -> sections.Facts:
    """Facts about the clips that need the corpus; `show` adds the clips that the page shows."""
    test = datamodule.clips["test"].plan()
    first = datamodule.clips["train"].plan(0, 1)
    (row,) = metadata.of_plan(
        datamodule.pool, "train", datamodule.mix.counts, first, np.zeros(1, int), [""], datamodule.sounds
    ).to_pylist()
    row = {name: value for name, value in row.items() if name not in ("clipped", "sha256")}
    examples = {}
    for name, split, count, caption in (
        ("figure_02", "validation", max(datamodule.mix.counts), "Figure 2: waveform and spectrogram of"),
        ("figures_17_18", "train", 2, "Figures 17 and 18: waveform and spectrogram of"),
    ):
        block = datamodule.clips[split].plan(0, min(len(datamodule.mix.counts), len(datamodule.clips[split])))
        rows = np.flatnonzero(block.count == count)[:1]
        if len(rows):
            waveform = datamodule.clips[split].render(block[rows])[0]
            described = f"{caption} a {split.replace('train', 'training')} clip with {count} speakers (clip {rows[0]})."
            examples[name] = (described, waveform)
    return sections.Facts(
        sample_rate=datamodule.sample_rate,
        sexes={split: _sexes(clips) for split, clips in datamodule.clips.items()},
        activity=np.where(test.utterances >= 0, test.activity, np.nan),
        synthetic=isinstance(datamodule.pool, WavFolder) and datamodule.pool.synthetic,
        levels=None if datamodule.rendered else baselines.voice_levels(datamodule.clips["test"]),
        record={
            name: " ".join(map(str, value)) if isinstance(value, list) else str(value) for name, value in row.items()
        },
        examples=examples,
    )


def _sexes(clips: Clips) -> Counter:
    """How many clips have each composition by sex."""
    letters = np.append(SEXES, "")  # -1: nobody
    found: Counter = Counter()
    for start in range(0, len(clips), 8192):
        plan = clips.plan(start, min(start + 8192, len(clips)))
        found.update(comparison.in_paper_order("".join(row)) for row in letters[plan.sexes].tolist())
    return found


def show(facts: sections.Facts, clips: Clips, whole: Sequence[int], alone: Sequence[int]) -> None:
    """Render the test clips that are shown, and of some each voice alone."""
    rows = np.array(sorted({*whole, *alone}), int)
    facts.waveforms = dict(zip(rows.tolist(), clips.render(clips.plan_of(rows)), strict=True))
    if facts.levels is not None:
        facts.sources = dict(zip(alone, clips.sources(clips.plan_of(np.array(alone, int))), strict=True))


def layers(net: nn.Module, samples: int) -> list[tables.Row]:
    """The layers of a net, with the size of what leaves them for one clip, and their parameters."""
    rows: list[tables.Row] = []

    def note(name: str, layer: nn.Module, output: torch.Tensor) -> None:
        size = " x ".join(str(length) for length in output.shape[1:] if length > 1)  # time stands in two dimensions
        parameters = sum(parameter.numel() for parameter in layer.parameters())
        rows.append({"layer": type(layer).__name__, "name": name, "output": size, "parameters": parameters or None})

    leaves = [(name, layer) for name, layer in net.named_modules() if not list(layer.children())]
    hooks = [
        layer.register_forward_hook(lambda layer, inputs, output, name=name: note(name, layer, output))
        for name, layer in leaves
        if "metrics" not in name and "running" not in name
    ]
    with torch.no_grad():
        net.eval()(torch.zeros(1, samples))
    for hook in hooks:
        hook.remove()
    return rows


def architectures(comparisons: Sequence[Comparison], config_dir: str | None = None) -> Section:
    """The layers of every net, as it is built here from its config.

    Args:
        config_dir: a folder of the user's own configs, where the configs and nets of the runs may be.
    """
    section = Section("Architectures")
    for model, result in {net.model: net.results[0] for each in comparisons for net in each.nets}.items():
        samples = round(result.mix["clip_seconds"] * result.data["sample_rate"])
        try:
            with torch.device("meta"):  # sizes without numbers: a run from elsewhere may have a net that fits nowhere
                made = rebuild(result, config_dir).parameters()
            size = sum(parameter.numel() for parameter in made if not nn.parameter.is_lazy(parameter))
            if size > MOST_PARAMETERS:
                raise UserError(f"a net with {size:,} parameters is not built here")
            rows = layers(rebuild(result, config_dir), samples)
        except UserError as error:
            section.blocks.append(Text(str(error), model))
            continue
        named = f"{model} ({result.paper_name})" if result.paper_name else model
        title = f"{named}: {result.parameters:,} trainable parameters, for a clip of {samples:,} samples"
        columns = {"layer": "layer", "output": "output size", "parameters": "parameters"}
        section.blocks.append(Table(f"architecture_{model}", title, rows, columns))
    return section


def protocols(comparisons: Sequence[Comparison]) -> Section:
    """Test accuracy of every net under each corpus and mix, a column each; nothing is averaged over them."""
    columns, screen = {"net": ""}, {"net": "net"}
    rows: dict[str, tables.Row] = {}
    for number, compared in enumerate(comparisons, start=1):
        columns[f"{number} accuracy"], screen[f"{number} accuracy"] = label(compared.result), f"clips {number}"
        for entry in compared.entries:
            value = entry.accuracy or entry.mean("test", "accuracy")
            rows.setdefault(entry.name, {"net": entry.name})[f"{number} accuracy"] = value
    order = [*tables.paper(), *rows]
    listed = sorted(rows.values(), key=lambda row: order.index(row["net"]))
    note = "Each column has its own clips: scores may be compared within a column only."
    title = "Test accuracy by corpus and mix"
    return Section("Side by side", [Table("protocols", title, listed, columns, note, screen)])


def label(result: RunResult) -> str:
    """A group in a few words."""
    data, mix = result.data["name"], result.mix
    return f"{data}, {mix['name']}, {mix['clips']['train']:,} training clips"


def title(result: RunResult) -> str:
    """What the runs of a group have in common."""
    data, mix = result.data, result.mix
    clips = " / ".join(f"{mix['clips'][split]:,}" for split in SPLITS)
    speakers = " / ".join(str(data["speakers"][split]) for split in SPLITS)
    return (
        f"data={data['name']}, mix={mix['name']}: {clips} clips of {speakers} speakers (training / validation / test)"
    )


def report(
    group: Mapping[Path, RunResult], cache: str, root: str | None, suffix: str, first: bool
) -> tuple[Comparison, list]:
    """Compare a group of runs, and make its sections; clips can be listened to in the first group's only."""
    compared = comparison.compare(group)
    result = compared.result
    facts = None
    try:
        if compared.count is None or len(compared.count) != result.mix["clips"]["test"]:
            raise UserError("no run has predictions for all of its test clips")
        if max(result.mix["clips"][split] for split in SPLITS) > MOST_CLIPS:
            raise UserError(f"a split has more than {MOST_CLIPS:,} clips")
        datamodule = corpus_of(result, cache, root)
    except UserError as error:
        compared.notes.append(f"No baselines and nothing to listen to: {error}.")
        comparison.score(compared)
    else:
        add_baselines(compared, datamodule)
        comparison.score(compared)
        facts = facts_of(datamodule)
        if first and compared.count is not None:
            wrong = mistakes.confidently_wrong(compared, WRONG)
            show(facts, datamodule.clips["test"], range(min(SHOWN, len(compared.count))), wrong)
    if result.is_synthetic or (facts is not None and facts.synthetic):
        compared.notes.insert(0, SYNTHETIC)

    main = sections.opening(compared)
    main.title = title(result)
    main.blocks = [*map(Text, compared.notes), *main.blocks]
    made = [main, sections.scores(compared, suffix)]
    made.insert(1, Section("What each ingredient brings", ablation.blocks(compared, suffix)))
    made.append(Section("Beside the paper", sections.beside_the_paper(compared, suffix)))
    made.append(Section("Training", sections.curves(compared, suffix)))
    if facts is not None:
        made.append(Section("The clips", sections.clips(facts, suffix)))
        shown = [row for row in facts.waveforms if row < SHOWN]
        made[-1].blocks += sections.gallery(compared, facts, shown)
    where = Section("Where it errs", mistakes.where(compared, facts, suffix))
    if facts is not None:
        heard = mistakes.label_audit(compared, facts, suffix)
        main.blocks += [block for block in heard if isinstance(block, Text)]
        where.blocks += [block for block in heard if not isinstance(block, Text)]
        where.blocks += mistakes.listening_room(compared, facts, mistakes.confidently_wrong(compared, WRONG))
    made.append(where)
    if suffix:  # one of several groups
        for section in made[1:]:
            section.title += f" ({label(result)})"
    return compared, [section for section in made if section.blocks]


def footer(comparisons: Sequence[Comparison]) -> list[tuple[str, str]]:
    """Hashes of the clips, commits, versions and commands."""
    lines = []
    for compared in comparisons:
        result = compared.result
        lines.append(("clips", title(result)))
        lines += [
            (f"SHA-256 of the {split} clips", sha256)
            for split, sha256 in (("validation", result.validation_sha256), ("test", result.test_sha256))
        ]
        results = [result for net in compared.nets for result in net.results]
        commits = dict.fromkeys(result.commit or "not from a checkout" for result in results)
        versions = dict.fromkeys(
            ", ".join(f"{name} {version}" for name, version in result.versions.items()) for result in results
        )
        lines += [("commit", ", ".join(commits)), ("versions", "; ".join(versions))]
        lines.append(("commands", "; ".join(dict.fromkeys(result.command for result in results))))
    return [(name, printable(value)) for name, value in lines]


def make(
    results: Mapping[Path, RunResult], cache: str, root: str | None, config_dir: str | None = None
) -> tuple[list[Section], list[Comparison]]:
    """The report's sections, and the comparisons behind them, one for each corpus and mix.

    Args:
        results: of finished runs, by their folders.
        cache: the user's folder of pools, where each corpus is looked for.
        root: where the corpus is, if its pool is not there.
        config_dir: a folder of the user's own configs.
    """
    grouped = list(groups(results))
    comparisons: list[Comparison] = []
    made: list[Section] = []
    for number, group in enumerate(grouped, start=1):
        suffix = f"_{number}" if len(grouped) > 1 else ""
        compared, parts = report(group, cache, root, suffix, first=number == 1)
        comparisons.append(compared)
        made += parts
    if len(comparisons) > 1:
        made.insert(1, protocols(comparisons))
    made.append(architectures(comparisons, config_dir))
    return made, comparisons
