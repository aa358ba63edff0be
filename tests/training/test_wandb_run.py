"""What Weights & Biases is logged, read back from the offline runs with its own tool."""

import importlib.util
import io
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import soundfile
import yaml

from tests.conftest import REPOSITORY, SMALL
from tests.training import wandb_server

WANDB = Path(sys.executable).with_name("wandb")


def inspect(run: Path, *options: str) -> str:
    (log,) = run.glob("wandb/offline-run-*/run-*.wandb")
    return subprocess.run(
        [WANDB, "leet", "inspect", *options, "--json", log], capture_output=True, text=True, check=True
    ).stdout


@pytest.fixture
def sweep(command, tree, tmp_path):
    """The folders of two runs, by net."""
    done = command(
        "train",
        "--multirun",
        *SMALL,
        f"data.root={tree}",
        "model=m3,m5",
        "seed=0",
        "+logger.settings.api_key=hidden",
    )
    assert done.returncode == 0, done.stderr
    return {
        path.name[:2]: path for path in (tmp_path / "multirun" / "default-folder-tree-paper").iterdir() if path.is_dir()
    }


def test_each_run_of_a_sweep_is_a_run_of_its_own_with_all_it_should_have(sweep):
    ids = set()
    for net, run in sweep.items():
        logged = json.loads(inspect(run, "--summary"))
        result = json.loads((run / "result.json").read_text())
        assert (logged["state"], logged["exit_code"], logged["project"], logged["name"]) == (
            "finished",
            0,
            "speaker_count",
            run.name,
        )
        ids.add(logged["run_id"])
        assert logged["config"]["mix"]["counts"] == [1, 2, 3]
        assert logged["config"]["trainer"]["max_epochs"] == 2
        assert "hidden" not in inspect(run) + (run / "result.json").read_text()
        assert logged["summary"]["last/test/accuracy"] == pytest.approx(result["last"]["test"]["accuracy"])
        assert logged["summary"]["test/accuracy"] == pytest.approx(result["last"]["test"]["accuracy"])
        assert logged["summary"]["parameters"] == result["parameters"]

        records = [json.loads(line) for line in inspect(run).splitlines()]
        about = next(record["run"] for record in records if record["type"] == "run")
        assert (about["run_group"], about["job_type"]) == ("default-folder-tree-paper", net)
        assert {"folder", "paper"} <= set(about["tags"])
        history = [record["history"]["item"] for record in records if record["type"] == "history"]
        curve = [item["val/accuracy"] for item in history if "val/accuracy" in item]
        assert len(curve) == 2
        assert curve[-1] == pytest.approx(result["last"]["validation"]["accuracy"])

        assert [item["epoch"] for item in history if "val/accuracy" in item] == [1, 2]
        assert [item["epoch"] for item in history if "running/accuracy" in item] == [1, 2]
        assert [item["epoch"] for item in history if "test/accuracy" in item] == [2]
        config = logged["config"]
        assert (config["net"], config["kind"], config["learning_rate"]) == (net, "waveform", 1e-4)
        assert (config["parameters"], config["commit"]) == (result["parameters"], result["commit"])
        assert (config["corpus"], config["corpus_sha256"]) == ("folder-tree", result["data"]["corpus_sha256"])

        (confusion,) = run.glob("wandb/offline-run-*/files/media/html/test/confusion*.html")
        cells = [int(number) for number in re.findall(r"<td[^>]*>(\d+)</td>", confusion.read_text())]
        assert cells == [number for row in result["last"]["test"]["confusion"] for number in row]
        captions = next(item["test/clips.captions"] for item in history if "test/clips.captions" in item)
        assert len(captions) == 32
        assert re.fullmatch(r"clip 0: \d speakers? \([FM]+\), (right|predicted \d), probability .*", captions[0])
    assert len(ids) == 2


def test_a_run_s_folder_holds_all_that_wandb_sync_needs_wherever_it_is_copied(command, tree, tmp_path):
    home = tmp_path / "home"
    done = command("train", *SMALL, f"data.root={tree}", "hydra.run.dir=run", WANDB_DATA_DIR=str(home / "data"))
    assert done.returncode == 0, done.stderr
    assert not [path for path in home.rglob("*") if path.is_file()]
    shutil.copytree(tmp_path / "run", tmp_path / "elsewhere" / "copy")
    shutil.rmtree(tmp_path / "run")
    (run,) = (tmp_path / "elsewhere" / "copy" / "wandb").glob("offline-run-*")
    with wandb_server.running() as server:
        synced = subprocess.run([WANDB, "sync", run], env={**os.environ, **server.environment}, capture_output=True)
    assert synced.returncode == 0, synced.stdout + synced.stderr
    sounds = [soundfile.info(io.BytesIO(content)) for path, content in server.uploaded.items() if ".wav" in path]
    assert [(sound.frames, sound.samplerate) for sound in sounds] == [(16_000, 16_000)] * 32
    assert len([path for path in server.uploaded if path.startswith("media/html/test/confusion")]) == 1
    summary = json.loads(server.uploaded["wandb-summary.json"])
    assert summary["last/test/accuracy"] == pytest.approx(summary["test/accuracy"])


