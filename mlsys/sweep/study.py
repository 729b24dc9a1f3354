"""The study: where it is kept, who may take its next trial, and what becomes of trials whose worker died."""

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

logger = logging.getLogger(__name__)

WORKERS = ".workers"
RETRY_OF = "retry_of"  # numbers of the trials that this one repeats, because their workers died
WORKER = "worker"  # host and lock file of whoever runs the trial
LOCK_SECONDS = 120
STORAGE_ERRORS = (SQLAlchemyError, optuna.exceptions.StorageInternalError)


@dataclass(frozen=True)
class Counts:
    """How far a study is.

    Attributes
    ----------
    complete, pruned, failed : int
        Finished trials. Those whose worker died, and that are repeated, are not among them.
    running, waiting : int
        Trials under way, and trials to be repeated.
    """

    complete: int = 0
    pruned: int = 0
    failed: int = 0
    running: int = 0
    waiting: int = 0

    @property
    def finished(self) -> int:
        """Trials that need no more work."""
        return self.complete + self.pruned + self.failed

    @property
    def begun(self) -> int:
        """Trials that are finished or will be."""
        return self.finished + self.running + self.waiting


def count(trials: Sequence[FrozenTrial]) -> Counts:
    """Count the trials of a study by how they stand."""
    repeated = repeated_numbers(trials)
    states = [trial.state for trial in trials if trial.number not in repeated]
    kinds = (TrialState.COMPLETE, TrialState.PRUNED, TrialState.FAIL, TrialState.RUNNING, TrialState.WAITING)
    return Counts(*(states.count(kind) for kind in kinds))


def repeated_numbers(trials: Sequence[FrozenTrial]) -> set[int]:
    """Return the numbers of trials whose worker died and that another trial repeats."""
    return {number for trial in trials for number in trial.user_attrs.get(RETRY_OF, [])}


class SharedStudy:
    """An Optuna study that many workers of one or several machines share.

    Parameters
    ----------
    settings : SweepSettings
    folder : Path
        The sweep directory, which holds the study unless `settings.storage` names another place.
    sampler, pruner
        Optuna's; None for a process that only looks on.
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
        """Optuna's own object."""
        assert self._study is not None, "create or load first"
        return self._study

    def create(self, directions: Sequence[str]) -> optuna.Study:
        """Make the study, or go on with the one that is there."""
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
        """Load the study, which is there."""
        self._study = optuna.load_study(
            study_name=self.name, storage=self._storage, sampler=self._sampler, pruner=self._pruner
        )
        return self._study

    def trials(self) -> list[FrozenTrial]:
        """Return all trials; not to be changed."""
        return self.study.get_trials(deepcopy=False)

    def counts(self) -> Counts:
        """Return how far the study is."""
        return count(self.trials())

    def too_many_failed(self, begun: int) -> bool:
        """Tell whether so many trials failed that going on makes no sense.

        Parameters
        ----------
        begun : int
            Number of the first trial that counts: whoever goes on with a sweep has mended what failed before.
        """
        return self._is_too_much(count(self.trials()[begun:]))

    def is_complete(self, begun: int) -> bool:
        """Tell whether the study is full, or too many failed for it ever to be."""
        trials = self.trials()
        return count(trials).finished >= self.settings.n_trials or self._is_too_much(count(trials[begun:]))

    def claim(self, worker: str, begun: int = 0) -> Trial | None:
        """Take the next trial, a repeated one first.

        Parameters
        ----------
        worker : str
            The name of its lock.
        begun : int, default 0
            As for `too_many_failed`.

        Returns
        -------
        Trial or None
            None while all that are wanted are finished or under way, and where too many failed.
        """
        with self.lock():
            trials = self.trials()
            counts = count(trials)
            if counts.waiting == 0 and counts.begun >= self.settings.n_trials:
                return None
            if self._is_too_much(count(trials[begun:])):
                return None
            with _without_warnings():
                trial = self.study.ask()
            # The sign of life comes first: of a trial that has a worker, there always is one to grow stale.
            self._storage.record_heartbeat(trial._trial_id)
            trial.set_user_attr(WORKER, worker)
            return trial

    def _is_too_much(self, counts: Counts) -> bool:
        rate, finished = self.settings.max_failure_rate, counts.finished
        # A share of very few trials means nothing, unless no failure at all is allowed.
        return counts.failed > rate * max(finished, 1) and (
            rate == 0 or finished >= 5 or counts.failed == finished >= 3
        )

    def enqueue_first(self, params: dict[str, Any]) -> None:
        """Line up the first trial of a study that has none yet, whoever comes first."""
        if params:
            with self.lock():
                if not self.trials():
                    self.study.enqueue_trial(params)

    def requeue(self, trial: FrozenTrial, reason: str) -> None:
        """Fail a running trial whose worker died, and line it up to be repeated; not for ever.

        It is lined up first: whoever is killed in between leaves a trial that is failed next time, and not lost.
        """
        if trial.state is not TrialState.RUNNING:  # told in the last moment
            return
        earlier = trial.user_attrs.get(RETRY_OF, [])
        if len(earlier) < self.settings.retries:
            if trial.number not in repeated_numbers(self.trials()):
                self.study.enqueue_trial(trial.params, user_attrs={RETRY_OF: [*earlier, trial.number]})
        else:
            reason = f"{reason}, for the {len(earlier) + 1}. time"
            self._storage.set_trial_user_attr(trial._trial_id, "error", reason)
        self.study.tell(trial.number, state=TrialState.FAIL)
        logger.warning("trial %s: %s", trial.number, reason)

    def release_dead(self) -> None:
        """Requeue running trials whose workers are dead: here by their lock files, elsewhere by their heartbeats."""
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
        """Show other machines that a trial's worker is alive."""
        stop = threading.Event()

        def beat() -> None:
            while not stop.wait(self.settings.heartbeat_seconds):  # the first one came with the claim
                try:
                    self._storage.record_heartbeat(trial._trial_id)
                except STORAGE_ERRORS as error:
                    logger.warning("no heartbeat of trial %s: %s", trial.number, error)

        thread = threading.Thread(target=beat, name="heartbeat", daemon=True)
        thread.start()
        try:
            yield
        finally:
            stop.set()
            thread.join()

    @contextmanager
    def lock(self) -> Iterator[None]:
        """Keep all other workers of this study from taking or releasing trials, on whatever machine they are."""
        engine = self._storage.engine
        if engine.dialect.name == "sqlite":
            with _file_lock(_database_file(engine)):
                yield
        elif engine.dialect.name == "postgresql":
            with engine.begin() as connection:
                _take_advisory_lock(connection, self.name)
                yield
        else:  # no lock that we could test: workers that ask in the same instant may run a few trials more
            yield

    def close(self) -> None:
        """Close connections; SQLite then writes its log back into the one file."""
        self._storage.engine.dispose()

    def _open_storage(self) -> RDBStorage:
        sqlite = {"connect_args": {"timeout": LOCK_SECONDS}} if self.url.startswith("sqlite") else {}
        try:
            with _creation_lock(self.url, self.folder), _without_warnings():
                storage = RDBStorage(
                    self.url,
                    engine_kwargs={"pool_pre_ping": True, **sqlite},
                    heartbeat_interval=self.settings.heartbeat_seconds,
                    grace_period=self.settings.grace_seconds,
                )
        except (SQLAlchemyError, ImportError, ValueError, OSError) as error:
            shown = without_password(self.url)
            raise SweepError(f"The study cannot be kept in {shown}: {_first_line(error)}. {_advice(error)}") from error
        if storage.engine.dialect.name == "sqlite":
            event.listen(storage.engine, "connect", _tune_sqlite)
            storage.engine.dispose()
        return storage


