"""What a worker makes of a job, and how it draws."""

from __future__ import annotations

import errno
import multiprocessing
from pathlib import Path

import numpy as np
import optuna
import pytest
from omegaconf import OmegaConf
from optuna.trial import TrialState

from mlsys.errors import ConfigError, PrunedError, SweepError
from mlsys.sweep import current_trial, worker
from mlsys.sweep.space import parse_space
from mlsys.sweep.study import SharedStudy, WorkerLock
from mlsys.sweep.worker import TrialCache, Sweep, WorkerTrial, as_values, build, build_sampler, work
from tests.sweep.conftest import replace_settings, states

pytestmark = pytest.mark.filterwarnings("ignore::optuna.exceptions.ExperimentalWarning")
MEDIAN = {"_target_": "optuna.pruners.MedianPruner", "n_startup_trials": 2, "n_warmup_steps": 1}
WILCOXON = {"_target_": "optuna.pruners.WilcoxonPruner", "p_threshold": 0.3, "n_startup_steps": 2}
PAIRED = WILCOXON | {"_target_": "mlsys.sweep.pruners.PairedPruner"}


@pytest.fixture
def sweep(settings, tmp_path):
    """Return a maker of sweeps in one directory, whose config holds nothing."""

    def make(directions=("minimize",), begun=0, workers=1, config=None, **changes):
        space = parse_space({"x": "interval(0.0, 1.0)"}, {}, [], {})
        folder = tmp_path / "sweep"
        folder.mkdir(exist_ok=True)
        made = Sweep(
            replace_settings(settings, **changes), None, None, OmegaConf.create(config or {}), space, directions,
            folder, workers, begun,
        )  # fmt: skip
        shared = SharedStudy(made.settings, folder)
        shared.create(directions)
        shared.close()
        return made

    return make


@pytest.fixture
def runs(monkeypatch):
    """Return a function that makes jobs do this: ``job(number, x)``."""

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


def test_a_sweep_is_run_to_its_end_and_knows_its_jobs(sweep, runs):
    runs(lambda number, x: x)
    made, seen = sweep(), []
    work(made, 0, never, lambda shared: seen.append(shared.counts().finished))
    found = trials(made)
    assert seen == [1, 2, 3, 4, 5, 6]
    assert [trial.value for trial in found] == [trial.params["x"] for trial in found]
    assert found[2].user_attrs["job"] == {
        "overrides": [f"x={found[2].params['x']}"],
        "run": str(made.folder / "2"),
    }
    work(made, 0, never)
    assert len(trials(made)) == 6, "a full study takes no more"


@pytest.mark.parametrize("error", [PrunedError("hopeless"), optuna.TrialPruned("hopeless")])
def test_a_pruned_trial(sweep, runs, error):
    def job(number, x):
        if number == 1:
            raise error
        return x

    runs(job)
    made = sweep()
    work(made, 0, never)
    found = trials(made)
    assert [trial.state.name for trial in found] == ["COMPLETE", "PRUNED", *["COMPLETE"] * 4]
    assert found[1].user_attrs["job"]["pruned"] == "hopeless"
    assert "error" not in found[1].user_attrs


def test_a_failed_trial_says_why_and_its_log_has_the_traceback(sweep, runs):
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
        work(made, 0, never)
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
def test_a_value_that_is_none_is_a_failure(sweep, runs, objectives, value):
    runs(lambda number, x: value)
    made = sweep(("minimize",) * objectives, n_trials=1, max_failure_rate=1.0)
    work(made, 0, never)
    (trial,) = trials(made)
    assert trial.state is TrialState.FAIL
    assert trial.user_attrs["error"].startswith(f"ValueError: the job returned {value!r}, not ")


def test_any_kind_of_number_is_one():
    assert as_values(np.float32(0.5), 1) == as_values([np.int64(0) + 0.5], 1) == [0.5]
    assert as_values((np.float64(1), 2), 2) == [1.0, 2.0]


def test_a_full_disk_burns_no_trials(sweep, runs):
    def full(number, x):
        if number >= 2:
            raise ValueError("cannot write the model") from OSError(errno.ENOSPC, "No space left on device")
        return x

    runs(full)
    made = sweep()
    with pytest.raises(SweepError, match="The disk is full"):
        work(made, 0, never)
    before = trials(made)
    assert [trial.state.name for trial in before] == ["COMPLETE", "COMPLETE", "FAIL", "WAITING"]
    runs(lambda number, x: x)
    work(sweep(begun=4), 0, never)
    after = trials(made)
    assert states(after) == ["COMPLETE"] * 6 + ["FAIL"]
    assert after[3].params == after[2].params


