"""What the trials of a sweep say about its parameters."""

from __future__ import annotations

import numpy as np
import pytest
from optuna.distributions import FloatDistribution, IntDistribution
from optuna.trial import create_trial

from mlsys.sweep.analysis import Parameter, SweepAnalysis, format_value
from tests.sweep.studies import numbered


def test_importances_find_the_parameter_that_matters():
    random, trials = np.random.default_rng(0), []
    for _ in range(60):
        x, y = float(random.random()), float(random.random())
        spaces = dict.fromkeys(("a.x", "a.y"), FloatDistribution(0.0, 1.0))
        trials.append(create_trial(value=(x - 0.3) ** 2 + 0.001 * y, params={"a.x": x, "a.y": y}, distributions=spaces))
    importances = SweepAnalysis(numbered(trials), ["loss"], ["minimize"]).importances()
    assert list(importances.values) == ["x", "y"]
    assert importances.values["x"] > 0.7
    assert sum(importances.values.values()) == pytest.approx(1)


def test_ranges_that_differ_between_trials_are_merged():
    trials = [
        create_trial(value=1.0, params={"x": 2.0}, distributions={"x": FloatDistribution(low, high)})
        for low, high in ((1.0, 3.0), (2.0, 9.0))
    ]
    (parameter,) = SweepAnalysis(numbered(trials), ["v"], ["minimize"]).parameters
    assert parameter.axis_limits == (1.0, 9.0)


def test_a_single_value_has_an_axis_too():
    assert Parameter("x", "x", FloatDistribution(2.0, 2.0, log=True)).fraction(2.0) == pytest.approx(0.5, abs=0.05)
    assert Parameter("x", "x", IntDistribution(3, 3)).fraction(3) == 0.5
    assert format_value(0.1 + 0.2) == "0.3"
