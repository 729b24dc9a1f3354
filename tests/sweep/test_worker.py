"""Workers: jobs and their states, reports to the pruner, and seeds."""

from __future__ import annotations

import errno
import multiprocessing
from pathlib import Path

import numpy as np
import optuna
import pytest
from omegaconf import OmegaConf
from optuna.trial import TrialState

from mlsys.errors import ConfigError, Problem, PrunedError, SweepError
from mlsys.sweep import current_trial, worker
from mlsys.sweep.space import parse_space
from mlsys.sweep.study import SharedStudy, WorkerLock
from mlsys.sweep.worker import Sweep, TrialCache, WorkerTrial, as_values, build, build_sampler, run_worker
from tests.sweep.conftest import replace_settings, states

pytestmark = pytest.mark.filterwarnings("ignore::optuna.exceptions.ExperimentalWarning")
MEDIAN = {"_target_": "optuna.pruners.MedianPruner", "n_startup_trials": 2, "n_warmup_steps": 1}
WILCOXON = {"_target_": "optuna.pruners.WilcoxonPruner", "p_threshold": 0.3, "n_startup_steps": 2}
PAIRED = WILCOXON | {"_target_": "mlsys.sweep.pruners.PairedPruner"}


@pytest.fixture
def sweep(settings, tmp_path):
    """Return a function that creates sweeps in one directory, with an empty config by default."""

    def make(directions=("minimize",), trials_before=0, workers=1, config=None, **changes):
        space = parse_space({"x": "interval(0.0, 1.0)"}, {}, [], {})
        folder = tmp_path / "sweep"
        folder.mkdir(exist_ok=True)
        made = Sweep(
            replace_settings(settings, **changes), None, None, OmegaConf.create(config or {}), space, directions,
            folder, workers, trials_before,
        )  # fmt: skip
        shared = SharedStudy(made.settings, folder)
        shared.create(directions)
        shared.close()
        return made

    return make


@pytest.fixture
def runs(monkeypatch):
    """Return a function that replaces the job with ``job(number, x)``."""

    def set_job(job):
        def run(sweep, number, overrides, subdir=None):
            values = dict(word.split("=", 1) for word in overrides)
            return job(number, float(values["x"]))

        monkeypatch.setattr(worker, "run_hydra_job", run)

    monkeypatch.setattr(worker, "POLL_INTERVAL", 0.01)
    return set_job


def trials(sweep):
    shared = sweep.open()
    try:
        return shared.trials()
    finally:
        shared.close()


def never():
    return False


def test_a_worker_runs_all_trials_and_records_their_jobs(sweep, runs):
    runs(lambda number, x: x)
    made, seen = sweep(), []
    run_worker(made, 0, never, lambda shared: seen.append(shared.counts().finished))
    all_trials = trials(made)
    assert seen == [1, 2, 3, 4, 5, 6]
    assert [trial.value for trial in all_trials] == [trial.params["x"] for trial in all_trials]
    assert all_trials[2].user_attrs["job"] == {
        "overrides": [f"x={all_trials[2].params['x']}"],
        "run": str(made.folder / "2"),
    }
    run_worker(made, 0, never)
    assert len(trials(made)) == 6, "a complete study gets no more trials"


@pytest.mark.parametrize("error", [PrunedError("hopeless"), optuna.TrialPruned("hopeless")])
def test_a_pruned_trial(sweep, runs, error):
    def job(number, x):
        if number == 1:
            raise error
        return x

    runs(job)
    made = sweep()
    run_worker(made, 0, never)
    all_trials = trials(made)
    assert [trial.state.name for trial in all_trials] == ["COMPLETE", "PRUNED", *["COMPLETE"] * 4]
    assert all_trials[1].user_attrs["job"]["pruned"] == "hopeless"
    assert "error" not in all_trials[1].user_attrs


