"""Whole sweeps of the toy program: results, resuming, interrupts, failures and kills."""

from __future__ import annotations

import os
import random
import re
import shlex
import signal
import subprocess
import time
from contextlib import suppress
from pathlib import Path
from types import SimpleNamespace

import pandas as pd
import pytest
import yaml

from mlsys.sweep import run
from mlsys.sweep.commands import resume_command
from mlsys.text import counted
from tests.sweep.conftest import Toy, finished, states
from tests.waiting import wait_until

STOPPING = "Ctrl-C again to stop now"


def wait_for_jobs(process, toy, count=2):
    """Wait until this many jobs have started."""
    process.until(lambda: len(toy.starts()) >= count, f"{count} jobs started")


def error_of(done):
    """Return the error message that a program ended with, without Hydra's traceback."""
    return re.split(r"^mlsys\.errors\.\w+: ", done.stderr, flags=re.MULTILINE)[-1]


@pytest.fixture(scope="module")
def sequential(tmp_path_factory):
    """A finished sweep of one worker, which ran in the main process."""
    toy = Toy(tmp_path_factory.mktemp("sequential") / "sweep")
    return toy, toy.run("seconds=0", "hydra.sweeper.n_jobs=1")


@pytest.mark.parametrize("which", ["swept", "sequential"])
def test_a_whole_sweep(which, request):
    toy, done = request.getfixturevalue(which)
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr
    trials = toy.trials()
    assert len(trials) == len(finished(trials)) == 10
    assert sorted(toy.starts(), key=int) == [str(number) for number in range(10)]
    lines = done.stdout.splitlines()
    counts = {name: states(trials).count(name.upper()) for name in ("complete", "pruned")}
    assert lines[0] == f"10 of 10 trials: {counts['complete']} complete, {counts['pruned']} pruned, 0 failed"
    best = min((trial for trial in trials if trial.state.name == "COMPLETE"), key=lambda trial: trial.value)
    assert lines[1].strip() == "Leaderboard"
    assert lines[3].split()[:2] == [str(best.number), f"{best.value:.5g}"]
    assert len([line for line in done.stderr.splitlines() if line.startswith("trial ")]) == 10
    assert not list((toy.folder / ".workers").glob("????????????????*.lock"))


def test_the_first_trial_is_the_current_config(toy):
    words = ["seconds=0", "hydra.sweeper.n_jobs=1", "hydra.sweeper.n_trials=3", "hydra.sweeper.enqueue_config=true"]
    assert toy.run(*words).returncode == 0
    trials = toy.trials()
    assert len(trials) == len(finished(trials)) == 3
    assert [trial.params == {"x": 0.0, "y": 0.0} for trial in trials] == [True, False, False]


def test_the_files_of_a_sweep(swept):
    toy, _ = swept
    best = min((trial for trial in toy.trials() if trial.state.name == "COMPLETE"), key=lambda trial: trial.value)
    results = yaml.safe_load((toy.folder / "optimization_results.yaml").read_text())
    assert results["best_params"] == best.params
    assert results["best_value"] == best.value
    frame = pd.read_parquet(toy.folder / "trials.parquet")
    assert list(frame["number"]) == list(range(10))
    assert frame.loc[best.number, "value"] == best.value
    assert frame.loc[best.number, "run"] == str(toy.folder / str(best.number))
    assert (frame["steps"] > 0).all()
    assert yaml.safe_load((toy.folder / "multirun.yaml").read_text())["hydra"]["sweeper"]["n_trials"] == 10


def test_one_worker_uses_one_process_and_two_use_two(swept, sequential):
    for (toy, _), number in ((sequential, 1), (swept, 2)):
        lines = (toy.folder / "starts.log").read_text().splitlines()
        assert len({line.split()[1] for line in lines}) == number


def test_one_worker_with_the_same_seed_is_reproducible(sequential, toy):
    again = toy.run("seconds=0", "hydra.sweeper.n_jobs=1")
    assert again.returncode == 0
    first, second = (
        [(trial.state, trial.params, trial.values, trial.intermediate_values) for trial in each.trials()]
        for each in (sequential[0], toy)
    )
    assert first == second


