"""Calibration: exact for a shifted prior, fitted on held-out later rows, and monotone."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from imblearn.over_sampling import RandomOverSampler
from imblearn.under_sampling import RandomUnderSampler

from mlsys.errors import FitError
from mlsys.pipeline.calibration import Auto, CalibrationData, Identity, Isotonic, Prior, Sigmoid
from mlsys.pipeline.fitting import fit
from mlsys.pipeline.pipeline_spec import Training
from mlsys.runs.calibration import Calibration

GRID = np.linspace(0, 1, 501)


def later_rows(rows=4000, power=2.0, seed=0):
    """Return scores whose true probability is score ** power."""
    rng = np.random.default_rng(seed)
    scores = rng.random(rows)
    return scores, (rng.random(rows) < scores**power).astype(np.int8)


# Checks that every calibration passes


def test_a_calibration_is_monotone_and_returns_probabilities(any_calibration, component):
    calibration = component("calibration", any_calibration).fit(CalibrationData(0.5, 0.02, *later_rows()))
    probability = calibration.apply(GRID)
    assert (np.diff(probability) >= 0).all()
    assert probability.min() >= 0
    assert probability.max() <= 1
    assert Calibration.from_dict(calibration.to_dict()) == calibration


def test_a_calibration_works_with_a_model(any_calibration, any_model, spec, table, later):
    validation = np.arange(300) >= 200
    rows = replace(table.training(), validation=validation, early=~validation)
    both = fit(spec(any_model, calibration=any_calibration), rows)
    probability = both.calibration.apply(both.scores(later.inputs))
    if any_model != "dummy":
        assert probability[later.labels == 1].mean() > probability[later.labels == 0].mean()


# The class prior


def test_the_shift_by_hand():
    # Odds of 3 among rows half of which convert, where 1 % do: 3 / 99.
    shifted = Prior().fit(CalibrationData(learned_prior=0.5, prior=0.01))
    assert shifted.apply([0.75])[0] == pytest.approx((3 / 99) / (1 + 3 / 99))
    # Saerens, Latinne and Decaestecker's equation 4, written out.
    p, learned, true = 0.3, 0.2, 0.05
    up, down = p * true / learned, (1 - p) * (1 - true) / (1 - learned)
    assert Prior().fit(CalibrationData(learned, true)).apply([p])[0] == pytest.approx(up / (up + down))


def test_none_and_auto_do_nothing_if_the_prior_is_unchanged():
    assert Identity().fit(CalibrationData(0.5, 0.01)).kind == "none"
    assert Auto().fit(CalibrationData(0.01, 0.01)).kind == "none"
    assert Auto().fit(CalibrationData(0.010005, 0.01)).kind == "none"  # one row more or less, due to rounding
    assert Auto().fit(CalibrationData(0.0101, 0.01)).kind == "prior"


def two_classes(rows, prior, seed):
    """Draw one number that is normal around 0, or 1.5 for positive rows; return its true probability too."""
    rng = np.random.default_rng(seed)
    labels = (rng.random(rows) < prior).astype(np.int8)
    x = rng.normal(1.5 * labels)
    odds = prior / (1 - prior) * np.exp(1.5 * x - 1.5**2 / 2)
    return pd.DataFrame({"n": x}), labels, odds / (1 + odds)


@pytest.mark.parametrize(
    ("sampler", "model"),
    [
        (RandomOverSampler(sampling_strategy=1.0, random_state=0), {}),
        (RandomUnderSampler(sampling_strategy=0.5, random_state=0), {}),
        (None, {"class_weight": "balanced"}),
        (None, {"class_weight": {0: 1, 1: 10}}),
        (RandomOverSampler(sampling_strategy=0.2, random_state=0), {"class_weight": "balanced"}),
    ],
)
def test_auto_recovers_the_true_probabilities(sampler, model, spec, component):
    inputs, labels, _ = two_classes(20_000, prior=0.03, seed=0)
    made = spec(component("model", "logistic", **model), sampler=sampler, numbers=["n"], categories=[])
    both = fit(made, Training(inputs, labels))
    later, outcome, truth = two_classes(20_000, prior=0.03, seed=1)
    raw = both.scores(later)
    probability = both.calibration.apply(raw)
    assert raw.mean() > 4 * outcome.mean()
    assert probability.mean() == pytest.approx(outcome.mean(), rel=0.1)
    # The encoder transforms the number nonlinearly, so the model is only approximately correct.
    assert np.abs(probability - truth).mean() < 0.01


@pytest.mark.parametrize(
    ("model", "weights"),
    [
        ("xgboost", {"scale_pos_weight": 20}),
        ("lightgbm", {"scale_pos_weight": 20}),
        ("catboost", {"auto_class_weights": "Balanced"}),
        ("catboost", {"auto_class_weights": "SqrtBalanced"}),
        ("random_forest", {"class_weight": "balanced"}),
        ("hist_gradient_boosting", {"class_weight": "balanced"}),
    ],
)
def test_auto_corrects_the_class_weights_of_each_library(model, weights, spec, component):
    inputs, labels, _ = two_classes(4000, prior=0.05, seed=0)
    smooth = {"min_samples_leaf": 100} if model == "random_forest" else {}
    made = spec(component("model", model, **weights, **smooth), numbers=["n"], categories=[])
    both = fit(made, Training(inputs, labels))
    raw = both.scores(inputs)
    assert both.calibration.kind == "prior"
    assert raw.mean() > 2 * labels.mean()
    assert both.calibration.apply(raw).mean() == pytest.approx(labels.mean(), rel=0.2)


def test_auto_corrects_class_weights_inside_a_vote(spec, component):
    inputs, labels, _ = two_classes(4000, prior=0.05, seed=0)
    model = component("model", "vote")
    model.set_params(xgboost__scale_pos_weight=19, lightgbm__scale_pos_weight=19, logistic__class_weight="balanced")
    both = fit(spec(model, numbers=["n"], categories=[]), Training(inputs, labels))
    raw = both.scores(inputs)
    assert both.calibration.train_prior == pytest.approx(0.5, abs=0.02)
    assert raw.mean() > 4 * labels.mean()
    assert both.calibration.apply(raw).mean() == pytest.approx(labels.mean(), rel=0.2)


# Calibrations fitted on later rows


@pytest.mark.parametrize("calibrator", [Sigmoid(), Isotonic()])
def test_scores_are_mapped_to_their_true_probabilities(calibrator):
    calibration = calibrator.fit(CalibrationData(0.5, 0.3, *later_rows(20_000)))
    scores = np.array([0.3, 0.5, 0.7, 0.9])
    assert np.abs(calibration.apply(scores) - scores**2).max() < 0.06


def test_sigmoid_hardly_changes_calibrated_scores():
    calibration = Sigmoid().fit(CalibrationData(0.5, 0.3, *later_rows(20_000, power=1)))
    assert calibration.slope == pytest.approx(1, abs=0.05)
    assert calibration.intercept == pytest.approx(0, abs=0.05)


def test_sigmoid_rejects_scores_that_rank_in_reverse():
    scores, labels = later_rows()
    with pytest.raises(FitError, match=r"higher scores do not mean more positives .* Use calibration=auto or prior"):
        Sigmoid().fit(CalibrationData(0.5, 0.3, 1 - scores, labels))


@pytest.mark.parametrize("calibrator", [Sigmoid(), Isotonic()])
def test_a_constant_score_becomes_the_base_rate(calibrator):
    labels = later_rows()[1]
    calibration = calibrator.fit(CalibrationData(0.5, 0.3, np.full(len(labels), 0.7), labels))
    assert calibration.apply(GRID) == pytest.approx(labels.mean())


def test_isotonic_never_returns_0_or_1():
    scores = np.linspace(0, 1, 100)
    calibration = Isotonic().fit(CalibrationData(0.5, 0.5, scores, (scores > 0.5).astype(np.int8)))
    assert calibration.apply([0.0])[0] == pytest.approx(1 / 102)
    assert calibration.apply([1.0])[0] == pytest.approx(101 / 102)


@pytest.mark.parametrize("calibrator", [Sigmoid(), Isotonic()])
@pytest.mark.parametrize("rows", [(None, None), (np.array([0.1, 0.2]), np.array([0, 0], dtype=np.int8))])
def test_fitting_needs_both_classes_among_the_later_rows(calibrator, rows):
    with pytest.raises(FitError, match=r"needs both classes among the latest .* Use calibration=auto or prior"):
        calibrator.fit(CalibrationData(0.5, 0.3, *rows))
