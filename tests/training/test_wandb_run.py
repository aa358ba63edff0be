"""What Weights & Biases is logged, read back from the offline runs with its own tool."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import soundfile

from tests.conftest import SMALL


def inspect(run: Path, *options: str) -> str:
    (log,) = run.glob("wandb/offline-run-*/run-*.wandb")
    wandb = Path(sys.executable).with_name("wandb")
    return subprocess.run(
        [wandb, "leet", "inspect", *options, "--json", log], capture_output=True, text=True, check=True
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

        (confusion,) = run.glob("wandb/offline-run-*/files/media/table/test/confusion_table*.json")
        assert sum(row[-1] for row in json.loads(confusion.read_text())["data"]) == 48
        (clips,) = run.glob("wandb/offline-run-*/files/media/table/test/clips*.json")
        table = json.loads(clips.read_text())
        assert table["columns"][:4] == ["clip", "audio", "count", "predicted"]
        assert len(table["data"]) == 32
        stored = [
            entry for record in records for entry in record.get("artifact", {}).get("manifest", {}).get("contents", [])
        ]
        sounds = [soundfile.info(entry["local_path"]) for entry in stored if entry["path"].endswith(".wav")]
        assert [(sound.frames, sound.samplerate) for sound in sounds] == [(16_000, 16_000)] * 32
    assert len(ids) == 2


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


def test_logger_csv_does_without_it(command, tree, tmp_path):
    (tmp_path / "wandb.py").write_text("raise ImportError('not here')")
    done = command("train", *SMALL, f"data.root={tree}", "logger=csv", "hydra.run.dir=run", PYTHONPATH=str(tmp_path))
    assert done.returncode == 0, done.stdout + done.stderr
    assert not (tmp_path / "run" / "wandb").exists()