class WorkerLock:
    """A file that is locked while a worker is in this context, however it leaves or dies: the system lets go of it.

    Only a good end removes the file: where it is there and free, the worker's trials are to be repeated.

    Parameters
    ----------
    folder : Path
        The sweep directory.
    """

    def __init__(self, folder: Path) -> None:
        place = folder / WORKERS
        place.mkdir(parents=True, exist_ok=True)
        self._path = place.resolve() / f"{uuid.uuid4().hex}.lock"
        self._lock = FileLock(self._path)
        self.name = f"{socket.gethostname()}:{self._path}"

    def __enter__(self) -> Self:
        """Lock the file."""
        self._lock.acquire()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Let go."""
        self._lock.release()
        if kind is None:
            self._path.unlink(missing_ok=True)


def _is_dead(worker: str | None) -> bool | None:
    """Tell whether a worker is dead; None where its heartbeat must tell, because it is on another machine."""
    if worker is None:  # killed in the middle of taking it: nobody else does while we have the study's lock
        return True
    host, _, path = worker.partition(":")
    if host != socket.gethostname() or not Path(path).exists():  # two containers may have the same name
        return None
    try:
        with FileLock(path).acquire(blocking=False):
            return True
    except Timeout:
        return False


@contextmanager
def _without_warnings() -> Iterator[None]:
    """Leave out what Optuna says of heartbeats: that they are experimental, and that ask() leaves them to us."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        warnings.filterwarnings("ignore", "Heartbeat of storage")
        yield


@contextmanager
def _file_lock(path: Path) -> Iterator[None]:
    try:
        with FileLock(f"{path}.lock", timeout=LOCK_SECONDS):
            yield
    except Timeout as error:
        raise SweepError(
            f"{path}.lock was held for {LOCK_SECONDS} s by another process: is one of them stuck?"
        ) from error


@contextmanager
def _creation_lock(url: str, folder: Path) -> Iterator[None]:
    """Keep workers from making the tables of a new database all at once, on whatever machine they are."""
    if make_url(url).get_backend_name() == "postgresql":
        engine = create_engine(url, poolclass=NullPool)
        with engine.begin() as connection:
            _take_advisory_lock(connection, "mlsys: tables")
            yield
        return
    place = folder / WORKERS
    place.mkdir(parents=True, exist_ok=True)
    with FileLock(place / "create.lock", timeout=LOCK_SECONDS):
        yield


def _take_advisory_lock(connection: Connection, name: str) -> None:
    """Take one of PostgreSQL's locks by name until the transaction ends, however it ends."""
    connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": zlib.crc32(name.encode())})


def _database_file(engine: Engine) -> Path:
    return Path(str(engine.url.database)).resolve()


def _tune_sqlite(connection: Any, _: object) -> None:  # noqa: ANN401 - a DB-API connection
    # Readers do not wait for writers, and a commit waits for the disk only now and then: three times faster, and whole
    # after the death of any process (a power cut may lose the latest trials, which are then repeated).
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute("PRAGMA synchronous=NORMAL")


def storage_error(error: Exception) -> SweepError:
    """Return what to say where the storage failed in the middle of a sweep."""
    cause = error.__cause__ if isinstance(error, optuna.exceptions.StorageInternalError) else error
    if is_disk_full(error):
        return SweepError("The disk is full: free some space.")
    return SweepError(f"The study's storage failed: {without_password(_first_line(cause or error))}")


def is_disk_full(error: BaseException) -> bool:
    """Tell whether an error, or what led to it, is that nothing more could be written."""
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
        return "For PostgreSQL: pip install 'mlsys[postgres]', and a URL that begins with postgresql+psycopg://."
    return "Check hydra.sweeper.storage, or leave it out: the sweep directory then holds the study."
