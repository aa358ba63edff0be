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
        self.launcher: Launcher | None = None

    def setup(self, **context: Any) -> None:
        self.context = context

    def launch(self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int) -> Sequence[JobReturn]:
        if self.launcher is None:  # a sweeper asks for runs once their configs compose, perhaps several times
            from speaker_count.training.importing import importing

            with importing():
                self.launcher = self.make()
            self.launcher.setup(**self.context)
        return self.launcher.launch(job_overrides, initial_job_idx)

    def make(self) -> Launcher:
        """The launcher, whose imports take seconds."""
        from speaker_count.training import processes

        processes.start_server()  # it imports what jobs need while this process imports too
        from speaker_count.sweeping.local import LocalLauncher

        return LocalLauncher(**self.settings)


class Slurm(Processes):
    """`hydra/launcher=slurm`; see `speaker_count.sweeping.slurm_launcher.SlurmLauncher`."""

    def make(self) -> Launcher:
        """The launcher, whose imports take seconds."""
        from speaker_count.sweeping.slurm_launcher import SlurmLauncher

        return SlurmLauncher(**self.settings)


class Optuna(Sweeper):
    """`hydra/sweeper=optuna`; see `speaker_count.sweeping.search.Search`."""

    def __init__(self, **settings: Any):
        self.settings = settings

    def setup(self, **context: Any) -> None:
        from speaker_count.errors import MissingPackageError, needed_by

        try:
            with needed_by("hydra/sweeper=optuna"):
                from speaker_count.sweeping.search import Search
        except MissingPackageError as error:
            print(error, file=sys.stderr)
            sys.exit(2)
        self.sweeper: Sweeper = Search(**self.settings)
        self.sweeper.setup(**context)

    def sweep(self, arguments: list[str]) -> Any:
        return self.sweeper.sweep(arguments)
