"""Whole sweeps of the toy program, and what stops them."""

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

import pandas as pd
import pytest
import yaml

from mlsys.sweep.commands import resume_command
from tests.sweep.conftest import Toy, finished, states
from tests.waiting import wait_until

ONCE_MORE = "once more to stop at once"


def workers_begin(process, toy, count=2):
    """Wait until so many jobs have begun."""
    process.until(lambda: len(toy.starts()) >= count, f"{count} jobs began")


def said(done):
    """Return the error that a program ended with, without Hydra's traceback of it."""
    return re.split(r"^mlsys\.errors\.\w+: ", done.stderr, flags=re.MULTILINE)[-1]


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    """A finished sweep of one worker, which runs in the sweep's own process."""
    toy = Toy(tmp_path_factory.mktemp("alone") / "sweep")
    return toy, toy.run("seconds=0", "hydra.sweeper.n_jobs=1")


@pytest.mark.parametrize("which", ["swept", "alone"])
def test_a_whole_sweep(which, request):
    toy, done = request.getfixturevalue(which)
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr
    trials = toy.trials()
    assert len(trials) == len(finished(trials)) == 10
    assert sorted(toy.starts(), key=int) == [str(number) for number in range(10)]
    lines = done.stdout.splitlines()
    told = {name: states(trials).count(name.upper()) for name in ("complete", "pruned")}
    assert lines[0] == f"10 of 10 trials: {told['complete']} complete, {told['pruned']} pruned, 0 failed"
    best = min((trial for trial in trials if trial.state.name == "COMPLETE"), key=lambda trial: trial.value)
    assert lines[1].strip() == "Leaderboard"
    assert lines[3].split()[:2] == [str(best.number), f"{best.value:.5g}"]
    assert len([line for line in done.stderr.splitlines() if line.startswith("trial ")]) == 10
    assert not list((toy.folder / ".workers").glob("????????????????*.lock"))


def test_a_search_starts_from_the_config_as_it_stands(toy):
    words = ["seconds=0", "hydra.sweeper.n_jobs=1", "hydra.sweeper.n_trials=3", "hydra.sweeper.enqueue_config=true"]
    assert toy.run(*words).returncode == 0
    trials = toy.trials()
    assert len(trials) == len(finished(trials)) == 3
    assert [trial.params == {"x": 0.0, "y": 0.0} for trial in trials] == [True, False, False]


def test_what_a_sweep_leaves(swept):
    toy, _ = swept
    best = min((trial for trial in toy.trials() if trial.state.name == "COMPLETE"), key=lambda trial: trial.value)
    results = yaml.safe_load((toy.folder / "optimization_results.yaml").read_text())
    assert results["best_params"] == best.params
    assert results["best_value"] == best.value
    frame = pd.read_parquet(toy.folder / "trials.parquet")
    assert list(frame["number"]) == list(range(10))
    assert frame.loc[best.number, "value"] == best.value
    assert frame.loc[best.number, "run"] == str(toy.folder / str(best.number))
    assert (frame["reports"] > 0).all()
    assert yaml.safe_load((toy.folder / "multirun.yaml").read_text())["hydra"]["sweeper"]["n_trials"] == 10


def test_one_worker_uses_one_process_and_two_use_two(swept, alone):
    for (toy, _), number in ((alone, 1), (swept, 2)):
        lines = (toy.folder / "starts.log").read_text().splitlines()
        assert len({line.split()[1] for line in lines}) == number


def test_one_worker_with_the_same_seed_repeats_exactly(alone, toy):
    again = toy.run("seconds=0", "hydra.sweeper.n_jobs=1")
    assert again.returncode == 0
    first, second = (
        [(trial.state, trial.params, trial.values, trial.intermediate_values) for trial in each.trials()]
        for each in (alone[0], toy)
    )
    assert first == second


def test_a_sweep_goes_on_to_more_trials_and_a_finished_one_does_nothing(toy):
    small = ["seconds=0", "hydra.sweeper.n_jobs=1"]
    assert toy.run(*small, "hydra.sweeper.n_trials=4").returncode == 0
    more = toy.run(*small, "hydra.sweeper.n_trials=9")
    assert more.returncode == 0, more.stderr
    assert "4 of 9 trials are finished" in more.stdout + more.stderr
    trials = toy.trials()
    assert len(finished(trials)) == len(trials) == 9
    assert len({trial.params["x"] for trial in trials}) == 9, "no draw was drawn again"
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
def test_another_search_in_the_same_study_is_refused(swept, change, what):
    toy, _ = swept
    files = {path: path.stat().st_mtime_ns for path in toy.folder.glob("*.*")}
    done = toy.run("seconds=0", "hydra.sweeper.n_jobs=1", "hydra.sweeper.n_trials=11", change)
    assert done.returncode == 1
    assert f"The study {toy.folder.name} is another search, which has" in said(done)
    assert f"\n  {what}\n" in said(done)
    assert "Take another hydra.sweep.dir" in said(done)
    assert len(toy.trials()) == 10
    assert {path: path.stat().st_mtime_ns for path in files if path.suffix != ".db"} == {
        path: files[path] for path in files if path.suffix != ".db"
    }


