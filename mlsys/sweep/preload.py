"""A process that has imported what workers need, to fork them from: each is there at once, and all share its memory.

Nothing runs in it, so it has no threads that a fork would leave behind, as this process has (DuckDB, OpenMP). It starts
before the sweep is checked, and imports meanwhile.
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

STUDY = ("mlsys.sweep.worker", "optuna.storages", "alembic.command", "alembic.config", "alembic.script")
AT_THE_END = ("optuna.importance", "pandas")  # for the results
TRAINING = (  # but mlsys.train itself, which each worker runs as its main module
    "mlsys.trial", "mlsys.prepare", "mlsys.recording", "mlsys.data.load", "mlsys.data.flat", "duckdb",
    "mlsys.evaluation.backtest", "mlsys.evaluation.report.trial_card",
    "mlsys.evaluation.scores", "mlsys.evaluation.splits",
)  # fmt: skip


def context() -> ForkServerContext:
    """Return where workers come from."""
    return multiprocessing.get_context("forkserver")


def start_preloading(config: DictConfig, settings: dict[str, Any]) -> None:
    """Start the process, unless the sweep will not need it.

    Parameters
    ----------
    config : DictConfig
        Of the program: one that has ``search`` trains.
    settings : dict
        hydra.sweeper, not yet checked.
    """
    if settings.get("executor") != "local" or settings.get("n_jobs") == 1:
        return
    context().set_forkserver_preload([*STUDY, *modules_of_training(config)])
    with interrupts_blocked():
        forkserver.ensure_running()
    logging.getLogger("alembic").setLevel(logging.WARNING)  # it names each of its plugins
    # Needed here too, sooner or later: now, while the other process is not there yet, nobody waits for it.
    for module in (*STUDY, *AT_THE_END):
        import_module(module)


def modules_of_training(config: DictConfig) -> list[str]:
    """Return what trials of `mlsys.train` import: nothing for other programs.

    Examples
    --------
    >>> modules_of_training({"search": {}, "model": {"_target_": "xgboost.XGBClassifier"}})[-1]
    'xgboost'
    """
    if config.get("search") is None:
        return []
    target = str((config.get("model") or {}).get("_target_", ""))
    return [*TRAINING, *([target.partition(".")[0]] if "." in target else [])]


@contextmanager
def interrupts_blocked() -> Iterator[None]:
    """Let no Ctrl-C reach a process that starts here before it can say that it wants none."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
