"""A worker: claims a trial, runs its Hydra job and tells the study the result, until the study is complete."""

from __future__ import annotations

import logging
import math
import os
import socket
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cached_property
from numbers import Real
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
import optuna
from optuna.trial import Trial, TrialState

from mlsys.errors import ConfigError, ProblemsError, PrunedError, SweepError
from mlsys.recording import log_to_file
from mlsys.redaction import without_password
from mlsys.sweep.composition import Composer
from mlsys.sweep.pruners import PairedPruner
from mlsys.sweep.settings import SEQUENCES, SweepSettings
from mlsys.sweep.space import Space
from mlsys.sweep.study import STORAGE_ERRORS, SharedStudy, WorkerLock, is_disk_full, storage_error
from mlsys.sweep.trial_context import trial_scope
from mlsys.text import counted

if TYPE_CHECKING:
    from hydra.types import HydraContext, TaskFunction
    from omegaconf import DictConfig

logger = logging.getLogger(__name__)

T = TypeVar("T")
POLL_INTERVAL = 0.5  # seconds
MAX_CACHED = 6  # panels and their folds
ALLOWED_TARGETS = ["optuna.samplers.*", "optuna.pruners.*", "mlsys.*"]


@dataclass(frozen=True)
class Sweep:
    """The definition of a sweep, which is sent to every worker process.

    Attributes
    ----------
    settings : SweepSettings
    hydra_context, task_function, config
        Hydra's arguments of a sweeper.
    space : Space
    directions : sequence of str
        ``minimize`` or ``maximize`` for each objective.
    folder : Path
        The sweep directory.
    workers : int
        Number of workers on this machine; they share its cores.
    trials_before : int
        Number of trials that the study already had when this command started.
    """

    settings: SweepSettings
    hydra_context: HydraContext
    task_function: TaskFunction
    config: DictConfig
    space: Space
    directions: Sequence[str]
    folder: Path
    workers: int
    trials_before: int = 0

    @cached_property
    def composer(self) -> Composer:
        """The composer of the jobs' configs, with a cache per process."""
        return Composer(self.hydra_context.config_loader, self.config)

    def open(self, worker: int = 0) -> SharedStudy:
        """Open the study with a sampler whose seed differs between workers and between starts of the sweep."""
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        # Processes that share a storage need different seeds; with a study of our own, a sweep is reproducible.
        salt = [] if self.settings.storage is None else [zlib.crc32(socket.gethostname().encode()), os.getpid()]
        sampler = build_sampler(self.settings.sampler, [self.trials_before, worker, *salt])
        pruner = build(self.settings.pruner) if self.settings.pruner else optuna.pruners.NopPruner()
        shared = SharedStudy(self.settings, self.folder, sampler, pruner)
        shared.load()
        return shared


@dataclass
class TrialCache:
    """Objects that a worker reuses across its trials, such as panels."""

    entries: dict[str, Any] = field(default_factory=dict)

    def get_or_create(self, key: str, create: Callable[[], T]) -> T:
        """Return the entry of a key; create it if there is none."""
        if key not in self.entries:
            if len(self.entries) >= MAX_CACHED:
                del self.entries[next(iter(self.entries))]  # the oldest: a search over features would fill the memory
            self.entries[key] = create()
        entry: T = self.entries[key]
        return entry


class WorkerTrial:
    """The trial as its job sees it; implements `mlsys.sweep.trial_context.CurrentTrial`."""

    def __init__(self, trial: Trial, cache: TrialCache, *, report_means: bool) -> None:
        self.number = trial.number
        self.cached = cache.get_or_create
        self.user_attrs: dict[str, Any] = {}
        self._trial = trial
        self._report_means, self._values = report_means, list[float]()
        self._prunable = len(trial.study.directions) == 1

    def report(self, value: float | None, step: int) -> None:
        """Report an intermediate value; raise PrunedError if the trial is pruned."""
        if not self._prunable or value is None or not math.isfinite(value):
            return
        self._values.append(value)
        # Some pruners compare the same step of two trials; the others expect values that approach the final one.
        self._trial.report(float(np.mean(self._values)) if self._report_means else value, step)
        if self._trial.should_prune():
            raise PrunedError(
                f"pruned after {counted(len(self._values), 'step')} by {type(self._trial.study.pruner).__name__}"
            )

    def set_user_attr(self, key: str, value: Any) -> None:  # noqa: ANN401
        """Store an attribute of the trial; it is written to the study when the job ends."""
        self.user_attrs[key] = value


