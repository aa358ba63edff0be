import csv
import json
import shutil

import numpy as np
import pytest

from speaker_count.data import baselines
from speaker_count.results import tables
from speaker_count.results.record import RunResult, finished
from tests.conftest import REPOSITORY, SMALL, make_tree, mix_of
from tests.sweeping.conftest import rows_of

MEASURED = REPOSITORY / "multirun" / "measured" / "paper-librispeech_sample-paper" / "m5-seed0"


def test_scores_stand_beside_baselines_with_intervals_over_speakers(reported):
    rows = {row["net"]: row for row in rows_of(reported, "results")}
    assert list(rows) == ["m3", "m5", "spec_2", "majority class", "level", "energy"]
    tested = {
        name: [RunResult.read(run).last.test for run in sorted(reported.glob(f"{name}-*"))] for name in ("m3", "m5")
    }
    assert float(rows["m3"]["test accuracy"]) == pytest.approx(tested["m3"][0]["accuracy"])
    assert rows["m5"]["seeds"] == "2"
    both = [test["accuracy"] for test in tested["m5"]]
    assert float(rows["m5"]["test accuracy"]) == pytest.approx(np.mean(both))
    assert float(rows["m5"]["spread"]) == pytest.approx(np.std(both, ddof=1))
    for row in rows.values():
        assert float(row["test accuracy low"]) <= float(row["test accuracy"]) <= float(row["test accuracy high"])
        assert row["distinguishable"] in ("best", "yes", "no")
        if row["distinguishable"] != "best":
            apart = not float(row["difference low"]) <= 0 <= float(row["difference high"])
            assert row["distinguishable"] == {True: "yes", False: "no"}[apart]
    assert float(rows["majority class"]["test accuracy"]) == pytest.approx(1 / 3)


def test_the_paper_s_figures_stand_beside_ours(reported):
    rows = {row["net"]: row for row in rows_of(reported, "beside_the_paper")}
    assert float(rows["m5"]["paper's validation accuracy"]) == pytest.approx(0.7937)
    assert float(rows["m5"]["paper's train loss"]) == pytest.approx(0.3844)
    ours = float(rows["m5"]["validation accuracy"])
    assert float(rows["m5"]["validation accuracy difference"]) == pytest.approx(ours - 0.7937)
    assert [row["parameters"] for row in rows_of(reported, "table_2")] == ["5923", "37507"]
    (third,) = rows_of(reported, "table_3")
    assert float(third["paper's train accuracy"]) == pytest.approx(0.68574)
    history = list(csv.DictReader((next(reported.glob("spec_2-*")) / "metrics.csv").open()))
    assert float(third["train accuracy"]) == max(float(row["train/accuracy"]) for row in history)  # its best epoch
    (record,) = rows_of(reported, "table_1")
    assert record["Waveform"] == "Audio_Train0.wav"
    assert len(record["Speakers Sex"]) == int(record["Speakers"])


def test_errors_by_count_and_calibration_of_every_net(reported):
    test = RunResult.read(next(reported.glob("m3-*"))).last.test
    rows = {row["net"]: row for row in rows_of(reported, "mae")}
    assert list(rows) == ["m3", "m5", "spec_2", "majority class", "level", "energy"]
    assert float(rows["m3"]["error"]) == pytest.approx(test["mae"])
    assert float(rows["m3"]["error low"]) <= test["mae"] <= float(rows["m3"]["error high"])
    for count in (1, 2, 3):
        assert float(rows["m3"][f"{count} error"]) == pytest.approx(test[f"mae_{count}"])
    constant = [float(rows["majority class"][f"{count} error"]) for count in (1, 2, 3)]
    assert sorted(constant) in ([0, 1, 1], [0, 1, 2])
    calibrated = {row["net"]: row for row in rows_of(reported, "calibration_error")}
    assert float(calibrated["m3"]["expected calibration error"]) == pytest.approx(test["ece"])
    both = [RunResult.read(run).last.test["ece"] for run in reported.glob("m5-*")]
    assert float(calibrated["m5"]["expected calibration error"]) == pytest.approx(np.mean(both))
    audit = {row["net"]: row for row in rows_of(reported, "label_audit")}
    assert float(audit["m3"]["heard accuracy"]) == pytest.approx(test["accuracy_heard"])
    assert "And on clips whose speakers are all heard?" in (reported / "report" / "printed.txt").read_text()


