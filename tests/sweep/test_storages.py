"""A study on a database server, shared by several machines."""

from __future__ import annotations

import os
import signal
import sys
from concurrent.futures import ThreadPoolExecutor

import pytest
import sqlalchemy

from mlsys.errors import SweepError
from mlsys.sweep.study import SharedStudy, WorkerLock
from tests.sweep.conftest import TOY, Toy, finished, replace_settings, states, trials_of
from tests.waiting import wait_until

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore::optuna.exceptions.ExperimentalWarning")]
ON_ANOTHER_MACHINE = (
    "import runpy, socket, sys; socket.gethostname = lambda: 'elsewhere'; sys.argv = sys.argv[1:]; "
    "runpy.run_path(sys.argv[0], run_name='__main__')"
)


def arguments(url, name, *more):
    return [f"hydra.sweeper.storage={url!r}", f"hydra.sweeper.study_name={name}", *more]


def test_two_processes_share_one_study(postgresql, tmp_path):
    toys = [Toy(tmp_path / name) for name in ("here", "there")]
    overrides = arguments(postgresql, "shared", *toys[0].held, "hydra.sweeper.n_trials=14", "hydra.sweeper.n_jobs=1")
    processes = [toy.start(*overrides) for toy in toys]
    wait_until(lambda: all(toy.starts() for toy in toys), "both processes started a trial", process=processes[0])
    toys[0].gate.touch()
    ended = [process.end() for process in processes]
    assert [done.returncode for done in ended] == [0, 0], [done.stderr for done in ended]
    trials = trials_of(postgresql, "shared")
    assert states(trials) == ["COMPLETE"] * 14
    assert len({trial.params["x"] for trial in trials}) == 14, "each process has its own seed"
    jobs = [toy.starts() for toy in toys]
    assert sorted(jobs[0] + jobs[1], key=int) == [str(number) for number in range(14)]
    assert all(done.stdout.startswith("14 of 14 trials") for done in ended)


def test_a_trial_of_a_dead_machine_is_retried_by_another(postgresql, tmp_path):
    toys = [Toy(tmp_path / name) for name in ("here", "there")]
    overrides = arguments(
        postgresql, "orphaned", *toys[0].held, "hydra.sweeper.n_trials=5", "hydra.sweeper.n_jobs=1",
        "hydra.sweeper.heartbeat_interval=1", "hydra.sweeper.grace_period=3",
    )  # fmt: skip

    class Elsewhere(Toy):
        def command(self, *words):
            return [sys.executable, "-c", ON_ANOTHER_MACHINE, str(TOY), *super().command(*words)[2:]]

    dying = Elsewhere(toys[1].folder).start(*overrides)
    dying.until(toys[1].starts, "a trial started")
    trials = trials_of(postgresql, "orphaned")
    assert trials[0].user_attrs["worker"].startswith("elsewhere:")
    os.kill(dying.pid, signal.SIGKILL)
    dying.end()
    toys[0].gate.touch()
    done = toys[0].run(*overrides)
    assert done.returncode == 0, done.stderr
    trials = trials_of(postgresql, "orphaned")
    assert states(finished(trials)) == ["COMPLETE"] * 5
    (retry,) = [trial for trial in trials if trial.user_attrs.get("retry_of")]
    assert retry.user_attrs["retry_of"] == [0]
    assert retry.params == trials[0].params
    assert states(trials) == ["COMPLETE"] * 5 + ["FAIL"]


def test_workers_claim_exactly_n_trials_on_a_server(postgresql, settings, tmp_path):
    changed = replace_settings(settings, storage=postgresql, study_name="claims", n_trials=24)
    (tmp_path / "study").mkdir()
    studies = [SharedStudy(changed, tmp_path / "study") for _ in range(4)]
    for shared in studies:
        shared.create(["minimize"])

    def drain(shared):
        taken = []
        while (trial := shared.claim(lock.name)) is not None:
            shared.study.tell(trial, 0.0)
            taken.append(trial.number)
        return taken

    with WorkerLock(tmp_path) as lock, ThreadPoolExecutor(4) as pool:
        taken = [number for numbers in pool.map(drain, studies) for number in numbers]
    for shared in studies:
        shared.close()
    assert sorted(taken) == list(range(24))


def test_a_different_search_and_an_unknown_database_are_rejected(postgresql, settings, tmp_path):
    toy = Toy(tmp_path / "sweep")
    assert toy.run(*arguments(postgresql, "mine", "seconds=0", "hydra.sweeper.n_trials=1")).returncode == 0
    done = toy.run(*arguments(postgresql, "mine", "seconds=0", "hydra.sweeper.n_trials=2", "x=interval(1.0, 2.0)"))
    assert "The study mine belongs to a different search, which has 1 problem" in done.stderr
    url = sqlalchemy.make_url(postgresql).set(database="nosuch").render_as_string(hide_password=False)
    with pytest.raises(SweepError, match="Cannot open the study's storage"):
        SharedStudy(replace_settings(settings, storage=url, study_name="x"), tmp_path)
