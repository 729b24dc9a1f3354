"""Preloading of the fork server: workers forked from it start at once and share the memory of its imports.

The server only imports, so it has no threads that a fork would lose, unlike the main process (DuckDB, OpenMP). It
starts before the sweep is checked and imports in the meantime.
"""

from __future__ import annotations

import logging
import multiprocessing
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from multiprocessing import forkserver
from multiprocessing.context import ForkServerContext
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from omegaconf import DictConfig

STUDY_MODULES = ("mlsys.sweep.worker", "optuna.storages", "alembic.command", "alembic.config", "alembic.script")
REPORT_MODULES = ("optuna.importance", "pandas")
TRAINING_MODULES = (  # except mlsys.train, which is each worker's main module
    "mlsys.trial", "mlsys.prepare", "mlsys.recording", "mlsys.data.load", "mlsys.data.flat", "duckdb",
    "mlsys.evaluation.backtest", "mlsys.evaluation.report.trial_card",
    "mlsys.evaluation.scores", "mlsys.evaluation.splits",
)  # fmt: skip


def forkserver_context() -> ForkServerContext:
    """Return the multiprocessing context that workers are started from."""
    return multiprocessing.get_context("forkserver")


def start_preloading(config: DictConfig, settings: dict[str, Any]) -> None:
    """Start the fork server, unless the sweep runs in this process or on Ray.

    Parameters
    ----------
    config : DictConfig
        The program's config; one with ``search`` trains models.
    settings : dict
        The content of hydra.sweeper, not yet checked.
    """
    if settings.get("executor") != "local" or settings.get("n_jobs") == 1:
        return
    forkserver_context().set_forkserver_preload([*STUDY_MODULES, *training_modules(config)])
    with interrupts_blocked():
        forkserver.ensure_running()
    logging.getLogger("alembic").setLevel(logging.WARNING)  # it logs each of its plugins
    # This process needs them later; importing them now costs nothing, because the server is still starting.
    for module in (*STUDY_MODULES, *REPORT_MODULES):
        import_module(module)


def training_modules(config: DictConfig) -> list[str]:
    """Return the modules that trials of `mlsys.train` import; none for other programs.

    Examples
    --------
    >>> training_modules({"search": {}, "model": {"_target_": "xgboost.XGBClassifier"}})[-1]
    'xgboost'
    """
    if config.get("search") is None:
        return []
    target = str((config.get("model") or {}).get("_target_", ""))
    return [*TRAINING_MODULES, *([target.partition(".")[0]] if "." in target else [])]


@contextmanager
def interrupts_blocked() -> Iterator[None]:
    """Block SIGINT while a process starts, until it can ignore it itself."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
