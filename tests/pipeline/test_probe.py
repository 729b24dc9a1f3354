"""The trial fit: it names the parameter that a library rejects, and never stops a model that can be fitted."""

import logging
import os

import numpy as np
import pytest
from imblearn.over_sampling import RandomOverSampler
from sklearn.linear_model import LogisticRegression
from sklearn.naive_bayes import GaussianNB
from sklearn.neighbors import KNeighborsClassifier

from mlsys.errors import EstimatorError, FitError, RowsError
from mlsys.pipeline import probe
from mlsys.pipeline.fitting import fit
from mlsys.pipeline.models import vote
from mlsys.pipeline.pipeline_spec import Training
from mlsys.pipeline.probe import check_fit, few_rows, late_advice
from mlsys.pipeline.stacking import stack
from mlsys.pipeline.stopping import XGBoostStopper
from mlsys.pipeline.traits import Traits

EARLY, LATEST = np.arange(300) < 180, np.arange(300) >= 200


def check(spec, training):
    """Check a fit with a sample of the training rows."""
    positions, validation = few_rows(training.labels)
    sample = Training(training.inputs.iloc[positions], training.labels[positions], validation, ~validation)
    check_fit(spec, sample, lambda: training)


@pytest.fixture
def training(table):
    return Training(table.inputs, table.labels, LATEST, EARLY)


@pytest.mark.parametrize("stop_after", [None, 5])
def test_every_model_passes(any_model, stop_after, spec, training):
    check(spec(any_model, stop_after=stop_after), training)


@pytest.mark.parametrize(
    ("model", "wrong", "named"),
    [
        ("xgboost", {"learning_rate": "fast"}, "model.learning_rate='fast'"),
        ("xgboost", {"missing": ".inf"}, "model.missing='.inf'"),
        ("xgboost", {"n_estimators": "many"}, "model.n_estimators='many'"),
        ("xgboost", {"booster": "gblinear"}, "model.booster='gblinear'"),
        ("lightgbm", {"num_leaves": 1}, "model.num_leaves=1"),
        ("lightgbm", {"boosting_type": "gdbt"}, "model.boosting_type='gdbt'"),
        ("catboost", {"rsm": "x"}, "model.rsm='x'"),
        (
            "catboost",
            {"class_weights": (1, 2), "auto_class_weights": "Balanced"},
            "model.class_weights=(1, 2) or model.auto_class_weights='Balanced'",
        ),
        ("hist_gradient_boosting", {"learning_rate": "fast"}, "model.learning_rate='fast'"),
        ("ebm", {"missing": "sideways"}, "model.missing='sideways'"),
        ("ebm", {"outer_bags": 0}, "model.outer_bags=0"),
        ("random_forest", {"max_features": "x"}, "model.max_features='x'"),
        ("logistic", {"solver": "x"}, "model.solver='x'"),
    ],
)
@pytest.mark.parametrize("stop_after", [None, 5])
def test_the_parameter_that_a_library_rejects_is_named(
    model, wrong, named, stop_after, component, spec, training, capfd
):
    estimator = component("model", model, **wrong)
    with pytest.raises(FitError) as caught:
        check(spec(estimator, stop_after=stop_after), training)
    message = str(caught.value)
    assert f"{type(estimator).__name__} could not be fitted on " in message
    assert f" Without {named}, the fit works: change it, or leave it out. See the documentation of " in message
    assert "Stack trace" not in message
    assert "\n" not in message
    assert capfd.readouterr() == ("", "")


def test_a_vote_of_members_with_maps_passes(component, spec, training):
    members = {"a": component("model", "catboost", monotone_constraints={"late": 1}), "b": component("model", "dummy")}
    check(spec(vote(members)), training)


def test_a_member_of_a_vote_is_named(component, spec, training):
    members = {"good": component("model", "logistic"), "bad": component("model", "xgboost", learning_rate="fast")}
    with pytest.raises(FitError, match=r"Without model\.members\.bad\.learning_rate='fast', the fit works"):
        check(spec(vote(members)), training)


def test_a_member_of_a_stack_is_named(component, spec, training):
    members = {"good": component("model", "logistic"), "bad": component("model", "xgboost", learning_rate="fast")}
    with pytest.raises(FitError, match=r"Without model\.members\.bad\.learning_rate='fast', the fit works"):
        check(spec(stack(members)), training)


class Broken(GaussianNB):
    """An estimator that no parameter could repair."""

    def fit(self, X, y):
        raise RuntimeError("out of memory")


class Unscored(GaussianNB):
    """A model whose scores are NaN unless its only parameter is left out."""

    def __init__(self, shift=0.0):
        super().__init__()
        self.shift = shift

    def predict_proba(self, X):
        return super().predict_proba(X) + self.shift


@pytest.mark.parametrize("shift", [np.nan, 2.0])
def test_scores_that_are_no_probabilities_name_the_parameter(shift, spec, training):
    message = (
        f"Unscored gives 300 of 300 rows a score that is no probability .* Without model.shift={shift!r}, the fit works"
    )
    with pytest.raises(FitError, match=message):
        check(spec(Unscored(shift)), training)


def test_scores_of_a_member_that_are_no_probabilities_name_the_member(component, spec, training):
    members = {"good": component("model", "logistic"), "bad": component("model", "xgboost", learning_rate=np.nan)}
    with pytest.raises(
        FitError, match=r"XGBClassifier gives .* a score .* Without model\.members\.bad\.learning_rate=nan"
    ):
        check(spec(vote(members)), training)


