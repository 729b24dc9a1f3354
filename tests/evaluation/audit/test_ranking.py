import numpy as np
import pytest
from sklearn.metrics import average_precision_score, roc_auc_score

from mlsys.evaluation.audit.ranking import average_precision, best_roc_auc, roc_auc, roc_auc_error


@pytest.fixture
def rows():
    generator = np.random.default_rng(0)
    return generator.integers(0, 12, 200).astype(float), generator.random(200) < 0.2


def test_roc_auc_is_scikit_learns_ties_included(rows):
    score, positive = rows
    assert roc_auc(score, positive) == pytest.approx(roc_auc_score(positive, score))


def test_roc_auc_of_one_class_is_undefined():
    assert np.isnan(roc_auc(np.arange(3.0), np.ones(3, dtype=bool)))


@pytest.mark.parametrize("direction", [1, -1])
def test_best_roc_auc_takes_the_better_direction_and_end(rows, direction):
    score, positive = rows
    score = direction * (score + 5 * positive)
    gaps = score.copy()
    gaps[::7] = np.nan
    ends = [np.where(np.isnan(gaps), end, gaps) for end in (-1e9, 1e9)]
    expected = max(max(auc, 1 - auc) for auc in (roc_auc_score(positive, end) for end in ends))
    assert best_roc_auc(gaps, positive) == pytest.approx(expected)


def test_a_column_without_values_ranks_nothing():
    assert best_roc_auc(np.full(4, np.nan), np.array([True, False, True, False])) == 0.5


def test_average_precision_is_scikit_learns_for_every_set_of_labels(rows):
    score, _ = rows
    labels = np.random.default_rng(1).random((5, 200)) < 0.1
    expected = [average_precision_score(row, score) for row in labels]
    assert average_precision(score, labels) == pytest.approx(expected)


def test_average_precision_without_positive_rows_is_undefined(rows):
    assert np.isnan(average_precision(rows[0], np.zeros((1, 200), dtype=bool))).all()


def test_roc_auc_error_is_that_of_repeated_draws():
    generator = np.random.default_rng(0)
    positive = np.arange(300) < 30
    aucs = [roc_auc(generator.exponential(1 + 2 * positive), positive) for _ in range(400)]
    assert roc_auc_error(float(np.mean(aucs)), 30, 270) == pytest.approx(np.std(aucs), rel=0.15)
