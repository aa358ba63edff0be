"""What a sweep says while it runs."""

from tests.conftest import SMALL


def test_a_sweep_says_how_far_it_is_and_what_is_best_so_far(command, tree):
    """There are just enough clips for the nets to be tried; one run fails, which is known before: it comes last."""
    clips = ("mix.clips.train=2000", "trainer.max_epochs=1", "evaluate_train=false")
    sweep = (*SMALL, f"data.root={tree}", "logger=csv", *clips, "model=m3", "seed=0,x,1", "hydra.launcher.jobs=1")
    done = command("train", "--multirun", *sweep)
    assert done.returncode == 1
    told = [line for line in done.stdout.splitlines() if line.startswith("run ")]
    assert [line.split("-")[:2] for line in told] == [
        [f"run {i + 1} of 3: m3", f"seed{s}"] for i, s in enumerate("01x")
    ]
    assert all("; about " in line and " left" in line for line in told[:2])
    assert "best so far" not in told[0]
    assert "; best so far: m3-seed" in told[2]
    assert ", test accuracy 0." in told[2]
    assert done.stdout.index("| minutes |") < done.stdout.index("run 1 of 3")
    assert "1 of 3 runs failed" in done.stderr
    assert "seed=x: expected a whole number" in done.stderr
