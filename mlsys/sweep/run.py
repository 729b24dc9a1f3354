"""Running a sweep, from the command line to the results."""

from __future__ import annotations

import _thread
import logging
import os
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import optuna
from omegaconf import DictConfig, OmegaConf

from mlsys.errors import ConfigError, Problem, SweepError
from mlsys.redaction import without_password
from mlsys.runs.files import write_atomic
from mlsys.sweep.artifacts import load_renderer, write_results
from mlsys.sweep.checks import check_study, check_trials, directions_of
from mlsys.sweep.commands import resume_command
from mlsys.sweep.progress import Progress
from mlsys.sweep.refit import refit_best
from mlsys.sweep.results import SweepResults
from mlsys.sweep.settings import SweepSettings, check_settings
from mlsys.sweep.space import parse_space
from mlsys.sweep.study import STORAGE_ERRORS, SharedStudy, count_trials, storage_error
from mlsys.sweep.worker import ALLOWED_TARGETS, Sweep, build, build_sampler, run_worker
from mlsys.text import counted

if TYPE_CHECKING:
    from hydra.types import HydraContext, TaskFunction

    from mlsys.sweep.executors import Executor

logger = logging.getLogger(__name__)

POLL_INTERVAL = 0.5  # seconds; each read of the study takes time from the workers
ORPHAN_CHECK_INTERVAL = 5.0  # seconds between searches for trials whose worker died


def run_sweep(
    settings: dict[str, Any],
    hydra_context: HydraContext,
    task_function: TaskFunction,
    config: DictConfig,
    arguments: list[str],
) -> None:
    """Run or resume a sweep.

    Parameters
    ----------
    settings : dict
        The content of hydra.sweeper, not yet checked.
    hydra_context, task_function, config
        Hydra's arguments of a sweeper.
    arguments : list of str
        Command-line overrides.

    Raises
    ------
    ConfigError
        Listing every problem, before the first trial.
    SweepError
        If the sweep cannot continue, or too many trials failed.
    SystemExit
        After SIGINT (130) or SIGTERM (143).
    """
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    resolved = {
        key: OmegaConf.to_container(value, resolve=True) if OmegaConf.is_config(value) else value
        for key, value in settings.items()
    }
    sweep = _prepare(check_settings(resolved), hydra_context, task_function, config, arguments)
    shared = SharedStudy(sweep.settings, sweep.folder)
    try:
        _run(sweep, shared)
    finally:
        shared.close()


def _prepare(
    settings: SweepSettings,
    hydra_context: HydraContext,
    task_function: TaskFunction,
    config: DictConfig,
    arguments: list[str],
) -> Sweep:
    """Check everything that can be checked before the first trial, and return the sweep."""
    choices = {group: str(option) for group, option in config.hydra.runtime.choices.items()}
    space = parse_space(
        settings.params or {}, settings.conditions, arguments, choices, _load_custom_search_space(settings)
    )
    folder = Path(str(config.hydra.sweep.dir)).absolute()
    if settings.storage is not None and settings.study_name is None:
        problem = Problem("hydra.sweeper.study_name", "nothing", "a name, because the storage may hold many studies")
        raise ConfigError("The sweep", [problem], "Commands with the same name and storage join the same study.")
    directions = directions_of(config, settings)
    workers = min(settings.n_jobs or len(os.sched_getaffinity(0)), settings.n_trials)
    build_sampler(settings.sampler, [])
    if settings.pruner:
        build(settings.pruner)
    sweep = Sweep(settings, hydra_context, task_function, config, space, directions, folder, workers)
    check_trials(sweep)
    return sweep


def _run(sweep: Sweep, shared: SharedStudy) -> None:
    progress, received, is_open = Progress(sweep, shared), list[int](), False
    with _signals(progress, received):  # already here, so that Ctrl-C while the study opens leaves no traceback
        study, sweep = _open(sweep, shared)
        is_open = True
        with progress:
            if shared.counts().finished < sweep.settings.n_trials:
                progress.announce()
                _run_trials(sweep, shared, progress)
    if not is_open:  # interrupted before the study was open
        raise SystemExit(128 + received[-1])
    results = SweepResults(sweep, shared.trials(), study)
    try:
        if sweep.settings.refit and not received and _can_refit(sweep, results):
            with _signals(progress, received):
                refit_best(results)
    finally:
        with _signals(progress, received):  # a second Ctrl-C may lose the report, but not the resume command
            write_results(results)
    progress.print_summary(results)
    if received:
        sys.stderr.write(f"Resume with:\n  {resume_command(sweep.folder)}\n")
        raise SystemExit(128 + received[-1])
    _check_failures(sweep, shared)


