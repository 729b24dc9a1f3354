"""Backtests: folds in order, without leaks, identical for any number of threads, and quick to stop."""

import re
import threading
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from lightgbm import LGBMClassifier
from sklearn.linear_model import LogisticRegression
from threadpoolctl import threadpool_info
from xgboost import XGBClassifier

from mlsys.data.panel import Panel
from mlsys.errors import FitError
from mlsys.evaluation import backtest
from mlsys.evaluation.backtest import BacktestPlan, objective_values, refit_folds, run_folds, run_search_folds
from mlsys.evaluation.metrics import fold_metrics
from mlsys.evaluation.splits import Backtest, GroupKFold
from mlsys.features.base import FeatureInfo
from mlsys.pipeline.calibration import Auto
from mlsys.pipeline.encoders import Native
from mlsys.pipeline.fitting import Fitted
from mlsys.pipeline.pipeline_spec import PipelineSpec
from mlsys.pipeline.stacking import stack
from mlsys.runs.calibration import Calibration
from mlsys.runs.model_io import model_bytes
from tests.waiting import HANG

ACCOUNTS, SNAPSHOTS, HORIZON = 40, 8, 30
SPLIT = Backtest(folds=3, horizon_days=HORIZON)


def make_panel(seed=0):
    rng = np.random.default_rng(seed)
    rows = ACCOUNTS * SNAPSHOTS
    users = rng.poisson(2, rows).astype(float)
    frame = pd.DataFrame(
        {
            "id": np.tile(np.arange(ACCOUNTS), SNAPSHOTS),
            "as_of": pd.Timestamp("2020-01-06") + pd.to_timedelta(np.repeat(np.arange(SNAPSHOTS) * 28, ACCOUNTS), "D"),
            "label": (users + rng.normal(size=rows) > 4).astype(np.int8),
            "label_complete": np.arange(rows) < rows - ACCOUNTS,
            "value": 10.0,
            "activity": users,
            "group": np.tile(np.arange(ACCOUNTS), SNAPSHOTS),
            "users": np.where(rng.random(rows) < 0.1, np.nan, users),
            "industry": pd.Series(rng.choice(["a", "b", None], rows), dtype="str"),
        }
    )
    return Panel(frame, (FeatureInfo("users", "number", "users"), FeatureInfo("industry", "category", "industry")))


@pytest.fixture(scope="module")
def panel():
    return make_panel()


def plan(estimator=None, threads=1, stop_after=None, **spec):
    estimator = LogisticRegression() if estimator is None else estimator
    made = PipelineSpec(Native(), None, estimator, Auto(), ["users"], ["industry"], stop_after=stop_after, **spec)
    return BacktestPlan(made, horizon_days=HORIZON, seed=0, threads=threads)


class Fits:
    """A fake ``fit`` whose action depends on the number of training rows."""

    def __init__(self, actions, otherwise):
        self.actions, self.otherwise, self.started = actions, otherwise, []

    def __call__(self, spec, rows):
        self.started.append(len(rows.labels))
        self.actions.get(len(rows.labels), self.otherwise)()
        return Fitted(Constant(), Calibration.none())


class Constant:
    """A pipeline that gives every row the same score."""

    def predict_proba(self, X):
        return np.full((len(X), 2), 0.5)


@pytest.fixture
def fits(monkeypatch):
    """Replace ``fit`` by a fake with an action for each number of training rows."""

    def make(actions, otherwise=lambda: None):
        fake = Fits(actions, otherwise)
        monkeypatch.setattr(backtest, "fit", fake)
        return fake

    return make


# Results


def test_out_of_fold_rows_have_the_columns_that_metrics_need(panel):
    folds = SPLIT.split(panel.frame)
    result = run_folds(plan(), panel, folds)
    rows = result.predictions
    assert rows.columns.tolist() == [
        *("id", "as_of", "fold", "label", "label_complete", "value", "activity", "score", "probability", "prevalence")
    ]
    assert rows["fold"].tolist() == np.repeat([0, 1, 2], ACCOUNTS).tolist()
    tested = np.concatenate([fold.test for fold in folds])
    for name in ("id", "as_of", "label", "label_complete", "activity"):
        assert rows[name].tolist() == panel.frame[name].iloc[tested].tolist()
    for part in result.folds:
        assert set(part.predictions["prevalence"]) == {panel.frame["label"].iloc[part.fold.train].mean()}
        assert np.array_equal(part.fitted.scores(panel.inputs.iloc[part.fold.test]), part.predictions["score"])
    assert result.final_rows.tolist() == list(range(ACCOUNTS * (SNAPSHOTS - 1)))


