"""The launchers and the sweeper, where Hydra finds plugins. It imports all that it finds, hence no heavy import at the
top.
"""

import sys
from collections.abc import Sequence
from typing import Any

from hydra.core.utils import JobReturn
from hydra.plugins.launcher import Launcher
from hydra.plugins.sweeper import Sweeper


class Processes(Launcher):
    """`hydra/launcher=processes`; see `speaker_count.sweeping.local.LocalLauncher`."""

    def __init__(self, **settings: Any):
        self.settings = settings

    def setup(self, **context: Any) -> None:
        from speaker_count.sweeping.local import LocalLauncher

        self.launcher: Launcher = LocalLauncher(**self.settings)
        self.launcher.setup(**context)

    def launch(self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int) -> Sequence[JobReturn]:
        return self.launcher.launch(job_overrides, initial_job_idx)


class Slurm(Processes):
    """`hydra/launcher=slurm`; see `speaker_count.sweeping.slurm_launcher.SlurmLauncher`."""

    def setup(self, **context: Any) -> None:
        from speaker_count.sweeping.slurm_launcher import SlurmLauncher

        self.launcher = SlurmLauncher(**self.settings)
        self.launcher.setup(**context)


class Optuna(Sweeper):
    """`hydra/sweeper=optuna`; see `speaker_count.sweeping.search.Search`."""

    def __init__(self, **settings: Any):
        self.settings = settings

    def setup(self, **context: Any) -> None:
        try:
            from speaker_count.sweeping.search import Search
        except ModuleNotFoundError as error:
            if error.name != "optuna":
                raise
            print(
                "hydra/sweeper=optuna needs a package that is not installed: pip install 'speaker-count[search]'",
                file=sys.stderr,
            )
            sys.exit(2)
        self.sweeper: Sweeper = Search(**self.settings)
        self.sweeper.setup(**context)

    def sweep(self, arguments: list[str]) -> Any:
        return self.sweeper.sweep(arguments)
