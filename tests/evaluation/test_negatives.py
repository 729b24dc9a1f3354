"""Metrics of a sample of the negatives: those of the whole table, with intervals that still cover."""

from functools import partial

import numpy as np
import pandas as pd
import pytest

from benchmarks.coverage import Case, bias, coverage, sampled
from mlsys.data.panel import Panel
from mlsys.data.weight_column import SAMPLING_WEIGHT
from mlsys.evaluation.curves import Ranking, reliability
from mlsys.evaluation.metrics import evaluate, fold_metrics
from mlsys.evaluation.ranking import tie_groups
from mlsys.evaluation.schema import reference
from mlsys.evaluation.timing import outcomes_by_day
from mlsys.evaluation.uplift import fold_uplift_metrics
from mlsys.features.base import FeatureInfo
from mlsys.pipeline.threshold import choose_threshold

FRACTION = 0.25
CASE = Case(4_000, 2, 200.0, (10, 100))
UNBIASED = ("roc_auc", "log_loss", "brier")


@pytest.fixture(scope="module")
def found():
    return bias(CASE, FRACTION, tables=40, seed=0)


def test_estimates_are_those_of_the_whole_table(found):
    for name in UNBIASED:
        assert abs(found.loc[name, "bias"]) < 3.5 * found.loc[name, "error"], name
    for name in ("average_precision", "precision@100", "recall@100", "lift@100", "revenue@100"):
        assert abs(found.loc[name, "bias"]) < 0.05, name


def test_lists_of_too_few_sampled_rows_have_no_metrics(found):
    assert found.loc[["precision@10", "recall@10", "lift@10", "revenue@10"], "bias"].isna().all()
    assert found.loc["precision@10", "whole"] > 0


def test_an_average_precision_needs_positives():
    def average_precision(positives):
        rows = pd.DataFrame({"label": [1] * positives + [0] * 100, "weight": [1.0] * positives + [2.0] * 100})
        score = np.linspace(1, 0, len(rows))
        return fold_metrics(rows["label"], score, None, top_k=[1], weight=rows["weight"])["average_precision"]

    assert average_precision(99) is None
    assert average_precision(100) == 1.0


def test_intervals_cover_the_values_of_whole_tables():
    covered = coverage(
        CASE, "clustered", tables=40, resamples=100, seed=4, observed=partial(sampled, fraction=FRACTION)
    )
    values = {name: entry["value"] for name, entry in covered.items() if not name.endswith("@10")}
    assert min(values.values()) >= 0.84, values  # the standard error of the simulation is 0.03
    assert np.mean(list(values.values())) >= 0.91


# The same as repeated rows


def weight_of(rows):
    return rows[SAMPLING_WEIGHT].to_numpy() if SAMPLING_WEIGHT in rows else None


@pytest.fixture(scope="module")
def weighted():
    """Rows with whole weights."""
    rng = np.random.default_rng(0)
    score = np.round(rng.beta(1, 6, 3_000), 2)  # with ties
    label = (rng.random(3_000) < score).astype(int)
    rows = pd.DataFrame({"id": range(3_000), "as_of": pd.NaT, "fold": rng.integers(0, 2, 3_000), "label": label})
    rows = rows.assign(label_complete=True, probability=score, value=np.where(label, rng.gamma(2, 50, 3_000), np.nan))
    rows = rows.assign(treated=rng.integers(0, 2, 3_000), uplift=rng.normal(size=3_000).round(1))
    rows = rows.assign(
        by_7d=score / 2, by_30d=score, days_to_outcome=np.where(label, 1 + np.arange(3_000) % 30, np.nan)
    )
    return rows.assign(sampling_weight=np.where(label == 1, 1.0, 3.0))


@pytest.fixture(scope="module")
def repeated(weighted):
    times = weighted[SAMPLING_WEIGHT].astype(int)
    return weighted.loc[weighted.index.repeat(times)].drop(columns=SAMPLING_WEIGHT).reset_index(drop=True)


