"""An installed wheel works as a checkout does."""

import subprocess
import sys

import pytest

from speaker_count.inference import page
from tests.conftest import REPOSITORY, SMALL


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    """A folder that holds nothing but the wheel's files."""
    folder = tmp_path_factory.mktemp("wheel")
    build = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", folder, REPOSITORY]
    subprocess.run(build, check=True, capture_output=True)
    (wheel,) = folder.glob("*.whl")
    install = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target", folder / "site", wheel]
    subprocess.run(install, check=True, capture_output=True)
    return folder / "site"


def test_holds_configs_plugin_and_types_once(installed):
    packaged = [
        f"speaker_count/weights/{name}"
        for name in ("README.md", "m5.json", "recommended.safetensors", "recommended.onnx")
    ]
    for name in (
        "hydra_plugins/speaker_count.py",
        "speaker_count/py.typed",
        "speaker_count/conf/config.yaml",
        *packaged,
    ):
        assert (installed / name).is_file()
    assert not (installed / "speaker_count" / "sweeping" / "plugin").exists()


def test_holds_the_browser_page_whole_and_without_npm_s_folder(installed):
    web = installed / "speaker_count" / "inference" / "web"
    assert not (web / "npm").exists()
    for name in page.COPIED:
        assert (web / name).is_file() or name in page.RUNTIME
        assert (web / name).is_file() == (page.SOURCE / name).is_file()  # `make web-assets` gets the runtime


def test_evaluates_its_weights_in_an_empty_folder_and_writes_nothing_into_itself(installed, tree, tmp_path):
    before = sorted(path for path in installed.rglob("*") if path.suffix not in (".pyc", ""))
    words = ("evaluate", "m5", "data=folder", f"data.root={tree}", "mix.clips.test=30")
    done = subprocess.run(
        [sys.executable, "-c", "import speaker_count.cli; speaker_count.cli.main()", *words],
        cwd=tmp_path,
        env={"PYTHONPATH": str(installed), "PATH": "/usr/bin:/bin", "SPEAKER_COUNT_CACHE": str(tmp_path / "cache")},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert len(list(tmp_path.glob("multirun/evaluations/m5/*.json"))) == 1
    assert sorted(path for path in installed.rglob("*") if path.suffix not in (".pyc", "")) == before


def test_trains_an_epoch_in_an_empty_folder_with_the_configs_that_came_along(installed, tree, tmp_path):
    script = "import speaker_count, speaker_count.cli; print(speaker_count.CONFIG_DIR); speaker_count.cli.main()"
    arguments = ("train", "--multirun", *SMALL, f"data.root={tree}", "trainer.max_epochs=1", "logger=csv")
    environment = {
        "PYTHONPATH": str(installed),
        "PATH": "/usr/bin:/bin",
        "SPEAKER_COUNT_CACHE": str(tmp_path / "cache"),
    }
    done = subprocess.run(
        [sys.executable, "-c", script, *arguments], cwd=tmp_path, env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.startswith(str(installed))
    assert len(list(tmp_path.glob("multirun/default-folder-tree-paper/m5-seed0-*/result.json"))) == 1