def test_a_sweep_resumes_to_more_trials_and_a_finished_one_runs_none(toy):
    small = ["seconds=0", "hydra.sweeper.n_jobs=1"]
    assert toy.run(*small, "hydra.sweeper.n_trials=4").returncode == 0
    more = toy.run(*small, "hydra.sweeper.n_trials=9")
    assert more.returncode == 0, more.stderr
    assert "4 of 9 trials finished" in more.stdout + more.stderr
    trials = toy.trials()
    assert len(finished(trials)) == len(trials) == 9
    assert len({trial.params["x"] for trial in trials}) == 9, "no sample was repeated"
    before = (toy.folder / "starts.log").read_bytes()
    again = toy.run(*small, "hydra.sweeper.n_trials=9")
    assert (again.returncode, toy.starts()) == (0, [str(number) for number in range(9)])
    assert (toy.folder / "starts.log").read_bytes() == before
    assert [trial.datetime_complete for trial in toy.trials()] == [trial.datetime_complete for trial in trials]


@pytest.mark.parametrize(
    ("change", "what"),
    [
        ("x=interval(-1.0, 1.0)", "space"),
        ("steps=7", "fixed"),
        ("hydra.sweeper.direction=maximize", "directions"),
        ("+objective=roc_auc", "objectives"),
    ],
)
def test_a_different_search_in_the_same_study_is_rejected(swept, change, what):
    toy, _ = swept
    files = {path: path.stat().st_mtime_ns for path in toy.folder.glob("*.*")}
    done = toy.run("seconds=0", "hydra.sweeper.n_jobs=1", "hydra.sweeper.n_trials=11", change)
    assert done.returncode == 1
    assert f"The study {toy.folder.name} belongs to a different search, which has" in error_of(done)
    assert f"\n  {what}\n" in error_of(done)
    assert "Use another hydra.sweep.dir" in error_of(done)
    assert len(toy.trials()) == 10
    assert {path: path.stat().st_mtime_ns for path in files if path.suffix != ".db"} == {
        path: files[path] for path in files if path.suffix != ".db"
    }


def resume_line(done):
    lines = done.stderr.splitlines()
    return lines[lines.index("Resume with:") + 1].strip()


def test_an_interrupt_lets_running_trials_finish(toy):
    arguments = [*toy.held, "seconds=1", "hydra.sweeper.n_jobs=2"]
    process = toy.start(*arguments)
    wait_for_jobs(process, toy)
    interrupt(process)
    toy.gate.touch()
    done = process.end()
    assert done.returncode == 130, done.stderr
    assert "Traceback" not in done.stderr
    trials = toy.trials()
    assert 2 <= len(trials) < 10, "a worker that notices late may start one more"
    assert states(trials) == ["COMPLETE"] * len(trials)
    assert done.stdout.startswith(f"{len(trials)} of 10 trials: {len(trials)} complete, 0 pruned, 0 failed")
    assert (toy.folder / "trials.parquet").exists()
    command = resume_line(done)
    assert command.endswith(f"hydra.sweep.dir={toy.folder}")
    assert command.count("hydra.sweep.dir") == 1
    words = shlex.split(command)
    assert words[1:] == [*toy.command()[1:3], *arguments, f"hydra.sweep.dir={toy.folder}"]


def has_processes(process):
    return subprocess.run(["pgrep", "-g", str(process.pid)], capture_output=True, check=False).returncode == 0


def interrupt(process):
    """Interrupt a sweep as Ctrl-C does, and wait until it reacts."""
    os.killpg(process.pid, signal.SIGINT)
    process.until(lambda: STOPPING in process.err, "the sweep announced that it stops")


