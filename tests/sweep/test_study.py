"""The shared study: claims, retries of trials whose worker died, and storage errors."""

from __future__ import annotations

import functools
import multiprocessing
import operator
import socket
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import optuna
import pytest
from optuna.trial import TrialState

from mlsys.errors import SweepError
from mlsys.sweep import study as module
from mlsys.sweep.settings import SweepSettings
from mlsys.sweep.study import Counts, SharedStudy, WorkerLock, count_trials, is_disk_full, storage_error
from tests.sweep.conftest import finished, states
from tests.waiting import wait_until

pytestmark = pytest.mark.filterwarnings("ignore::optuna.exceptions.ExperimentalWarning")
ELSEWHERE = "another-machine:/there/worker.lock"


@pytest.fixture
def shared(open_study):
    return open_study()


@pytest.fixture
def lock(tmp_path):
    """The lock of a live worker."""
    with WorkerLock(tmp_path / "study") as lock:
        yield lock


def claim(shared, worker):
    trial = shared.claim(worker)
    trial.suggest_float("x", 0, 1)
    return trial


def claim_any(shared):
    """Claim a trial regardless of earlier failures."""
    trial = shared.claim("x:y", len(shared.trials()))
    assert trial is not None
    return trial


def die(shared):
    """Claim a trial as a worker that dies afterwards."""
    lock = WorkerLock(shared.folder).__enter__()
    trial = claim(shared, lock.name)
    lock._lock.release(force=True)  # as the operating system does
    return trial


def age_heartbeat(shared, trial, seconds):
    """Make the last heartbeat of a trial older."""
    with shared._storage.engine.begin() as connection:
        connection.exec_driver_sql(
            f"UPDATE trial_heartbeats SET heartbeat = datetime('now', '-{seconds} seconds') "
            f"WHERE trial_id = {trial._trial_id}"
        )


def test_counts_exclude_retried_trials(shared, lock):
    for state in (TrialState.COMPLETE, TrialState.PRUNED, TrialState.FAIL):
        trial = claim(shared, lock.name)
        shared.study.tell(trial, 1.0 if state is TrialState.COMPLETE else None, state)
    claim(shared, lock.name)
    die(shared)
    shared.requeue_orphaned()
    counts = shared.counts()
    assert counts == Counts(complete=1, pruned=1, failed=1, running=1, waiting=1)
    assert (counts.finished, counts.total) == (3, 5)
    assert count_trials([]) == Counts()


def drain(shared, name):
    """Run trials as a worker does, instantly; return their numbers."""
    numbers = []
    while (trial := shared.claim(name)) is not None:
        trial.suggest_float("x", 0, 1)
        shared.study.tell(trial, 0.0)
        numbers.append(trial.number)
    return numbers


def drain_in_process(settings, folder, name):
    shared = SharedStudy(settings, folder)
    shared.load()
    numbers = drain(shared, name)
    shared.close()
    return numbers


def test_eight_threads_claim_exactly_n_trials(open_study, lock):
    workers = [open_study(n_trials=24) for _ in range(8)]
    with ThreadPoolExecutor(8) as pool:
        taken = functools.reduce(operator.iadd, pool.map(lambda shared: drain(shared, lock.name), workers), [])
    assert sorted(taken) == list(range(24))
    assert states(workers[0].trials()) == ["COMPLETE"] * 24


def test_two_processes_claim_exactly_n_trials(open_study, lock):
    shared = open_study(n_trials=20)
    with multiprocessing.get_context("spawn").Pool(2) as pool:
        parts = pool.starmap(drain_in_process, [(shared.settings, shared.folder, lock.name)] * 2, chunksize=1)
        pool.close()
        pool.join()
    assert sorted(functools.reduce(operator.iadd, parts, [])) == list(range(20))
    assert len(shared.trials()) == 20


def test_the_trial_of_a_dead_worker_is_retried_with_its_parameters(shared):
    trial = die(shared)
    shared.requeue_orphaned()
    assert shared.trials()[0].state is TrialState.FAIL
    again = shared.claim("x:y")
    assert again.number == 1
    assert again.suggest_float("x", 0, 1) == trial.params["x"]
    assert again.user_attrs["retry_of"] == [0]
    shared.requeue_orphaned()
    assert len(shared.trials()) == 2, "requeued once"


