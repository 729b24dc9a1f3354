"""Intervals: their shapes, and a small simulation of their coverage."""

import numpy as np
import pandas as pd
import pytest

from benchmarks.coverage import CASES, coverage, draw
from mlsys.evaluation import intervals
from mlsys.evaluation.intervals import Uncertainty, degrees_of_freedom
from mlsys.evaluation.metrics import evaluate

CASE_A = CASES["A: 6 folds of 7.7 positives"]
TABLES = 40


@pytest.fixture(scope="module")
def covered():
    """The coverage in case A, by metric; its standard error is 0.03."""
    return coverage(CASE_A, "clustered", tables=TABLES, resamples=100, seed=3)


def test_intervals_cover_the_expected_value(covered):
    for name, found in covered.items():
        assert found["value"] >= 0.84, name
    assert np.mean([found["value"] for found in covered.values()]) == pytest.approx(0.96, abs=0.03)


def test_equally_good_models_are_rarely_called_different(covered):
    for name, found in covered.items():
        assert found["difference"] >= 0.84, name


def test_the_value_lies_well_within_its_interval():
    """Resampled positives inflate average precision: percentiles of the resamples would begin at the value."""
    places = []
    for seed in range(10):
        rows = draw(CASE_A, "clustered", np.random.default_rng(seed))
        entry = evaluate(rows, top_k=[10], bootstrap_resamples=100, seed=seed)["overall"]["average_precision"]
        places.append((entry["value"] - entry["low"]) / (entry["high"] - entry["low"]))
    assert np.mean(places) == pytest.approx(0.4, abs=0.1)


@pytest.mark.parametrize(("positives", "has_interval"), [(3, False), (4, False), (5, True)])
def test_too_few_positives_have_no_interval(positives, has_interval):
    generator = np.random.default_rng(0)
    rows = pd.DataFrame({"id": range(60), "as_of": pd.NaT, "fold": 0, "label": 0, "label_complete": True})
    rows.loc[: positives - 1, "label"] = 1
    entries = evaluate(rows.assign(probability=generator.random(60)), top_k=[10], bootstrap_resamples=50, seed=0)
    for name, entry in entries["overall"].items():
        if entry["value"]:
            assert (entry["low"] is not None) == has_interval, name
            assert entry.get("too_few", False) != has_interval, name


def test_without_resamples_nothing_is_too_few():
    rows = draw(CASE_A, "clustered", np.random.default_rng(0))
    entry = evaluate(rows, top_k=[10], bootstrap_resamples=0, seed=0)["overall"]["roc_auc"]
    assert (entry["low"], entry.get("too_few")) == (None, None)


def test_rare_negatives_limit_the_degrees_of_freedom():
    rows, positives = np.array([50.0, 50.0]), np.array([45.0, 44.0])
    assert degrees_of_freedom(rows, positives, 11) == 9
    assert degrees_of_freedom(rows, positives, 8) == 7  # few entities with several rows


@pytest.mark.parametrize("value", [0.0, 1.0])
def test_a_value_at_its_limit(value):
    certain = Uncertainty(np.full(20, value), 0.95, 10)
    assert intervals.logit_interval(value, certain) == (value, value)
    low, high = intervals.proportion_interval(value, certain, trials=20)
    assert (low, high) == pytest.approx((0, 0.117) if value == 0 else (0.883, 1), abs=0.001)


def test_no_amount_is_known_from_no_hits():
    assert np.isnan(intervals.log_interval(0.0, Uncertainty(np.zeros(20), 0.95, 10))).all()


def test_higher_confidence_is_wider_in_every_method():
    samples = np.random.default_rng(0).normal(0.5, 0.05, 500)
    for method in (
        intervals.logit_interval,
        intervals.log_interval,
        intervals.shifted_interval,
        intervals.t_interval,
        lambda value, known: intervals.proportion_interval(value, known, trials=500),
        lambda value, known: intervals.percentile_interval(known),
    ):
        narrow, wide = (method(0.5, Uncertainty(samples, confidence, 30)) for confidence in (0.5, 0.95))
        assert wide[0] < narrow[0] < narrow[1] < wide[1]