def _open(sweep: Sweep, shared: SharedStudy) -> tuple[optuna.Study, Sweep]:
    """Open the study and the sweep directory; return the study, and the sweep with its number of earlier trials."""
    study = shared.create(sweep.directions)
    check_study(study, sweep)
    sweep.folder.mkdir(parents=True, exist_ok=True)
    write_atomic(sweep.folder / "multirun.yaml", without_password(OmegaConf.to_yaml(sweep.config)).encode())
    shared.requeue_orphaned()
    before, trials_before = shared.counts(), len(shared.trials())
    if sweep.settings.enqueue_config:
        shared.enqueue_first(sweep.space.config_params(sweep.config))
    if before.total:
        logger.info("resuming %s: %s of %s trials finished", sweep.folder, before.finished, sweep.settings.n_trials)
    return study, replace(sweep, trials_before=trials_before)


def _can_refit(sweep: Sweep, results: SweepResults) -> bool:
    return results.best is not None and count_trials(results.trials).finished >= sweep.settings.n_trials


def _check_failures(sweep: Sweep, shared: SharedStudy) -> None:
    total, new = shared.counts(), count_trials(shared.trials()[sweep.trials_before :])
    if shared.too_many_failed(sweep.trials_before):
        limit = f"more than hydra.sweeper.max_failure_rate={sweep.settings.max_failure_rate:g} allows"
        reason = f"{new.failed} of {counted(new.finished, 'trial')} failed, {limit}."
    elif total.finished == total.failed > 0:
        reason = "All trials failed."
    else:
        return
    raise SweepError(
        f"{reason} Their logs are in their run directories below {sweep.folder}.\n"
        f"After fixing the cause, resume with:\n  {resume_command(sweep.folder)}"
    )


def _run_trials(sweep: Sweep, shared: SharedStudy, progress: Progress) -> None:
    try:
        _run_workers(sweep, shared, progress)
    except (SweepError, *STORAGE_ERRORS) as error:
        cause = error if isinstance(error, SweepError) else storage_error(error)
        raise SweepError(
            f"{cause}\nNo finished trial is lost. Resume with:\n  {resume_command(sweep.folder)}"
        ) from error


def _run_workers(sweep: Sweep, shared: SharedStudy, progress: Progress) -> None:
    if sweep.workers == 1 and sweep.settings.executor == "local":
        run_worker(sweep, 0, lambda: progress.stopping, lambda _: progress.update())
        progress.update()  # the last trial may have run on another machine
        return
    executor = _executor(sweep)
    progress.supervising = True
    try:
        _supervise(executor, shared, progress)
    finally:
        progress.supervising = False
        executor.kill()
        with suppress(SweepError, *STORAGE_ERRORS):  # if this fails, the next start requeues them
            shared.requeue_orphaned()


def _supervise(executor: Executor, shared: SharedStudy, progress: Progress) -> None:
    last_check, stop_sent, finished_before = time.monotonic(), False, shared.counts().finished
    finished = finished_before
    while executor.poll(finished):
        if progress.interrupted:
            raise KeyboardInterrupt
        finished = count_trials(progress.update()).finished
        if finished > finished_before:
            load_renderer()  # import it while the workers fit, not while the user waits for the report
        if progress.stopping and not stop_sent:
            executor.stop()
            stop_sent = True
        if time.monotonic() - last_check > ORPHAN_CHECK_INTERVAL:
            shared.requeue_orphaned()
            last_check = time.monotonic()
        executor.wait(POLL_INTERVAL)
    progress.update()


def _executor(sweep: Sweep) -> Executor:
    from mlsys.sweep.executors import LocalProcesses, RayTasks

    return RayTasks(sweep) if sweep.settings.executor == "ray" else LocalProcesses(sweep)


@contextmanager
def _signals(progress: Progress, received: list[int]) -> Iterator[None]:
    """Stop the sweep after the running trials on the first SIGINT; stop at once on a second one or on SIGTERM."""

    def handle(number: int, _: object) -> None:
        received.append(number)
        progress.stopping = True
        if number == signal.SIGTERM or len(received) > 1:
            progress.interrupted = True
            # The supervising loop checks the flag, because an exception raised within a finalizer is lost.
            if not progress.supervising or len(received) > 2:
                raise KeyboardInterrupt
            return
        # In a thread: the interrupted code may hold a lock that printing needs.
        _thread.start_new_thread(progress.print_line, ("Stopping after the running trials; Ctrl-C again to stop now.",))

    before = {number: signal.signal(number, handle) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    except KeyboardInterrupt:
        if not received:
            raise
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _load_custom_search_space(settings: SweepSettings) -> Any:  # noqa: ANN401 - the user's function
    if settings.custom_search_space is None:
        return None
    from hydra.utils import instantiate

    node = {"_target_": settings.custom_search_space, "_partial_": True}
    return instantiate(node, _execution_whitelist_=[*ALLOWED_TARGETS, settings.custom_search_space])
