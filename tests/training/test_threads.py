"""The number of threads of a run: tried, noted, and kept when the run resumes."""

import json
import signal
from functools import partial

import pytest

from tests.conftest import SMALL, die


@pytest.fixture
def train(command, tree):
    return partial(command, "train", *SMALL, f"data.root={tree}", "model=m5", "logger=csv", OMP_NUM_THREADS="2")


def noted(folder):
    return json.loads((folder / "threads.json").read_text())


def test_a_short_trial_chooses_and_says_so(train, tmp_path):
    longer = ("mix.clips.train=2000", "trainer.max_epochs=1", "hydra.run.dir=run")
    done = train(*longer)
    assert done.returncode == 0, done.stderr
    note = noted(tmp_path / "run")
    one, two = note["clips_per_second"]["1"], note["clips_per_second"]["2"]
    assert note["threads"] == (2 if two > 1.2 * one else 1)
    assert f"threads={note['threads']}: in a short trial, the net trained on {one:.0f} clips/s with 1" in done.stdout


def test_a_training_on_few_clips_takes_one_thread_untried(train, tmp_path):
    assert train("hydra.run.dir=run").returncode == 0
    assert noted(tmp_path / "run") == {"threads": 1, "clips_per_second": {}}


def test_a_run_resumes_with_the_threads_that_it_began_with(train, tmp_path):
    """Sums over two threads are rounded otherwise than over one: the metrics show which it was."""
    files = ("metrics.csv", "predictions.parquet")
    for threads, name in enumerate(("one", "two"), start=1):
        assert train(f"hydra.run.dir={name}", f"threads={threads}").returncode == 0
    assert train("hydra.run.dir=cut", "threads=2", before=partial(die, 5, signal.SIGKILL)).returncode == -signal.SIGKILL
    assert (tmp_path / "cut" / "checkpoints" / "last.ckpt").is_file()
    again = train("hydra.run.dir=cut", OMP_NUM_THREADS="1")
    assert "resuming from" in again.stdout
    one, two, cut = ([(tmp_path / name / file).read_bytes() for file in files] for name in ("one", "two", "cut"))
    assert one != two
    assert cut == two


@pytest.mark.parametrize("threads", ["0", "2000", "x", "1.5"])
def test_no_number_of_threads(train, threads, tmp_path):
    refused = train(f"threads={threads}")
    assert refused.returncode == 2
    assert refused.stderr.startswith(f"threads={threads}: ")
    assert not list(tmp_path.rglob("identity.json"))


@pytest.mark.parametrize("note", ["", "{", "[]", '{"threads": 1e9}', '{"threads": 100000}', '{"threads": null}'])
def test_a_damaged_note_is_replaced(train, note, tmp_path):
    assert train("hydra.run.dir=run", "trainer.max_epochs=1", before=partial(die, 2, signal.SIGKILL)).returncode != 0
    (tmp_path / "run" / "threads.json").write_text(note)
    done = train("hydra.run.dir=run", "trainer.max_epochs=1")
    assert done.returncode == 0, done.stderr
    assert noted(tmp_path / "run")["threads"] == 1
