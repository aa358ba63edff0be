"""Who may import what: lower rooms of the house know nothing of higher ones, and only some know a third package."""

import ast
import importlib
import os
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

import speaker_count
from speaker_count import errors
from tests.conftest import REPOSITORY

PACKAGE = Path(speaker_count.__file__).parent
FILES = {str(path.relative_to(PACKAGE)): path for path in PACKAGE.rglob("*.py")}
PARTS = {path.stem for path in PACKAGE.iterdir() if path.suffix == ".py" or (path / "__init__.py").is_file()}
HYDRA = {"hydra", "omegaconf"}
WANDB = {"wandb", "wandb_workspaces"}
LIGHTNING = {"pytorch_lightning", "lightning", "lightning_fabric"}
TORCH = {"torch", "torchaudio", "torchmetrics"}
# of each part of the package: which other parts it may import, and which third packages it may not
RULES = {
    "errors": (set(), HYDRA | WANDB | LIGHTNING | TORCH),
    "labels": (set(), HYDRA | WANDB | LIGHTNING),  # torch's types, for type checkers
    "files": ({"errors"}, HYDRA | WANDB | LIGHTNING | TORCH),
    "models": ({"labels"}, HYDRA | WANDB | LIGHTNING),
    "data": ({"errors", "labels", "files"}, HYDRA | WANDB),
    "results": ({"errors", "labels", "files"}, HYDRA | WANDB | LIGHTNING | TORCH),
    "weights": ({"errors", "results"}, HYDRA | WANDB | LIGHTNING | TORCH),
    "inference": ({"errors", "labels", "files", "weights"}, HYDRA | WANDB | LIGHTNING | TORCH),
    "training": ({"errors", "labels", "files", "models", "data", "results", "weights"}, HYDRA | {"wandb_workspaces"}),
    "compose": ({"errors", "results", "training"}, WANDB),
    "loading": ({"errors", "labels", "models", "results", "weights", "training", "compose"}, HYDRA | WANDB),
    "sweeping": (PARTS - {"commands", "cli", "sweeping"}, {"wandb"}),
    "commands": (PARTS - {"cli", "commands"}, {"wandb_workspaces"}),
    "cli": ({"errors", "training"}, HYDRA | WANDB | LIGHTNING | TORCH),
}
WAY = [
    "draws",
    "splits",
    "corpus",
    "tree",
    "manifest",
    "activity",
    "headers",
    "decoding",
    "pool",
    "libricount",
    "sources",
    "pool_builder",
    "sounds",
    "verification",
    "pauses",
    "roster",
    "speed",
    "effects",
    "augmentation",
]
WAY += [
    "planning",
    "varied",
    "mixing",
    "clips",
    "libricount_clips",
    "sufficient",
    "loader",
    "metadata",
    "wav_folder",
    "datamodule",
    "wav_writer",
]


def imported(path: Path, package: str) -> Iterator[str]:
    """Every module that a file imports, wherever it does so, by its whole name.

    Args:
        package: the one that the file is in, for relative imports.
    """
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            parents = package.split(".")[: len(package.split(".")) + 1 - node.level] if node.level else []
            module = ".".join([*parents, *([node.module] if node.module else [])])
            yield module
            yield from (f"{module}.{alias.name}" for alias in node.names)


def offences(part: str, path: Path, package: str = "speaker_count") -> set[str]:
    """What a file of a part of the package imports and may not."""
    known, forbidden = RULES[part]
    modules = set(imported(path, package))
    ours = {module.split(".")[1] for module in modules if module.startswith("speaker_count.")} & PARTS
    return ours - known - {part} | {module.split(".")[0] for module in modules} & forbidden


def part_of(name: str) -> str:
    return name.split("/")[0].removesuffix(".py")


@pytest.mark.parametrize("name", [name for name in FILES if part_of(name) in RULES])
def test_lower_rooms_know_nothing_of_higher_ones(name):
    package = ".".join(["speaker_count", *Path(name).parts[:-1]])
    assert not offences(part_of(name), FILES[name], package)


def test_every_part_has_a_rule():
    assert {part_of(name) for name in FILES} - {"__init__", "__main__"} == set(RULES)
    assert len([name for name in FILES if "/" not in name]) <= 8  # the root holds only what all share


@pytest.mark.parametrize(
    ("part", "line", "offence"),
    [
        ("results", "import torch.nn as n", "torch"),
        ("results", "from wandb_workspaces.reports import v2", "wandb_workspaces"),
        ("data", "from speaker_count import models", "models"),
        ("data", "def f():\n    from ..training import fit", "training"),
        ("training", "if TYPE_CHECKING:\n    from hydra.utils import instantiate", "hydra"),
        ("sweeping", "from speaker_count.commands.train import run", "commands"),
    ],
)
def test_an_import_against_the_rules_is_found(tmp_path, part, line, offence):
    path = tmp_path / "module.py"
    path.write_text(line)
    assert offences(part, path, f"speaker_count.{part}") == {offence}


def test_the_way_of_the_data_has_one_direction():
    for place, name in enumerate(WAY):
        modules = set(imported(FILES[f"data/{name}.py"], "speaker_count.data"))
        assert not {f"speaker_count.data.{later}" for later in WAY[place + 1 :]} & modules, name


def loaded_by(*command: str) -> set[str]:
    """The third packages that are imported by the end of a Python command."""
    script = (
        "import sys, atexit; atexit.register(lambda: print(*{n.split('.')[0] for n in sys.modules}, file=sys.stderr))"
    )
    plugins = str(PACKAGE / "sweeping" / "plugin")  # an installed copy may be older
    path = os.pathsep.join(filter(None, [plugins, os.environ.get("PYTHONPATH")]))
    done = subprocess.run(
        [sys.executable, "-c", f"{script}\n{command[0]}", *command[1:]],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": path},
    )
    return set(done.stderr.splitlines()[-1].split())


