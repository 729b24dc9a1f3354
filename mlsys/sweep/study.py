"""The shared study: its storage, how workers claim trials, and how trials of dead workers are retried."""

from __future__ import annotations

import errno
import logging
import socket
import sqlite3
import threading
import uuid
import warnings
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import optuna
from filelock import FileLock, Timeout
from optuna.storages import RDBStorage
from optuna.trial import FrozenTrial, Trial, TrialState
from sqlalchemy import Connection, Engine, NullPool, create_engine, event, make_url, text
from sqlalchemy.exc import SQLAlchemyError

from mlsys.errors import SweepError
from mlsys.redaction import without_password
from mlsys.sweep.commands import study_url
from mlsys.sweep.settings import SweepSettings
from mlsys.text import counted

logger = logging.getLogger(__name__)

WORKERS = ".workers"
RETRY_OF = "retry_of"  # user attribute: numbers of the trials that this one retries, because their workers died
WORKER = "worker"  # user attribute: host and lock file of the trial's worker
LOCK_TIMEOUT = 120  # seconds
STORAGE_ERRORS = (SQLAlchemyError, optuna.exceptions.StorageInternalError)


@dataclass(frozen=True)
class Counts:
    """Number of trials in each state, without those that were retried because their worker died.

    Attributes
    ----------
    complete, pruned, failed : int
        Finished trials.
    running : int
        Trials in progress.
    waiting : int
        Trials that are queued.
    """

    complete: int = 0
    pruned: int = 0
    failed: int = 0
    running: int = 0
    waiting: int = 0

    @property
    def finished(self) -> int:
        """Number of finished trials."""
        return self.complete + self.pruned + self.failed

    @property
    def total(self) -> int:
        """Number of trials that are finished, running or queued."""
        return self.finished + self.running + self.waiting


def count_trials(trials: Sequence[FrozenTrial]) -> Counts:
    """Count the trials of a study by state."""
    retried = retried_numbers(trials)
    states = [trial.state for trial in trials if trial.number not in retried]
    order = (TrialState.COMPLETE, TrialState.PRUNED, TrialState.FAIL, TrialState.RUNNING, TrialState.WAITING)
    return Counts(*(states.count(state) for state in order))


def retried_numbers(trials: Sequence[FrozenTrial]) -> set[int]:
    """Return the numbers of trials whose worker died and that another trial retries."""
    return {number for trial in trials for number in trial.user_attrs.get(RETRY_OF, [])}