def test_layers_with_their_sizes(reported):
    rows = rows_of(reported, "architecture_m5")
    convolutions = [row for row in rows if row["layer"] == "Conv2d"]
    assert convolutions[0]["output"] == "32 x 996"
    assert sum(int(row["parameters"] or 0) for row in rows) == 37507


def test_every_table_and_figure_is_a_file_too(reported):
    folder = reported / "report"
    names = {path.stem for path in (folder / "tables").iterdir()}
    assert {"results", "table_1", "table_2", "table_3", "where_it_errs", "label_audit", "calibration_error"} <= names
    assert "mae" in names
    for name in names:
        assert (folder / "tables" / f"{name}.md").read_text().startswith("| ")
        assert (folder / "tables" / f"{name}.tex").read_text().startswith(r"\begin{tabular}")
    names = {path.stem for path in (folder / "figures").iterdir()}
    assert {"figure_02", "figures_03_05", "figures_06_14", "figures_17_18", "figures_22_29", "figures_30_35"} <= names
    assert {"figures_37_38", "confusion", "calibration", "accuracy_by_sexes", "accuracy_by_loudness", "curves"} <= names
    for name in names:
        assert (folder / "figures" / f"{name}.png").stat().st_size > 1000
        assert "currentColor" in (folder / "figures" / f"{name}.svg").read_text()  # light and dark


def test_the_terminal_shows_the_answer_and_the_tables(reported):
    printed = (reported / "report" / "printed.txt").read_text()
    assert "Waveform or spectrogram?" in printed
    assert "index.html" in printed
    scores = printed.partition("Scores: Accuracy on the test clips\n")[2].partition("\n\n")[0]
    for row in rows_of(reported, "results"):
        (line,) = (line for line in scores.splitlines() if line.startswith(f"| {row['net']} ") and "[" in line)
        assert f"{float(row['test accuracy']):.3f} [" in line