def test_a_failed_trial_records_its_error_and_logs_the_traceback(sweep, runs):
    import logging

    made = sweep(max_failure_rate=1.0, n_trials=2)
    handlers = []

    def job(number, x):
        folder = made.folder / str(number)
        folder.mkdir()
        handlers.append(logging.FileHandler(folder / "train.log"))
        logging.getLogger().addHandler(handlers[-1])
        raise ZeroDivisionError("\n  nothing to divide by\nand more")

    runs(job)
    try:
        run_worker(made, 0, never)
    finally:
        for handler in handlers:
            logging.getLogger().removeHandler(handler)
            handler.close()
    assert [trial.user_attrs["error"] for trial in trials(made)] == ["ZeroDivisionError: nothing to divide by"] * 2
    for number in "01":
        log = (made.folder / number / "train.log").read_text()
        assert log.count("Traceback (most recent call last)") == 1
        assert "ZeroDivisionError" in log


@pytest.mark.parametrize(
    ("objectives", "value"),
    [
        (1, None),
        (1, float("nan")),
        (1, float("inf")),
        (1, "0.5"),
        (1, (0.1, 0.2)),
        (2, (0.1,)),
        (2, 0.1),
        (2, (1, None)),
    ],
)
def test_an_invalid_value_fails_the_trial(sweep, runs, objectives, value):
    runs(lambda number, x: value)
    made = sweep(("minimize",) * objectives, n_trials=1, max_failure_rate=1.0)
    run_worker(made, 0, never)
    (trial,) = trials(made)
    assert trial.state is TrialState.FAIL
    assert trial.user_attrs["error"].startswith(f"ValueError: the job returned {value!r}, expected ")


def test_a_trial_with_a_wrong_config_says_what_is_wrong_in_one_line(sweep, runs):
    problems = [Problem("model.depth", "x", "a number", "1"), Problem("model.rsm", "y", "a number")]

    def fail(number, x):
        raise ConfigError("The config", problems, "Nothing was run.")

    runs(fail)
    made = sweep(("minimize",), n_trials=1, max_failure_rate=1.0)
    run_worker(made, 0, never)
    (trial,) = trials(made)
    assert trial.user_attrs["error"] == (
        "ConfigError: model.depth: got x, allowed: a number, closest: 1; 1 more problem"
    )


def test_a_failed_trial_is_left_to_the_progress_lines(sweep, runs, caplog, capfd):
    def job(number, x):
        raise ValueError("too large")

    runs(job)
    run_worker(sweep(max_failure_rate=1.0, n_trials=1), 0, never)
    assert caplog.text == ""
    assert "too large" not in capfd.readouterr().err


def test_values_may_be_any_kind_of_number():
    assert as_values(np.float32(0.5), 1) == as_values([np.int64(0) + 0.5], 1) == [0.5]
    assert as_values((np.float64(1), 2), 2) == [1.0, 2.0]


def test_a_full_disk_costs_no_trials(sweep, runs):
    def full(number, x):
        if number >= 2:
            raise ValueError("cannot write the model") from OSError(errno.ENOSPC, "No space left on device")
        return x

    runs(full)
    made = sweep()
    with pytest.raises(SweepError, match="The disk is full"):
        run_worker(made, 0, never)
    before = trials(made)
    assert [trial.state.name for trial in before] == ["COMPLETE", "COMPLETE", "FAIL", "WAITING"]
    runs(lambda number, x: x)
    run_worker(sweep(trials_before=4), 0, never)
    after = trials(made)
    assert states(after) == ["COMPLETE"] * 6 + ["FAIL"]
    assert after[3].params == after[2].params


def test_an_interrupted_trial_is_requeued(sweep, runs):
    def interrupted(number, x):
        raise KeyboardInterrupt

    runs(interrupted)
    made = sweep()
    with pytest.raises(KeyboardInterrupt):
        run_worker(made, 0, never)
    assert states(trials(made)) == ["FAIL", "WAITING"]


def test_a_failing_storage_is_one_clear_error(sweep, runs):
    made = sweep()

    def job(number, x):
        (made.folder / "study.db").write_bytes(b"no database at all" * 1000)
        return x

    runs(job)
    with pytest.raises(SweepError, match=r"study's storage failed: .*(malformed|not a database)"):
        run_worker(made, 0, never)


def test_the_result_of_a_retried_trial_is_dropped(sweep, runs, caplog):
    """As when a machine slept, and another one retried its trial."""
    made = sweep(n_trials=2)

    def job(number, x):
        if number == 0:
            other = made.open()
            other.requeue(other.trials()[0], "no heartbeat")
            other.close()
        return x

    runs(job)
    run_worker(made, 0, never)
    all_trials = trials(made)
    assert [trial.state.name for trial in all_trials] == ["FAIL", "COMPLETE", "COMPLETE"]
    assert all_trials[1].params == all_trials[0].params
    assert "its result is dropped" in caplog.text