def test_scores_of_another_panel_come_in_the_order_of_the_folds(panel):
    folds = SPLIT.split(panel.frame)
    scores = refit_folds(plan(), panel, folds)["score"].to_numpy()
    assert np.array_equal(scores, run_folds(plan(), panel, folds).predictions["score"])


def test_calibration_errors_before_and_after(panel):
    weighted = plan(LogisticRegression(class_weight="balanced"))
    errors = run_folds(weighted, panel, SPLIT.split(panel.frame)).calibration_errors()
    assert errors["before"]["ece"] > 2 * errors["after"]["ece"]


def test_a_fold_without_positives_is_scored(panel):
    folds = SPLIT.split(panel.frame)
    frame = panel.frame.copy()
    frame.loc[folds[1].test, "label"] = 0
    result = run_folds(plan(), Panel(frame, panel.features), folds)
    assert result.folds[1].predictions["score"].notna().all()
    assert result.calibration_errors()["after"]["ece"] is not None


# No leaks


@pytest.mark.parametrize("estimator", [LogisticRegression(), XGBClassifier(n_estimators=30, random_state=0)])
@pytest.mark.parametrize("split", [SPLIT, GroupKFold(folds=3)])
def test_a_model_does_not_depend_on_its_test_rows(estimator, split, panel):
    made = plan(estimator, stop_after=3)
    folds = split.split(panel.frame)
    before = run_folds(made, panel, folds)
    for number, fold in enumerate(folds):
        frame = panel.frame.copy()
        later = frame["as_of"] >= fold.as_of if fold.as_of is not None else np.isin(np.arange(len(frame)), fold.test)
        frame.loc[later, "label"] = 1 - frame.loc[later, "label"]
        frame.loc[later, "users"] = 1e6
        frame.loc[later, "industry"] = "new"
        after = run_folds(made, Panel(frame, panel.features), folds).folds[number].fitted
        assert model_bytes(after.pipeline) == model_bytes(before.folds[number].fitted.pipeline)
        assert after.calibration == before.folds[number].fitted.calibration
        assert after.iterations == before.folds[number].fitted.iterations


def test_the_validation_set_is_the_latest_rows_after_an_embargo(panel, monkeypatch):
    seen = []

    def spy(spec, rows):
        seen.append(rows)
        return Fitted(Constant(), Calibration.none())

    monkeypatch.setattr(backtest, "fit", spy)
    made = plan(XGBClassifier(), stop_after=3)
    run_folds(made, panel, SPLIT.split(panel.frame))
    run_folds(plan(), panel, SPLIT.split(panel.frame))
    for rows in seen[:4]:
        times = panel.frame["as_of"].loc[rows.inputs.index]
        assert times[rows.validation].min() > times[~rows.validation].max()
        assert times[rows.early].max() + pd.Timedelta(days=HORIZON) <= times[rows.validation].min()
    assert all(rows.early is None and rows.validation is None for rows in seen[4:])


# Threads


@pytest.mark.parametrize(
    "estimator",
    [
        LogisticRegression(),
        XGBClassifier(n_estimators=20, subsample=0.8, random_state=0),
        LGBMClassifier(n_estimators=20, min_child_samples=5, deterministic=True, verbose=-1, random_state=0),
    ],
)
def test_threads_change_nothing(estimator, panel):
    folds = SPLIT.split(panel.frame)
    one, two = (run_folds(plan(estimator, threads=threads, stop_after=3), panel, folds) for threads in (1, 2))
    pd.testing.assert_frame_equal(one.predictions, two.predictions, check_exact=True)
    assert model_bytes(one.final.pipeline) == model_bytes(two.final.pipeline)
    assert [part.fitted.iterations for part in one.folds] == [part.fitted.iterations for part in two.folds]


