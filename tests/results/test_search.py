"""A sweep's scores against what its runs vary."""

import math
from dataclasses import replace

import pytest

from speaker_count.results import axes, comparison, figures, search
from speaker_count.results.record import RunResult
from speaker_count.results.tables import paper
from tests.conftest import REPOSITORY

MEASURED = REPOSITORY / "multirun" / "measured" / "paper-librispeech_sample-paper" / "m5-seed0"
RATES = (3e-5, 1e-4, 4e-4, 1e-3, 7e-3)


def runs(*changes: list[str], nets=("m5",)) -> list[RunResult]:
    """Runs with overrides; those of `model.KEY` stand in their nets too."""
    result = RunResult.read(MEASURED)
    made = []
    for number, overrides in enumerate(changes):
        net = {
            key.removeprefix("model."): float(value)
            for key, _, value in (change.partition("=") for change in overrides)
            if key.startswith("model.")
        }
        last = replace(result.last, validation={"accuracy": 0.4 + number / 100})
        model = nets[number % len(nets)]
        made.append(replace(result, model=model, changes=overrides, net={**result.net, **net}, last=last))
    return made


def test_keys_with_two_values_are_parameters():
    found = search.search(
        runs(
            ["mix.fresh_each_epoch=true", "model.learning_rate=1e-3", "optimizer=adamw"],
            ["mix.fresh_each_epoch=true", "model.learning_rate=0.0010", "optimizer=sgd"],
            ["mix.fresh_each_epoch=true", "+model.weight_decay=0"],
        )
    )
    assert found.parameters == {
        "model.learning_rate": [0.001, 0.001, 0.0001],  # the third run's is in its result
        "model.weight_decay": ["default", "default", "0"],
        "optimizer": ["adamw", "sgd", "default"],
    }
    assert found.scores == pytest.approx([0.4, 0.41, 0.42])
    same = runs(["model.learning_rate=1e-3"], ["model.learning_rate=0.001"])
    assert not search.search(same).parameters


def test_values_that_no_axis_can_show_are_left_out():
    many = runs(*([f"data.name=corpus{number}", f"model.dropout=0.{number}"] for number in range(20)))
    many = [replace(each, data={}) for each in many]
    found = search.search(many)
    assert list(found.parameters) == ["model.dropout"]
    assert found.crowded == ["data.name"]
    unknown = replace(many[0], last=replace(many[0].last, validation={"accuracy": math.nan}))
    assert len(search.search([unknown, *many[1:]]).scores) == 19
    first, second = runs([], [])
    hostile = search.search([replace(first, changes=["x=1e999", "~y"]), replace(second, changes=["x=$a$", "+y=[1,2]"])])
    assert hostile.parameters == {"x": ["1e999", "$a$"], "y": ["none", "[1,2]"]}
    search.draw(hostile)


def drawn(found):
    figure = search.draw(found)
    figure.draw_without_rendering()
    return figure


def test_ten_trials_give_a_readable_figure(tmp_path):
    trials = runs(*([f"model.learning_rate={rate}"] for rate in RATES for _ in range(2)), nets=("m5", "spec_2"))
    figure = drawn(search.search(trials))
    (panel,) = figure.axes
    assert panel.get_xscale() == "log"
    assert (panel.get_xlabel(), panel.get_ylabel()) == ("model.learning_rate", "validation accuracy")
    assert [text.get_text() for text in panel.get_legend().get_texts()] == ["m5", "spec_2", "the best run"]
    assert not overlapping(panel)
    colors = {
        line.get_color() for line in panel.lines if line.get_marker() in figures.MARKERS and line.get_label() != ""
    }
    assert {figures.BLUE, figures.ORANGE} <= colors
    figures.save(figure, tmp_path, "parameters")
    assert ">model.learning_rate<" in (tmp_path / "parameters.svg").read_text()


