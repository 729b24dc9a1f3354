"""Fitting: early stopping on the latest training rows only, and errors that say what to do."""

import json
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from sklearn.base import BaseEstimator, ClassifierMixin, clone
from sklearn.linear_model import SGDClassifier
from sklearn.metrics import log_loss

from mlsys.errors import EstimatorError, FitError, RowsError
from mlsys.pipeline.calibration import CalibrationData
from mlsys.pipeline.ebm import EBMStopper
from mlsys.pipeline.fitting import Fitted, fit
from mlsys.pipeline.models import vote
from mlsys.pipeline.pipeline_spec import Training
from mlsys.pipeline.stopping import (
    CatBoostStopper,
    EncodedRows,
    HistStopper,
    LightGBMStopper,
    ValidationSet,
    XGBoostStopper,
)
from mlsys.pipeline.traits import Traits, traits_of
from mlsys.runs.calibration import Calibration
from mlsys.runs.model_io import model_bytes

STOPPING = ["xgboost", "lightgbm", "catboost", "hist_gradient_boosting"]
LIMITS = {"catboost": "iterations", "hist_gradient_boosting": "max_iter"}
EARLY = np.arange(300) < 180
LATEST = np.arange(300) >= 200  # the 20 rows in between are embargoed
NOISE = np.random.default_rng(5).permutation


def iterations_in(fitted):
    model = fitted.pipeline[-1]
    if hasattr(model, "get_booster"):
        return model.get_booster().num_boosted_rounds()
    if hasattr(model, "n_iter_"):
        return model.n_iter_
    return model.booster_.num_trees() if hasattr(model, "booster_") else model.tree_count_


def training(table, labels=None, inputs=None):
    rows = replace(table.training(), validation=LATEST, early=EARLY)
    return replace(
        rows, inputs=rows.inputs if inputs is None else inputs, labels=rows.labels if labels is None else labels
    )


@pytest.fixture(params=STOPPING)
def stopping(request, component, spec):
    """Return a spec with early stopping and far more iterations than needed."""
    maximum = {LIMITS.get(request.param, "n_estimators"): 200}
    return spec(component("model", request.param, **maximum), stop_after=5)


def test_the_best_number_of_iterations_is_fitted_on_all_rows(stopping, table):
    both = fit(stopping, training(table))
    assert 1 < both.iterations < 200
    assert iterations_in(both) == both.iterations
    name = traits_of(stopping.estimator).iterations
    exact = clone(stopping.estimator).set_params(**{name: both.iterations})
    plain = fit(replace(stopping, stop_after=None, estimator=exact), Training(table.inputs, table.labels))
    assert np.array_equal(plain.scores(table.inputs), both.scores(table.inputs))


def test_the_latest_rows_determine_the_iterations(stopping, table):
    labels = table.labels.copy()
    labels[LATEST] = NOISE(labels[LATEST])
    assert fit(stopping, training(table, labels)).iterations < fit(stopping, training(table)).iterations


def test_boosting_that_ends_at_its_limit_says_so_and_other_fits_do_not(stopping, component, table):
    assert fit(stopping, training(table)).choice.caps() == []
    name = traits_of(stopping.estimator).iterations
    short = fit(replace(stopping, estimator=clone(stopping.estimator).set_params(**{name: 7})), training(table))
    assert short.choice.caps() == [(name, 7)]


def test_embargoed_rows_do_not_affect_the_iterations(stopping, table):
    labels = table.labels.copy()
    labels[~EARLY & ~LATEST] ^= 1
    assert fit(stopping, training(table, labels)).iterations == fit(stopping, training(table)).iterations


def test_levels_that_only_later_rows_have_are_unknown_when_fitting_for_validation(stopping, table):
    later = table.inputs.copy()
    later.loc[LATEST, "Größe, €"] = "new"
    other = later.copy()
    other.loc[LATEST, "Größe, €"] = "newer"
    assert (
        fit(stopping, training(table, inputs=later)).iterations
        == fit(stopping, training(table, inputs=other)).iterations
    )


@pytest.mark.parametrize("part", [EARLY, LATEST])
def test_without_both_classes_in_a_part_all_iterations_are_fitted_with_a_warning(part, stopping, table, caplog):
    labels = np.where(part, 0, table.labels).astype(np.int8)
    both = fit(stopping, training(table, labels))
    assert both.iterations is None
    assert iterations_in(both) == 200
    name = "earlier" if part is EARLY else "latest"
    assert "No early stopping; fitting 200 iterations" in caplog.text
    assert f": The {name} training rows do not contain both classes" in caplog.text


def test_without_validation_rows_all_iterations_are_fitted_with_a_warning(stopping, table, caplog):
    both = fit(stopping, Training(table.inputs, table.labels))
    assert both.iterations is None
    assert "No early stopping" in caplog.text


