from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from mlsys.errors import RunError
from mlsys.runs.calibration import Calibration
from mlsys.runs.golden import check_golden, golden_frame, golden_inputs, predict


def replaced(run, **cached):
    """Return the run with other file contents, by filling its cached properties."""
    other = replace(run)
    other.__dict__.update(cached)
    return other


def test_the_saved_model_reproduces_its_golden_rows(run, table):
    check_golden(run)
    pd.testing.assert_frame_equal(golden_inputs(run), table[0].head(20))


def test_a_difference_in_the_last_bit_is_found(run):
    golden = run.golden.copy()
    golden.loc[3, "probability"] = np.nextafter(golden.loc[3, "probability"], 1)
    changed = replaced(run, golden=golden)
    with pytest.raises(RunError, match=r"1 of 20 differs in probability, by up to \S+e-\d+ \(allowed: 0\)"):
        check_golden(changed)
    check_golden(changed, tolerance=1e-12)


def test_another_score_or_calibration_is_found(run):
    with pytest.raises(RunError, match="differ in probability"):
        check_golden(replaced(run, calibration=Calibration.none()))
    with pytest.raises(RunError, match="20 of 20 differ in score"):
        check_golden(replaced(run, golden=run.golden.assign(score=0.5)))


def test_missing_numbers_never_pass(run):
    with pytest.raises(RunError, match="1 of 20 differs in score"):
        check_golden(replaced(run, golden=run.golden.assign(score=run.golden["score"].mask(run.golden.index == 2))))


def test_inputs_may_be_called_score_and_probability():
    class Constant:
        def predict_proba(self, X):
            return np.tile([0.25, 0.75], (len(X), 1))

    frame = golden_frame(Constant(), Calibration.none(), pd.DataFrame({"score": [1.0], "probability_": [2.0]}))
    assert frame.to_dict("list") == {"score": [1.0], "probability_": [2.0], "score_": [0.75], "probability": [0.75]}


def test_a_model_of_one_class_is_refused():
    class One:
        def predict_proba(self, X):
            return np.ones((len(X), 1))

    with pytest.raises(RunError, match=r"shape \(1, 1\)"):
        predict(One(), Calibration.none(), pd.DataFrame({"a": [1.0]}))