def overlapping(panel) -> bool:
    """Whether numbers on the x axis of a panel, which is drawn, lie over one another."""
    low, high = sorted(panel.get_xlim())
    ticks = [*panel.xaxis.get_major_ticks(), *panel.xaxis.get_minor_ticks()]
    labels = [tick.label1 for tick in ticks if low <= tick.get_loc() <= high and tick.label1.get_text()]
    boxes = [label.get_window_extent() for label in labels]
    assert len({label.get_text() for label in labels}) == len(labels) >= 2
    assert not any("$" in label.get_text() for label in labels)  # no formula that nothing typesets
    return any(box.count_overlaps(boxes) > 1 for box in boxes)


@pytest.mark.parametrize(
    ("values", "scale"),
    [
        ((1, 2, 5), "linear"),
        ((0.1, 0.5), "linear"),
        ((-26, 0, 3000), "linear"),
        ((0.1, 1.1), "log"),
        ((0.0071, 0.5), "log"),
        ((483, 9795, 924_643), "log"),
        ((5.5, 8, 57), "log"),
        ((1e-300, 1e300), "log"),
        ((0, 1e-5, 1e-4, 1e-2), "symlog"),
        ((0, 0.1), "linear"),
    ],
)
def test_axes_suit_their_values_and_their_numbers_do_not_overlap(values, scale):
    points = {f"net {number}": (value, 1.0, INTERVAL) for number, value in enumerate(values)}
    for swapped in (False, True):  # parameters, then minutes
        at = {name: (y, x, score) if swapped else (x, y, score) for name, (x, y, score) in points.items()}
        figure = figures.against_cost(at, dict.fromkeys(at, "waveform"))
        figure.draw_without_rendering()
        panel = figure.axes[swapped]
        assert panel.get_xscale() == scale
        assert not overlapping(panel)


INTERVAL = comparison.Interval(0.5, 0.4, 0.6)


def test_numbers_on_axes():
    shown = [axes.number(value) for value in (0, 3e-5, 1e-4, 0.5, 483, 1000, 20_000, 1e6, -5, 1.5e12)]
    assert shown == ["0", "3e-5", "0.0001", "0.5", "483", "1000", "20k", "1M", "-5", "1.5e12"]


def test_the_paper_s_crosses_stand_at_its_epochs():
    keys = ("train/loss", "validation/loss", "train/accuracy", "validation/accuracy", "val/loss", "val/accuracy")
    history = [{"epoch": epoch, **dict.fromkeys(keys, 0.5)} for epoch in (1, 2)]
    figure = figures.curves({"m5": [history], "spec_2": [history]}, {net: paper()[net] for net in ("m5", "spec_2")})
    crosses = {
        panel.get_title(): [(*line.get_xdata(), *line.get_ydata()) for line in panel.lines if line.get_marker() == "x"]
        for panel in figure.axes
    }
    assert crosses["m5: accuracy"] == [(10, pytest.approx(0.8308)), (10, pytest.approx(0.7937))]
    assert crosses["spec_2: accuracy"] == []  # its best, at an epoch that the paper does not say
    (line,) = [line for line in figure.axes[3].lines if "the paper" in str(line.get_label())]
    assert line.get_ydata() == pytest.approx([0.68574] * 2)


def test_nets_with_long_overrides_have_short_names(tmp_path):
    long = [[f"model.learning_rate={rate}12345", f"model.net.dropout=0.{number}"] for number, rate in enumerate(RATES)]
    made = {tmp_path / f"m5-seed0-{number}": run for number, run in enumerate(runs(*long))}
    names = [entry.name for entry in comparison.compare(made).entries]
    assert len({*names}) == 5
    assert all(len(name) == len("m5 012345") for name in names)
    drawn_by_a_search = runs(["model.learning_rate=0.00011623107160009047"], ["model.learning_rate=3e-05"])
    made = {tmp_path / f"m5-seed0-{number}": run for number, run in enumerate(drawn_by_a_search)}
    named = [entry.name for entry in comparison.compare(made).entries]
    assert named == ["m5 model.learning_rate=3e-05", "m5 model.learning_rate=0.0001162"]  # by their size