def test_metrics(weighted, repeated):
    ours, theirs = (
        fold_metrics(rows["label"], rows["probability"], rows["value"], top_k=[30, 100], weight=weight_of(rows))
        for rows in (weighted, repeated)
    )
    assert ours == pytest.approx(theirs)


def test_everything_in_metrics_json(weighted, repeated):
    ours, theirs = (evaluate(rows, top_k=[40], bootstrap_resamples=0, seed=0) for rows in (weighted, repeated))
    for part in ("overall", "baselines"):
        assert pd.json_normalize(ours[part]).iloc[0].to_dict() == pytest.approx(
            pd.json_normalize(theirs[part]).iloc[0].to_dict(), nan_ok=True
        )
    assert [fold["stands_for"] for fold in ours["folds"]] == [fold["rows"] for fold in theirs["folds"]]
    assert ours["by_day"] == [each | {"expected": pytest.approx(each["expected"])} for each in theirs["by_day"]]


def test_uplift_metrics(weighted, repeated):
    assert fold_uplift_metrics(weighted) == pytest.approx(fold_uplift_metrics(repeated))


def test_outcomes_by_day(weighted, repeated):
    ours, theirs = (outcomes_by_day(rows)["by_day"] for rows in (weighted, repeated))
    assert [each["expected"] for each in ours] == pytest.approx([each["expected"] for each in theirs])


def test_curves(weighted, repeated):
    ours, theirs = (Ranking.of(rows["probability"], rows["label"], weight_of(rows)) for rows in (weighted, repeated))
    np.testing.assert_allclose(ours.rows, theirs.rows)
    np.testing.assert_allclose(ours.positives, theirs.positives)
    ours, theirs = (
        reliability(rows["probability"], rows["label"], weight=weight_of(rows)) for rows in (weighted, repeated)
    )
    np.testing.assert_allclose(ours.predicted, theirs.predicted)
    np.testing.assert_allclose(ours.observed, theirs.observed)
    assert (ours.high - ours.low >= theirs.high - theirs.low - 1e-12).all()  # fewer rows know less


def test_the_rankings_of_the_audit(weighted, repeated):
    ours, theirs = (
        tie_groups(
            rows["probability"].to_numpy(),
            (rows["label"] == 1).to_numpy(),
            weight_of(rows),
        )
        for rows in (weighted, repeated)
    )
    assert float(ours.average_precision()) == pytest.approx(float(theirs.average_precision()))


@pytest.mark.parametrize(
    "method",
    [
        {"method": "top_k", "k": 60},
        {"method": "f_beta", "beta": 2.0},
        {"method": "cost", "cost": {"false_positive": 10.0, "false_negative": 40.0}},
    ],
)
def test_the_threshold(weighted, repeated, method):
    ours, theirs = (
        choose_threshold(
            rows["label"],
            rows["probability"],
            rows["value"],
            groups=rows["fold"],
            weight=weight_of(rows),
            **method,
        ).to_dict()
        for rows in (weighted, repeated)
    )
    assert ours == theirs | {name: pytest.approx(theirs[name]) for name in ("precision", "recall", "expected_gain")} | {
        "parameters": pytest.approx(theirs["parameters"])
    }


def test_the_reference_of_drift(weighted, repeated):
    panel = Panel(None, (FeatureInfo("size", "number", ""), FeatureInfo("plan", "category", "")))
    ours, theirs = (
        reference(
            panel,
            rows.assign(size=rows["uplift"].where(rows["id"] % 7 > 0), plan=np.where(rows["id"] % 3, "a", "b")),
            rows["probability"],
            rows.get(SAMPLING_WEIGHT),
        )
        for rows in (weighted, repeated)
    )
    for name in ("missing", "mean", "std"):
        assert ours["features"]["size"][name] == pytest.approx(theirs["features"]["size"][name])
    assert ours["features"]["plan"]["levels"] == pytest.approx(theirs["features"]["plan"]["levels"])
    assert ours["probability"]["quantiles"] == pytest.approx(theirs["probability"]["quantiles"], abs=0.01)