@pytest.mark.parametrize(("threads", "each"), [(1, 1), (2, 1), (4, 1), (9, 2)])
def test_fits_share_the_threads(threads, each, panel, monkeypatch):
    threads_given = []

    def spy(spec, rows):
        blas = [library["num_threads"] for library in threadpool_info() if library["user_api"] == "blas"]
        threads_given.append((spec.threads, set(blas)))
        return Fitted(Constant(), Calibration.none())

    monkeypatch.setattr(backtest, "fit", spy)
    before = [library["num_threads"] for library in threadpool_info()]
    run_folds(plan(threads=threads), panel, SPLIT.split(panel.frame))
    assert threads_given == [(each, {1})] * 4
    assert [library["num_threads"] for library in threadpool_info()] == before


def test_results_are_in_fold_order_even_if_later_folds_finish_first(panel, fits):
    folds = SPLIT.split(panel.frame)
    last_is_done = threading.Event()
    fits({len(folds[0].train): lambda: last_is_done.wait(HANG), len(folds[2].train): last_is_done.set})
    result = run_folds(plan(threads=4), panel, folds)
    assert last_is_done.is_set()
    assert [part.fold.number for part in result.folds] == [0, 1, 2]
    assert result.predictions["fold"].is_monotonic_increasing


# Errors


def test_one_class_only_names_the_fold(panel):
    frame = panel.frame.copy()
    folds = SPLIT.split(frame)
    frame.loc[folds[1].train, "label"] = 0
    with pytest.raises(FitError, match=r"^fold 0 \(as-of 2020-05-25\): All 160 training rows are negative.* Increase"):
        run_folds(plan(), Panel(frame, panel.features), folds)


def test_the_final_model_is_named_too(panel):
    frame = panel.frame.assign(label=np.int8(1))
    with pytest.raises(FitError, match=r"^the final model: All 280 training rows are positive"):
        run_folds(plan(), Panel(frame, panel.features), [])


def test_an_error_of_a_fold_is_raised_at_once_and_pending_folds_never_start(panel, fits):
    folds = Backtest(folds=6, horizon_days=28).split(panel.frame)
    release = threading.Event()

    def fail():
        raise FitError("broken")

    calls = fits({len(folds[0].train): fail}, otherwise=lambda: release.wait(HANG))
    with pytest.raises(FitError, match=r"^fold 0 \(as-of 2020-03-02\): broken$"):
        run_folds(plan(threads=2), panel, folds)
    assert not release.is_set()  # it did not wait for the final model
    release.set()
    _join_workers()
    assert len(calls.started) <= 3  # the final model, fold 0, and a fold that started before the cancellation


def test_ctrl_c_does_not_wait_for_fits(panel, fits, monkeypatch):
    folds = Backtest(folds=6, horizon_days=28).split(panel.frame)
    release = threading.Event()
    calls = fits({}, otherwise=lambda: release.wait(HANG))

    def interrupted(*args, **kwargs):
        raise KeyboardInterrupt

    monkeypatch.setattr(backtest, "wait", interrupted)
    with pytest.raises(KeyboardInterrupt):
        run_folds(plan(threads=1), panel, folds)
    assert not release.is_set()
    release.set()
    _join_workers()
    assert len(calls.started) <= 1


def test_training_rows_without_time_are_split_by_group(panel):
    frame = panel.frame.assign(as_of=pd.Series(pd.NaT, index=panel.frame.index, dtype="datetime64[us]"))
    folds = GroupKFold(folds=3).split(frame)
    made = plan(XGBClassifier(n_estimators=50, random_state=0), stop_after=3)
    result = run_folds(made, Panel(frame, panel.features), folds)
    assert all(part.fitted.iterations is not None for part in result.folds)
    assert result.final.iterations is not None


def test_the_plan_is_not_modified(panel):
    made = plan(threads=2)
    before = replace(made)
    run_folds(made, panel, SPLIT.split(panel.frame))
    assert made == before


def _join_workers():
    for thread in threading.enumerate():
        if thread.name.startswith("fit"):
            thread.join(HANG)


def test_the_metrics_of_a_fold_are_computed_once(panel, monkeypatch):
    calls = []
    monkeypatch.setattr(
        backtest,
        "fold_metrics",
        lambda *columns, top_k, **rest: calls.append(top_k) or fold_metrics(*columns, top_k=top_k, **rest),
    )
    results = run_search_folds(plan(), panel, SPLIT.split(panel.frame))
    first = objective_values(results, ["precision@5"], [5])
    assert objective_values(results, ["precision@5"], [5]) == first
    assert calls == [[5]] * len(results)
    assert objective_values(results, ["precision@1"], [1]) != first


