"""A sweep from its command line to its results."""

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
from mlsys.sweep.artifacts import renderer, write_results
from mlsys.sweep.checks import check_study, check_trials, directions_of
from mlsys.sweep.commands import resume_command
from mlsys.sweep.progress import Progress
from mlsys.sweep.refit import refit_winner
from mlsys.sweep.results import SweepResults
from mlsys.sweep.settings import SweepSettings, check_settings
from mlsys.sweep.space import parse_space
from mlsys.sweep.study import STORAGE_ERRORS, SharedStudy, count, storage_error
from mlsys.sweep.worker import ALLOWED, Sweep, build, build_sampler, work

if TYPE_CHECKING:
    from hydra.types import HydraContext, TaskFunction

    from mlsys.sweep.executors import Executor

logger = logging.getLogger(__name__)

POLL_SECONDS = 0.5  # each look at the study takes time from the workers
RELEASE_SECONDS = 5.0  # between two looks for workers that died


def run_sweep(
    given: dict[str, Any],
    hydra_context: HydraContext,
    task_function: TaskFunction,
    config: DictConfig,
    arguments: list[str],
) -> None:
    """Run a sweep, or go on with one.

    Parameters
    ----------
    given : dict
        hydra.sweeper.
    hydra_context, task_function, config
        What Hydra gives a sweeper.
    arguments : list of str
        The overrides of the command line.

    Raises
    ------
    ConfigError
        Listing what is wrong, before any trial.
    SweepError
        Where it cannot go on, or too many trials failed.
    SystemExit
        After SIGINT (130) or SIGTERM (143).
    """
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    plain = {
        key: OmegaConf.to_container(value, resolve=True) if OmegaConf.is_config(value) else value
        for key, value in given.items()
    }
    sweep = _sweep(check_settings(plain), hydra_context, task_function, config, arguments)
    shared = SharedStudy(sweep.settings, sweep.folder)
    try:
        _run(sweep, shared)
    finally:
        shared.close()


def _sweep(
    settings: SweepSettings,
    hydra_context: HydraContext,
    task_function: TaskFunction,
    config: DictConfig,
    arguments: list[str],
) -> Sweep:
    """Check everything that can be checked before the first trial."""
    choices = {group: str(option) for group, option in config.hydra.runtime.choices.items()}
    space = parse_space(settings.params or {}, settings.conditions, arguments, choices, _extension(settings))
    folder = Path(str(config.hydra.sweep.dir)).absolute()
    if settings.storage is not None and settings.study_name is None:
        problem = Problem("hydra.sweeper.study_name", "nothing", "a name: the storage may hold many studies")
        raise ConfigError("The sweep", [problem], "Whoever gives the same name and storage joins the study.")
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
    with _signals(progress, received):  # from here on: a Ctrl-C while the study is opened is no traceback either
        study, sweep = _open(sweep, shared)
        is_open = True
        with progress:
            if shared.counts().finished < sweep.settings.n_trials:
                progress.begin()
                _work(sweep, shared, progress)
    if not is_open:  # stopped at once: nothing was begun
        raise SystemExit(128 + received[-1])
    results = SweepResults(sweep, shared.trials(), study)
    try:
        if sweep.settings.refit and not received and _is_done(sweep, results):
            with _signals(progress, received):
                refit_winner(results)
    finally:
        with _signals(progress, received):  # a second Ctrl-C may cost the report, but not how to go on
            write_results(results)
    progress.summary(results)
    if received:
        sys.stderr.write(f"Go on with:\n  {resume_command(sweep.folder)}\n")
        raise SystemExit(128 + received[-1])
    _check_failures(sweep, shared)