def run_worker(
    sweep: Sweep,
    worker: int,
    should_stop: Callable[[], bool],
    on_trial_end: Callable[[SharedStudy], object] | None = None,
) -> None:
    """Run trials until the study is complete, too many failed, or ``should_stop`` returns True.

    Parameters
    ----------
    sweep : Sweep
    worker : int
        The worker's number on this machine.
    should_stop : callable
        Called between trials.
    on_trial_end : callable, optional
        Called after each trial.

    Raises
    ------
    SweepError
        If no trial can run, because the disk is full or the storage failed.
    """
    shared, cache = sweep.open(worker), TrialCache()
    try:
        with WorkerLock(sweep.folder) as lock:
            while not should_stop():
                trial = shared.claim(lock.name, sweep.trials_before)
                if trial is not None:
                    run_trial(sweep, shared, trial, cache)
                    if on_trial_end is not None:
                        on_trial_end(shared)
                elif shared.is_complete(sweep.trials_before):
                    return
                else:  # other workers run the last trials; one of them may need a retry
                    _pause(should_stop)
                    shared.requeue_orphaned()
    except STORAGE_ERRORS as error:
        raise storage_error(error) from error
    finally:
        shared.close()


def run_trial(sweep: Sweep, shared: SharedStudy, trial: Trial, cache: TrialCache) -> None:
    """Run one trial's job and tell the study its state and values."""
    compares_steps = isinstance(shared.study.pruner, PairedPruner | optuna.pruners.WilcoxonPruner)
    current = WorkerTrial(trial, cache, report_means=not compares_steps and not reports_iterations(sweep.config))
    try:
        with shared.heartbeat(trial):
            overrides = sweep.space.overrides(trial, sweep.config)
            state, values, error = _run_job(sweep, trial, overrides, current)
            redacted = [without_password(override) for override in overrides]
            job = {"overrides": redacted, "run": str(sweep.folder / str(trial.number)), **current.user_attrs}
            trial.set_user_attr("job", job)
            if error:
                trial.set_user_attr("error", without_password(error))
            shared.study.tell(trial, values, state, skip_if_finished=True)
    except optuna.exceptions.UpdateFinishedTrialError:
        logger.warning("trial %s had no heartbeat for too long and was retried; its result is dropped", trial.number)
    except (KeyboardInterrupt, SystemExit, SweepError):
        # If this fails, the next start finds the worker dead.
        with suppress(SweepError, *STORAGE_ERRORS), shared.lock():
            shared.requeue(shared.trials()[trial.number], "interrupted")
        raise


def _run_job(
    sweep: Sweep, trial: Trial, overrides: Sequence[str], current: WorkerTrial
) -> tuple[TrialState, list[float] | None, str | None]:
    try:
        with trial_scope(current):
            result = run_hydra_job(
                sweep, trial.number, [*overrides, *_worker_overrides(sweep, trial.number, overrides)]
            )
        return TrialState.COMPLETE, as_values(result, len(sweep.directions)), None
    except (PrunedError, optuna.TrialPruned) as pruned:
        current.set_user_attr("pruned", str(pruned))
        return TrialState.PRUNED, None, None
    except SweepError:
        raise
    except Exception as error:
        if is_disk_full(error):
            raise storage_error(error) from error
        log_to_file(sweep.folder / str(trial.number), "the job failed", error)  # unless the run already did
        reason = f"{type(error).__name__}: {error.brief if isinstance(error, ProblemsError) else _first_line(error)}"
        return TrialState.FAIL, None, reason