# Errors


@pytest.mark.parametrize("run", [run_folds, run_search_folds])
def test_a_wrong_parameter_is_named_before_any_fold_is_fitted(run, panel, fits):
    started = fits({}).started
    folds = SPLIT.split(panel.frame)
    with pytest.raises(FitError) as caught:
        run(plan(XGBClassifier(n_estimators=5, learning_rate="fast")), panel, folds)
    assert str(caught.value).startswith(
        f"fold {folds[0].number} (as-of {folds[0].as_of:%Y-%m-%d}): XGBClassifier could"
    )
    assert "Without model.learning_rate='fast', the fit works" in str(caught.value)
    assert str(caught.value).endswith(" Nothing was trained.")
    assert started == []


@pytest.mark.parametrize(
    "model", [XGBClassifier(objective="reg:squarederror"), LGBMClassifier(objective="huber", verbose=-1)]
)
def test_scores_that_are_no_probabilities_name_fold_and_model(model, panel):
    message = (
        rf"^fold 0 \(as-of .*\): {type(model).__name__} gives .* a score that is no probability .* Without .*objective"
    )
    with pytest.raises(FitError, match=message):
        run_search_folds(plan(model.set_params(n_estimators=60, learning_rate=1.0)), panel, SPLIT.split(panel.frame))


@pytest.mark.parametrize(
    ("horizon_days", "changes", "advice"),
    [
        (7, {}, "Increase data.horizon_days"),
        (0, {}, "Test fewer, later rows"),
        (0, {"as_of": pd.NaT, "group": "one"}, "The rows of a group (data.group) stay together"),
        (0, {"as_of": pd.NaT}, "Add rows of the other class, or check data.target"),
    ],
)
def test_rows_of_one_class_get_the_advice_for_their_kind_of_data(horizon_days, changes, advice, panel):
    frame = panel.frame.assign(label=0, group=np.arange(len(panel.frame))).assign(**changes)
    made = replace(plan(LogisticRegression()), horizon_days=horizon_days)
    with pytest.raises(FitError, match=rf"negative, but a model needs both classes\. {re.escape(advice)}"):
        run_search_folds(made, Panel(frame, panel.features), GroupKFold(2).split(panel.frame))


class Weekly(LogisticRegression):
    """An estimator that cannot be fitted on the rows of a later fold."""

    def fit(self, X, y):
        if len(y) > 4 * ACCOUNTS:
            raise ValueError(f"C={self.C} is too small for so many rows")
        return super().fit(X, y)


def test_an_error_in_a_later_fold_names_fold_model_parameter_and_next_step(panel):
    folds = SPLIT.split(panel.frame)
    assert len(folds[0].train) <= 4 * ACCOUNTS < len(folds[-1].train)
    with pytest.raises(FitError) as caught:
        run_search_folds(plan(Weekly(C=0.5)), panel, folds)
    message = str(caught.value)
    assert message.startswith("fold 1 (as-of ")
    assert "Weekly could not be fitted on 200 rows" in message
    assert "C=0.5 is too small for so many rows. The message names model.C=0.5. A fit on a few rows of" in message
    assert "check them, change the parameters of the model, or use another model." in message


def test_a_stack_gets_the_times_at_which_labels_were_known(panel, monkeypatch):
    seen = []

    def remember(spec, rows):
        seen.append(rows.details)
        return Fitted(Constant(), Calibration.none())

    monkeypatch.setattr(backtest, "fit", remember)
    made = plan(stack({"a": LogisticRegression(), "b": LogisticRegression(C=0.1)}))
    run_search_folds(made, panel, SPLIT.split(panel.frame))
    assert len(seen) == 3
    for details in seen:
        assert list(details) == ["as_of", "known_at", "group"]
        assert (details["known_at"] - details["as_of"] == pd.Timedelta(days=HORIZON)).all()


def test_a_stack_is_fitted_and_scored_on_every_fold(panel):
    made = plan(stack({"a": LogisticRegression(), "b": LogisticRegression(C=0.1)}, min_converters=4, folds=2))
    results = run_search_folds(made, panel, SPLIT.split(panel.frame))
    weights = [result.fitted.pipeline[-1].coef_ for result in results]
    assert not np.allclose(weights[-1], 0.5)
    assert all(result.predictions["probability"].between(0, 1).all() for result in results)