def test_an_interrupted_trial_is_repeated(sweep, runs):
    def interrupted(number, x):
        raise KeyboardInterrupt

    runs(interrupted)
    made = sweep()
    with pytest.raises(KeyboardInterrupt):
        work(made, 0, never)
    assert states(trials(made)) == ["FAIL", "WAITING"]


def test_a_failing_storage_is_one_error(sweep, runs):
    made = sweep()

    def job(number, x):
        (made.folder / "study.db").write_bytes(b"no database at all" * 1000)
        return x

    runs(job)
    with pytest.raises(SweepError, match=r"study's storage failed: .*(malformed|not a database)"):
        work(made, 0, never)


def test_the_result_of_a_worker_that_was_given_up_is_dropped(sweep, runs, caplog):
    """As after the sleep of a machine: another one has repeated its trial meanwhile."""
    made = sweep(n_trials=2)

    def job(number, x):
        if number == 0:
            other = made.open()
            other.requeue(other.trials()[0], "no sign of life")
            other.close()
        return x

    runs(job)
    work(made, 0, never)
    found = trials(made)
    assert [trial.state.name for trial in found] == ["FAIL", "COMPLETE", "COMPLETE"]
    assert found[1].params == found[0].params
    assert "its result is dropped" in caplog.text


def test_the_last_worker_waits_for_a_trial_elsewhere_and_repeats_it(sweep, runs):
    """Nobody else looks after the dead where one worker runs in the process of the sweep."""
    made = sweep(n_trials=3)
    shared = made.open()
    lock = WorkerLock(made.folder).__enter__()
    shared.claim(lock.name).suggest_float("x", 0, 1)
    lock.__exit__(KeyboardInterrupt, None, None)
    shared.close()
    runs(lambda number, x: x)
    work(made, 0, never)
    assert states(trials(made)) == ["COMPLETE"] * 3 + ["FAIL"]


def test_a_worker_stops_between_trials(sweep, runs):
    runs(lambda number, x: x)
    made, told = sweep(), []
    work(made, 0, lambda: len(told) >= 2, told.append)
    assert states(trials(made)) == ["COMPLETE"] * 2


def test_a_job_reaches_its_trial(sweep, runs):
    seen = []

    def job(number, x):
        trial = current_trial()
        trial.note("fact", number * 10)
        seen.append((trial.number, trial.keep("panel", lambda: f"made by {number}")))
        return x

    runs(job)
    made = sweep(n_trials=3)
    work(made, 0, never)
    assert seen == [(0, "made by 0"), (1, "made by 0"), (2, "made by 0")]
    assert [trial.user_attrs["job"]["fact"] for trial in trials(made)] == [0, 10, 20]
    assert current_trial() is None


def test_memory_keeps_the_latest_few():
    memory, made = TrialCache(), []
    for key in "abcdefgab":
        memory.keep(key, lambda key=key: made.append(key))
    assert "".join(made) == "abcdefgab"
    memory.keep("g", lambda: made.append("again"))
    assert "again" not in made
    assert len(memory.kept) == worker.MAX_CACHED


def report_all(sweep, runs, reports):
    """Let each trial report its values; return what the study was told."""

    def job(number, x):
        for step, value in enumerate(reports[number]):
            current_trial().report(value, step)
        return float(np.nanmean([value for value in reports[number] if value is not None]))

    runs(job)
    work(sweep, 0, never)
    return trials(sweep)


@pytest.mark.parametrize("pruner", [PAIRED, WILCOXON], ids=["ours", "Optuna's"])
def test_pruners_that_pair_folds_get_the_value_of_each(sweep, runs, pruner):
    made = sweep(pruner=pruner, n_trials=2)
    told = report_all(made, runs, [[1.0, 3.0, None, float("nan"), 2.0], [9.0, 9.0, 9.0, 9.0, 9.0]])
    assert told[0].intermediate_values == {0: 1.0, 1: 3.0, 4: 2.0}
    assert told[1].state is TrialState.PRUNED
    assert f"by {pruner['_target_'].rpartition('.')[2]}" in told[1].user_attrs["job"]["pruned"]


