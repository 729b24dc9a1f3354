import math

import numpy as np
import pytest
from scipy.special import expit
from scipy.special import logit as scipy_logit

from mlsys.runs.logistic import SMALLEST, clip_probability, logit, scalar_logit, scalar_sigmoid, sigmoid

LOG_ODDS = [-1e4, -745.2, -709.8, -700.5, -699.5, -36.0, -1.5, 0.0, 1.5, 36.0, 1e4]
PROBABILITIES = [0.0, 1e-300, SMALLEST, 1e-9, 0.3, 0.5, 1 - 1e-9, 1.0]


@pytest.mark.filterwarnings("error")
def test_sigmoid_is_scipys_without_overflow_warnings():
    assert sigmoid(np.array(LOG_ODDS)) == pytest.approx(expit(LOG_ODDS), rel=1e-14, abs=1e-307)


def test_sigmoid_keeps_precision_and_shape():
    probabilities = sigmoid(np.zeros((2, 3), dtype=np.float32))
    assert (probabilities.dtype, probabilities.shape) == (np.float32, (2, 3))


@pytest.mark.parametrize("log_odds", LOG_ODDS)
def test_the_scalar_sigmoid_is_that_of_an_array(log_odds):
    assert scalar_sigmoid(log_odds) == pytest.approx(expit(log_odds), rel=1e-14, abs=1e-307)


def test_logit_is_scipys():
    inside = PROBABILITIES[2:-1]
    assert logit(inside) == pytest.approx(scipy_logit(inside), rel=1e-12)


@pytest.mark.parametrize("probability", PROBABILITIES)
def test_the_scalar_logit_is_that_of_an_array(probability):
    assert scalar_logit(probability) == pytest.approx(float(logit([probability])[0]), rel=1e-15)


def test_certainty_has_finite_log_odds():
    assert np.isfinite(logit([0.0, 1.0])).all()
    assert math.isfinite(scalar_logit(0.0))
    assert 0 < clip_probability(0.0) < clip_probability(1.0) < 1


def test_a_margin_keeps_probabilities_further_from_the_ends():
    assert logit([0.0, 1.0], margin=0.25) == pytest.approx([-math.log(3), math.log(3)])