def _open(sweep: Sweep, shared: SharedStudy) -> tuple[optuna.Study, Sweep]:
    """Open the study, and the sweep directory; return both as they are at the start."""
    study = shared.create(sweep.directions)
    check_study(study, sweep)
    sweep.folder.mkdir(parents=True, exist_ok=True)
    write_atomic(sweep.folder / "multirun.yaml", without_password(OmegaConf.to_yaml(sweep.config)).encode())
    shared.release_dead()
    start, begun = shared.counts(), len(shared.trials())
    if sweep.settings.enqueue_config:
        shared.enqueue_first(sweep.space.standing(sweep.config))
    if start.begun:
        logger.info(
            "going on with %s: %s of %s trials are finished", sweep.folder, start.finished, sweep.settings.n_trials
        )
    return study, replace(sweep, begun=begun)


def _is_done(sweep: Sweep, results: SweepResults) -> bool:
    return results.best is not None and count(results.trials).finished >= sweep.settings.n_trials


def _check_failures(sweep: Sweep, shared: SharedStudy) -> None:
    whole, new = shared.counts(), count(shared.trials()[sweep.begun :])
    if shared.too_many_failed(sweep.begun):
        rate = f"more than hydra.sweeper.max_failure_rate={sweep.settings.max_failure_rate:g} allows"
        reason = f"{new.failed} of {new.finished} trials failed, {rate}."
    elif whole.finished == whole.failed > 0:
        reason = "All trials failed."
    else:
        return
    raise SweepError(
        f"{reason} The log of each is in its folder below {sweep.folder}.\n"
        f"When the cause is mended, go on with:\n  {resume_command(sweep.folder)}"
    )


def _work(sweep: Sweep, shared: SharedStudy, progress: Progress) -> None:
    try:
        _start_workers(sweep, shared, progress)
    except (SweepError, *STORAGE_ERRORS) as error:
        what = error if isinstance(error, SweepError) else storage_error(error)
        raise SweepError(f"{what}\nNo finished trial is lost. Go on with:\n  {resume_command(sweep.folder)}") from error


def _start_workers(sweep: Sweep, shared: SharedStudy, progress: Progress) -> None:
    if sweep.workers == 1 and sweep.settings.executor == "local":
        work(sweep, 0, lambda: progress.stopping, lambda _: progress.update())
        progress.update()  # the last trial may have been another machine's
        return
    executor = _executor(sweep)
    try:
        _watch(executor, shared, progress)
    finally:
        executor.kill()
        with suppress(SweepError, *STORAGE_ERRORS):  # where this fails, whoever resumes does it
            shared.release_dead()


def _watch(executor: Executor, shared: SharedStudy, progress: Progress) -> None:
    released, told, begun = time.monotonic(), False, shared.counts().finished
    finished = begun
    while executor.poll(finished):
        finished = count(progress.update()).finished
        if finished > begun:
            renderer()  # loaded while the workers fit, not while somebody waits for the end
        if progress.stopping and not told:
            executor.stop()
            told = True
        if time.monotonic() - released > RELEASE_SECONDS:
            shared.release_dead()
            released = time.monotonic()
        executor.wait(POLL_SECONDS)
    progress.update()


def _executor(sweep: Sweep) -> Executor:
    from mlsys.sweep.executors import LocalProcesses, RayTasks

    return RayTasks(sweep) if sweep.settings.executor == "ray" else LocalProcesses(sweep)


@contextmanager
def _signals(progress: Progress, received: list[int]) -> Iterator[None]:
    """Let the first SIGINT end the sweep after the trials under way, and a second one, or SIGTERM, at once."""

    def handle(number: int, _: object) -> None:
        received.append(number)
        progress.stopping = True
        if number == signal.SIGTERM or len(received) > 1:
            raise KeyboardInterrupt
        # Whatever this interrupted may hold a lock or be half imported, which another thread waits for.
        _thread.start_new_thread(progress.say, ("Stopping after the trials under way; once more to stop at once.",))

    before = {number: signal.signal(number, handle) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    except KeyboardInterrupt:
        if not received:
            raise
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _extension(settings: SweepSettings) -> Any:  # noqa: ANN401 - a function of the user's
    if settings.custom_search_space is None:
        return None
    from hydra.utils import instantiate

    node = {"_target_": settings.custom_search_space, "_partial_": True}
    return instantiate(node, _execution_whitelist_=[*ALLOWED, settings.custom_search_space])