def test_wandb_agent_runs_a_sweep_as_the_documentation_says(cache, tree, tmp_path):
    (example,) = re.findall(
        r"```yaml\n(# sweep.yaml\n.*?)```", (REPOSITORY / "multirun" / "README.md").read_text(), re.S
    )
    sweep = yaml.safe_load(example)
    assert set(sweep["parameters"]) == {"model", "model.learning_rate"}
    sweep["command"] += [*SMALL, f"data.root={tree}"]
    chosen = {"model": {"value": "m3"}, "model.learning_rate": {"value": 0.001}}
    with wandb_server.running() as server:
        server.sweep = json.dumps(sweep)
        run = {"id": "c", "type": "run", "run_id": "agents01", "program": sweep["program"], "args": chosen}
        server.commands = [run, {"id": "d", "type": "exit"}]
        path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        own = {"PATH": path, "WANDB_MODE": "offline", "SPEAKER_COUNT_CACHE": str(cache)}
        done = subprocess.run(
            [WANDB, "agent", "me/speaker_count/sweep001"],
            cwd=tmp_path,
            env={**os.environ, **server.environment, **own},
            capture_output=True,
            text=True,
        )
    (result,) = (tmp_path / "multirun").glob("single-folder-tree-paper/m3-seed0-*/result.json")
    assert json.loads(result.read_text())["net"]["learning_rate"] == 0.001, done.stdout + done.stderr
    logged = json.loads(inspect(result.parent, "--summary"))
    assert logged["run_id"] == (result.parent / "wandb" / "run-id").read_text() == "agents01"


def test_a_failed_run_is_a_failed_run(command, tree, tmp_path):
    """Its clips are too short for the net, which shows only when there is a net."""
    done = command("train", *SMALL, f"data.root={tree}", "mix.clip_seconds=0.002", "hydra.run.dir=run")
    assert done.returncode == 2
    logged = json.loads(inspect(tmp_path / "run", "--summary"))
    assert logged["exit_code"] == 1
    assert logged["state"] != "finished"


def test_online_without_a_login_is_told(command, tree):
    done = command("train", *SMALL, f"data.root={tree}", WANDB_MODE="online", HOME="/nonexistent")
    assert done.returncode == 2
    assert "wandb login" in done.stdout + done.stderr
    assert "Traceback" not in done.stdout + done.stderr


@pytest.mark.parametrize("logger", ["logger=csv", "~logger"])
def test_without_a_logger_a_run_does_without_it(command, tree, tmp_path, logger):
    (tmp_path / "wandb.py").write_text("raise ImportError('not here')")
    run = ("train", *SMALL, f"data.root={tree}", "model=m3", "trainer.max_epochs=1")
    done = command(*run, logger, "hydra.run.dir=run", PYTHONPATH=os.pathsep.join([str(tmp_path), *sys.path]))
    assert done.returncode == 0, done.stdout + done.stderr
    assert not (tmp_path / "run" / "wandb").exists()
    assert (tmp_path / "run" / "result.json").is_file()


def test_a_sweep_without_a_logger(command, tree, tmp_path):
    run = ("train", "--multirun", *SMALL, f"data.root={tree}", "trainer.max_epochs=1", "model=m3")
    done = command(*run, "~logger", "threads=1")
    assert done.returncode == 0, done.stdout + done.stderr
    assert len(list(tmp_path.glob("multirun/default-folder-tree-paper/m3-seed0-*/result.json"))) == 1


def test_tensorboard_s_curves_lie_in_the_run_s_folder(command, tree, tmp_path):
    reading = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    run = ("train", *SMALL, f"data.root={tree}", "model=m3", "logger=tensorboard")
    done = command(*run, "hydra.run.dir=run")
    assert done.returncode == 0, done.stdout + done.stderr
    events = reading.EventAccumulator(str(tmp_path / "run" / "tensorboard"))
    events.Reload()
    result = json.loads((tmp_path / "run" / "result.json").read_text())
    assert [event.value for event in events.Scalars("epoch")][:2] == [1, 1]
    accuracy = [event.value for event in events.Scalars("val/accuracy")]
    assert len(accuracy) == 2
    assert accuracy[-1] == pytest.approx(result["last"]["validation"]["accuracy"])


def test_without_tensorboard_it_says_what_to_install(command, tree):
    if importlib.util.find_spec("tensorboard") or importlib.util.find_spec("tensorboardX"):
        pytest.skip("TensorBoard is installed")
    done = command("train", *SMALL, f"data.root={tree}", "model=m3", "logger=tensorboard")
    assert done.returncode == 2
    says = "logger=tensorboard needs tensorboard, which is not installed: pip install 'speaker-count[tensorboard]'"
    assert done.stderr == f"{says}\n"