def test_what_is_printed_fits_80_columns(reported, verb, tmp_path, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setenv("SPEAKER_COUNT_CACHE", str(tmp_path / "no pools"))  # spares it the baselines
    shutil.copytree(MEASURED.parent, tmp_path / "measured")
    code, measured, errors = verb("report", tmp_path / "measured")
    assert code == 0, errors
    runs = tables.of_runs(tables.sweep(finished(MEASURED.parent).values()))
    for printed in ((reported / "report" / "printed.txt").read_text(), measured, runs):
        long = [line for line in printed.splitlines() if len(line) > 80 and not line.startswith("written: ")]
        assert not long


def change(run, **values):
    path = run / "result.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **values}))


def test_without_the_corpus_the_rest_is_reported(verb, finished_sweep, tmp_path, monkeypatch):
    sweep = shutil.copytree(finished_sweep, tmp_path / "sweep")
    monkeypatch.setenv("SPEAKER_COUNT_CACHE", str(tmp_path / "no pools"))
    code, out, err = verb("report", sweep)
    assert code == 0, err
    assert (
        "No baselines and nothing to listen to: the speech of data=folder-tree is not among the pools"
        in out.replace("\n", " ")
    )
    rows = rows_of(sweep, "results")
    assert [row["net"] for row in rows] == ["m3", "m5"]
    assert all(row["test accuracy low"] for row in rows)  # predictions know the speakers
    assert (sweep / "report" / "figures" / "confusion.svg").is_file()


def test_runs_on_other_clips_stand_in_another_table(finished_sweep, tmp_path, verb):
    sweep = shutil.copytree(finished_sweep, tmp_path / "sweep")
    run = next(sweep.glob("m3-*"))
    change(run, mix={**RunResult.read(run).mix, "seed": 1, "name": "other"})
    code, out, _ = verb("report", sweep)
    assert code == 0
    assert [row["net"] for row in rows_of(sweep, "results_1")] == ["m5", "majority class", "level", "energy"]
    assert [row["net"] for row in rows_of(sweep, "results_2")] == ["m3"]  # the clips are not those it was scored on
    columns = rows_of(sweep, "protocols")[0]
    assert {"1 accuracy", "2 accuracy"} <= set(columns)
    assert "may be compared within a column only" in (sweep / "report" / "index.html").read_text()
    assert "other test clips than those" in out


def test_runs_that_cannot_be_read_are_left_out_with_a_warning(verb, finished_sweep, tmp_path, caplog):
    for folder in (tmp_path, tmp_path / "nothing"):
        code, _, err = verb("report", folder)
        assert code == 2
        assert "no f" in err
        assert "Traceback" not in err
    sweep = shutil.copytree(finished_sweep, tmp_path / "sweep")
    whole = next(sweep.glob("m5-*"))
    shutil.copytree(whole, whole.with_name(f"{whole.name}.2026-01-01_00-00-00"))  # moved aside
    torn = next(sweep.glob("m3-*")) / "result.json"
    torn.write_text('{"schema":')
    assert [result.model for result in finished(sweep).values()] == ["m5"]
    assert "is damaged" in caplog.text
    torn.write_text('{"schema": 0}')
    finished(sweep)
    assert "has schema 0, this version reads 1" in caplog.text
    torn.unlink()
    (whole / "predictions.parquet").write_bytes(b"PAR1 and no more")
    code, out, _ = verb("report", sweep)
    assert code == 0
    assert f"Not finished: {torn.parent.name}" in out
    assert "its predictions cannot be used" in out
    shutil.rmtree(whole)
    (torn.parent / "result.json").write_text("[]")
    code, _, err = verb("report", sweep)
    assert code == 2
    assert "has schema None" in err


def test_the_baseline_sees_the_level_alone(make_data, tmp_path):
    """Where one speaker is four times as loud as a mean of three, the level tells them apart."""
    data = make_data(make_tree(tmp_path), mix=mix_of(train=300, test=150, counts=(1, 3)))
    majority, level, energy = baselines.baselines(data.clips)
    assert majority.accuracy["test"] == 0.5
    assert majority.loss["test"] == pytest.approx(np.log(2))
    assert level.accuracy["test"] > 0.9
    assert energy.accuracy["test"] > 0.9
    assert 0 < level.loss["test"] < 0.5
    blind = make_data(tmp_path, mix=mix_of(train=300, test=150, counts=(1, 3), gain_db=(-5, 5), level_db=-26))
    assert baselines.baselines(blind.clips)[1].accuracy["test"] < 0.7


def test_the_layers_of_a_user_s_own_net(verb, command, tree, tmp_path):
    own = tmp_path / "own"
    (own / "model").mkdir(parents=True)
    (own / "net_of_my_own.py").write_text(
        "from torch import nn\n\n\nclass Mine(nn.Sequential):\n"
        "    def __init__(self, classes):\n        super().__init__(nn.Flatten(), nn.LazyLinear(classes))\n"
    )
    (own / "model" / "mine.yaml").write_text(
        "_target_: speaker_count.WaveformCounter\ncounts: ${mix.counts}\n"
        "net: {_target_: net_of_my_own.Mine, _partial_: true}\n"
    )
    speech = (*SMALL, f"data.root={tree}", "logger=csv")
    done = command("train", "--config-dir", own, *speech, "model=mine", "hydra.run.dir=run")
    assert done.returncode == 0, done.stderr
    code, _, err = verb("report", "run")
    assert code == 0, err
    assert "name its folder with --config-dir DIR" in (tmp_path / "run" / "report" / "index.html").read_text()
    code, _, err = verb("report", "run", "--config-dir", own)
    assert code == 0, err
    rows = rows_of(tmp_path / "run", "architecture_mine")
    assert [(row["layer"], row["parameters"]) for row in rows[1:]] == [("Flatten", ""), ("Linear", "48003")]
    code, _, err = verb("report", "run", "--config-dir", "nowhere")
    assert (code, err) == (2, "--config-dir nowhere: there is no such folder\n")
