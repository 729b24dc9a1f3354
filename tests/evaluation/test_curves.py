import numpy as np
import pytest
from sklearn.metrics import average_precision_score, roc_auc_score

from mlsys.evaluation.curves import Ranking, reliability


def rows(seed=0, size=400, decimals=8):
    generator = np.random.default_rng(seed)
    score = generator.random(size).round(decimals)
    label = (generator.random(size) < score**3).astype(int)
    return score, label


@pytest.mark.parametrize("decimals", [8, 1], ids=["distinct", "ties"])
def test_areas_equal_scikit_learn(decimals):
    score, label = rows(decimals=decimals)
    ranking = Ranking.of(score, label)
    assert ranking.average_precision() == pytest.approx(average_precision_score(label, score), abs=1e-12)
    assert ranking.roc_auc() == pytest.approx(roc_auc_score(label, score), abs=1e-12)
    assert ranking.base_rate == label.mean()


def test_the_precision_curve_averages_to_the_average_precision():
    ranking = Ranking.of(*rows())
    middles = (np.arange(20_000) + 0.5) / 20_000
    assert ranking.precision_at(middles).mean() == pytest.approx(ranking.average_precision(), abs=1e-3)


def test_the_gain_of_ties_is_the_expected_one():
    ranking = Ranking.of([0.5] * 10, [1, 0, 0, 0, 0] * 2)
    assert ranking.gain_at(np.asarray([0.0, 0.1, 0.5, 1.0])) == pytest.approx([0.0, 0.1, 0.5, 1.0])
    assert ranking.roc_auc() == 0.5


def test_a_row_without_a_score_comes_last():
    ranking = Ranking.of([np.nan, 0.1, np.nan], [1, 0, 0])
    assert ranking.rows.tolist() == [1, 3]
    assert ranking.positives.tolist() == [0, 1]


@pytest.mark.parametrize("label", [[], [0, 0], [1, 1]], ids=["empty", "negatives", "positives"])
def test_a_single_class_is_not_drawable(label):
    assert not Ranking.of([0.3, 0.4][: len(label)], label).drawable


def test_bins_expect_equally_many_positives():
    probability = np.random.default_rng(0).beta(0.5, 200, 20_000)
    label = (np.random.default_rng(1).random(20_000) < probability).astype(int)
    curve = reliability(probability, label, bins=6)
    assert curve.rows.sum() == 20_000
    assert np.diff(curve.predicted).min() > 0
    assert curve.predicted * curve.rows == pytest.approx(np.full(6, probability.sum() / 6), rel=0.05)
    assert np.all((curve.low <= curve.observed) & (curve.observed <= curve.high))
    assert np.all((curve.low <= curve.predicted) & (curve.predicted <= curve.high))


def test_equal_predictions_stay_in_one_bin():
    curve = reliability([0.2] * 6 + [0.9], [1, 0, 0, 0, 0, 0, 1], bins=10)
    assert curve.rows.tolist() == [6, 1]
    assert curve.observed == pytest.approx([1 / 6, 1.0])
    assert reliability([0.0] * 4, [0, 1, 0, 0]).observed.tolist() == [0.25]