class SharedStudy:
    """An Optuna study that workers on one or several machines share.

    Parameters
    ----------
    settings : SweepSettings
    folder : Path
        The sweep directory, which holds the study unless `settings.storage` is set.
    sampler, pruner : optuna sampler, optuna pruner, optional
        Not needed by a process that runs no trials.
    """

    def __init__(self, settings: SweepSettings, folder: Path, sampler: Any = None, pruner: Any = None) -> None:  # noqa: ANN401
        self.settings, self.folder = settings, folder
        self.url = study_url(folder, settings.storage)
        self.name = settings.study_name or folder.name
        self._sampler, self._pruner = sampler, pruner
        self._storage = self._open_storage()
        self._study: optuna.Study | None = None

    @property
    def study(self) -> optuna.Study:
        """The Optuna study; call `create` or `load` first."""
        assert self._study is not None, "call create or load first"
        return self._study

    def create(self, directions: Sequence[str]) -> optuna.Study:
        """Create the study, or load it if it exists."""
        with self.lock():
            self._study = optuna.create_study(
                study_name=self.name,
                storage=self._storage,
                sampler=self._sampler,
                pruner=self._pruner,
                directions=list(directions),  # type: ignore[arg-type]
                load_if_exists=True,
            )
        return self._study

    def load(self) -> optuna.Study:
        """Load the existing study."""
        self._study = optuna.load_study(
            study_name=self.name, storage=self._storage, sampler=self._sampler, pruner=self._pruner
        )
        return self._study

    def trials(self) -> list[FrozenTrial]:
        """Return all trials; do not modify them."""
        return self.study.get_trials(deepcopy=False)

    def counts(self) -> Counts:
        """Count the trials by state."""
        return count_trials(self.trials())

    def too_many_failed(self, trials_before: int) -> bool:
        """Return whether the failure rate exceeds hydra.sweeper.max_failure_rate.

        Parameters
        ----------
        trials_before : int
            Number of trials before this start of the sweep. They are not counted, because a sweep is resumed after the
            cause of earlier failures was fixed.
        """
        return self._exceeds_failure_rate(count_trials(self.trials()[trials_before:]))

    def is_complete(self, trials_before: int) -> bool:
        """Return whether the study has all its trials, or too many failed."""
        trials = self.trials()
        if count_trials(trials).finished >= self.settings.n_trials:
            return True
        return self._exceeds_failure_rate(count_trials(trials[trials_before:]))

    def claim(self, worker: str, trials_before: int = 0) -> Trial | None:
        """Claim the next trial; trials to retry come first.

        Parameters
        ----------
        worker : str
            Name of the worker's lock.
        trials_before : int, default 0
            See `too_many_failed`.

        Returns
        -------
        Trial or None
            None if all ``n_trials`` are finished or running, or too many failed.
        """
        with self.lock():
            trials = self.trials()
            counts = count_trials(trials)
            if counts.waiting == 0 and counts.total >= self.settings.n_trials:
                return None
            if self._exceeds_failure_rate(count_trials(trials[trials_before:])):
                return None
            with _ignore_optuna_warnings():
                trial = self.study.ask()
            # The heartbeat comes first, so that every trial with a worker has one that can go stale.
            self._storage.record_heartbeat(trial._trial_id)
            trial.set_user_attr(WORKER, worker)
            return trial

    def _exceeds_failure_rate(self, counts: Counts) -> bool:
        rate, finished = self.settings.max_failure_rate, counts.finished
        # A rate over very few trials means nothing, unless no failure is allowed at all.
        return counts.failed > rate * max(finished, 1) and (
            rate == 0 or finished >= 5 or counts.failed == finished >= 3
        )

    def enqueue_first(self, params: dict[str, Any]) -> None:
        """Enqueue the first trial of an empty study."""
        if params:
            with self.lock():
                if not self.trials():
                    self.study.enqueue_trial(params)

    def requeue(self, trial: FrozenTrial, reason: str) -> None:
        """Fail a running trial whose worker died, and enqueue its retry unless it was retried too often.

        The retry is enqueued first: a process killed in between leaves a trial that is failed next time, not lost.
        """
        if trial.state is not TrialState.RUNNING:  # it finished at the last moment
            return
        earlier = trial.user_attrs.get(RETRY_OF, [])
        if len(earlier) < self.settings.retries:
            if trial.number not in retried_numbers(self.trials()):
                self.study.enqueue_trial(trial.params, user_attrs={RETRY_OF: [*earlier, trial.number]})
        else:
            reason = f"{reason} ({counted(len(earlier) + 1, 'attempt')})"
            self._storage.set_trial_user_attr(trial._trial_id, "error", reason)
        self.study.tell(trial.number, state=TrialState.FAIL)
        logger.warning("trial %s: %s", trial.number, reason)

    def requeue_orphaned(self) -> None:
        """Requeue running trials whose worker is dead, judging by its lock file here or by its heartbeat elsewhere."""
        with self.lock():
            stale = self._storage._get_stale_trial_ids(self.study._study_id)
            for trial in self.trials():
                if trial.state is not TrialState.RUNNING:
                    continue
                dead = _is_dead(trial.user_attrs.get(WORKER))
                if dead or (dead is None and trial._trial_id in stale):
                    self.requeue(trial, "its worker died")

    @contextmanager
    def heartbeat(self, trial: Trial) -> Iterator[None]:
        """Record a trial's heartbeat while in this context, to show other machines that its worker is alive."""
        stop = threading.Event()

        def beat() -> None:
            while not stop.wait(self.settings.heartbeat_interval):  # claim recorded the first one
                try:
                    self._storage.record_heartbeat(trial._trial_id)
                except STORAGE_ERRORS as error:
                    logger.warning("cannot record the heartbeat of trial %s: %s", trial.number, error)

        thread = threading.Thread(target=beat, name="heartbeat", daemon=True)
        thread.start()
        try:
            yield
        finally:
            stop.set()
            thread.join()

    @contextmanager
    def lock(self) -> Iterator[None]:
        """Keep other workers of this study, on any machine, from claiming or requeuing trials."""
        engine = self._storage.engine
        if engine.dialect.name == "sqlite":
            with _file_lock(_database_file(engine)):
                yield
        elif engine.dialect.name == "postgresql":
            with engine.begin() as connection:
                _advisory_lock(connection, self.name)
                yield
        else:  # other databases are not locked: workers that claim at the same moment may run a few extra trials
            yield

    def close(self) -> None:
        """Close all connections; SQLite then merges its write-ahead log into the database file."""
        self._storage.engine.dispose()

    def _open_storage(self) -> RDBStorage:
        sqlite = {"connect_args": {"timeout": LOCK_TIMEOUT}} if self.url.startswith("sqlite") else {}
        try:
            with _creation_lock(self.url, self.folder), _ignore_optuna_warnings():
                storage = RDBStorage(
                    self.url,
                    engine_kwargs={"pool_pre_ping": True, **sqlite},
                    heartbeat_interval=self.settings.heartbeat_interval,
                    grace_period=self.settings.grace_period,
                )
        except (SQLAlchemyError, ImportError, ValueError, OSError) as error:
            shown = without_password(self.url)
            raise SweepError(
                f"Cannot open the study's storage {shown}: {_first_line(error)}. {_advice(error)}"
            ) from error
        if storage.engine.dialect.name == "sqlite":
            event.listen(storage.engine, "connect", _tune_sqlite)
            storage.engine.dispose()
        return storage


