import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlsys.errors import RunError
from mlsys.runs.calibration import Calibration
from mlsys.runs.json_format import json_text

fractions = st.floats(1e-6, 1 - 1e-6)
scores = st.lists(st.floats(0, 1), min_size=2, max_size=30)


@st.composite
def knots(draw):
    x = sorted(draw(st.lists(st.floats(0, 1), min_size=1, max_size=8, unique=True)))
    y = sorted(draw(st.lists(st.floats(0, 1), min_size=len(x), max_size=len(x))))
    return Calibration.isotonic(x, y)


calibrations = st.one_of(
    st.just(Calibration.none()),
    st.builds(Calibration.prior, fractions, fractions),
    st.builds(Calibration.sigmoid, st.floats(0, 50), st.floats(-50, 50)),
    knots(),
)


@given(calibrations, scores)
def test_order_is_kept_and_probabilities_stay_in_the_unit_interval(calibration, values):
    probability = calibration.apply(sorted(values))
    assert probability.dtype == np.float64
    assert np.all(np.diff(probability) >= 0)
    if calibration.kind == "none":
        assert np.array_equal(probability, sorted(values))
    else:
        assert np.all((probability > 0) & (probability < 1))


@given(calibrations)
def test_a_calibration_round_trips(calibration):
    assert Calibration.from_dict(json.loads(json_text(calibration.to_dict(), "calibration.json"))) == calibration


@given(fractions, fractions, st.floats(0, 1))
def test_prior_is_the_published_formula(train, target, p):
    a, b = target / train, (1 - target) / (1 - train)
    expected = p * a / (p * a + (1 - p) * b)
    assert Calibration.prior(train, target).apply([p])[0] == pytest.approx(expected, rel=1e-9, abs=1e-15)


def test_prior_recovers_the_posterior_of_the_target_population():
    """Two known densities: the posterior under one prior, corrected, is the posterior under the other."""
    x = np.linspace(-3, 3, 13)
    positive, negative = np.exp(-((x - 1) ** 2) / 2), np.exp(-((x + 1) ** 2) / 2)

    def posterior(prior: float) -> np.ndarray:
        return prior * positive / (prior * positive + (1 - prior) * negative)

    np.testing.assert_allclose(Calibration.prior(0.5, 0.003).apply(posterior(0.5)), posterior(0.003), rtol=1e-12)


def test_equal_priors_and_slope_one_change_nothing():
    p = np.linspace(0.001, 0.999, 50)
    np.testing.assert_allclose(Calibration.prior(0.2, 0.2).apply(p), p, rtol=1e-12)
    np.testing.assert_allclose(Calibration.sigmoid(1, 0).apply(p), p, rtol=1e-12)


def test_sigmoid_by_hand():
    assert Calibration.sigmoid(2, -1).apply([0.5])[0] == pytest.approx(1 / (1 + np.e))


def test_isotonic_is_linear_between_knots_and_constant_outside():
    calibration = Calibration.isotonic([0.2, 0.4, 0.8], [0.1, 0.3, 0.5])
    np.testing.assert_allclose(calibration.apply([0, 0.2, 0.3, 0.4, 0.6, 0.8, 1]), [0.1, 0.1, 0.2, 0.3, 0.4, 0.5, 0.5])
    np.testing.assert_allclose(Calibration.isotonic([0.5], [0.25]).apply([0, 0.5, 1]), 0.25)


def test_knots_that_nearly_touch_do_not_overflow():
    assert Calibration.isotonic([0.0, 2e-310], [0.25, 0.5]).apply([1e-310])[0] == 0.5


def test_float32_scores_are_converted_exactly_and_the_input_is_not_changed():
    score = np.array([0.1, 0.9], dtype=np.float32)
    answer = Calibration.none().apply(score)
    assert np.array_equal(answer, score.astype(np.float64))
    own = np.array([0.5])
    Calibration.none().apply(own)[0] = 0
    assert own[0] == 0.5


def test_no_rows_give_no_rows():
    assert Calibration.isotonic([0.0, 1.0], [0.0, 1.0]).apply([]).shape == (0,)


@pytest.mark.parametrize("bad", [np.nan, -0.1, 1.1, np.inf])
def test_scores_outside_the_unit_interval_are_refused(bad):
    with pytest.raises(RunError, match=r"must lie in \[0, 1\]"):
        Calibration.none().apply([0.5, bad])


@pytest.mark.parametrize(
    "data",
    [
        {},
        {"kind": "beta"},
        {"kind": ["prior"]},
        {"kind": "none", "slope": 1.0},
        {"kind": "prior", "train_prior": 0.5},
        {"kind": "prior", "train_prior": 0.5, "target_prior": 0.0},
        {"kind": "prior", "train_prior": 1.0, "target_prior": 0.5},
        {"kind": "prior", "train_prior": "a", "target_prior": 0.5},
        {"kind": "sigmoid", "slope": -1.0, "intercept": 0.0},
        {"kind": "sigmoid", "slope": 1.0, "intercept": float("nan")},
        {"kind": "sigmoid", "slope": None, "intercept": 0.0},
        {"kind": "isotonic", "x": [], "y": []},
        {"kind": "isotonic", "x": [0.1, 0.2], "y": [0.1]},
        {"kind": "isotonic", "x": [0.2, 0.2], "y": [0.1, 0.2]},
        {"kind": "isotonic", "x": [0.1, 0.2], "y": [0.2, 0.1]},
        {"kind": "isotonic", "x": [0.1, 0.2], "y": [0.2, 1.1]},
        {"kind": "isotonic", "x": [0.1, float("nan")], "y": [0.2, 0.3]},
    ],
)
def test_invalid_content_is_refused(data):
    with pytest.raises(RunError, match="calibration"):
        Calibration.from_dict(data)


@pytest.mark.parametrize(("x", "values"), [([], "0 values"), ([0.1], "1 value"), ([0.1, 0.2], "2 values")])
def test_the_number_of_knots_in_the_message(x, values):
    with pytest.raises(RunError, match=rf"x has {values} and y 3; both need the same number"):
        Calibration.isotonic(x, [0.1, 0.2, 0.3])