def resume_line(done):
    lines = done.stderr.splitlines()
    return lines[lines.index("Go on with:") + 1].strip()


def test_an_interrupt_lets_running_trials_finish(toy):
    arguments = [*toy.held, "seconds=1", "hydra.sweeper.n_jobs=2"]
    process = toy.start(*arguments)
    workers_begin(process, toy)
    interrupt(process)
    toy.gate.touch()
    done = process.end()
    assert done.returncode == 130, done.stderr
    assert "Traceback" not in done.stderr
    trials = toy.trials()
    assert 2 <= len(trials) < 10, "a worker that is told late may begin one more"
    assert states(trials) == ["COMPLETE"] * len(trials)
    assert done.stdout.startswith(f"{len(trials)} of 10 trials: {len(trials)} complete, 0 pruned, 0 failed")
    assert (toy.folder / "trials.parquet").exists()
    command = resume_line(done)
    assert command.endswith(f"hydra.sweep.dir={toy.folder}")
    assert command.count("hydra.sweep.dir") == 1
    words = shlex.split(command)
    assert words[1:] == [*toy.command()[1:3], *arguments, f"hydra.sweep.dir={toy.folder}"]


def is_anyone_left(process):
    return subprocess.run(["pgrep", "-g", str(process.pid)], capture_output=True, check=False).returncode == 0


def interrupt(process):
    """Interrupt a sweep as Ctrl-C does, and wait until it has noticed."""
    os.killpg(process.pid, signal.SIGINT)
    process.until(lambda: ONCE_MORE in process.err, "the sweep said that it stops")


def twice(process):
    interrupt(process)  # two signals that are pending at the same time are one
    os.killpg(process.pid, signal.SIGINT)


@pytest.mark.parametrize(
    ("send", "code"), [(twice, 130), (lambda process: process.terminate(), 143)], ids=["SIGINT twice", "SIGTERM"]
)
@pytest.mark.parametrize("workers", [1, 2])
def test_at_once_means_at_once_and_leaves_no_ghost(tmp_path, send, code, workers):
    toy = Toy(tmp_path / "sweep")
    process = toy.start(*toy.held, f"hydra.sweeper.n_jobs={workers}")
    workers_begin(process, toy, workers)
    send(process)
    done = process.end()
    assert not toy.gate.exists(), "nobody waited for the jobs"
    assert done.returncode == code, done.stderr
    assert "Traceback" not in done.stderr
    assert "Go on with:" in done.stderr
    assert states(toy.trials()) == ["FAIL"] * workers + ["WAITING"] * workers
    wait_until(lambda: not is_anyone_left(process), "no process of the sweep was left")


def test_an_interrupt_while_workers_start_is_no_traceback(toy):
    process = toy.start("seconds=1.5", "hydra.sweeper.pruner=null", "hydra.sweeper.n_jobs=2")
    process.until((toy.folder / "multirun.yaml").exists, "the sweep wrote multirun.yaml")
    os.killpg(process.pid, signal.SIGINT)
    done = process.end()
    assert (done.returncode, "Traceback" in done.stderr) == (130, False), done.stderr
    assert "another takes its place" not in done.stderr


def test_no_failure_is_allowed(toy):
    done = toy.run("seconds=0", "fail=too large", "hydra.sweeper.n_jobs=1", "hydra.sweeper.max_failure_rate=0")
    assert done.returncode == 1
    trials = toy.trials()
    assert states(trials).count("FAIL") == 1
    assert trials[-1].state.name == "FAIL", "the first failure was the end"
    assert "1 of" in said(done)
    assert "more than hydra.sweeper.max_failure_rate=0 allows" in said(done)
    assert f"hydra.sweep.dir={toy.folder}" in said(done).splitlines()[-1]
    assert "ValueError: x is too large" in (toy.folder / str(trials[-1].number) / "toy.log").read_text()
    begun = len(trials)
    again = toy.run("seconds=0", "fail=too large", "hydra.sweeper.n_jobs=1", "hydra.sweeper.max_failure_rate=0")
    assert again.returncode == 1
    assert len(toy.trials()) > begun, "whoever goes on is taken to have mended it"


