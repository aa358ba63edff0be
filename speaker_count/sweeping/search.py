"""Hydra's sweeper of `hydra/sweeper=optuna`: Optuna chooses the runs of a sweep, by what earlier runs returned.

A batch of trials runs side by side on the launcher, here or on Slurm. A trial is asked for before its run starts and
told after the run has ended: one that is neither finished nor failed in the study was interrupted, and its run resumes.
"""

import contextlib
import math
import sys
import warnings
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import filelock
import optuna
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.plugins import Plugins
from hydra.core.utils import JobReturn
from hydra.plugins.launcher import Launcher
from hydra.plugins.sweeper import Sweeper
from hydra.types import HydraContext, TaskFunction
from hydra.utils import instantiate
from omegaconf import DictConfig, OmegaConf
from optuna.trial import TrialState
from sqlalchemy.exc import SQLAlchemyError

from speaker_count import files
from speaker_count.errors import UserError, check_number
from speaker_count.results.record import DIVERGED
from speaker_count.sweeping import search_space
from speaker_count.sweeping.search_space import Space
from speaker_count.training import fit, secrets
from speaker_count.training.streams import say

FOR_GOOD = "failed_for_good"  # the study's numbers of trials that would fail again
Params = Mapping[str, Any]


class Returned(NamedTuple):
    """What a run returned: its metric, NaN if it failed, and whether it would always return the same."""

    metric: float
    for_good: bool