def test_retries_are_limited(open_study):
    shared = open_study(retries=2)
    for _ in range(3):
        die(shared)
        shared.requeue_orphaned()
    trials = shared.trials()
    assert [trial.state.name for trial in trials] == ["FAIL"] * 3
    assert trials[2].user_attrs["error"] == "its worker died (3 attempts)"
    assert len({trial.params["x"] for trial in trials}) == 1
    assert shared.counts() == Counts(failed=1)


def test_a_live_worker_keeps_its_trial_despite_a_stale_heartbeat(shared, lock):
    trial = claim(shared, lock.name)
    age_heartbeat(shared, trial, 10_000)  # the machine slept
    shared.requeue_orphaned()
    assert shared.trials()[0].state is TrialState.RUNNING


def test_a_trial_whose_worker_died_while_claiming_is_requeued(shared):
    with module._ignore_optuna_warnings():
        shared.study.ask()  # killed before it set the worker
    shared.requeue_orphaned()
    assert shared.counts() == Counts(waiting=1)


def test_a_worker_that_ended_with_an_error_is_dead_at_once(shared):
    lock = WorkerLock(shared.folder).__enter__()
    claim(shared, lock.name)
    lock.__exit__(ValueError, ValueError("failed"), None)
    shared.requeue_orphaned()
    assert shared.counts() == Counts(waiting=1)


@pytest.mark.parametrize("worker", [ELSEWHERE, f"{socket.gethostname()}:/nowhere/at/all.lock"])
def test_the_heartbeat_decides_for_a_worker_without_a_local_lock_file(shared, worker):
    silent, alive = claim(shared, worker), claim(shared, worker)
    shared.requeue_orphaned()
    assert shared.counts() == Counts(running=2), "both heartbeats are fresh: claiming records one"
    age_heartbeat(shared, silent, 61)
    age_heartbeat(shared, alive, 50)
    shared.requeue_orphaned()
    assert shared.counts() == Counts(running=1, waiting=1)
    assert shared.trials()[2].user_attrs["retry_of"] == [silent.number]
    assert shared.trials()[2].system_attrs["fixed_params"] == silent.params
    assert not Path("/nowhere").exists()


def test_heartbeats_are_recorded_while_the_job_runs(open_study):
    shared = open_study(heartbeat_interval=1)
    trial = claim(shared, ELSEWHERE)
    with shared.heartbeat(trial):
        assert shared._storage._get_stale_trial_ids(shared.study._study_id) == []
        age_heartbeat(shared, trial, 100)
        wait_until(
            lambda: shared._storage._get_stale_trial_ids(shared.study._study_id) == [], "another heartbeat was written"
        )
    assert [thread.name for thread in threading.enumerate() if thread.name == "heartbeat"] == []


@pytest.mark.parametrize("killed_at", ["enqueue_trial", "tell"])
def test_a_kill_while_requeuing_loses_no_trial(shared, monkeypatch, killed_at):
    die(shared)
    real = getattr(optuna.Study, killed_at)

    def killed(self, *arguments, **named):
        if killed_at == "enqueue_trial":
            real(self, *arguments, **named)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(optuna.Study, killed_at, killed)
        with pytest.raises(KeyboardInterrupt):
            shared.requeue_orphaned()
    assert states(shared.trials()) == ["RUNNING", "WAITING"]
    shared.requeue_orphaned()
    assert states(shared.trials()) == ["FAIL", "WAITING"], "retried exactly once"
    assert shared.counts() == Counts(waiting=1)


def test_a_trial_that_finished_at_the_last_moment_is_not_retried(shared, lock):
    trial = claim(shared, lock.name)
    shared.study.tell(trial, 1.0)
    shared.requeue(shared.trials()[0], "interrupted")
    assert states(shared.trials()) == ["COMPLETE"]


