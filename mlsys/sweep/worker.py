"""A worker: ask for a trial, run its Hydra job, tell how it ended, until the study is full."""

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

from mlsys.errors import ConfigError, PrunedError, SweepError
from mlsys.recording import log_to_file
from mlsys.redaction import without_password
from mlsys.sweep.composition import Composer
from mlsys.sweep.pruners import PairedPruner
from mlsys.sweep.settings import SEQUENCES, SweepSettings
from mlsys.sweep.space import Space
from mlsys.sweep.study import STORAGE_ERRORS, SharedStudy, WorkerLock, is_disk_full, storage_error
from mlsys.sweep.trial_context import trial_scope

if TYPE_CHECKING:
    from hydra.types import HydraContext, TaskFunction
    from omegaconf import DictConfig

logger = logging.getLogger(__name__)

T = TypeVar("T")
POLL_SECONDS = 0.5
KEPT = 6  # panels, and the folds of each
ALLOWED = ["optuna.samplers.*", "optuna.pruners.*", "mlsys.*"]


@dataclass(frozen=True)
class Sweep:
    """What every worker of a sweep must know; it travels to other processes.

    Attributes
    ----------
    settings : SweepSettings
    hydra_context, task_function, config
        What Hydra gave the sweeper.
    space : Space
    directions : sequence of str
        ``minimize`` or ``maximize``, for each objective.
    folder : Path
        The sweep directory.
    workers : int
        How many there are on this machine; they share its cores.
    begun : int
        Trials that the study held when this process began with it.
    """

    settings: SweepSettings
    hydra_context: HydraContext
    task_function: TaskFunction
    config: DictConfig
    space: Space
    directions: Sequence[str]
    folder: Path
    workers: int
    begun: int = 0

    @cached_property
    def composer(self) -> Composer:
        """What composes the jobs' configs in this process."""
        return Composer(self.hydra_context.config_loader, self.config)

    def open(self, worker: int = 0) -> SharedStudy:
        """Open the study with the sampler of a worker: each has draws of its own, and a resumed sweep has new ones."""
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        # Of a storage that others may share, each process wants draws of its own; here they can be repeated.
        salt = [] if self.settings.storage is None else [zlib.crc32(socket.gethostname().encode()), os.getpid()]
        sampler = build_sampler(self.settings.sampler, [self.begun, worker, *salt])
        pruner = build(self.settings.pruner) if self.settings.pruner else optuna.pruners.NopPruner()
        shared = SharedStudy(self.settings, self.folder, sampler, pruner)
        shared.load()
        return shared


@dataclass
class Memory:
    """What a worker keeps between its trials."""

    kept: dict[str, Any] = field(default_factory=dict)

    def keep(self, key: str, make: Callable[[], T]) -> T:
        """Return what is kept under the key, made if it is not there."""
        if key not in self.kept:
            if len(self.kept) >= KEPT:
                del self.kept[next(iter(self.kept))]  # the oldest: a search over features would fill the memory
            self.kept[key] = make()
        kept: T = self.kept[key]
        return kept


class WorkerTrial:
    """The trial that a job sees; see `mlsys.sweep.trial_context.CurrentTrial`."""

    def __init__(self, trial: Trial, memory: Memory, *, averages: bool) -> None:
        self.number = trial.number
        self.keep = memory.keep
        self.notes: dict[str, Any] = {}
        self._trial = trial
        self._averages, self._values = averages, list[float]()
        self._prunable = len(trial.study.directions) == 1

    def report(self, value: float | None, step: int) -> None:
        """Tell how well the trial does at a step; raise PrunedError where it is given up."""
        if not self._prunable or value is None or not math.isfinite(value):
            return
        self._values.append(value)
        # Some pruners pair the same step of two trials; the others want a value that approaches the final one.
        self._trial.report(float(np.mean(self._values)) if self._averages else value, step)
        if self._trial.should_prune():
            raise PrunedError(
                f"given up after {len(self._values)} reports by {type(self._trial.study.pruner).__name__}"
            )

    def note(self, key: str, value: Any) -> None:  # noqa: ANN401
        """Keep a fact beside the trial."""
        self.notes[key] = value