def test_the_last_worker_waits_for_running_trials_and_retries_orphaned_ones(sweep, runs):
    """A single worker in the main process has no supervisor that requeues trials."""
    made = sweep(n_trials=3)
    shared = made.open()
    lock = WorkerLock(made.folder).__enter__()
    shared.claim(lock.name).suggest_float("x", 0, 1)
    lock.__exit__(KeyboardInterrupt, None, None)
    shared.close()
    runs(lambda number, x: x)
    run_worker(made, 0, never)
    assert states(trials(made)) == ["COMPLETE"] * 3 + ["FAIL"]


def test_a_worker_stops_between_trials(sweep, runs):
    runs(lambda number, x: x)
    made, ended = sweep(), []
    run_worker(made, 0, lambda: len(ended) >= 2, ended.append)
    assert states(trials(made)) == ["COMPLETE"] * 2


def test_a_job_reaches_its_trial(sweep, runs):
    seen = []

    def job(number, x):
        trial = current_trial()
        trial.set_user_attr("fact", number * 10)
        seen.append((trial.number, trial.cached("panel", lambda: f"made by {number}")))
        return x

    runs(job)
    made = sweep(n_trials=3)
    run_worker(made, 0, never)
    assert seen == [(0, "made by 0"), (1, "made by 0"), (2, "made by 0")]
    assert [trial.user_attrs["job"]["fact"] for trial in trials(made)] == [0, 10, 20]
    assert current_trial() is None


def test_the_cache_keeps_the_latest_entries():
    cache, created = TrialCache(), []
    for key in "abcdefgab":
        cache.get_or_create(key, lambda key=key: created.append(key))
    assert "".join(created) == "abcdefgab"
    cache.get_or_create("g", lambda: created.append("again"))
    assert "again" not in created
    assert len(cache.entries) == worker.MAX_CACHED


def report_all(sweep, runs, reports):
    """Run trials that report these values; return the study's trials."""

    def job(number, x):
        for step, value in enumerate(reports[number]):
            current_trial().report(value, step)
        return float(np.nanmean([value for value in reports[number] if value is not None]))

    runs(job)
    run_worker(sweep, 0, never)
    return trials(sweep)


@pytest.mark.parametrize("pruner", [PAIRED, WILCOXON], ids=["ours", "Optuna's"])
def test_pruners_that_compare_steps_get_each_value(sweep, runs, pruner):
    made = sweep(pruner=pruner, n_trials=2)
    reported = report_all(made, runs, [[1.0, 3.0, None, float("nan"), 2.0], [9.0, 9.0, 9.0, 9.0, 9.0]])
    assert reported[0].intermediate_values == {0: 1.0, 1: 3.0, 4: 2.0}
    assert reported[1].state is TrialState.PRUNED
    assert f"by {pruner['_target_'].rpartition('.')[2]}" in reported[1].user_attrs["job"]["pruned"]


def test_other_pruners_get_the_mean_so_far(sweep, runs):
    made = sweep(pruner=MEDIAN, n_trials=3)
    reported = report_all(made, runs, [[1.0, 3.0, 2.0], [1.0, 3.0, 2.0], [5.0, 9.0, 9.0]])
    assert reported[0].intermediate_values == {0: 1.0, 1: 2.0, 2: 2.0}
    assert reported[2].state is TrialState.PRUNED
    assert reported[2].intermediate_values == {0: 5.0, 1: 7.0}


def test_iterations_are_reported_unchanged(sweep, runs):
    made = sweep(pruner=MEDIAN, n_trials=1, config={"search": {"report_per": "iteration"}})
    assert report_all(made, runs, [[1.0, 3.0, 2.0]])[0].intermediate_values == {0: 1.0, 1: 3.0, 2: 2.0}


def test_trials_with_several_objectives_are_not_pruned(sweep, runs):
    def job(number, x):
        for step in range(10):
            current_trial().report(1000.0 * number, step)
        return (x, x)

    runs(job)
    made = sweep(("minimize", "maximize"), pruner=WILCOXON)
    run_worker(made, 0, never)
    assert states(trials(made)) == ["COMPLETE"] * 6


