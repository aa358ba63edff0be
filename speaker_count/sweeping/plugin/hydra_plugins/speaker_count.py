"""The launchers, where Hydra finds plugins. It imports all that it finds, hence no heavy import at the top."""

from collections.abc import Sequence
from typing import Any

from hydra.core.utils import JobReturn
from hydra.plugins.launcher import Launcher


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
