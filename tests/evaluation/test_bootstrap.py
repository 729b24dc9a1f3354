from functools import partial

import numpy as np
import pytest

from mlsys.evaluation import bootstrap as module
from mlsys.evaluation.bootstrap import bootstrap, mean_over_folds
from mlsys.evaluation.metrics import measure
from mlsys.evaluation.weighted_metrics import ScoredFold


def weights_of(codes, **options):
    """Return the weights that a statistic gets, shape (resamples, rows)."""
    rows = range(len(codes))
    [seen] = bootstrap([lambda weights: {row: weights[:, row] for row in rows}], [np.array(codes)], **options)
    return np.stack([seen[row] for row in rows], axis=1)


def test_each_resample_has_as_many_entities_as_there_are():
    weights = weights_of(range(30), resamples=200, seed=0)
    assert weights.shape == (200, 30)
    assert (weights.sum(axis=1) == 30).all()
    assert weights.mean(axis=0) == pytest.approx(1, abs=0.3)
    assert weights.var() == pytest.approx(29 / 30, rel=0.1)  # of a multinomial count


def test_the_rows_of_an_entity_move_together_across_folds():
    statistic = lambda weights: {"first": weights[:, 0], "second": weights[:, 1]}  # noqa: E731
    one, two = bootstrap([statistic, statistic], [np.array([0, 1]), np.array([1, 2])], resamples=50, seed=1)
    assert (one["second"] == two["first"]).all()
    assert not (one["first"] == one["second"]).all()


def test_only_the_seed_determines_the_resamples(monkeypatch):
    reference = weights_of(range(40), resamples=60, seed=3)
    assert (weights_of(range(40), resamples=60, seed=3) == reference).all()
    assert not (weights_of(range(40), resamples=60, seed=4) == reference).all()
    monkeypatch.setattr(module, "CHUNK", 7 * 40)
    assert (weights_of(range(40), resamples=60, seed=3) == reference).all()


def test_a_table_larger_than_a_chunk_is_resampled_once_per_chunk(monkeypatch):
    monkeypatch.setattr(module, "CHUNK", 10)
    shapes = []
    bootstrap([lambda weights: shapes.append(weights.shape) or {}], [np.arange(25)], resamples=3, seed=0)
    assert shapes == [(1, 25)] * 3


def test_clustered_rows_widen_the_interval():
    generator = np.random.default_rng(0)
    number = np.repeat(generator.normal(size=50), 20)  # 20 identical rows per entity
    mean = lambda weights: {"mean": weights @ number / weights.sum(axis=1)}  # noqa: E731
    [by_entity] = bootstrap([mean], [np.repeat(np.arange(50), 20)], resamples=400, seed=0)
    [by_row] = bootstrap([mean], [np.arange(1000)], resamples=400, seed=0)
    assert by_entity["mean"].std() == pytest.approx(np.sqrt(20) * by_row["mean"].std(), rel=0.25)


def test_a_resample_without_positives_is_left_out():
    fold = ScoredFold([0, 0, 1], [0.1, 0.2, 0.3], None, top_k=[1])
    [samples] = bootstrap([partial(measure, fold)], [np.arange(3)[fold.order]], resamples=300, seed=0)
    missing = np.isnan(samples["average_precision"])
    assert missing.mean() == pytest.approx((2 / 3) ** 3, abs=0.1)
    assert (samples["average_precision"][~missing] == 1).all()


def test_the_mean_over_folds_skips_undefined_folds():
    numbers = np.array([[1.0, 2.0, np.nan], [3.0, np.nan, np.nan]])
    np.testing.assert_array_equal(mean_over_folds(numbers), [2.0, 2.0, np.nan])