class Search(Sweeper):
    """A search with Optuna; arguments as in `conf/hydra/sweeper/optuna.yaml`."""

    config: DictConfig
    hydra_context: HydraContext
    launcher: Launcher

    def __init__(
        self,
        n_trials: int,
        n_jobs: int,
        direction: str | None,
        params: Mapping[str, str] | None,
        sampler: DictConfig,
        storage: str | None,
        study_name: str | None,
    ):
        self.n_trials, self.n_jobs, self.direction = n_trials, n_jobs, direction
        self.params, self.sampler, self.storage, self.study_name = dict(params or {}), sampler, storage, study_name
        self.returned: dict[tuple[str, ...], Returned] = {}  # by runs of this command, by their overrides
        self.launched = 0

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        self.hydra_context, self.config = hydra_context, config
        self.launcher = Plugins.instance().instantiate_launcher(
            hydra_context=hydra_context, task_function=task_function, config=config
        )

    def sweep(self, arguments: list[str]) -> None:
        """Search; the arguments are the overrides of the command line."""
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        try:
            self._search(arguments)
        except UserError as error:
            print(error, file=sys.stderr)
            sys.exit(2)

    def _search(self, arguments: list[str]) -> None:
        check_number("hydra.sweeper.n_trials", self.n_trials, int, 1)
        check_number("hydra.sweeper.n_jobs", self.n_jobs, int, 1)
        parser = OverridesParser.create(config_loader=self.hydra_context.config_loader)
        params = [f"{key}={value}" for key, value in self.params.items()]
        space, fixed = search_space.divide(parser.parse_overrides([*params, *arguments]))
        if not space:
            raise UserError(
                "hydra/sweeper=optuna has nothing to search: give a key several values, such as "
                "model.learning_rate='tag(log,interval(1e-5,1e-2))' or model=m3,m5"
            )
        config = self._compose(list(fixed.values()))
        fit.check_metric(config)
        metric = str(config.optimized_metric)
        direction = self._direction(metric)
        name = self.study_name or search_space.name_of(space, fixed, metric, direction.name)
        with self._claimed(name), self._storage_errors_in_a_line():
            study = optuna.create_study(storage=self.storage, study_name=name, direction=direction, load_if_exists=True)
            self._try_all(study, space, list(fixed.values()))
            self._conclude(study, list(fixed.values()), metric)

    def _direction(self, metric: str) -> optuna.study.StudyDirection:
        name = self.direction or ("minimize" if metric.endswith(("/loss", "/mae")) else "maximize")
        if name not in ("maximize", "minimize"):
            raise UserError(f"hydra.sweeper.direction={name}: expected maximize or minimize")
        return optuna.study.StudyDirection[name.upper()]

    def _compose(self, overrides: list[str]) -> DictConfig:
        return self.hydra_context.config_loader.load_sweep_config(self.config, overrides)

    @contextlib.contextmanager
    def _claimed(self, name: str) -> Iterator[None]:
        """Search alone: another process would take the trials that run here for interrupted ones."""
        folder = Path(self.config.hydra.sweep.dir)
        self.storage = self.storage or f"sqlite:///{folder / 'study.db'}"
        try:
            claim = filelock.FileLock(folder / f".{name}.lock").acquire(blocking=False)
        except filelock.Timeout as error:
            raise UserError(f"another process is doing this search in {folder}; wait for it, or stop it") from error
        with claim:
            yield

    @contextlib.contextmanager
    def _storage_errors_in_a_line(self) -> Iterator[None]:
        """Turn errors of the storage into one line.

        Raises:
            UserError: it cannot be read or written.
        """
        try:
            yield
        except (SQLAlchemyError, optuna.exceptions.StorageInternalError, ModuleNotFoundError) as error:
            cause = error.__cause__ if isinstance(error, optuna.exceptions.StorageInternalError) else error
            reason = str(getattr(cause, "orig", None) or cause).splitlines()[0]
            held = ": another process holds it; wait for it, or stop it" if "locked" in reason else ""
            raise UserError(
                f"hydra.sweeper.storage={secrets.masked(self.storage)}: {reason}{held}; the same command resumes"
            ) from error

    def _try_all(self, study: optuna.Study, space: Space, fixed: list[str]) -> None:
        """Do the trials that are left, a batch at a time: first those that were interrupted."""
        interrupted, left = self._look(study, space)
        done = self.n_trials - left - len(interrupted)
        if done > 0:
            say(f"{min(done, self.n_trials)} of {self.n_trials} trials of this search are done")
        while interrupted or left > 0:
            batch, interrupted = interrupted[: self.n_jobs], interrupted[self.n_jobs :]
            study.sampler = self._sampler(len(study.get_trials(deepcopy=False)))
            while len(batch) < self.n_jobs and left > 0:
                left -= 1
                batch.append(self._ask(study, space))
            for number, value in zip((number for number, _ in batch), self._run(batch, fixed), strict=True):
                if math.isfinite(value.metric):
                    study.tell(number, value.metric)
                else:
                    study.tell(number, state=TrialState.FAIL)
                    if value.for_good:
                        study.set_user_attr(FOR_GOOD, [*study.user_attrs.get(FOR_GOOD, []), number])

    def _look(self, study: optuna.Study, space: Space) -> tuple[list[tuple[int, Params]], int]:
        """The trials that were interrupted, and how many more are left to ask for: those that failed, too, unless they
        would fail again.
        """
        for_good = study.user_attrs.get(FOR_GOOD, [])
        interrupted: list[tuple[int, Params]] = []
        settled = 0
        failed: dict[str, Params] = {}
        for trial in study.get_trials(deepcopy=False):
            whole = trial.params.keys() == space.keys()
            if trial.state == TrialState.RUNNING and whole:
                interrupted.append((trial.number, trial.params))
            elif trial.state == TrialState.RUNNING:  # cut off while its values were chosen
                study.tell(trial.number, state=TrialState.FAIL)
            settled += trial.state == TrialState.COMPLETE or trial.number in for_good
            if trial.state == TrialState.FAIL and whole and trial.number not in for_good:
                failed[repr(trial.params)] = trial.params
            else:
                failed.pop(repr(trial.params), None)  # it was tried again
        for params in failed.values():
            study.enqueue_trial(dict(params), skip_if_exists=False)
        return interrupted, max(0, self.n_trials - settled - len(interrupted))

    def _sampler(self, trials: int) -> optuna.samplers.BaseSampler:
        """A sampler for the next batch. Its seed follows from the number of trials, so that a search that was
        interrupted asks for what an undisturbed one does.
        """
        values = {} if self.sampler.get("seed") is None else {"seed": self.sampler.seed + trials}
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            sampler: optuna.samplers.BaseSampler = instantiate(self.sampler, **values)
        return sampler

    def _ask(self, study: optuna.Study, space: Space) -> tuple[int, Params]:
        try:
            trial = study.ask(space)
        except ValueError as error:
            raise UserError(
                f"hydra.sweeper.study_name={study.study_name} has searched other values ({error}); choose another name"
            ) from error
        return trial.number, trial.params

    def _run(self, batch: Sequence[tuple[int, Params]], fixed: list[str]) -> list[Returned]:
        """What the runs of a batch return. Equal trials are one run."""
        trials = [(*fixed, *search_space.overrides_of(params)) for _, params in batch]
        new = [trial for trial in dict.fromkeys(trials) if trial not in self.returned]
        done = self.launcher.launch([list(trial) for trial in new], initial_job_idx=self.launched) if new else []
        self.launched += len(new)
        self.returned.update(zip(new, map(_returned, done), strict=True))
        return [self.returned[trial] for trial in trials]

    def _conclude(self, study: optuna.Study, fixed: list[str], metric: str) -> None:
        """Say which trial was best, and write it down as hydra-optuna-sweeper does."""
        states = [trial.state for trial in study.get_trials(deepcopy=False)]
        if TrialState.COMPLETE not in states:
            return
        best = study.best_trial
        overrides = search_space.overrides_of(best.params)
        config = self._compose([*fixed, *overrides])
        say(
            f"best of {states.count(TrialState.COMPLETE)} trials: {config.hydra.sweep.subdir}, {metric} "
            f"{best.value:.4f} with {' '.join(overrides)}"
        )
        values = {"name": "optuna", "best_params": dict(best.params), "best_value": best.value}
        path = Path(self.config.hydra.sweep.dir, "optimization_results.yaml")
        files.write_text(path, OmegaConf.to_yaml(OmegaConf.create(values)))


def _returned(done: JobReturn) -> Returned:
    """What a run returned. Any launcher may have run it."""
    try:
        metric = float(done.return_value)
    except Exception as error:  # what made the run fail, where the launcher is Hydra's own
        print(f"failed: {' '.join(done.overrides or ())}: {error}", file=sys.stderr)
        return Returned(math.nan, False)
    finished = getattr(getattr(done, "outcome", None), "result", None) is not None
    diverged = Path(done.hydra_cfg.hydra.runtime.output_dir, DIVERGED).is_file() if done.hydra_cfg else False
    return Returned(metric, finished or diverged)