def test_some_failures_are_allowed_and_told(toy):
    done = toy.run("seconds=0", "fail=too large", "hydra.sweeper.n_jobs=1", "hydra.sweeper.max_failure_rate=0.9")
    assert done.returncode == 0, done.stderr
    failed = [trial.number for trial in toy.trials() if trial.state.name == "FAIL"]
    assert len(finished(toy.trials())) == 10
    assert 1 < len(failed) < 9
    numbers = ", ".join(map(str, failed))
    assert f"  failed ({len(failed)}: trials {numbers}): ValueError: x is too large" in done.stdout
    results = yaml.safe_load((toy.folder / "optimization_results.yaml").read_text())
    assert results["trials"]["failed"] == len(failed)


def test_too_many_failures_end_a_sweep(toy):
    arguments = ["x=interval(1.0, 5.0)", "hydra.sweeper.max_failure_rate=0.5", "hydra.sweeper.n_trials=50"]
    done = toy.run("seconds=0", "fail=too large", "hydra.sweeper.n_jobs=2", *arguments)
    assert done.returncode == 1
    count = len(toy.trials())
    assert 3 <= count <= 6
    assert f"{count} of {count} trials failed, more than hydra.sweeper.max_failure_rate=0.5 allows" in said(done)
    assert f"failed ({count}: trials 0, 1" in done.stdout


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["hydra.sweeper.storage=sqlite:///x.db"], "hydra.sweeper.study_name"),
        (["hydra.sweeper.storage=nosuch://host/db", "hydra.sweeper.study_name=a"], "Check hydra.sweeper.storage"),
        (["+hydra.sweeper.n_trails=3"], "closest: n_trials"),
        (["xx=1,2"], r"a trial [\s\S]*xx"),
        (["hydra.sweeper.sampler._target_=optuna.samplers.TPE"], "optuna.samplers.TPE"),
        (["hydra.sweeper.pruner._target_=optuna.pruners.Nope"], "optuna.pruners.Nope"),
    ],
)
def test_what_cannot_begin_is_one_clear_error(toy, arguments, message):
    done = toy.run("seconds=0", *arguments)
    assert done.returncode == 1
    assert re.search(message, said(done)), done.stderr
    assert done.stdout == ""
    assert toy.starts() == []
    assert not (toy.folder / "study.db").exists()


def test_workers_that_die_in_turn_end_the_sweep(toy):
    done = toy.run("seconds=0", "fail=kill", "x=interval(1.0, 5.0)", "hydra.sweeper.n_jobs=2")
    assert done.returncode == 1
    assert "5 workers died in turn (exit code -9)" in said(done)
    assert f"hydra.sweep.dir={toy.folder}" in said(done).splitlines()[-1]


def below(pid, *pattern):
    found = subprocess.run(["pgrep", "-P", str(pid), *pattern], capture_output=True, text=True, check=False)
    return [int(word) for word in found.stdout.split()]


def server_of(process):
    return below(process.pid, "-f", "multiprocessing.forkserver")


def workers_of(process):
    return [worker for server in server_of(process) for worker in below(server)]


def test_workers_that_are_killed_as_they_start_do_not_hold_the_sweep_up(toy):
    process = toy.start(*toy.held, "hydra.sweeper.n_jobs=2", "hydra.sweeper.retries=50")
    killed = set()
    while len(killed) < 4 and process.poll() is None:
        for worker in workers_of(process)[-1:]:
            os.kill(worker, signal.SIGKILL)
            killed.add(worker)
    toy.gate.touch()
    done = process.end()
    assert (done.returncode, len(killed)) == (0, 4), done.stderr
    assert len(finished(toy.trials())) == 10


def test_workers_end_with_the_process_that_they_are_forked_from_and_are_replaced(toy):
    process = toy.start(*toy.held, "hydra.sweeper.n_jobs=2", "hydra.sweeper.n_trials=6")
    workers_begin(process, toy)
    workers = workers_of(process)
    os.kill(*server_of(process), signal.SIGKILL)
    toy.gate.touch()
    done = process.end()
    assert done.returncode == 0, done.stderr
    wait_until(lambda: not any(Path(f"/proc/{worker}").exists() for worker in workers), "the first workers were gone")
    at_work = {int(line.split()[1]) for line in (toy.folder / "starts.log").read_text().splitlines()}
    assert set(workers) < at_work, "others took their place"
    assert len(finished(toy.trials())) == 6
    assert len(toy.starts()) == len(set(toy.starts()))