def twice(process):
    interrupt(process)  # two pending signals would be delivered as one
    os.killpg(process.pid, signal.SIGINT)


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_an_interrupt_that_is_lost_in_a_finalizer_stops_the_sweep():
    class Finalized:
        def __del__(self):
            signal.raise_signal(signal.SIGTERM)

    class Busy:
        """An executor whose workers never end; it gives up after some polls."""

        polls = 0

        def poll(self, _):
            self.polls += 1
            return self.polls < 20

        def wait(self, _):
            Finalized()

        def stop(self):
            pass

    executor, received = Busy(), []
    progress = SimpleNamespace(stopping=False, interrupted=False, supervising=False, update=list)
    shared = SimpleNamespace(counts=lambda: SimpleNamespace(finished=0), requeue_orphaned=lambda: None)
    with run._signals(progress, received):
        run._supervise(executor, shared, progress)
    assert (executor.polls, received) == (2, [signal.SIGTERM])


@pytest.mark.parametrize(
    ("send", "code"), [(twice, 130), (lambda process: process.terminate(), 143)], ids=["SIGINT twice", "SIGTERM"]
)
@pytest.mark.parametrize("workers", [1, 2])
def test_a_second_interrupt_stops_at_once_and_leaves_no_process(tmp_path, send, code, workers):
    toy = Toy(tmp_path / "sweep")
    process = toy.start(*toy.held, f"hydra.sweeper.n_jobs={workers}")
    wait_for_jobs(process, toy, workers)
    send(process)
    done = process.end()
    assert not toy.gate.exists(), "the sweep did not wait for the jobs"
    assert done.returncode == code, done.stderr
    assert "Traceback" not in done.stderr
    assert "Resume with:" in done.stderr
    assert states(toy.trials()) == ["FAIL"] * workers + ["WAITING"] * workers
    wait_until(lambda: not has_processes(process), "all processes of the sweep ended")


def test_an_interrupt_while_workers_start_prints_no_traceback(toy):
    process = toy.start("seconds=1.5", "hydra.sweeper.pruner=null", "hydra.sweeper.n_jobs=2")
    process.until((toy.folder / "multirun.yaml").exists, "the sweep wrote multirun.yaml")
    os.killpg(process.pid, signal.SIGINT)
    done = process.end()
    assert (done.returncode, "Traceback" in done.stderr) == (130, False), done.stderr
    assert "starting another" not in done.stderr


def test_the_first_failure_may_end_a_sweep(toy):
    done = toy.run("seconds=0", "fail=too large", "hydra.sweeper.n_jobs=1", "hydra.sweeper.max_failure_rate=0")
    assert done.returncode == 1
    trials = toy.trials()
    assert states(trials).count("FAIL") == 1
    assert trials[-1].state.name == "FAIL", "the first failure ended the sweep"
    assert "1 of" in error_of(done)
    assert "more than hydra.sweeper.max_failure_rate=0 allows" in error_of(done)
    assert f"hydra.sweep.dir={toy.folder}" in error_of(done).splitlines()[-1]
    assert "ValueError: x is too large" in (toy.folder / str(trials[-1].number) / "toy.log").read_text()
    before = len(trials)
    again = toy.run("seconds=0", "fail=too large", "hydra.sweeper.n_jobs=1", "hydra.sweeper.max_failure_rate=0")
    assert again.returncode == 1
    assert len(toy.trials()) > before, "earlier failures do not count after a resume"


def test_some_failures_are_allowed_and_reported(toy):
    done = toy.run("seconds=0", "fail=too large", "hydra.sweeper.n_jobs=1", "hydra.sweeper.max_failure_rate=0.9")
    assert done.returncode == 0, done.stderr
    failed = [trial.number for trial in toy.trials() if trial.state.name == "FAIL"]
    assert len(finished(toy.trials())) == 10
    assert 1 < len(failed) < 9
    numbers = ", ".join(map(str, failed))
    assert f"  failed: ValueError: x is too large ({counted(len(failed), 'trial')}: {numbers})" in done.stdout
    results = yaml.safe_load((toy.folder / "optimization_results.yaml").read_text())
    assert results["trials"]["failed"] == len(failed)