class Patient(GaussianNB):
    """A model that needs more rows than the trial fit has, unless its parameter is left out."""

    def __init__(self, patience=0):
        super().__init__()
        self.patience = patience

    def fit(self, X, y):
        if len(y) < self.patience:
            raise ValueError("too few rows")
        return super().fit(X, y)


def test_a_member_is_not_blamed_for_the_failure_of_another(spec, training, monkeypatch):
    class Full(GaussianNB):
        def fit(self, X, y):
            if len(y) == 300:
                raise RuntimeError("out of memory")
            return super().fit(X, y)

    monkeypatch.setattr(probe, "ROWS_PER_CLASS", 20)
    with pytest.raises(EstimatorError, match="out of memory"):
        fit(spec(vote({"full": Full(), "patient": Patient(300)})), training)
    check(spec(vote({"full": Full(), "patient": Patient(300)})), training)


class Unstoppable(LogisticRegression):
    """A model whose early stopping fails."""

    mlsys_traits = Traits(iterations="max_iter", early_stopping=XGBoostStopper())


def test_early_stopping_is_tried_only_where_the_fit_stops_early(spec, training):
    with pytest.raises(FitError, match="Unstoppable could not be fitted"):
        check(spec(Unstoppable(), stop_after=5), training)
    check(spec(vote({"first": Unstoppable(), "second": GaussianNB()}), stop_after=5), training)


def test_without_a_single_cause_the_error_says_so(spec, training):
    with pytest.raises(FitError, match=r"out of memory\. No single parameter is the cause\. Check model against"):
        check(spec(Broken()), training)


def test_a_model_that_only_needs_more_rows_than_the_trial_fit_has_passes(spec, table, training, monkeypatch):
    monkeypatch.setattr(probe, "ROWS_PER_CLASS", 20)
    tried, fit = [], probe.fit
    monkeypatch.setattr(probe, "fit", lambda made, rows: tried.append(len(rows.labels)) or fit(made, rows))
    check(spec(KNeighborsClassifier(n_neighbors=200)), training)
    assert tried == [40, 300]
    tried.clear()

    class Demanding(GaussianNB):
        def fit(self, X, y):
            if len(y) < 300:
                raise ValueError("too few rows")
            return super().fit(X, y)

    check(spec(Demanding()), training)
    assert tried == [40, 300]


def test_errors_about_the_rows_keep_their_own_advice(spec, table):
    one_class = Training(table.inputs, np.zeros(300, dtype=np.int8), LATEST, EARLY)
    with pytest.raises(RowsError, match=r"All 300 training rows are negative") as caught:
        check(spec(), one_class)
    assert "parameter" not in str(caught.value)


class Picky(RandomOverSampler):
    """A sampler that needs more rows than the trial fit has."""

    def fit_resample(self, X, y, **params):
        if len(y) < 100:
            os.write(2, b"too few")
            raise ValueError("too few rows to sample from")
        return super().fit_resample(X, y, **params)


def test_a_sampler_that_fails_on_the_sample_only_is_silent(spec, training, monkeypatch, caplog, capfd):
    monkeypatch.setattr(probe, "ROWS_PER_CLASS", 20)
    seen, failure = [], probe._failure
    monkeypatch.setattr(probe, "_failure", lambda made, rows: seen.append(failure(made, rows)) or seen[-1])
    check(spec(sampler=Picky(), stop_after=5), training)
    assert ["too few rows to sample from" in str(each) for each in seen] == [True, False]
    assert seen[1] is None
    assert (caplog.text, capfd.readouterr().err) == ("", "")


def test_loggers_and_standard_error_are_as_before(component, spec, training, capfd):
    level = logging.getLogger("mlsys.pipeline").level
    with pytest.raises(FitError):
        check(spec(component("model", "lightgbm", num_leaves=1)), training)
    os.write(2, b"heard")
    assert capfd.readouterr().err == "heard"
    assert logging.getLogger("mlsys.pipeline").level == level


@pytest.mark.parametrize(
    ("message", "named"),
    [
        ("Invalid C++ state in class C of step 2.", ""),
        ("The option 'C' is too small.", "The message names model.C=2.0. "),
        ("parameter C is too small.", "The message names model.C=2.0. "),
        ("C=2.0 is too large.", "The message names model.C=2.0. "),
        ("The C parameter must shrink.", "The message names model.C=2.0. "),
        ("Use another penalty term.", ""),
    ],
)
def test_a_word_that_is_also_a_parameter_is_named_only_where_the_message_means_it(message, named, component, spec):
    advice = late_advice(spec(component("model", "logistic", C=2.0, penalty="l2")), EstimatorError(message))
    assert advice.startswith(f"{named}A fit on a few rows")


def test_a_long_value_is_cut(spec, training):
    with pytest.raises(FitError) as caught:
        check(spec(Unscored([np.nan] * 300)), training)
    assert len(str(caught.value)) < 600


def test_class_weights_are_shown_as_written(component, spec, training):
    estimator = component("model", "catboost", class_weights=[1, 2], auto_class_weights="Balanced")
    with pytest.raises(FitError, match=r"Without model\.class_weights=\[1, 2\] or"):
        check(spec(estimator), training)


def test_a_later_error_names_the_parameters_that_its_message_names(component, spec):
    error = EstimatorError("KNeighborsClassifier could not be fitted on 3 rows: n_neighbors must be at most 3.")
    advice = late_advice(spec(KNeighborsClassifier(n_neighbors=7)), error)
    assert advice.startswith("The message names model.n_neighbors=7. A fit on a few rows of the first fold worked")
    missing = EstimatorError("XGBClassifier could not be fitted on 3 rows: missing must be a number.")
    assert late_advice(spec("xgboost"), missing).startswith("A fit on a few rows")  # its default was not changed