@pytest.mark.parametrize(
    ("rate", "results", "expected"),
    [
        (0.0, "c", False),
        (0.0, "cf", True),
        (0.3, "ff", False),  # too few for a rate
        (0.3, "fff", True),
        (0.3, "ffcc", False),
        (0.3, "ffccc", True),
        (0.5, "fffccc", False),
        (0.5, "ffffccc", True),
        (1.0, "ffffff", False),
    ],
)
def test_too_many_failures(open_study, lock, rate, results, expected):
    shared = open_study(n_trials=50, max_failure_rate=rate)
    for letter in results:
        shared.study.tell(claim_any(shared), *((None, TrialState.FAIL) if letter == "f" else (1.0,)))
    assert shared.too_many_failed(0) is shared.is_complete(0) is expected
    assert (shared.claim(lock.name) is None) is expected
    assert shared.claim(lock.name, len(results)) is not None
    assert not shared.too_many_failed(len(results)), "earlier failures do not count after a resume"


def test_a_lock_file_is_removed_after_a_normal_exit(tmp_path):
    with WorkerLock(tmp_path) as lock:
        assert len(list((tmp_path / ".workers").glob("*.lock"))) == 1
        assert lock.name.startswith(f"{socket.gethostname()}:{tmp_path}")
    assert list((tmp_path / ".workers").glob("*.lock")) == []


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("nosuch://ann:secret@host/db", "Check hydra.sweeper.storage"),
        ("postgresql+psycopg://ann:secret@localhost:1/db", "Check hydra.sweeper.storage"),
        ("mysql+nodriver://localhost/db", "Check hydra.sweeper.storage"),
        ("no url at all", "Check hydra.sweeper.storage"),
        ("sqlite:////nowhere/at/all.db", "unable to open database file"),
    ],
)
def test_an_unusable_storage_is_one_clear_error(settings, tmp_path, url, message):
    changed = SweepSettings.model_validate(settings.model_dump() | {"storage": url, "study_name": "x"})
    with pytest.raises(SweepError, match=message) as caught:
        SharedStudy(changed, tmp_path)
    assert "secret" not in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_missing_driver_names_the_extra(settings, tmp_path, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "psycopg", None)
    changed = SweepSettings.model_validate(
        settings.model_dump() | {"storage": "postgresql+psycopg://localhost/db", "study_name": "x"}
    )
    with pytest.raises(SweepError, match=r"pip install 'mlsys\[postgres\]'"):
        SharedStudy(changed, tmp_path)


def test_a_lock_that_is_held_too_long_is_an_error(shared, open_study, monkeypatch):
    monkeypatch.setattr(module, "LOCK_TIMEOUT", 0.1)
    other = open_study()
    with shared.lock(), pytest.raises(SweepError, match=r"held by another process for 0\.1 s"):
        other.claim("x:y")


def test_a_full_disk_is_distinguished_from_other_failures(shared):
    with shared._storage.engine.connect() as connection:
        connection.exec_driver_sql("PRAGMA max_page_count = 1")  # as if the disk were full
        columns = ", ".join(f"a_long_column_name_{number}" for number in range(1000))
        with pytest.raises(Exception, match="disk is full") as caught:
            connection.exec_driver_sql(f"CREATE TABLE t ({columns})")
    assert is_disk_full(caught.value)
    assert str(storage_error(caught.value)) == "The disk is full. Free some space."
    wrapped = ValueError("wrapped")
    wrapped.__cause__ = OSError(28, "No space left on device")
    assert is_disk_full(wrapped)
    other = optuna.exceptions.StorageInternalError("An exception is raised during the commit. …")
    other.__cause__ = OSError(5, "the server closed the connection")
    assert not is_disk_full(other)
    assert "the server closed the connection" in str(storage_error(other))


def test_a_closed_study_leaves_no_write_ahead_log(shared, lock):
    shared.study.tell(claim(shared, lock.name), 1.0)
    shared.close()
    assert sorted(path.name for path in shared.folder.glob("study.db*")) == ["study.db", "study.db.lock"]
    assert len(finished(shared.trials())) == 1


def test_the_first_trial_is_enqueued_once_and_only_in_an_empty_study(shared):
    shared.enqueue_first({})
    assert shared.trials() == []
    shared.enqueue_first({"x": 0.25})
    shared.enqueue_first({"x": 0.75})
    assert states(shared.trials()) == ["WAITING"]
    assert claim(shared, "a").params == {"x": 0.25}
    shared.enqueue_first({"x": 0.75})
    assert len(shared.trials()) == 1
