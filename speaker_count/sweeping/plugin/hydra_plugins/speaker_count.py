"""The launchers, where Hydra finds plugins. It imports all that it finds, hence no heavy import at the top."""

from collections.abc import Sequence
from typing import Any

from hydra.core.utils import JobReturn
from hydra.plugins.launcher import Launcher


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