def test_help_and_the_package_itself_import_nothing_heavy():
    heavy = HYDRA | WANDB | LIGHTNING | TORCH | {"numpy", "pandas"}
    assert not loaded_by("from speaker_count.cli import main; main()", "--help") & heavy
    assert not loaded_by("import speaker_count; dir(speaker_count)") & heavy


@pytest.mark.parametrize(
    "words",
    [
        ("train", "--help"),
        ("train", "--cfg", "job"),
        ("train", "model.lerning_rate=1"),
        ("train", "--multirun", "model=m3,m5", "model.lerning_rate=1"),
        ("train", "experiment=paper", "model.lerning_rate=1"),
        ("report", "--help"),
        ("report", "nowhere"),
        ("predict", "nowhere.wav"),
        ("listen", "--from-file", "nowhere.wav"),
        ("occupancy", "nowhere.csv"),
        ("export", "--help"),
        ("weights",),
        ("weights", "--help"),
        ("forecast", "--folders", "experiment=paper"),
        ("forecast", "model.lerning_rate=1"),
        ("prepare", "data.rooot=x"),
        ("clips", "out=x", "data.rooot=x"),
        ("-sc", "install=bash"),
    ],
)
def test_help_and_what_hydra_refuses_wait_for_no_torch(words):
    assert not loaded_by("from speaker_count.cli import main; main()", *words) & (TORCH | LIGHTNING | WANDB)


def test_public_names_can_be_imported_and_configs_name_no_other_classes():
    for name in speaker_count.__all__:
        assert getattr(speaker_count, name).__name__ == name
    with pytest.raises(AttributeError, match="no attribute 'Nothing'"):
        speaker_count.Nothing  # noqa: B018
    for group in ("model", "data", "mix"):
        for path in (REPOSITORY / "conf" / group).glob("*.yaml"):
            config = yaml.safe_load(path.read_text())
            targets = [config.get("_target_"), config.get("net", {}).get("_target_")]
            for target in filter(None, targets):
                assert target.removeprefix("speaker_count.") in speaker_count.__all__


COUNTING = {"__init__", "__main__", "cli", "errors", "files", "labels", "inference"}
COUNTING_COMMANDS = {"completion", "counting", "listen", "occupancy", "predict", "web"}
BESIDE = {"yaml": "omegaconf", "sqlalchemy": "optuna"}  # what comes with a package that is named


def third_packages(path: Path) -> set[str]:
    """The packages of others that a file imports, wherever it does so, but not for type checkers alone."""
    tree = ast.parse(path.read_text())
    for node in ast.walk(tree):
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            node.body = []
    names = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and not node.level:
            names.add(str(node.module).split(".")[0])
    return names - sys.stdlib_module_names - {"speaker_count"}


def declared(extra: str | None = None) -> set[str]:
    """The names of the packages that pyproject.toml names, of an extra or without any."""
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]
    lines = project["dependencies"] if extra is None else project["optional-dependencies"][extra]
    needed = [Requirement(line) for line in lines]
    inner = {
        name for each in needed if each.name == project["name"] for other in each.extras for name in declared(other)
    }
    return {canonicalize_name(each.name) for each in needed if each.name != project["name"]} | inner


def test_what_counts_imports_the_packages_that_every_install_has():
    names = [name for name in FILES if part_of(name) in COUNTING] + ["weights/__init__.py"]
    names += [f"commands/{name}.py" for name in COUNTING_COMMANDS]
    importing = {name: third_packages(FILES[name]) for name in names}
    every = set().union(*importing.values())
    base = {package for package in every if canonicalize_name(package) in declared()}
    assert {canonicalize_name(package) for package in base} == declared()  # and none is installed for nothing
    found = {package: {name for name in names if package in importing[name]} for package in every - base}
    assert found == {  # what is imported where it is asked for, and is missed in one line
        "av": {"inference/containers.py"},
        "matplotlib": {"inference/drawing.py", "inference/occupancy_tables.py"},
        "pandas": {"inference/prediction.py"},
        "sounddevice": {"inference/sources.py"},
    }


def test_every_package_that_may_be_missing_is_named_with_its_extra():
    imported = {name for path in FILES.values() for name in third_packages(path)}
    extras = {module: extra for extra, modules in errors.EXTRAS.items() for module in modules}
    assert {name for name in imported if canonicalize_name(name) not in declared()} - {"hydra_plugins"} <= set(extras)
    distributions = metadata.packages_distributions()
    for module, extra in extras.items():
        names = {canonicalize_name(name) for name in distributions.get(BESIDE.get(module, module), ())}
        assert names & declared(extra) or not names, module


def test_a_module_that_no_extra_has_stays_an_error_of_its_own():
    for name in ("no_such_package", "speaker_count.no_such_module", "torch.no_such_module"):
        with pytest.raises(ModuleNotFoundError, match=f"No module named '{name}'"), errors.needed_by("it"):
            importlib.import_module(name)
        assert errors.user_error(ModuleNotFoundError(name=name)) is None


def test_tests_mirror_the_package():
    folders = {
        path.name for path in (REPOSITORY / "tests").iterdir() if path.is_dir() and not path.name.startswith("_")
    }
    assert folders - {"benchmarks", "faults"} <= {part for part in PARTS if (PACKAGE / part).is_dir()}
