"""Rows that stand for several: every model, sampler and calibration gives the probabilities of the whole table."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from imblearn.combine import SMOTETomek
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.neighbors import KNeighborsClassifier

from mlsys.errors import FitError, RowsError
from mlsys.pipeline.calibration import CalibrationData, Isotonic, Sigmoid
from mlsys.pipeline.class_weights import class_weights_of_totals
from mlsys.pipeline.combiner import fit_combiner
from mlsys.pipeline.composites import MemberRows, PartialRows
from mlsys.pipeline.fitting import fit
from mlsys.pipeline.models import ActivityRanking
from mlsys.pipeline.outputs import Output
from mlsys.pipeline.pipeline_spec import Training
from mlsys.pipeline.requirements import learned_prior
from mlsys.pipeline.sampling import resample_weighted
from mlsys.pipeline.stopping import validation_weights
from mlsys.pipeline.survival import person_periods
from mlsys.pipeline.uplift import uplift, with_treatment
from mlsys.pipeline.weights import taken
from tests.pipeline.conftest import make_table
from tests.pipeline.test_uplift import CATEGORIES, MAIL, NUMBERS, campaign

WEIGHT = 3  # rows that a sampled negative stands for


def sample_of(rows):
    """Return training rows with every third negative, each of which stands for three."""
    kept = (rows.labels == 1) | (np.cumsum(rows.labels == 0) % WEIGHT == 0)
    details = None if rows.details is None else rows.details[kept]
    weights = np.where(rows.labels == 1, 1.0, WEIGHT)[kept]
    masks = {
        name: None if mask is None else mask[kept]
        for name, mask in (("validation", rows.validation), ("early", rows.early))
    }
    return Training(rows.inputs[kept], rows.labels[kept], details=details, weights=weights, **masks)


@pytest.fixture(scope="module")
def large():
    return make_table(1_500)


@pytest.fixture(scope="module")
def sampled(large):
    position = np.arange(len(large.labels))
    return sample_of(replace(large.training(), early=position < 1_000, validation=position >= 1_000))


def mean_probability(made, large):
    return made.calibration.apply(made.scores(large.inputs)).mean()


def check_probabilities(made, large):
    """Compare the mean probability with the rate of the whole table, which is half of that of the sample."""
    assert mean_probability(made, large) == pytest.approx(large.labels.mean(), rel=0.25)


def test_every_model(any_model, spec, sampled, large):
    check_probabilities(fit(spec(any_model), sampled), large)


@pytest.mark.parametrize("model", ["xgboost", "lightgbm", "catboost", "hist_gradient_boosting", "ebm"])
def test_every_library_that_stops_early(model, spec, sampled, large, component):
    limit = {"catboost": "iterations", "hist_gradient_boosting": "max_iter", "ebm": "max_rounds"}
    estimator = component("model", model, **{limit.get(model, "n_estimators"): 100})
    made = fit(spec(estimator, stop_after=5), sampled)
    assert 1 < made.iterations < 100
    check_probabilities(made, large)


@pytest.mark.parametrize("model", ["logistic", "xgboost"])
def test_every_sampler(model, any_sampler, spec, sampled, large):
    made = spec(model, sampler=any_sampler)
    # Those that remove rows near the other class bias the probabilities, with or without weights.
    whole = mean_probability(fit(made, large.training()), large)
    assert mean_probability(fit(made, sampled), large) == pytest.approx(whole, rel=0.25)


def test_every_calibration(any_calibration, spec, sampled, large):
    check_probabilities(fit(spec("logistic", calibration=any_calibration), sampled), large)


@pytest.mark.parametrize(
    ("model", "parameters"),
    [
        ("logistic", {"class_weight": "balanced"}),
        ("random_forest", {"class_weight": "balanced_subsample"}),
        ("random_forest", {"class_weight": "balanced"}),
        ("lightgbm", {"is_unbalance": True}),
        ("lightgbm", {"class_weight": "balanced"}),
        ("catboost", {"auto_class_weights": "Balanced"}),
        ("catboost", {"auto_class_weights": "SqrtBalanced"}),
        ("xgboost", {"scale_pos_weight": 8}),
    ],
)
def test_class_weights(model, parameters, spec, sampled, large, component):
    check_probabilities(fit(spec(component("model", model, **parameters)), sampled), large)


def test_class_weights_that_are_words_count_the_weights():
    assert class_weights_of_totals(LogisticRegression(class_weight={0: 1, 1: 7}), 2.0, 8.0) == {}
    assert class_weights_of_totals(LogisticRegression(class_weight="balanced"), 2.0, 8.0) == {
        "class_weight": {0: 1.0, 1: 4.0}
    }


def test_uplift(spec):
    inputs, labels, effects = campaign(6_000, 0)
    model = with_treatment(
        uplift(LogisticRegression(C=0.1, max_iter=1000), Ridge(100), LogisticRegression(C=0.1, max_iter=1000)), MAIL
    )
    rows = sample_of(Training(inputs, labels))
    made = fit(spec(model, numbers=NUMBERS, categories=CATEGORIES), rows)
    found = made.pipeline[-1].more_outputs(inputs, made.calibration)
    assert found[:, 0].mean() == pytest.approx(effects.mean(), abs=0.03)
    assert made.scores(inputs).mean() == pytest.approx(labels.mean(), rel=0.1)
    assert made.pipeline[-1].propensity_[0] == pytest.approx(0.5, abs=0.03)  # converters are treated more often


# The same as repeated rows


@pytest.fixture(scope="module")
def repeated():
    """Scores with labels and whole weights, and the rows that they stand for."""
    rng = np.random.default_rng(0)
    score = rng.beta(1, 4, 200)
    labels = (rng.random(200) < score).astype(np.int8)
    weights = rng.integers(1, 5, 200)
    return score, labels, weights.astype(np.float64), np.repeat(np.arange(200), weights)


@pytest.mark.parametrize("calibrator", [Isotonic(), Sigmoid()])
def test_calibrators(calibrator, repeated):
    score, labels, weights, rows = repeated
    weighted = calibrator.fit(CalibrationData(0.2, 0.2, score, labels, weights))
    whole = calibrator.fit(CalibrationData(0.2, 0.2, score[rows], labels[rows]))
    np.testing.assert_allclose(weighted.apply(score), whole.apply(score), atol=1e-5)


def test_the_activity_ranking(repeated):
    score, labels, weights, rows = repeated
    frame = pd.DataFrame({"users_max_28d": score})
    weighted = ActivityRanking().fit(frame, labels, sample_weight=weights)
    whole = ActivityRanking().fit(frame.iloc[rows], labels[rows])
    np.testing.assert_allclose(weighted.predict_proba(frame), whole.predict_proba(frame))


def test_the_weights_of_a_stack():
    rng = np.random.default_rng(1)
    log_odds = rng.normal(size=(400, 2))
    labels = (rng.random(400) < 1 / (1 + np.exp(2 - log_odds[:, 0]))).astype(np.int8)
    weights = np.where(labels == 1, 1.0, 3.0)
    rows = np.repeat(np.arange(400), weights.astype(int))
    shared = {"converters": int(labels.sum()), "shrinkage": 10}
    weighted = fit_combiner(log_odds, labels, weights=weights, **shared)
    whole = fit_combiner(log_odds[rows], labels[rows], **shared)
    np.testing.assert_allclose([*weighted.weights, weighted.intercept], [*whole.weights, whole.intercept], atol=1e-4)


def test_the_prior_that_is_learned(repeated):
    _, labels, weights, rows = repeated
    for weight in (None, "balanced", {1: 3}):
        estimator = LogisticRegression(class_weight=weight)
        assert learned_prior(estimator, labels, weights) == pytest.approx(learned_prior(estimator, labels[rows]))


def test_validation_rows_keep_their_weights():
    labels, weights = np.array([0, 1], dtype=np.int8), np.array([4.0, 1.0])
    assert validation_weights(labels, prior=0.2, learned_prior=0.2, weights=weights) is weights
    assert validation_weights(labels, prior=0.25, learned_prior=0.5, weights=weights).tolist() == [4.0, 3.0]


def test_intervals_of_a_hazard_have_the_weight_of_their_row():
    details = pd.DataFrame({"days_to_outcome": [9.0, np.nan], "days_known": [30.0, 30.0]})
    younger = PartialRows(pd.DataFrame({"users": [3.0]}), details.iloc[1:].assign(days_known=8.0), np.array([7.0]))
    rows = MemberRows(
        pd.DataFrame({"users": [1.0, 2.0]}), np.array([1, 0], dtype=np.int8), details, younger, np.array([1.0, 5.0])
    )
    periods = person_periods(rows, [7, 14, 30])
    assert periods.weights.tolist() == periods.inputs["users"].map({1.0: 1.0, 2.0: 5.0, 3.0: 7.0}).tolist()


def test_weights_of_a_range_of_rows_are_no_copy():
    weights = np.array([1.0, 2.0, 3.0])
    assert np.shares_memory(taken(weights, np.array([False, True, True])), weights)
    assert taken(weights, np.array([2, 0])).tolist() == [3.0, 1.0]


def test_partly_known_rows_of_an_inner_fold_keep_their_weights():
    day = pd.Timestamp("2020-01-01")
    details = pd.DataFrame({"as_of": [day, day, day + pd.Timedelta(days=9)], "days_known": 30.0})
    details["days_to_outcome"] = [np.nan, 5.0, np.nan]
    inputs, labels = pd.DataFrame({"users": [1.0, 2.0, 3.0]}), np.array([0, 1, 0], dtype=np.int8)
    partial = PartialRows(inputs.iloc[:0], details.iloc[:0], np.empty(0))
    rows = MemberRows(inputs, labels, details, partial, np.array([4.0, 1.0, 5.0]))
    seen = rows.seen_at(day + pd.Timedelta(days=9), np.array([False, True, False]))
    assert (seen.weights.tolist(), seen.partial.weights.tolist()) == ([1.0], [4.0])


# Samplers


def test_a_sampler_sets_the_ratio_and_keeps_the_differences_within_a_class(component):
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(60, 2)), np.array([1] * 10 + [0] * 50, dtype=np.int8)
    outputs = [Output("a", False), Output("b", False)]
    constant = np.where(y == 1, 1.0, 20.0)
    differing = np.where(np.arange(60) % 2 == 0, constant, 3 * constant)
    for option in ("random_over", "random_under", "smote"):
        sampler = component("sampler", option)
        rows, labels, weights = resample_weighted(sampler, X, y, outputs, constant)
        assert weights is None
        rows, labels, weights = resample_weighted(sampler, X, y, outputs, differing)
        assert len(rows) == len(labels) == len(weights)
        assert set(weights[labels == 0].round(6)) == {0.5, 1.5}
    with pytest.raises(RowsError, match=r"SMOTETomek .* does not tell which rows remain, and their weights differ"):
        resample_weighted(SMOTETomek(random_state=0), X, y, outputs, differing)


def test_a_model_that_takes_no_weights(spec, sampled):
    with pytest.raises(FitError, match=r"KNeighborsClassifier learns from rows without weights .* data\.negatives=1"):
        fit(spec(KNeighborsClassifier(), encoder="onehot"), sampled)
