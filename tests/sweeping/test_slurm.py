"""A sweep on a cluster: a real Slurm on this machine, which preempts, loses its node, and refuses."""

import json
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from speaker_count.sweeping.slurm import minutes as minutes_of
from speaker_count.sweeping.slurm_launcher import interrupt_held_back
from tests.conftest import SMALL
from tests.sweeping import slurm_server as slurms
from tests.training.test_wandb_run import inspect

pytestmark = pytest.mark.alone

SLURM = (
    "hydra/launcher=slurm",
    "hydra.launcher.timeout_min=10",
    "hydra.launcher.mem_gb=2",
    "hydra.launcher.cpus_per_task=1",
)


@pytest.fixture(scope="module")
def slurm(tmp_path_factory):
    why = slurms.missing()
    if why:
        pytest.skip(why)
    with slurms.running(tmp_path_factory.mktemp("slurm")) as running:
        yield running


@pytest.fixture
def begun(slurm, tmp_path, cache):
    """Begin a command as a user does, and let it run."""
    processes = []

    def begin(*arguments: object) -> subprocess.Popen:
        processes.append(
            subprocess.Popen(
                [Path(sys.executable).with_name("speaker-count"), *map(str, arguments)],
                cwd=tmp_path,
                env={**slurm.environment, "SPEAKER_COUNT_CACHE": str(cache), "WANDB_DATA_DIR": str(tmp_path)},
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
            )
        )
        return processes[-1]

    yield begin
    for process in processes:
        process.kill()
        process.wait()
    slurm.ask("scancel", "--me")


def until(process: subprocess.Popen, text: str) -> list[str]:
    """The lines that a command prints, up to the first with this text."""
    lines = []
    for line in process.stdout:
        lines.append(line)
        print(line, end="")  # shown if the test fails
        if text in line:
            return lines
    raise AssertionError(f"it never said {text!r}: {''.join(lines)}")


def test_a_sweep_waits_for_its_jobs_is_found_again_and_submits_only_what_is_unfinished(begun, slurm, tree, tmp_path):
    sweep = ("train", "--multirun", *SMALL, f"data.root={tree}", "model=m3", "model.learning_rate=1e-4,1e-3,-1", *SLURM)
    node = slurm.ask("sinfo", "-h", "-N", "-p", "main", "-o", "%N")
    slurm.ask("scontrol", "update", f"NodeName={node}", "State=DRAIN", "Reason=test")  # jobs wait for its return
    held = begun(*sweep, "+hydra.launcher.additional_parameters.hold=true")
    until(held, "submitted to Slurm: 3 jobs")
    slurm.ask("scontrol", "update", f"NodeName={node}", "State=RESUME")
    until(held, "JobHeldUser")
    held.send_signal(signal.SIGINT)
    assert "interrupted: the jobs continue, and the same command waits for them again; scancel " in held.stdout.read()
    assert held.wait(20) == 130

    again = begun(*sweep)
    until(again, " already")
    for job in slurm.jobs():
        slurm.ask("scontrol", "release", job)
    rest = again.stdout.read()
    assert again.wait(60) == 1
    assert "submitted to Slurm" not in rest
    assert " | epoch 2 of 2: " in rest
    (failed,) = (line for line in rest.splitlines() if line.startswith("failed: "))
    assert "model.learning_rate=-1: expected a number, at least 0 (on " in failed
    assert "| m3 " in rest

    folders = list((tmp_path / "multirun" / "default-folder-tree-paper").glob("m3-*"))
    finished = [folder for folder in folders if (folder / "result.json").is_file()]
    assert len(folders) == 3
    assert len(finished) == 2
    for folder in finished:  # they were written at the same time
        logged, result = json.loads(inspect(folder, "--summary")), json.loads((folder / "result.json").read_text())
        assert (logged["state"], logged["name"]) == ("finished", folder.name)
        assert logged["summary"]["last/test/accuracy"] == pytest.approx(result["last"]["test"]["accuracy"])

    third = begun(*sweep)
    lines = third.stdout.read()
    assert third.wait(60) == 1
    assert lines.count("is finished already") == 2
    assert "submitted to Slurm: 1 job, " in lines


def test_a_search_has_its_trials_on_the_cluster(begun, slurm, tree, tmp_path):
    pytest.importorskip("optuna")
    search = (
        "train",
        "--multirun",
        *SMALL,
        f"data.root={tree}",
        "model=m3",
        "logger=csv",
        "hydra/sweeper=optuna",
        *SLURM,
    )
    ask = ("model.learning_rate=tag(log,interval(1e-4,1e-2))", "hydra.sweeper.n_trials=3")
    interrupted = begun(*search, *ask)
    until(interrupted, "submitted to Slurm: 2 jobs")
    interrupted.send_signal(signal.SIGINT)
    assert interrupted.wait(60) == 130
    again = begun(*search, *ask)
    rest = again.stdout.read()
    assert again.wait(60) == 0, rest
    assert "submitted to Slurm: 2 jobs" not in rest
    assert rest.count("submitted to Slurm: 1 job") <= 1
    assert "best of 3 trials: m3-seed0-" in rest
    assert len(list((tmp_path / "multirun" / "default-folder-tree-paper").glob("m3-*/result.json"))) == 3


def test_ctrl_c_during_a_submission_is_late_and_not_lost():
    to_all = "kill -INT $PPID; kill -INT $$; echo submitted"  # as a terminal sends it: to the command and to sbatch
    done = []

    def submit() -> None:
        with interrupt_held_back():
            done.append(subprocess.run(["sh", "-c", to_all], stdout=subprocess.PIPE).stdout)

    with pytest.raises(KeyboardInterrupt):
        submit()
    assert done == [b"submitted\n"]
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