def test_a_sampler_that_fails_on_the_earlier_rows_only_does_not_stop_the_fit(spec, table, caplog):
    labels = table.labels.copy()
    labels[np.flatnonzero(EARLY & (labels == 1))[1:]] = 0
    both = fit(spec(sampler="smotenc", stop_after=5), training(table, labels))
    assert both.iterations is None
    assert "No early stopping" in caplog.text
    assert "the training rows contain 1 positive row" in caplog.text


def test_early_stopping_that_a_library_rejects_is_an_error(stopping, table, monkeypatch):
    stopper = type(traits_of(stopping.estimator).early_stopping)
    monkeypatch.setattr(stopper, "fit_arguments", lambda *arguments: {"eval_set": "wrong"})
    with pytest.raises(EstimatorError, match="could not be fitted on 180 rows"):
        fit(stopping, training(table))


class Reported:
    """A callback that receives a metric after each iteration, and never stops."""

    metric = "roc_auc"

    def __call__(self, iteration, value):
        return False

    def raise_if_stopped(self):
        pass


@pytest.mark.parametrize("calibration", ["auto", "sigmoid"])
def test_a_metric_that_is_reported_does_not_change_the_fit(calibration, stopping, component, table):
    made = replace(stopping, calibrator=component("calibration", calibration))
    plain, reported = (fit(each, training(table)) for each in (made, replace(made, callback=Reported())))
    assert plain.calibration == reported.calibration
    assert model_bytes(plain.pipeline) == model_bytes(reported.pipeline)


@pytest.mark.parametrize("metrics", ["auc", ["auc"], ["auc", "error"]])
def test_xgboosts_own_metrics_do_not_change_the_fit(metrics, spec, component, table):
    plain, other = (
        fit(spec(component("model", "xgboost", eval_metric=each), stop_after=5), training(table))
        for each in (None, metrics)
    )
    assert model_bytes(plain.pipeline) == model_bytes(other.pipeline)
    assert (traits_of(other.pipeline[-1]).importances(other.pipeline[-1]) >= 0).all()


def test_swapped_classes_are_an_error(spec, component, table):
    with pytest.raises(FitError, match=r"CatBoostClassifier has the classes \[1, 0\] instead of \[0, 1\].*class_names"):
        fit(spec(component("model", "catboost", class_names=(1, 0))), training(table))


@pytest.fixture
def validation_sets(monkeypatch):
    """Collect the validation sets that early stopping gets."""
    seen = []

    def spied(original):
        def spy(self, estimator, rounds, training, validation, categories, callback=None):
            seen.append(validation)
            return original(self, estimator, rounds, training, validation, categories, callback)

        return spy

    for stopper in (CatBoostStopper, HistStopper, LightGBMStopper, XGBoostStopper):
        monkeypatch.setattr(stopper, "fit_arguments", spied(stopper.fit_arguments))
    return seen


def test_the_validation_set_is_unweighted_by_default(stopping, table, validation_sets):
    fit(stopping, training(table))
    assert len(validation_sets) == 1
    assert np.array_equal(validation_sets[0].labels, table.labels[LATEST])
    assert validation_sets[0].weights is None


@pytest.mark.parametrize("sampler", ["smotenc", "smote"])
def test_the_validation_set_of_resampled_models_is_weighted_alike(sampler, stopping, component, table, validation_sets):
    fit(replace(stopping, sampler=component("sampler", sampler)), training(table))
    early, weights, labels = table.labels[EARLY].mean(), validation_sets[0].weights, table.labels[LATEST]
    assert np.array_equal(labels, validation_sets[0].labels)  # the rows themselves are never resampled
    assert weights[labels == 0].tolist() == [1.0] * (labels == 0).sum()
    assert weights[labels == 1] == pytest.approx((1 - early) / early)


@pytest.mark.parametrize(
    ("model", "options", "weight"),
    [
        ("xgboost", {"scale_pos_weight": 6}, 6),
        ("lightgbm", {"scale_pos_weight": 6}, 6),
        ("catboost", {"scale_pos_weight": 6}, None),  # the library weights these rows itself
    ],
)
def test_class_weights_count_in_the_validation_set_too(model, options, weight, spec, component, table, validation_sets):
    fit(spec(component("model", model, **options), stop_after=5), training(table))
    assert (
        validation_sets[0].weights is None
        if weight is None
        else validation_sets[0].weights.max() == pytest.approx(weight)
    )


