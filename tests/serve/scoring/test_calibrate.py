"""Calibrating one score gives the same result as calibrating an array."""

import numpy as np
import pytest

from mlsys.errors import RunError
from mlsys.runs.calibration import Calibration
from serve.scoring.calibrate import probability_function

SCORES = [0.0, 1e-300, 5e-324, 1e-17, 1e-9, 0.03, 0.25, 0.5, 0.9, 1 - 1e-12, np.nextafter(1, 0), 1.0]


@pytest.mark.parametrize(
    "calibration",
    [
        Calibration.none(),
        Calibration.prior(0.5, 0.002),
        Calibration.prior(0.002, 0.9),
        Calibration.sigmoid(1.7, -3.0),
        Calibration.sigmoid(900.0, 5.0),
        Calibration.sigmoid(0.0, -1000.0),
        Calibration.isotonic([0.1, 0.3, 0.9], [0.0, 0.4, 1.0]),
    ],
)
def test_one_score_gives_the_same_as_an_array(calibration):
    one = probability_function(calibration)
    np.testing.assert_allclose([one(score) for score in SCORES], calibration.apply(SCORES), rtol=1e-14, atol=0)


@pytest.mark.parametrize("score", [-1e-9, 1.0000001, float("nan")])
def test_a_score_outside_the_unit_interval_is_refused(score):
    with pytest.raises(RunError, match=r"outside \[0, 1\]"):
        probability_function(Calibration.none())(score)
