"""Who may import whom."""

import ast
from pathlib import Path

import pytest

import speaker_count

PACKAGE = Path(speaker_count.__file__).parent
FILES = {str(path.relative_to(PACKAGE)): path for path in PACKAGE.rglob("*.py")}
VERBS = {"train.py", "evaluate.py", "prepare.py", "clips.py", "report.py", "forecast.py"}
COMPOSING = VERBS | {"compose.py", "sweep.py", "launcher.py", "cluster.py"}


def imported(path):
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def offenders(files, *forbidden):
    return {
        f"{name}: {module}"
        for name in files
        for module in imported(FILES[name])
        if any(module == banned or module.startswith(f"{banned}.") for banned in forbidden)
    }


def inside(folder):
    return [name for name in FILES if name.startswith(f"{folder}/")]


@pytest.mark.parametrize(
    ("files", "forbidden"),
    [
        (inside("data"), ["speaker_count.models", "speaker_count.module", "speaker_count.results"]),
        (inside("models"), ["speaker_count", "pytorch_lightning"]),
        (inside("results"), ["speaker_count.data", "speaker_count.module", "wandb", "torch", "pytorch_lightning"]),
        (["module.py", "labels.py"], ["speaker_count.data", "speaker_count.results"]),
        ([name for name in FILES if name not in COMPOSING], ["hydra", "omegaconf"]),
        (["cli.py"], ["torch", "pytorch_lightning", "hydra", "speaker_count.train", "speaker_count.data"]),
    ],
)
def test_lower_rooms_know_nothing_of_higher_ones(files, forbidden):
    assert files
    assert not offenders(files, *forbidden)


def test_the_data_s_way_has_one_direction():
    way = ["draws", "corpus", "activity", "pool", "roster", "mixing", "loader", "metadata", "wav_folder", "datamodule"]
    for place, name in enumerate(way):
        later = [f"speaker_count.data.{module}" for module in way[place + 1 :]]
        assert not offenders([f"data/{name}.py"], *later)