@pytest.mark.slow
def test_twenty_kills_lose_nothing_and_repeat_nothing(toy):
    rng = random.Random(4)
    arguments = ["hydra.sweeper.n_trials=30", "hydra.sweeper.n_jobs=2", "seconds=0.3", "hydra.sweeper.retries=50"]
    plan = ["parent"] * 5 + ["worker"] * 11 + ["server"] * 4
    rng.shuffle(plan)
    for _ in range(2 * len(plan)):
        process = toy.start(*arguments)
        while process.poll() is None and plan:
            time.sleep(rng.uniform(0.2, 1.2))  # the kills are to come at any moment
            victims = {"parent": [process.pid], "worker": workers_of(process), "server": server_of(process)}
            for victim in victims[plan[-1]][-1:]:
                with suppress(ProcessLookupError):
                    os.kill(victim, signal.SIGKILL)
                    plan.pop()
        done = process.end()
        # Five deaths in a row end a sweep with the command that goes on, which is what happens here.
        if process.returncode != -signal.SIGKILL and "workers died in turn" not in done.stderr:
            break
    assert done.returncode == 0, done.stderr
    trials = toy.trials()
    assert len(finished(trials)) == 30
    assert not {"RUNNING", "WAITING"} & set(states(trials))
    succeeded = [trial for trial in trials if trial.state.name in ("COMPLETE", "PRUNED")]
    assert len(succeeded) == 30, "every trial that was killed was repeated"
    assert len({tuple(sorted(trial.params.items())) for trial in succeeded}) == 30
    assert len(toy.starts()) == len(set(toy.starts())), "no run directory was used twice"
    assert not plan, "the sweep ended before all were killed"


@pytest.fixture
def tiny_disk(tmp_path):
    """A file system of two megabytes."""
    place = tmp_path / "disk"
    place.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", str(place)], capture_output=True, text=True, check=False
    )
    if mounted.returncode != 0:
        pytest.skip(f"no file system can be mounted here: {mounted.stderr.strip()}")
    yield place
    subprocess.run(["umount", "-l", str(place)], check=True)


@pytest.mark.parametrize("workers", [1, 2])
def test_a_full_disk_stops_the_sweep_and_nothing_is_lost(tiny_disk, workers):
    toy = Toy(tiny_disk / "sweep")
    arguments = ["seconds=0.2", f"hydra.sweeper.n_jobs={workers}", "hydra.sweeper.n_trials=12"]
    process = toy.start(*arguments, "hydra.sweeper.pruner=null")
    workers_begin(process, toy, 4)
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
    assert said(done).splitlines()[0] == "The disk is full: free some space."
    assert said(done).splitlines()[-1].endswith(f"hydra.sweep.dir={toy.folder}")
    ballast.unlink()
    before = len([trial for trial in toy.trials() if trial.state.name == "COMPLETE"])
    again = toy.run(*arguments, "hydra.sweeper.pruner=null")
    assert again.returncode == 0, again.stderr
    trials = toy.trials()
    assert before < len(finished(trials)) == 12
    assert states(finished(trials)) == ["COMPLETE"] * 12, "no trial was spent on the full disk"
    assert "RUNNING" not in states(trials)


def test_the_resume_command_is_one_that_a_shell_understands(tmp_path):
    command = resume_command(
        tmp_path / "a b", ["/usr/bin/python3", "toy.py", "-m", "x=choice(1, 2)", "hydra.sweep.dir=old"]
    )
    assert command == f"python3 toy.py -m 'x=choice(1, 2)' 'hydra.sweep.dir={tmp_path}/a b'"


def test_no_file_of_a_sweep_holds_a_password(toy):
    done = toy.run("seconds=0", "hydra.sweeper.n_trials=2", "hydra.sweeper.n_jobs=1", "++note=db://ann:s3cret@host/a")
    assert done.returncode == 0, done.stderr
    assert b"***@host" in (toy.folder / "study.db").read_bytes()
    files = [path for path in toy.folder.rglob("*") if path.is_file()]
    assert {"study.db", "multirun.yaml", "optimization_results.yaml"} <= {path.name for path in files}
    assert [path for path in files if b"s3cret" in path.read_bytes()] == []