def test_too_many_failures_end_a_sweep(toy):
    arguments = ["x=interval(1.0, 5.0)", "hydra.sweeper.max_failure_rate=0.5", "hydra.sweeper.n_trials=50"]
    done = toy.run("seconds=0", "fail=too large", "hydra.sweeper.n_jobs=2", *arguments)
    assert done.returncode == 1
    count = len(toy.trials())
    assert 3 <= count <= 6
    assert f"{count} of {count} trials failed, more than hydra.sweeper.max_failure_rate=0.5 allows" in error_of(done)
    assert f"({count} trials: 0, 1" in done.stdout


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["hydra.sweeper.storage=sqlite:///x.db"], "hydra.sweeper.study_name"),
        (["hydra.sweeper.storage=nosuch://host/db", "hydra.sweeper.study_name=a"], "Check hydra.sweeper.storage"),
        (["+hydra.sweeper.n_trails=3"], "closest: n_trials"),
        (["xx=1,2"], r"a trial with [\s\S]*xx"),
        (["hydra.sweeper.sampler._target_=optuna.samplers.TPE"], "optuna.samplers.TPE"),
        (["hydra.sweeper.pruner._target_=optuna.pruners.Nope"], "optuna.pruners.Nope"),
    ],
)
def test_an_invalid_sweep_is_one_clear_error(toy, arguments, message):
    done = toy.run("seconds=0", *arguments)
    assert done.returncode == 1
    assert re.search(message, error_of(done)), done.stderr
    assert done.stdout == ""
    assert toy.starts() == []
    assert not (toy.folder / "study.db").exists()


def test_workers_that_die_in_a_row_end_the_sweep(toy):
    done = toy.run("seconds=0", "fail=kill", "x=interval(1.0, 5.0)", "hydra.sweeper.n_jobs=2")
    assert done.returncode == 1
    assert "5 workers died in a row (exit code -9)" in error_of(done)
    assert f"hydra.sweep.dir={toy.folder}" in error_of(done).splitlines()[-1]


def children_of(pid, *pattern):
    listed = subprocess.run(["pgrep", "-P", str(pid), *pattern], capture_output=True, text=True, check=False)
    return [int(word) for word in listed.stdout.split()]


def server_of(process):
    return children_of(process.pid, "-f", "multiprocessing.forkserver")


def workers_of(process):
    return [worker for server in server_of(process) for worker in children_of(server)]


def test_workers_killed_while_starting_do_not_block_the_sweep(toy):
    process = toy.start(*toy.held, "hydra.sweeper.n_jobs=2", "hydra.sweeper.retries=50")
    killed = set()
    while len(killed) < 4 and process.poll() is None:
        for worker in workers_of(process)[-1:]:
            with suppress(ProcessLookupError):  # it has ended since it was listed
                os.kill(worker, signal.SIGKILL)
                killed.add(worker)
    toy.gate.touch()
    done = process.end()
    assert (done.returncode, len(killed)) == (0, 4), done.stderr
    assert len(finished(toy.trials())) == 10


def test_workers_end_with_the_fork_server_and_are_replaced(toy):
    process = toy.start(*toy.held, "hydra.sweeper.n_jobs=2", "hydra.sweeper.n_trials=6")
    wait_for_jobs(process, toy)
    workers = workers_of(process)
    os.kill(*server_of(process), signal.SIGKILL)
    wait_until(lambda: not any(Path(f"/proc/{worker}").exists() for worker in workers), "the first workers ended")
    toy.gate.touch()
    done = process.end()
    assert done.returncode == 0, done.stderr
    pids = {int(line.split()[1]) for line in (toy.folder / "starts.log").read_text().splitlines()}
    assert set(workers) < pids, "other workers replaced them"
    assert len(finished(toy.trials())) == 6
    assert len(toy.starts()) == len(set(toy.starts()))