def work(
    sweep: Sweep, worker: int, stopping: Callable[[], bool], after: Callable[[SharedStudy], object] | None = None
) -> None:
    """Run trials until the study is full, too many failed, or ``stopping`` says so.

    Parameters
    ----------
    sweep : Sweep
    worker : int
        Its number among those of this machine.
    stopping : callable
        Asked between trials.
    after : callable, optional
        Called after each trial.

    Raises
    ------
    SweepError
        Where no trial can go on: the disk is full, the storage is gone.
    """
    shared, memory = sweep.open(worker), Memory()
    try:
        with WorkerLock(sweep.folder) as lock:
            while not stopping():
                trial = shared.claim(lock.name, sweep.begun)
                if trial is not None:
                    run_trial(sweep, shared, trial, memory)
                    if after is not None:
                        after(shared)
                elif shared.is_complete(sweep.begun):
                    return
                else:  # the last trials are under way elsewhere; one of them may have to be repeated
                    _pause(stopping)
                    shared.release_dead()
    except STORAGE_ERRORS as error:
        raise storage_error(error) from error
    finally:
        shared.close()


def run_trial(sweep: Sweep, shared: SharedStudy, trial: Trial, memory: Memory) -> None:
    """Run one trial's job and tell the study how it ended."""
    is_paired = isinstance(shared.study.pruner, PairedPruner | optuna.pruners.WilcoxonPruner)
    current = WorkerTrial(trial, memory, averages=not is_paired and not reports_iterations(sweep.config))
    try:
        with shared.heartbeat(trial):
            overrides = sweep.space.overrides(trial, sweep.config)
            state, values, error = _run_job(sweep, trial, overrides, current)
            shown = [without_password(override) for override in overrides]
            facts = {"overrides": shown, "run": str(sweep.folder / str(trial.number)), **current.notes}
            trial.set_user_attr("job", facts)
            if error:
                trial.set_user_attr("error", without_password(error))
            shared.study.tell(trial, values, state, skip_if_finished=True)
    except optuna.exceptions.UpdateFinishedTrialError:
        logger.warning(
            "trial %s showed no sign of life for too long and was repeated: its result is dropped", trial.number
        )
    except (KeyboardInterrupt, SystemExit, SweepError):
        with suppress(SweepError, *STORAGE_ERRORS), shared.lock():  # if it fails, whoever resumes finds the worker dead
            shared.requeue(shared.trials()[trial.number], "interrupted")
        raise


def _run_job(
    sweep: Sweep, trial: Trial, overrides: Sequence[str], current: WorkerTrial
) -> tuple[TrialState, list[float] | None, str | None]:
    try:
        with trial_scope(current):
            result = run_hydra_job(sweep, trial.number, [*overrides, *_of_this_worker(sweep, trial.number, overrides)])
        return TrialState.COMPLETE, as_values(result, len(sweep.directions)), None
    except (PrunedError, optuna.TrialPruned) as pruned:
        current.note("pruned", str(pruned))
        return TrialState.PRUNED, None, None
    except SweepError:
        raise
    except Exception as error:
        if is_disk_full(error):
            raise storage_error(error) from error
        log_to_file(sweep.folder / str(trial.number), "the job failed", error)  # unless the run did so itself
        logger.warning("trial %s failed: %s: %s", trial.number, type(error).__name__, _brief(error))
        return TrialState.FAIL, None, f"{type(error).__name__}: {_brief(error)}"