@pytest.mark.parametrize(("model", "weighs"), [("xgboost", False), ("lightgbm", False), ("catboost", True)])
def test_whether_a_library_applies_class_weights_to_the_validation_set(model, weighs, component, table):
    X, y = table.inputs[table.numbers].fillna(0.0).to_numpy(), table.labels
    automatic = {"lightgbm": {"num_leaves": 7, "reg_lambda": 10}}.get(model, {})
    estimator = component("model", model, scale_pos_weight=6, **automatic)
    stopper = traits_of(estimator).early_stopping
    assert stopper.applies_class_weights == weighs
    training, validation = EncodedRows(X[EARLY], y[EARLY]), ValidationSet(X[LATEST], y[LATEST], None)
    estimator.fit(training.inputs, training.labels, **stopper.fit_arguments(estimator, 100, training, validation, []))
    best = getattr(estimator, "best_score", None) or estimator.best_score_
    best = best if isinstance(best, float) else next(iter(list(best.values())[-1].values()))
    positive = estimator.predict_proba(X[LATEST])[:, 1]
    assert best == pytest.approx(
        log_loss(y[LATEST], positive, sample_weight=np.where(y[LATEST], 6 if weighs else 1, 1))
    )


def test_models_that_choose_nothing_need_no_validation_rows(any_model, spec, table, caplog):
    made = spec(any_model, stop_after=5)
    if made.chooses:
        return
    both = fit(made, table.training())
    assert both.iterations is None
    assert caplog.text == ""


# The data that a calibration is fitted on


class Recorder:
    """A calibrator that records its data."""

    needs_scores = True

    def fit(self, data: CalibrationData) -> Calibration:
        self.data = data
        return Calibration.none()


@pytest.mark.parametrize("model", ["logistic", "xgboost"])
def test_a_calibration_gets_the_latest_rows_scored_by_a_model_of_the_earlier_ones(model, spec, table):
    recorder = Recorder()
    fit(spec(model, calibration=recorder), training(table))
    early = fit(spec(model, calibration="none"), Training(table.inputs[EARLY], table.labels[EARLY]))
    assert np.array_equal(recorder.data.scores, early.scores(table.inputs[LATEST]))
    assert np.array_equal(recorder.data.labels, table.labels[LATEST])
    assert recorder.data.prior == table.labels.mean()


def test_a_calibration_gets_the_prior_after_resampling(spec, table):
    recorder = Recorder()
    fit(spec("logistic", sampler="smotenc", calibration=recorder), training(table))
    assert recorder.data.learned_prior == 0.5


@pytest.mark.parametrize("calibration", ["sigmoid", "isotonic"])
def test_a_calibration_without_validation_rows_says_what_to_do(calibration, spec, table):
    labels = np.where(LATEST, 0, table.labels).astype(np.int8)
    with pytest.raises(FitError, match=r"latest training rows do not contain both classes.* Use calibration=auto"):
        fit(spec("logistic", calibration=calibration), training(table, labels))


# Threads and errors


class Broken(ClassifierMixin, BaseEstimator):
    """An estimator that cannot be fitted."""

    def fit(self, X, y):
        raise RuntimeError("out of memory")


def test_an_estimators_error_is_reported_with_the_number_of_rows(spec, table):
    with pytest.raises(
        FitError, match=r"Broken could not be fitted on 300 rows \(\d+ positive\) with 9 features: out of"
    ):
        fit(spec(Broken()), Training(table.inputs, table.labels))


def test_an_encoders_error_is_reported_too(spec, table):
    tiny = [0, 1, 2, -1]  # five folds of four rows
    message = r"The encoder TargetRate could not be fitted on 4 rows \(1 positive\) with 9 features: .*n_splits=5.*Use"
    with pytest.raises(RowsError, match=message):
        fit(spec(encoder="target"), Training(table.inputs.iloc[tiny], np.array([0, 0, 0, 1], dtype=np.int8)))


class Threaded(ClassifierMixin, BaseEstimator):
    """An estimator that records its number of threads."""

    mlsys_traits = Traits(threads="workers")

    def __init__(self, workers=None):
        self.workers = workers

    def fit(self, X, y):
        self.classes_, self.used_ = np.array([0, 1]), self.workers
        return self

    def predict_proba(self, X):
        return np.full((len(X), 2), 0.5)


def test_the_number_of_threads_is_set_for_the_fit_and_then_reset(spec, table):
    alone = fit(spec(Threaded(), threads=3), Training(table.inputs, table.labels)).pipeline
    together = fit(spec(vote({"a": Threaded(), "b": Threaded()}), threads=3), Training(table.inputs, table.labels))
    members = [member.estimator for member in together.pipeline[-1].estimators_]
    assert [pipeline[-1].used_ for pipeline in (alone, *members)] == [3, 3, 3]
    assert [pipeline[-1].workers for pipeline in (alone, *members)] == [1, 1, 1]


