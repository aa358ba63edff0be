"""Any sweeper and any launcher: batches that depend on those before, no runs at all, another package's launcher."""

import json
import textwrap

import pytest

from tests.conftest import SMALL

SWEEPERS = """
    from hydra.core.plugins import Plugins
    from hydra.plugins.sweeper import Sweeper

    RATES = ["1e-4", "1e-3", "3e-2"]

    class BestAgain(Sweeper):
        \"\"\"Three learning rates, and then the best of them with another seed.\"\"\"

        def setup(self, **context):
            self.launcher = Plugins.instance().instantiate_launcher(**context)

        def sweep(self, arguments):
            first = [[*arguments, f"model.learning_rate={rate}"] for rate in RATES]
            values = [done.return_value for done in self.launcher.launch(first, 0)]
            print("the sweeper got", values, flush=True)
            best = RATES[values.index(max(values))]
            self.launcher.launch([[*arguments, f"model.learning_rate={best}", "seed=1"]], len(first))

    class Nothing(BestAgain):
        \"\"\"Nothing to do.\"\"\"

        def sweep(self, arguments):
            self.launcher.launch([], 0)
"""


@pytest.fixture
def sweepers(tmp_path):
    """A folder for PYTHONPATH with two sweepers, and configs for them."""
    folder = tmp_path / "plugins"
    (folder / "hydra_plugins").mkdir(parents=True)
    (folder / "hydra_plugins" / "test_sweepers.py").write_text(textwrap.dedent(SWEEPERS))
    (folder / "hydra" / "sweeper").mkdir(parents=True)
    for name, target in (("best_again", "BestAgain"), ("nothing", "Nothing")):
        (folder / "hydra" / "sweeper" / f"{name}.yaml").write_text(f"_target_: hydra_plugins.test_sweepers.{target}\n")
    return folder


def finished(folder):
    """Learning rate, seed and validation accuracy of the finished runs."""
    results = [json.loads(path.read_text()) for path in folder.glob("multirun/default-folder-tree-paper/*/result.json")]
    return [(each["net"]["learning_rate"], each["seed"], each["last"]["validation"]["accuracy"]) for each in results]


def test_a_batch_may_depend_on_the_one_before(command, sweepers, tree, tmp_path):
    sweep = ("train", "--multirun", "--config-dir", sweepers, *SMALL, f"data.root={tree}", "model=m3", "logger=csv")
    done = command(*sweep, "hydra/sweeper=best_again", PYTHONPATH=str(sweepers))
    assert done.returncode == 0, done.stderr
    runs = finished(tmp_path)
    first = [run for run in runs if run[1] == 0]
    assert sorted(rate for rate, _, _ in first) == [1e-4, 1e-3, 3e-2]
    (again,) = (run for run in runs if run[1] == 1)
    values = {rate: value for rate, _, value in first}
    assert values[again[0]] == max(values.values())
    assert f"the sweeper got {[values[rate] for rate in (1e-4, 1e-3, 3e-2)]}" in done.stdout
    assert "\nrun 4 of 4: m3-seed1-" in done.stdout
    table = [line for line in done.stdout.splitlines() if line.startswith("| m3 ")]
    assert len(table) == 4  # of the whole sweep, printed once


def test_hydra_s_batches_are_one_sweep(command, tree, tmp_path):
    """A run that fails in the first batch is a NaN for the sweeper, and the second batch still runs."""
    sweep = ("train", "--multirun", *SMALL, f"data.root={tree}", "logger=csv", "model=m3", "seed=0,x,1")
    done = command(*sweep, "hydra.sweeper.max_batch_size=2")
    assert done.returncode == 1
    assert sorted(seed for _, seed, _ in finished(tmp_path)) == [0, 1]
    assert "\nrun 3 of 3: m3-seed1-" in done.stdout
    assert done.stdout.count("| net ") == 1
    assert "1 of 3 runs failed" in done.stderr


def test_a_sweep_without_runs_says_so(command, sweepers, tree, tmp_path):
    sweep = ("train", "--multirun", "--config-dir", sweepers, *SMALL, f"data.root={tree}")
    done = command(*sweep, "hydra/sweeper=nothing", PYTHONPATH=str(sweepers))
    assert (done.returncode, done.stdout) == (0, "the sweeper asks for no runs\n")
    assert not finished(tmp_path)


def test_another_package_s_launcher_runs_and_reports_by_itself(command, tree, tmp_path):
    sweep = ("train", "--multirun", *SMALL, f"data.root={tree}", "logger=csv", "model=m3", "seed=0,x,1")
    done = command(*sweep, "hydra/launcher=basic")
    assert done.returncode == 1
    assert sorted(seed for _, seed, _ in finished(tmp_path)) == [0, 1]
    assert "seed=x: expected a whole number" in done.stderr
