import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from mlsys.evaluation.audit.ranking import best_roc_auc, roc_auc_error
from mlsys.evaluation.ranking import tie_groups


@pytest.fixture
def rows():
    generator = np.random.default_rng(0)
    return generator.integers(0, 12, 200).astype(float), generator.random(200) < 0.2


@pytest.mark.parametrize("direction", [1, -1])
def test_best_roc_auc_takes_the_better_direction_and_end(rows, direction):
    score, positive = rows
    score = direction * (score + 5 * positive)
    gaps = score.copy()
    gaps[::7] = np.nan
    ends = [np.where(np.isnan(gaps), end, gaps) for end in (-1e9, 1e9)]
    expected = max(max(auc, 1 - auc) for auc in (roc_auc_score(positive, end) for end in ends))
    assert best_roc_auc(gaps, positive) == pytest.approx(expected)


def test_a_column_without_values_has_a_roc_auc_of_one_half():
    assert best_roc_auc(np.full(4, np.nan), np.array([True, False, True, False])) == 0.5


def test_roc_auc_error_equals_that_of_repeated_samples():
    generator = np.random.default_rng(0)
    positive = np.arange(300) < 30
    scores = [generator.exponential(1 + 2 * positive) for _ in range(400)]
    aucs = [float(tie_groups(score, positive).roc_auc()) for score in scores]
    assert roc_auc_error(float(np.mean(aucs)), 30, 270) == pytest.approx(np.std(aucs), rel=0.15)