class WorkerLock:
    """A lock file that shows that a worker is alive: the operating system unlocks it when the worker dies.

    The file is removed only after a normal exit. A file that exists and is unlocked means that the worker died.

    Parameters
    ----------
    folder : Path
        The sweep directory.
    """

    def __init__(self, folder: Path) -> None:
        locks = folder / WORKERS
        locks.mkdir(parents=True, exist_ok=True)
        self._path = locks.resolve() / f"{uuid.uuid4().hex}.lock"
        self._lock = FileLock(self._path)
        self.name = f"{socket.gethostname()}:{self._path}"

    def __enter__(self) -> Self:
        """Lock the file."""
        self._lock.acquire()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Unlock the file; remove it after a normal exit."""
        self._lock.release()
        if kind is None:
            self._path.unlink(missing_ok=True)


def _is_dead(worker: str | None) -> bool | None:
    """Return whether a worker is dead; None if only its heartbeat can tell, because it is on another machine."""
    if worker is None:  # killed while claiming: no other worker is claiming while we hold the study's lock
        return True
    host, _, path = worker.partition(":")
    if host != socket.gethostname() or not Path(path).exists():  # two containers may have the same host name
        return None
    try:
        with FileLock(path).acquire(blocking=False):
            return True
    except Timeout:
        return False


@contextmanager
def _ignore_optuna_warnings() -> Iterator[None]:
    """Ignore Optuna's warnings that heartbeats are experimental, and that ask() does not record them."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        warnings.filterwarnings("ignore", "Heartbeat of storage")
        yield


@contextmanager
def _file_lock(path: Path) -> Iterator[None]:
    try:
        with FileLock(f"{path}.lock", timeout=LOCK_TIMEOUT):
            yield
    except Timeout as error:
        raise SweepError(
            f"{path}.lock was held by another process for {LOCK_TIMEOUT} s. Check whether a process of the sweep hangs."
        ) from error


@contextmanager
def _creation_lock(url: str, folder: Path) -> Iterator[None]:
    """Keep workers, on any machine, from creating the tables of a new database at the same time."""
    if make_url(url).get_backend_name() == "postgresql":
        engine = create_engine(url, poolclass=NullPool)
        with engine.begin() as connection:
            _advisory_lock(connection, "mlsys: tables")
            yield
        return
    locks = folder / WORKERS
    locks.mkdir(parents=True, exist_ok=True)
    with FileLock(locks / "create.lock", timeout=LOCK_TIMEOUT):
        yield


def _advisory_lock(connection: Connection, name: str) -> None:
    """Take a PostgreSQL advisory lock by name; it is released when the transaction ends."""
    connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": zlib.crc32(name.encode())})


def _database_file(engine: Engine) -> Path:
    return Path(str(engine.url.database)).resolve()


def _tune_sqlite(connection: Any, _: object) -> None:  # noqa: ANN401 - a DB-API connection
    # Readers do not block on writers, and only checkpoints sync to disk: three times faster, and consistent after any
    # process dies. A power cut may lose the latest trials, which are then run again.
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute("PRAGMA synchronous=NORMAL")


def storage_error(error: Exception) -> SweepError:
    """Return the error for a storage that failed during a sweep."""
    cause = error.__cause__ if isinstance(error, optuna.exceptions.StorageInternalError) else error
    if is_disk_full(error):
        return SweepError("The disk is full. Free some space.")
    return SweepError(f"The study's storage failed: {without_password(_first_line(cause or error))}")


def is_disk_full(error: BaseException) -> bool:
    """Return whether an error, or one of its causes, is a full disk or an exhausted quota."""
    chain: BaseException | None = error
    while chain is not None:
        if isinstance(chain, OSError) and chain.errno in (errno.ENOSPC, errno.EDQUOT):
            return True
        if isinstance(chain, sqlite3.Error) and getattr(chain, "sqlite_errorcode", None) == sqlite3.SQLITE_FULL:
            return True
        chain = chain.__cause__ or chain.__context__
    return False


def _first_line(error: BaseException) -> str:
    return str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__


def _advice(error: Exception) -> str:
    if isinstance(error, ImportError):
        return "For PostgreSQL, pip install 'mlsys[postgres]' and use a URL that starts with postgresql+psycopg://."
    return "Check hydra.sweeper.storage, or leave it out to keep the study in the sweep directory."