@pytest.mark.slow
def test_twenty_kills_lose_no_trial_and_repeat_none(toy):
    rng = random.Random(4)
    arguments = ["hydra.sweeper.n_trials=30", "hydra.sweeper.n_jobs=2", "seconds=0.3", "hydra.sweeper.retries=50"]
    plan = ["parent"] * 5 + ["worker"] * 11 + ["server"] * 4
    rng.shuffle(plan)
    for _ in range(2 * len(plan)):
        process = toy.start(*arguments)
        while process.poll() is None and plan:
            time.sleep(rng.uniform(0.2, 1.2))  # so that kills come at any moment
            victims = {"parent": [process.pid], "worker": workers_of(process), "server": server_of(process)}
            for victim in victims[plan[-1]][-1:]:
                with suppress(ProcessLookupError):
                    os.kill(victim, signal.SIGKILL)
                    plan.pop()
        done = process.end()
        # Five deaths in a row end a sweep with the command to resume it, which the next iteration does.
        if process.returncode != -signal.SIGKILL and "workers died in a row" not in done.stderr:
            break
    assert done.returncode == 0, done.stderr
    trials = toy.trials()
    assert len(finished(trials)) == 30
    assert not {"RUNNING", "WAITING"} & set(states(trials))
    succeeded = [trial for trial in trials if trial.state.name in ("COMPLETE", "PRUNED")]
    assert len(succeeded) == 30, "every killed trial was retried"
    assert len({tuple(sorted(trial.params.items())) for trial in succeeded}) == 30
    assert len(toy.starts()) == len(set(toy.starts())), "no run directory was used twice"
    assert not plan, "the sweep ended before all kills"


@pytest.fixture
def tiny_disk(tmp_path):
    """A two-megabyte file system."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", str(disk)], capture_output=True, text=True, check=False
    )
    if mounted.returncode != 0:
        pytest.skip(f"cannot mount a file system here: {mounted.stderr.strip()}")
    yield disk
    subprocess.run(["umount", "-l", str(disk)], check=True)


@pytest.mark.parametrize("workers", [1, 2])
def test_a_full_disk_stops_the_sweep_and_loses_no_trial(tiny_disk, workers):
    toy = Toy(tiny_disk / "sweep")
    arguments = ["seconds=0.2", f"hydra.sweeper.n_jobs={workers}", "hydra.sweeper.n_trials=12"]
    process = toy.start(*arguments, "hydra.sweeper.pruner=null")
    wait_for_jobs(process, toy, 4)
    ballast = tiny_disk / "ballast"
    with ballast.open("wb", buffering=0) as file:
        try:
            for size in (4096, 1):
                while file.write(b"x" * size):
                    pass
        except OSError:
            pass
    done = process.end()
    assert done.returncode == 1
    assert error_of(done).splitlines()[0] == "The disk is full. Free some space."
    assert error_of(done).splitlines()[-1].endswith(f"hydra.sweep.dir={toy.folder}")
    ballast.unlink()
    before = len([trial for trial in toy.trials() if trial.state.name == "COMPLETE"])
    again = toy.run(*arguments, "hydra.sweeper.pruner=null")
    assert again.returncode == 0, again.stderr
    trials = toy.trials()
    assert before < len(finished(trials)) == 12
    assert states(finished(trials)) == ["COMPLETE"] * 12, "the full disk cost no trial"
    assert "RUNNING" not in states(trials)


def test_the_resume_command_is_quoted_for_a_shell(tmp_path):
    command = resume_command(
        tmp_path / "a b", ["/usr/bin/python3", "toy.py", "-m", "x=choice(1, 2)", "hydra.sweep.dir=old"]
    )
    assert command == f"python3 toy.py -m 'x=choice(1, 2)' 'hydra.sweep.dir={tmp_path}/a b'"


def test_no_file_of_a_sweep_contains_a_password(toy):
    done = toy.run("seconds=0", "hydra.sweeper.n_trials=2", "hydra.sweeper.n_jobs=1", "++note=db://ann:s3cret@host/a")
    assert done.returncode == 0, done.stderr
    assert b"***@host" in (toy.folder / "study.db").read_bytes()
    files = [path for path in toy.folder.rglob("*") if path.is_file()]
    assert {"study.db", "multirun.yaml", "optimization_results.yaml"} <= {path.name for path in files}
    assert [path for path in files if b"s3cret" in path.read_bytes()] == []