LONG = ("train", "--multirun", *SMALL[:4], "model=spec_2", "evaluate_train=false", "mix.clips.train=1600")


def test_a_run_resumes_after_preemption_the_death_of_its_node_and_its_time_limit(begun, slurm, tree, tmp_path):
    run = (*LONG, f"data.root={tree}", "trainer.max_epochs=4")
    whole = begun(*run, "threads=1", "hydra.sweep.dir=whole", "logger=csv")
    disturbed = begun(*run, *SLURM, "hydra.sweep.dir=disturbed", "force=true")
    until(disturbed, "epoch 1 of 4")
    urgent = subprocess.Popen(["srun", "-p", "urgent", "-c", "2", "true"], env=slurm.environment)
    slurm.go_on()
    assert urgent.wait(60) == 0
    (folder,) = (path for path in (tmp_path / "disturbed").glob("spec_2-*") if path.is_dir())
    assert 50 < torch.load(folder / "checkpoints" / "last.ckpt")["global_step"] < 100  # not of the first epoch's end
    until(disturbed, "resuming from ")
    until(disturbed, "epoch 2 of 4")
    slurm.kill_node()
    slurm.start_node()
    slurm.go_on()
    until(disturbed, "resuming from ")
    until(disturbed, "epoch 3 of 4")
    slurm.ask("scancel", "--me", "--signal=USR2")  # as Slurm does when the time is nearly up
    slurm.go_on()
    until(disturbed, "resuming from ")
    rest = disturbed.stdout.read()
    assert disturbed.wait(60) == 0, rest
    rest = whole.stdout.read()
    assert whole.wait(60) == 0, rest
    for file in ("metrics.csv", "predictions.parquet"):
        assert (folder / file).read_bytes() == (tmp_path / "whole" / folder.name / file).read_bytes()


def test_a_run_that_is_past_its_time_too_often_fails_with_the_reason(begun, slurm, tree):
    process = begun(*LONG, f"data.root={tree}", "trainer.max_epochs=50", *SLURM, "hydra.launcher.max_num_timeout=0")
    until(process, "epoch 1 of 50")
    slurm.ask("scancel", "--me", "--signal=USR2")
    rest = process.stdout.read()
    assert process.wait(60) == 1
    assert ": past its time limit more often than hydra.launcher.max_num_timeout=0 (on " in rest


@pytest.mark.parametrize(
    ("wish", "line"),
    [
        ("hydra.launcher.partition=nowhere", "hydra.launcher.partition=nowhere: Slurm has main, urgent"),
        ("hydra.launcher.timeout_min=90", "hydra.launcher.timeout_min=90: the partition allows 60"),
        ("hydra.launcher.timeout_min=0", "hydra.launcher.timeout_min=0: expected a whole number, at least 1"),
        (
            "hydra.launcher.signal_delay_s=900",
            "hydra.launcher.signal_delay_s=900: a run would get the signal",
        ),
        ("hydra.launcher.array_parallelism=0", "hydra.launcher.array_parallelism=0: expected a whole number"),
        ("hydra.launcher.submitit_folder=/proc/x", "cannot write to /proc/x: "),
        ("hydra.launcher.gpus_per_node=1", "Slurm refuses (sbatch): Invalid generic resource (gres) specification"),
        ("hydra.launcher.mem_gb=9999", "Slurm refuses (sbatch): Requested node configuration is not available"),
    ],
)
def test_what_slurm_cannot_give_is_one_line_and_nothing_is_submitted(verb, slurm, tree, monkeypatch, wish, line):
    monkeypatch.setenv("SLURM_CONF", slurm.environment["SLURM_CONF"])
    code, _, errors = verb("train", "--multirun", *SMALL, f"data.root={tree}", "model=m3", *SLURM, wish)
    assert code == 2
    assert errors.startswith(line)
    assert len(errors.splitlines()) == 1
    assert not slurm.jobs()


def test_a_folder_that_the_nodes_do_not_have_is_named(begun, slurm, tree, tmp_path):
    sweep = ("train", "--multirun", *SMALL, f"data.root={tree}", "model=m3", *SLURM)
    process = begun(*sweep, "+hydra.launcher.additional_parameters.hold=true")
    until(process, "submitted to Slurm")
    folder = tmp_path / "multirun" / "default-folder-tree-paper" / ".slurm"
    folder.rename(tmp_path / "elsewhere")
    (job,) = slurm.jobs()
    slurm.ask("scontrol", "release", job)
    rest = process.stdout.read()
    assert process.wait(60) == 1
    node = slurm.ask("sinfo", "-h", "-N", "-p", "main", "-o", "%N")
    assert f" ended without a result (FAILED): {node} wrote nothing to {folder}/" in rest
    assert "; do the nodes share that folder? (see " in rest


def test_without_slurm_or_without_a_sweep_it_is_one_line(verb, tree, tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    run = ("train", *SMALL, f"data.root={tree}", "model=m3", "hydra/launcher=slurm")
    code, _, errors = verb(*run)
    assert (code, errors) == (2, "hydra/launcher=slurm is for sweeps: add --multirun\n")
    code, _, errors = verb(*run, "--multirun")
    assert code == 2
    assert errors.startswith("hydra/launcher=slurm: there is no Slurm on this machine (no sinfo)")


@pytest.mark.parametrize(
    ("limit", "minutes"),
    [("infinite", float("inf")), ("30:00", 30), ("1:00:00", 60), ("2-12:00:00", 3600), ("7-00:00:30", 10080.5)],
)
def test_time_limits_as_slurm_writes_them(limit, minutes):
    assert minutes_of(limit) == minutes