def test_the_saved_model_scores_with_one_thread(fitted):
    boosters = {name: fitted("native", name).pipeline[-1] for name in ("xgboost", "lightgbm", "random_forest")}
    assert {name: model.n_jobs for name, model in boosters.items()} == dict.fromkeys(boosters, 1)
    config = json.loads(boosters["xgboost"].get_booster().save_config())
    assert config["learner"]["generic_param"]["nthread"] == "1"


def test_the_estimator_of_the_spec_is_not_modified(any_model, spec, table):
    made = spec(any_model, stop_after=5)
    before = str(made.estimator.get_params())
    fit(made, replace(table.training(), validation=LATEST, early=EARLY))
    assert str(made.estimator.get_params()) == before
    assert not hasattr(made.estimator, "classes_") or any_model == "catboost"


def test_scores_are_those_of_the_positive_class(fitted, later):
    both = fitted("native", "logistic")
    assert isinstance(both, Fitted)
    assert np.array_equal(both.scores(later.inputs), both.pipeline.predict_proba(later.inputs)[:, 1])


@pytest.mark.parametrize("calibration", ["auto", "sigmoid"])
def test_fits_with_validation_rows_are_byte_identical(calibration, stopping, component, table):
    made = replace(stopping, calibrator=component("calibration", calibration))
    first, second = (fit(made, training(table)) for _ in range(2))
    assert first.calibration == second.calibration
    assert model_bytes(first.pipeline) == model_bytes(second.pipeline)


def test_the_index_of_the_frame_is_ignored(spec, table):
    moved = table.inputs.set_index(pd.Index(np.arange(300)[::-1] * 7))
    first = fit(spec(sampler="smotenc", stop_after=5), training(table))
    second = fit(spec(sampler="smotenc", stop_after=5), training(table, inputs=moved))
    assert first.iterations == second.iterations
    assert model_bytes(first.pipeline) == model_bytes(second.pipeline)


def test_a_model_without_probabilities_is_an_error(spec, table):
    made = replace(spec(), estimator=SGDClassifier(loss="hinge"), stop_after=None)
    with pytest.raises(FitError, match="SGDClassifier does not predict probabilities as configured"):
        fit(made, training(table))


# Explainable boosting machines, which hold out random rows of their own


@pytest.fixture
def ebm(component, spec):
    """Return a spec whose machine would go on for long."""
    return spec(component("model", "ebm", max_rounds=400, smoothing_rounds=0, outer_bags=3), stop_after=5)


def test_the_latest_rows_set_the_most_rounds_of_an_ebm(ebm, table):
    both, labels = fit(ebm, training(table)), table.labels.copy()
    assert 1 < both.iterations < 400
    assert both.pipeline[-1].max_rounds == both.iterations
    assert both.pipeline[-1].outer_bags == 3
    assert both.pipeline[-1].bag_weights_.tolist() == pytest.approx([0.85 * len(labels)] * 3, abs=1)
    labels[LATEST] = NOISE(labels[LATEST])
    assert fit(ebm, training(table, labels)).iterations < both.iterations


def test_an_ebm_that_meets_its_cap_keeps_it(component, spec, table):
    capped = fit(spec(component("model", "ebm", max_rounds=3, smoothing_rounds=0), stop_after=5), training(table))
    assert capped.iterations == 3


@pytest.mark.parametrize(
    "terms",
    [
        {"exclude": "mains", "interactions": [["users_max_28d", "late"]]},
        {"exclude": "mains", "interactions": 0},
        {"interactions": [["users_max_28d", "late"]]},
    ],
)
def test_rounds_of_an_ebm_are_counted_whatever_its_terms(terms, component, spec, table):
    made = spec(component("model", "ebm", max_rounds=30, **terms), stop_after=5)
    assert 1 <= fit(made, training(table)).iterations <= 30


def test_the_validation_rows_of_an_ebm_are_weighted_as_those_of_other_models(ebm, component, table, monkeypatch):
    seen = []
    original = EBMStopper.fit_arguments
    monkeypatch.setattr(EBMStopper, "fit_arguments", lambda *all_: seen.append(original(*all_)) or seen[-1])
    fit(replace(ebm, sampler=component("sampler", "smotenc")), training(table))
    (options,) = seen
    held_out, early = options["bags"][:, 0] == -1, table.labels[EARLY].mean()
    assert np.array_equal(options["y"][held_out], table.labels[LATEST])
    assert set(options["sample_weight"][~held_out]) == {1.0}
    assert options["sample_weight"][held_out][table.labels[LATEST] == 1] == pytest.approx((1 - early) / early)


def test_threads_do_not_change_an_ebm(ebm, table):
    one, two = (fit(replace(ebm, threads=threads), training(table)) for threads in (1, 2))
    assert model_bytes(one.pipeline) == model_bytes(two.pipeline)