def run_hydra_job(sweep: Sweep, number: int, overrides: Sequence[str], subdir: str | None = None) -> Any:  # noqa: ANN401
    """Run the task with overrides, as Hydra's own launcher does; return its value, or raise what it raised.

    Parameters
    ----------
    number : int
        The job's number.
    overrides : sequence of str
    subdir : str, optional
        Its run directory below the sweep's; the number without.
    """
    from hydra.core.utils import JobStatus, run_job, setup_globals
    from omegaconf import open_dict

    setup_globals()
    config = sweep.composer.compose(overrides)
    with open_dict(config):
        config.hydra.job.id, config.hydra.job.num = str(number), number
        config.hydra.sweep.dir, config.hydra.sweep.subdir = str(sweep.folder), subdir or str(number)
        config.hydra.job_logging.root.handlers = ["file"]  # the terminal is the sweep's
    result = run_job(
        hydra_context=sweep.hydra_context,
        task_function=sweep.task_function,
        config=config,
        job_dir_key="hydra.sweep.dir",
        job_subdir_key="hydra.sweep.subdir",
    )
    if result.status is not JobStatus.COMPLETED:
        raise result._return_value  # the property would raise a copy
    return result.return_value


def as_values(result: Any, objectives: int) -> list[float]:  # noqa: ANN401
    """Return what a job returned as numbers.

    Raises
    ------
    ValueError
        Where it is something else, or not one for each objective.

    Examples
    --------
    >>> as_values(0.5, 1), as_values((0.5, 2), 2)
    ([0.5], [0.5, 2.0])
    """
    values = list(result) if isinstance(result, list | tuple) else [result]
    if len(values) != objectives or not all(isinstance(value, Real) and math.isfinite(value) for value in values):
        wanted = "a finite number" if objectives == 1 else f"{objectives} finite numbers"
        raise ValueError(f"the job returned {result!r}, not {wanted}: the objective is undefined on these folds")
    return [float(value) for value in values]


def reports_iterations(config: DictConfig) -> bool:
    """Tell whether trials report their trees rather than their folds."""
    search = config.get("search")
    return search is not None and search.get("report_per") == "iteration"


def build(node: Mapping[str, Any], **changes: Any) -> Any:  # noqa: ANN401
    """Instantiate a sampler or pruner.

    Raises
    ------
    ConfigError
        Where it is not allowed or does not take its arguments.
    """
    import warnings

    from hydra.errors import InstantiationException
    from hydra.utils import instantiate

    from mlsys.errors import Problem

    try:
        with warnings.catch_warnings():  # Optuna calls some arguments experimental that its own guide advises
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            return instantiate({**node, **changes}, _convert_="all", _execution_whitelist_=ALLOWED)
    except (InstantiationException, TypeError, ValueError) as error:
        reason = str(error.__cause__ or error).splitlines()[0]
        problem = Problem(
            f"hydra.sweeper: {node.get('_target_')}", reason, "a class of optuna.samplers or optuna.pruners"
        )
        raise ConfigError("The sweep", [problem], "Nothing was run.") from error


def build_sampler(node: Mapping[str, Any], salt: Sequence[int]) -> optuna.samplers.BaseSampler:
    """Instantiate a sampler with a seed of its own for each worker and each resumption.

    Parameters
    ----------
    node : mapping
        ``_target_``, ``seed`` and further arguments.
    salt : sequence of int
        What tells this worker from all others of the study.
    """
    seed = node.get("seed")
    if seed is None or node.get("_target_") in SEQUENCES:
        return build(node)  # type: ignore[no-any-return]
    drawn = int(np.random.SeedSequence([int(seed), *salt]).generate_state(1)[0])
    return build(node, seed=drawn)  # type: ignore[no-any-return]


def _of_this_worker(sweep: Sweep, number: int, overrides: Sequence[str]) -> Iterator[str]:
    """Yield what a trial must know of the sweep, where its config has the keys."""
    config, given = sweep.config, {override.split("=", 1)[0] for override in overrides}
    if config.get("search") is not None:
        yield f"++search.trial={number}"
    if "threads" in config and config.threads is None and "threads" not in given:
        yield f"threads={max(len(os.sched_getaffinity(0)) // sweep.workers, 1)}"


def _pause(stopping: Callable[[], bool]) -> None:
    import time

    if not stopping():
        time.sleep(POLL_SECONDS)


def _brief(error: Exception) -> str:
    return next((line.strip() for line in str(error).splitlines() if line.strip()), "no message")
