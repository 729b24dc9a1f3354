"""Uplift metrics: by hand, against resampled rows, and the coverage of their intervals."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.uplift_coverage import CASES, coverage, draw
from mlsys.errors import DataError
from mlsys.evaluation.metrics import evaluate
from mlsys.evaluation.uplift import evaluate_uplift, fold_uplift_metrics, measure_uplift
from mlsys.evaluation.uplift_sample import FRACTIONS, UpliftFold

NAMES = ("qini", "uplift_top_10", "uplift_top_30")


def rows_of(case="B: 5 folds of 300 accounts, 15% convert", process="varied", seed=0):
    rows = draw(CASES[case], process, np.random.default_rng(seed))
    return rows.assign(as_of=pd.NaT, label_complete=True, probability=0.5)


def by_hand(label, treated, uplift):
    """The gain at each fraction, where no rows are tied and each fraction is a whole number of rows."""
    order = np.argsort(-np.asarray(uplift))
    label, treated = np.asarray(label)[order], np.asarray(treated)[order]
    gains = []
    for fraction in FRACTIONS:
        top = slice(0, round(fraction * len(label)))
        rates = [label[top][treated[top] == arm].mean() for arm in (1, 0)]
        gains.append(fraction * (rates[0] - rates[1]))
    return np.array(gains)


def test_the_metrics_by_hand():
    rng = np.random.default_rng(0)
    label, treated, uplift = rng.integers(0, 2, 200), rng.permutation([0, 1] * 100), rng.normal(size=200)
    gains = by_hand(label, treated, uplift)
    found = fold_uplift_metrics(pd.DataFrame({"label": label, "treated": treated, "uplift": uplift}))
    assert found["uplift_top_10"] == pytest.approx(gains[0] / 0.1)
    assert found["uplift_top_30"] == pytest.approx(gains[2] / 0.3)
    curve = np.append(0, gains)
    area = np.trapezoid(curve, np.append(0, FRACTIONS)) - gains[-1] / 2
    assert found["qini"] == pytest.approx(area)


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10_000), st.integers(1, 6))
def test_weights_are_repetitions_and_the_order_of_ties_does_not_matter(seed, levels):
    rng = np.random.default_rng(seed)
    label, treated = rng.integers(0, 2, 60), rng.permutation([0, 1] * 30)
    uplift, counts = rng.integers(0, levels, 60), rng.integers(0, 4, 60)
    fold = UpliftFold(label, treated, uplift)
    weighted = measure_uplift(fold, counts[fold.order][None].astype(float))
    again = np.repeat(rng.permutation(60), 1)
    repeated = np.repeat(again, counts[again])
    other = UpliftFold(label[repeated], treated[repeated], uplift[repeated])
    plain = measure_uplift(other, np.ones((1, len(repeated))))
    for name, values in weighted.items():
        np.testing.assert_allclose(values, plain[name], atol=1e-12, err_msg=name)


def test_equal_uplifts_are_random_targeting():
    rows = rows_of().assign(uplift=0.0)
    results = evaluate_uplift(rows, bootstrap_resamples=50, seed=0, confidence=0.95)
    assert results.overall["qini"]["value"] == pytest.approx(0, abs=1e-12)
    assert results.overall["uplift_top_10"]["value"] == pytest.approx(results.chance["uplift_top_10"]["value"])
    gains = [entry["value"] for entry in results.curve]
    np.testing.assert_allclose(gains, FRACTIONS * gains[-1])


def test_an_effect_that_grows_with_the_prediction_is_found_and_its_opposite_too():
    rows = rows_of("A: 5 folds of 1,000 accounts, 15% convert")
    forwards, backwards = (
        evaluate_uplift(each, bootstrap_resamples=100, seed=0, confidence=0.95).overall["qini"]
        for each in (rows, rows.assign(uplift=-rows["uplift"]))
    )
    assert forwards["low"] > 0 > backwards["high"]


def test_metrics_json_has_them_only_for_models_with_an_uplift():
    rows = rows_of()
    options = {"top_k": [10], "bootstrap_resamples": 40, "seed": 0}
    numbers, plain = evaluate(rows, **options), evaluate(rows.drop(columns=["uplift", "treated"]), **options)
    assert set(numbers["overall"]) - set(plain["overall"]) == set(NAMES)
    assert set(numbers["baselines"]["chance"]) - set(plain["baselines"]["chance"]) == set(NAMES)
    assert numbers["baselines"]["chance"]["qini"] == {"value": 0.0, "low": 0.0, "high": 0.0}
    assert all(set(NAMES) <= set(fold) for fold in numbers["folds"])
    assert [entry["fraction"] for entry in numbers["uplift_curve"]] == FRACTIONS.tolist()
    assert "uplift_curve" not in plain
    mean = np.mean([fold["qini"] for fold in numbers["folds"]])
    assert numbers["overall"]["qini"]["value"] == pytest.approx(mean)
    assert {name: numbers["overall"][name] for name in plain["overall"]} == plain["overall"]


def test_without_resamples_there_are_no_intervals_and_with_few_converters_it_says_so():
    rows = rows_of()
    none = evaluate_uplift(rows, bootstrap_resamples=0, seed=0, confidence=0.95)
    assert {(entry["low"], entry.get("too_few")) for entry in none.overall.values()} == {(None, None)}
    rare = rows.assign(label=0)
    rare.loc[rare.groupby(["fold", "treated"]).head(1).index, "label"] = 1
    few = evaluate_uplift(rare, bootstrap_resamples=40, seed=0, confidence=0.95).overall
    assert all(entry["too_few"] and entry["low"] is None for entry in few.values())


def test_an_arm_without_rows_at_the_top_is_undefined():
    fold = {"label": [0, 1] * 10, "treated": [1] * 10 + [0] * 10, "uplift": np.arange(20)[::-1]}
    assert set(fold_uplift_metrics(pd.DataFrame(fold)).values()) == {None}


@pytest.mark.parametrize("column", ["uplift", "treated"])
def test_gaps_are_an_error(column):
    rows = rows_of().astype({"treated": float})
    rows.loc[3, column] = np.nan
    with pytest.raises(DataError, match="need an uplift and a treatment, 0 or 1, in every row"):
        fold_uplift_metrics(rows)


def test_intervals_cover_the_expected_value():
    found = coverage(CASES["C: 1 fold of 1,000 accounts, 15% convert"], "varied", tables=40, resamples=60, seed=3)
    for name, each in found.items():
        assert each["value"] >= 0.84, name  # the standard error of the simulation is 0.03
    assert np.mean([each["value"] for each in found.values()]) == pytest.approx(0.97, abs=0.03)
    assert found["uplift_top_30"]["chance"] >= 0.84