def run_hydra_job(sweep: Sweep, number: int, overrides: Sequence[str], subdir: str | None = None) -> Any:  # noqa: ANN401
    """Run the task with overrides as Hydra's own launcher does; return its value or raise its error.

    Parameters
    ----------
    sweep : Sweep
    number : int
        The job's number.
    overrides : sequence of str
    subdir : str, optional
        The run directory, relative to the sweep directory; by default the number.
    """
    from hydra.core.utils import JobStatus, run_job, setup_globals
    from omegaconf import open_dict

    setup_globals()
    config = sweep.composer.compose(overrides)
    with open_dict(config):
        config.hydra.job.id, config.hydra.job.num = str(number), number
        config.hydra.sweep.dir, config.hydra.sweep.subdir = str(sweep.folder), subdir or str(number)
        config.hydra.job_logging.root.handlers = ["file"]  # only the sweep writes to the terminal
    result = run_job(
        hydra_context=sweep.hydra_context,
        task_function=sweep.task_function,
        config=config,
        job_dir_key="hydra.sweep.dir",
        job_subdir_key="hydra.sweep.subdir",
    )
    if result.status is not JobStatus.COMPLETED:
        raise result._return_value  # the property raises a copy
    return result.return_value


def as_values(result: Any, objectives: int) -> list[float]:  # noqa: ANN401
    """Return a job's result as a list of numbers.

    Raises
    ------
    ValueError
        If it is not one finite number for each objective.

    Examples
    --------
    >>> as_values(0.5, 1), as_values((0.5, 2), 2)
    ([0.5], [0.5, 2.0])
    """
    values = list(result) if isinstance(result, list | tuple) else [result]
    if len(values) != objectives or not all(isinstance(value, Real) and math.isfinite(value) for value in values):
        expected = "a finite number" if objectives == 1 else f"{objectives} finite numbers"
        raise ValueError(f"the job returned {result!r}, expected {expected}: the objective is undefined on its folds")
    return [float(value) for value in values]


def reports_iterations(config: DictConfig) -> bool:
    """Return whether trials report each iteration instead of each fold."""
    search = config.get("search")
    return search is not None and search.get("report_per") == "iteration"


def build(node: Mapping[str, Any], **changes: Any) -> Any:  # noqa: ANN401
    """Instantiate a sampler or pruner.

    Raises
    ------
    ConfigError
        If the class is not allowed, or rejects its arguments.
    """
    import warnings

    from hydra.errors import InstantiationException
    from hydra.utils import instantiate

    from mlsys.errors import Problem

    try:
        with warnings.catch_warnings():  # Optuna's guide recommends arguments that it calls experimental
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            return instantiate({**node, **changes}, _convert_="all", _execution_whitelist_=ALLOWED_TARGETS)
    except (InstantiationException, TypeError, ValueError) as error:
        reason = str(error.__cause__ or error).splitlines()[0]
        problem = Problem(
            f"hydra.sweeper: {node.get('_target_')}", reason, "a class of optuna.samplers or optuna.pruners"
        )
        raise ConfigError("The sweep", [problem], "Nothing was run.") from error


def build_sampler(node: Mapping[str, Any], salt: Sequence[int]) -> optuna.samplers.BaseSampler:
    """Instantiate a sampler with a different seed for each worker and each start of the sweep.

    Parameters
    ----------
    node : mapping
        ``_target_``, ``seed`` and further arguments.
    salt : sequence of int
        Numbers that are unique to this worker within the study.
    """
    seed = node.get("seed")
    if seed is None or node.get("_target_") in SEQUENCES:
        return build(node)  # type: ignore[no-any-return]
    worker_seed = int(np.random.SeedSequence([int(seed), *salt]).generate_state(1)[0])
    return build(node, seed=worker_seed)  # type: ignore[no-any-return]


def _worker_overrides(sweep: Sweep, number: int, overrides: Sequence[str]) -> Iterator[str]:
    """Yield the overrides that tell a job its trial number and number of threads, if its config has those keys."""
    config, keys = sweep.config, {override.split("=", 1)[0] for override in overrides}
    if config.get("search") is not None:
        yield f"++search.trial={number}"
    if "threads" in config and config.threads is None and "threads" not in keys:
        yield f"threads={max(len(os.sched_getaffinity(0)) // sweep.workers, 1)}"


def _pause(should_stop: Callable[[], bool]) -> None:
    import time

    if not should_stop():
        time.sleep(POLL_INTERVAL)


def _first_line(error: Exception) -> str:
    return next((line.strip() for line in str(error).splitlines() if line.strip()), "no message")
