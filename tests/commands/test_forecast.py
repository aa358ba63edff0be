"""`speaker-count forecast`: what it says of speech, runs, time and disk, and that it writes nothing."""

import shutil

import pytest

from speaker_count.sweeping.estimates import Work, duration
from speaker_count.training.throughput import Throughput
from tests.conftest import SMALL


def rows(out):
    """The table's cells, by the run's name without its hash."""
    lines = [[cell.strip() for cell in line.split("|")[1:-1]] for line in out.splitlines() if line.startswith("| ")]
    return {"-".join(cells[0].split("-")[:2]): dict(zip(lines[0], cells, strict=True)) for cells in lines[2:]}


def number(cell):
    return float(cell.replace(",", ""))


def test_how_long_the_work_takes():
    work = Work(epochs=10, train=1000, evaluate=1100, test=200)
    assert work.seconds(Throughput(train=100, evaluate=400)) == 10 * (1000 / 100 + 1100 / 400) + 2 * 200 / 400
    said = [duration(seconds) for seconds in (0.2, 40, 100, 2100, 6000, 7170)]
    assert said == ["0 s", "40 s", "2 min", "35 min", "1 h 40 min", "2 h 0 min"]


def test_the_runs_of_a_sweep_finished_interrupted_and_new(verb, finished_sweep, tree, tmp_path):
    sweep = shutil.copytree(finished_sweep, tmp_path / "sweep")
    next(sweep.glob("m3-*/result.json")).unlink()
    before = sorted(tmp_path.rglob("*"))
    asked = (*SMALL, f"data.root={tree}", "model=m3,m5", "seed=0,1", "logger=csv", f"hydra.sweep.dir={sweep}")
    code, out, err = verb("forecast", *asked)
    assert code == 0, err
    jobs = rows(out)
    assert list(jobs) == ["m3-seed0", "m3-seed1", "m5-seed0", "m5-seed1"]
    assert [job[""] for job in jobs.values()] == ["2 of 2 epochs done", "", "finished", ""]
    assert jobs["m5-seed0"]["minutes"] == "0.0"
    assert number(jobs["m5-seed1"]["train clips/s"]) > 0
    assert number(jobs["m5-seed1"]["eval clips/s"]) > 0
    assert "1 of 4 runs are finished" in out
    assert "pool: " in out
    assert sorted(tmp_path.rglob("*")) == before

    _, out, _ = verb("forecast", *asked, "force=true")
    assert not any(job.get("") for job in rows(out).values())


def test_the_paper_s_study_where_librispeech_is_missing(verb, tmp_path):
    clips = ("mix.clips.train=32", "mix.clips.validation=32", "mix.clips.test=32")
    code, out, err = verb("forecast", "experiment=paper", f"data.root={tmp_path / 'nothing'}", *clips)
    assert code == 0, err
    assert "no train-clean-100, dev-clean, test-clean" in out
    assert "`speaker-count prepare` downloads 7.1 GB" in out
    assert "13.5 GB for the speech (7.1 GB once it is unpacked)" in out
    assert "12.7 GB for the pool" in out
    assert list(rows(out)) == [f"{net}-seed0" for net in ("m3", "m5", "m11", "m18", "spec_1", "spec_2", "spec_4")]
    assert "40 MB for the runs in multirun/paper-librispeech-paper" in out
    assert not list(tmp_path.iterdir())


def test_missing_speech_that_cannot_be_downloaded_is_one_line(verb, tmp_path):
    code, out, err = verb("forecast", *SMALL, f"data.root={tmp_path / 'nowhere'}")
    assert code == 2
    assert len(err.strip().splitlines()) == 1
    assert "nowhere does not exist" in err
    assert "|" not in out


@pytest.mark.parametrize(
    ("mistake", "code"), [("trainer.max_epochs=0", 2), ("model.learning_rate=x", 2), ("model=m99", 1)]
)
def test_a_mistake_is_reported_as_train_reports_it(verb, tree, mistake, code):
    ended, _, err = verb("forecast", *SMALL, f"data.root={tree}", mistake)
    assert ended == code
    assert mistake.split("=")[1] in err
    assert "Traceback" not in err


def test_a_schedule_that_follows_the_steps_of_a_run(verb, tree):
    code, out, err = verb("forecast", *SMALL, f"data.root={tree}", "model=m3", "scheduler=one_cycle")
    assert code == 0, err
    assert float(rows(out)["m3-seed0"]["minutes"]) >= 0


def test_a_run_that_would_fail_is_named_beside_the_others(verb, tree):
    code, out, err = verb("forecast", *SMALL, f"data.root={tree}", "model=m3", "seed=0,x")
    assert code == 1
    assert "fails: m3-seedx" in err
    assert "seed=x: expected a whole number" in err
    assert "1 of 2 runs would fail" in err
    assert rows(out)["m3-seedx"][""] == "fails"
    assert float(rows(out)["m3-seed0"]["minutes"]) >= 0


@pytest.mark.parametrize(
    ("overrides", "folders"),
    [
        (
            ["experiment=paper", "mix=paper,level_blind"],
            ["multirun/paper-librispeech-paper", "multirun/paper-librispeech-level_blind"],
        ),
        (["model=m3,m5", "hydra.sweep.dir=mine"], ["mine"]),
        (["model=m3", "seed=2"], ["multirun/single-librispeech-paper/m3-seed2"]),
        (["--multirun", "model=m3", "data=demo"], ["multirun/default-demo-paper"]),
    ],
)
def test_the_folders_that_a_report_is_asked_for(verb, overrides, folders):
    code, out, err = verb("forecast", "--folders", *overrides)
    assert code == 0, err
    assert out.splitlines() == folders
