import numpy as np
import pytest
from sklearn.metrics import average_precision_score, roc_auc_score

from mlsys.evaluation.curves import Ranking
from mlsys.evaluation.metrics import fold_metrics
from mlsys.evaluation.ranking import TieGroups, tie_groups


@pytest.fixture
def rows():
    generator = np.random.default_rng(0)
    return generator.integers(0, 12, 200).astype(float), generator.random(200) < 0.2


def test_roc_auc_is_scikit_learns_ties_included(rows):
    score, positive = rows
    assert float(tie_groups(score, positive).roc_auc()) == pytest.approx(roc_auc_score(positive, score))


def test_average_precision_is_scikit_learns_ties_included(rows):
    score, positive = rows
    expected = average_precision_score(positive, score)
    assert float(tie_groups(score, positive).average_precision()) == pytest.approx(expected)


def test_many_sets_of_labels_are_measured_at_once(rows):
    score, _ = rows
    labels = np.random.default_rng(1).random((5, 200)) < 0.1
    groups = tie_groups(score, labels)
    assert groups.roc_auc() == pytest.approx([roc_auc_score(row, score) for row in labels])
    assert groups.average_precision() == pytest.approx([average_precision_score(row, score) for row in labels])


def test_weights_repeat_rows():
    weights = np.array([2.0, 1.0, 3.0])
    score, positive = np.array([0.9, 0.5, 0.1]), np.array([True, False, True])
    groups = TieGroups.from_running(np.cumsum(weights), np.cumsum(weights * positive))
    repeated = np.repeat([0, 1, 2], [2, 1, 3])
    assert float(groups.roc_auc()) == pytest.approx(roc_auc_score(positive[repeated], score[repeated]))


@pytest.mark.parametrize("positive", [True, False])
def test_roc_auc_of_one_class_is_undefined(positive):
    assert np.isnan(tie_groups(np.arange(3.0), np.full(3, positive)).roc_auc())


def test_average_precision_without_positive_rows_is_undefined(rows):
    assert np.isnan(tie_groups(rows[0], np.zeros((1, 200), dtype=bool)).average_precision()).all()


def test_without_rows_nothing_is_defined():
    groups = tie_groups(np.empty(0), np.empty((2, 0), dtype=bool))
    assert np.isnan(groups.roc_auc()).tolist() == np.isnan(groups.average_precision()).tolist() == [True, True]


def test_plots_and_metrics_json_agree(rows):
    score, positive = rows[0] / 12, rows[1]
    metrics, ranking = fold_metrics(positive, score, None, top_k=[10]), Ranking.of(score, positive)
    assert (ranking.roc_auc(), ranking.average_precision()) == (metrics["roc_auc"], metrics["average_precision"])
