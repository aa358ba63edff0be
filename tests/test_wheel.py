"""An installed wheel works as a checkout does."""

import os
import subprocess
import sys
from importlib import metadata

import numpy as np
import pytest
import soundfile
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

import speaker_count
from speaker_count import cli
from speaker_count.inference import page
from tests.conftest import REPOSITORY, SMALL

COUNTING = ("predict", "listen", "occupancy", "web")


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


@pytest.fixture(scope="module")
def alone(installed, tmp_path_factory):
    """Runs Python, or the command, where nothing is installed but the wheel and what it says that it needs."""
    packages = tmp_path_factory.mktemp("packages")
    (found,) = installed.glob("speaker_count-*.dist-info")
    needed, known = base(metadata.Distribution.at(found)), set()
    while needed - known:
        name = (needed - known).pop()
        known.add(name)
        distribution = metadata.distribution(name)
        needed |= base(distribution)
        for top in {file.parts[0] for file in distribution.files} - {"..", "__pycache__"}:
            (packages / top).unlink(missing_ok=True)
            (packages / top).symlink_to(distribution.locate_file(top))
    assert not known & {"torch", "hydra-core", "matplotlib", "pandas"}
    environment = {"PYTHONPATH": f"{installed}{os.pathsep}{packages}", "PATH": "/usr/bin:/bin", "COLUMNS": "80"}

    def run(folder, *words):
        command = [sys.executable, "-S", "-c", words[0]]  # without the folder of what is installed here
        if words[0].isalpha() or words[0].startswith("-"):
            command = [sys.executable, "-S", "-m", "speaker_count", *words]
        done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)
        assert "Traceback" not in done.stderr, done.stderr
        return done.returncode, done.stdout, done.stderr

    return run


def base(distribution):
    """What a distribution needs here without any extra."""
    needed = map(Requirement, distribution.requires or ())
    return {
        canonicalize_name(each.name) for each in needed if each.marker is None or each.marker.evaluate({"extra": ""})
    }


def test_its_metadata_tell_what_counts_from_what_draws_and_trains(installed):
    (found,) = installed.glob("speaker_count-*.dist-info")
    distribution = metadata.Distribution.at(found)
    assert base(distribution) == {"numpy", "onnxruntime", "soundfile", "soxr", "tqdm"}
    assert {"export", "microphone", "plot", "search", "train", "video"} <= set(
        distribution.metadata.get_all("Provides-Extra")
    )
    needed = list(map(Requirement, distribution.requires))
    train = {each.name for each in needed if each.marker and each.marker.evaluate({"extra": "train"})}
    assert {"torch", "hydra-core", "pytorch-lightning", "wandb", "matplotlib", "pandas"} <= train
    assert distribution.version == speaker_count.__version__


def test_alone_it_counts(alone, tmp_path):
    soundfile.write(tmp_path / "x.wav", np.random.default_rng(0).normal(0, 0.1, 48_000), 16_000)
    code, out, err = alone(tmp_path, "predict", "x.wav")
    assert (code, err, out.splitlines()[0]) == (0, "", "x.wav: 0:03")
    for form in ("json", "csv", "rttm", "audacity"):
        assert alone(tmp_path, "predict", "x.wav", "--format", form)[0] == 0
    assert alone(tmp_path, "listen", "--from-file", "x.wav", "--fast", "--log", "hall.csv")[0] == 0
    code, out, _ = alone(tmp_path, "occupancy", "hall.csv", "--limit", "0")
    assert (code, "mean number of speakers" in out) == (0, True)
    code, _, err = alone(tmp_path, "web", "page")
    assert (code, err.startswith("onnxruntime for browsers is missing")) in [(0, False), (2, True)]
    assert alone(tmp_path, "weights")[1].split() == ["m5", "recommended"]
    assert alone(tmp_path, "import speaker_count; print(len(speaker_count.predict('x.wav').counts))")[1] == "9\n"


def test_alone_it_says_in_one_line_what_the_rest_needs(alone, tmp_path):
    soundfile.write(tmp_path / "x.wav", np.zeros(16_000), 16_000)
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "result.json").write_text("{}")
    for words, extras in {
        **{(verb, "x"): "train" for verb in cli.VERBS if verb not in COUNTING},
        ("export", "x"): "train,export",
        ("predict", "x.wav", "--plot", "x.png"): "plot",
        ("occupancy", "hall.csv", "--plot", "x.png"): "plot",
        ("predict", "x.wav", "--run", "mine"): "train,export",
        ("web", "page", "--run", "mine"): "train,export",
        ("listen",): "microphone",
    }.items():
        code, out, err = alone(tmp_path, *words)
        assert (code, out, err.count("\n")) == (2, "", 1), words
        assert f"pip install 'speaker-count[{extras}]'" in err
        assert " needs " in err
    code, _, err = alone(tmp_path, "train", "model=m5")
    assert err == "speaker-count train needs hydra, which is not installed: pip install 'speaker-count[train]'\n"
    (tmp_path / "x.mp4").write_text("hello")
    assert "pip install 'speaker-count[video]'" in alone(tmp_path, "predict", "x.mp4")[2]
    script = (
        "import speaker_count\n"
        "for name in speaker_count.__all__:\n"
        "    try: getattr(speaker_count, name)\n"
        "    except ImportError as error: print(name, str(error).endswith(\"pip install 'speaker-count[train]'\"))\n"
    )
    said = dict(line.split() for line in alone(tmp_path, script)[1].splitlines())
    assert set(said) == set(speaker_count.__all__) - {"Prediction", "Predictor", "predict"}
    assert set(said.values()) == {"True"}


def test_alone_python_helps_and_lists_what_it_has(alone, tmp_path):
    listed = "import speaker_count; print(*(set(speaker_count.__all__) & set(dir(speaker_count))))"
    assert set(alone(tmp_path, listed)[1].split()) == {"Prediction", "Predictor", "predict"}
    code, out, _ = alone(tmp_path, "import pydoc, speaker_count; pydoc.help(speaker_count)")
    assert (code, "class Predictor" in out, "class Mix" in out) == (0, True, False)
    wanted = "try:\n    from speaker_count import Mix\nexcept ImportError as error:\n    print(error)"
    assert alone(tmp_path, wanted)[1].endswith("pip install 'speaker-count[train]'\n")


def test_alone_it_helps_and_completes(alone, tmp_path):
    assert alone(tmp_path, "--version") == (0, f"{speaker_count.__version__}\n", "")
    assert alone(tmp_path, "--help")[0] == 0
    for verb in COUNTING:
        assert alone(tmp_path, verb, "--help")[0] == 0
    assert "complete " in alone(tmp_path, "-sc", "install=bash")[1]
    for line, words in {"speaker-count pre": "predict prepare", "speaker-count web --s": "--serve"}.items():
        script = f"import os; os.environ['COMP_LINE'] = {line!r}; from speaker_count.cli import main; main()"
        script = f"import sys; sys.argv = ['speaker-count', '-sc', 'query=bash']; {script}"
        assert alone(tmp_path, script) == (0, f"{words}\n", "")