def test_other_pruners_get_the_mean_so_far(sweep, runs):
    made = sweep(pruner=MEDIAN, n_trials=3)
    told = report_all(made, runs, [[1.0, 3.0, 2.0], [1.0, 3.0, 2.0], [5.0, 9.0, 9.0]])
    assert told[0].intermediate_values == {0: 1.0, 1: 2.0, 2: 2.0}
    assert told[2].state is TrialState.PRUNED
    assert told[2].intermediate_values == {0: 5.0, 1: 7.0}


def test_trees_are_reported_as_they_are(sweep, runs):
    made = sweep(pruner=MEDIAN, n_trials=1, config={"search": {"report_per": "iteration"}})
    assert report_all(made, runs, [[1.0, 3.0, 2.0]])[0].intermediate_values == {0: 1.0, 1: 3.0, 2: 2.0}


def test_with_several_objectives_nothing_is_pruned(sweep, runs):
    def job(number, x):
        for step in range(10):
            current_trial().report(1000.0 * number, step)
        return (x, x)

    runs(job)
    made = sweep(("minimize", "maximize"), pruner=WILCOXON)
    work(made, 0, never)
    assert states(trials(made)) == ["COMPLETE"] * 6


def test_a_sweep_without_a_pruner_prunes_nothing(sweep, runs):
    made = sweep(pruner=None, n_trials=3)
    assert states(report_all(made, runs, [[1.0] * 9, [2.0] * 9, [3.0] * 9])) == ["COMPLETE"] * 3


def drawn(sweep, number, count):
    """Draw as a worker does, in a study of its own."""
    shared = sweep.open(number)
    study = optuna.create_study(sampler=shared.study.sampler)
    shared.close()
    return [sweep.space.overrides(study.ask())[0] for _ in range(count)]


@pytest.mark.parametrize("sampler", ["RandomSampler", "TPESampler"])
def test_workers_and_resumed_sweeps_have_draws_of_their_own(sweep, sampler):
    node = {"_target_": f"optuna.samplers.{sampler}", "seed": 7}
    first = sweep(sampler=node)
    bootstrap_resamples = [drawn(first, 0, 8), drawn(first, 1, 8), drawn(sweep(sampler=node, begun=8), 0, 8)]
    assert len({value for each in bootstrap_resamples for value in each}) == 24
    assert drawn(first, 0, 8) == bootstrap_resamples[0], "and can be repeated"
    other = sweep(sampler=node | {"seed": 8})
    assert not set(drawn(other, 0, 8)) & set(bootstrap_resamples[0])


def draw_elsewhere(node):
    sampler = build_sampler(node, [0, 0])
    study = optuna.create_study(sampler=sampler)
    return [study.ask().suggest_float("x", 0, 1) for _ in range(3)]


def test_draws_do_not_depend_on_the_process():
    node = {"_target_": "optuna.samplers.RandomSampler", "seed": 3}
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        assert pool.apply(draw_elsewhere, [node]) == draw_elsewhere(node)
        pool.close()
        pool.join()


def test_a_quasi_random_sequence_goes_on_where_it_was():
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
def test_a_sampler_or_pruner_that_cannot_be_made_is_a_config_error(node):
    with pytest.raises(ConfigError, match=node["_target_"].rpartition(".")[2]) as caught:
        build(node)
    assert "optuna.samplers or optuna.pruners" in str(caught.value)


def test_a_trial_that_is_given_up_learns_it_from_its_report(open_study):
    shared = open_study(pruner=optuna.pruners.ThresholdPruner(upper=1.0))
    trial = WorkerTrial(shared.claim("x:y"), TrialCache(), averages=False)
    trial.report(0.5, 0)
    with pytest.raises(PrunedError, match="after 2 reports by ThresholdPruner"):
        trial.report(2.0, 1)


def test_threads_are_shared_unless_they_are_given(sweep, monkeypatch):
    monkeypatch.setattr("os.sched_getaffinity", lambda _: set(range(8)))
    of = worker._worker_overrides
    assert list(of(sweep(workers=3, config={"threads": None}), 5, [])) == ["threads=2"]
    assert list(of(sweep(workers=16, config={"threads": None}), 5, [])) == ["threads=1"]
    assert list(of(sweep(config={"threads": 4}), 5, [])) == []
    assert list(of(sweep(config={"threads": None}), 5, ["threads=2"])) == []
    assert list(of(sweep(config={"search": {}}), 5, [])) == ["++search.trial=5"]
    assert Path(sweep().folder).is_dir()