def test_a_sweep_without_a_pruner_prunes_nothing(sweep, runs):
    made = sweep(pruner=None, n_trials=3)
    assert states(report_all(made, runs, [[1.0] * 9, [2.0] * 9, [3.0] * 9])) == ["COMPLETE"] * 3


def sample(sweep, number, count):
    """Return the overrides that a worker's sampler suggests in a new study."""
    shared = sweep.open(number)
    study = optuna.create_study(sampler=shared.study.sampler)
    shared.close()
    return [sweep.space.overrides(study.ask())[0] for _ in range(count)]


@pytest.mark.parametrize("sampler", ["RandomSampler", "TPESampler"])
def test_workers_and_resumed_sweeps_have_different_seeds(sweep, sampler):
    node = {"_target_": f"optuna.samplers.{sampler}", "seed": 7}
    first = sweep(sampler=node)
    samples = [sample(first, 0, 8), sample(first, 1, 8), sample(sweep(sampler=node, trials_before=8), 0, 8)]
    assert len({value for each in samples for value in each}) == 24
    assert sample(first, 0, 8) == samples[0], "samples are reproducible"
    other = sweep(sampler=node | {"seed": 8})
    assert not set(sample(other, 0, 8)) & set(samples[0])


def sample_in_process(node):
    sampler = build_sampler(node, [0, 0])
    study = optuna.create_study(sampler=sampler)
    return [study.ask().suggest_float("x", 0, 1) for _ in range(3)]


def test_samples_do_not_depend_on_the_process():
    node = {"_target_": "optuna.samplers.RandomSampler", "seed": 3}
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        assert pool.apply(sample_in_process, [node]) == sample_in_process(node)
        pool.close()
        pool.join()


def test_a_quasi_random_sequence_keeps_its_seed():
    node = {"_target_": "optuna.samplers.QMCSampler", "seed": 1}
    assert build_sampler(node, [0, 0])._seed == build_sampler(node, [9, 3])._seed == 1


@pytest.mark.parametrize(
    "node",
    [
        {"_target_": "os.system", "command": "true"},
        {"_target_": "optuna.samplers.TPESamplr"},
        {"_target_": "optuna.samplers.TPESampler", "sed": 1},
        {"_target_": "optuna.samplers.GridSampler"},
        {"_target_": "optuna.pruners.WilcoxonPruner", "p_threshold": 7},
    ],
)
def test_an_invalid_sampler_or_pruner_is_a_config_error(node):
    with pytest.raises(ConfigError, match=node["_target_"].rpartition(".")[2]) as caught:
        build(node)
    assert "optuna.samplers or optuna.pruners" in str(caught.value)


def test_a_report_raises_when_the_trial_is_pruned(open_study):
    shared = open_study(pruner=optuna.pruners.ThresholdPruner(upper=1.0))
    trial = WorkerTrial(shared.claim("x:y"), TrialCache(), report_means=False)
    trial.report(0.5, 0)
    with pytest.raises(PrunedError, match="pruned after 2 steps by ThresholdPruner"):
        trial.report(2.0, 1)
    early = WorkerTrial(shared.claim("x:y"), TrialCache(), report_means=False)
    with pytest.raises(PrunedError, match="pruned after 1 step by ThresholdPruner"):
        early.report(2.0, 0)


def test_workers_share_the_cores_unless_threads_is_set(sweep, monkeypatch):
    monkeypatch.setattr("os.sched_getaffinity", lambda _: set(range(8)))
    overrides = worker._worker_overrides
    assert list(overrides(sweep(workers=3, config={"threads": None}), 5, [])) == ["threads=2"]
    assert list(overrides(sweep(workers=16, config={"threads": None}), 5, [])) == ["threads=1"]
    assert list(overrides(sweep(config={"threads": 4}), 5, [])) == []
    assert list(overrides(sweep(config={"threads": None}), 5, ["threads=2"])) == []
    assert list(overrides(sweep(config={"search": {}}), 5, [])) == ["++search.trial=5"]
    assert Path(sweep().folder).is_dir()
