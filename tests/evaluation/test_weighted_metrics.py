from itertools import permutations

import numpy as np
import pytest
from sklearn.metrics import average_precision_score, brier_score_loss, log_loss, roc_auc_score

from mlsys.errors import DataError
from mlsys.evaluation.metrics import measure
from mlsys.evaluation.weighted_metrics import ScoredFold

TOP_K = (1, 7, 500)
CASES = {  # decimals of the probabilities, fraction of positives: from no ties to nearly everything tied
    "distinct": (9, 0.1),
    "some ties": (2, 0.5),
    "few groups": (1, 0.1),
    "one group": (0, 0.3),
}


def rows(case, seed=0, count=90):
    decimals, fraction = CASES[case]
    generator = np.random.default_rng(seed)
    label = (generator.random(count) < fraction).astype(int)
    label[:2] = 0, 1
    probability = np.round(
        generator.random(count) * (0.49 if decimals == 0 else 0.9) + 0.1 * label * (decimals > 0), decimals
    )
    return label, probability, generator.gamma(2, 50, count), generator


def metrics_of(label, probability, value=None, top_k=TOP_K):
    fold = ScoredFold(label, probability, value, top_k=top_k)
    return {name: number[0] for name, number in measure(fold, np.ones((1, len(label)))).items()}


@pytest.mark.parametrize("case", CASES)
def test_agrees_with_scikit_learn(case):
    label, probability, _, _ = rows(case)
    ours = metrics_of(label, probability)
    assert ours["roc_auc"] == pytest.approx(roc_auc_score(label, probability), rel=1e-12)
    assert ours["average_precision"] == pytest.approx(average_precision_score(label, probability), rel=1e-12)
    assert ours["log_loss"] == pytest.approx(log_loss(label, probability), rel=1e-12)
    assert ours["brier"] == pytest.approx(brier_score_loss(label, probability), rel=1e-12)


@pytest.mark.parametrize("case", CASES)
def test_agrees_with_scikit_learn_under_any_weights(case):
    label, probability, _, generator = rows(case)
    weights = generator.gamma(1, 1, (3, len(label)))
    fold = ScoredFold(label, probability, None, top_k=TOP_K)
    ours = measure(fold, weights[:, fold.order])
    for resample, weight in enumerate(weights):
        assert ours["roc_auc"][resample] == pytest.approx(roc_auc_score(label, probability, sample_weight=weight))
        theirs = average_precision_score(label, probability, sample_weight=weight)
        assert ours["average_precision"][resample] == pytest.approx(theirs)
        assert ours["log_loss"][resample] == pytest.approx(log_loss(label, probability, sample_weight=weight))


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("seed", range(5))
def test_whole_weights_give_the_metrics_of_replicated_rows(case, seed):
    label, probability, value, generator = rows(case, seed)
    weights = generator.poisson(1, (4, len(label)))
    fold = ScoredFold(label, probability, value, top_k=TOP_K)
    ours = measure(fold, weights[:, fold.order].astype(float))
    for resample, weight in enumerate(weights):
        replicated = metrics_of(*(np.repeat(column, weight) for column in (label, probability, value)))
        for name in ours.keys() - {"ece"}:  # its bins do not depend on the weights
            np.testing.assert_allclose(ours[name][resample], replicated[name], rtol=1e-12, err_msg=name)


def test_top_k_is_the_mean_over_all_orders_of_the_tied_rows():
    label, value = np.array([0, 1, 0, 1, 1]), np.array([0.0, 10.0, 0.0, 40.0, 5.0])
    probability = np.array([0.9, 0.5, 0.5, 0.5, 0.1])
    orders = [[0, *tied, 4] for tied in permutations([1, 2, 3])]
    for k in (1, 2, 3, 4, 5):
        ours = metrics_of(label, probability, value, top_k=[k])
        hits = np.mean([label[order[:k]].sum() for order in orders])
        revenue = np.mean([(label * value)[order[:k]].sum() for order in orders])
        assert ours[f"precision@{k}"] == pytest.approx(hits / k)
        assert ours[f"recall@{k}"] == pytest.approx(hits / 3)
        assert ours[f"lift@{k}"] == pytest.approx(hits / k / 0.6)
        assert ours[f"revenue@{k}"] == pytest.approx(revenue)


def test_constant_scores_get_the_base_rate():
    ours = metrics_of([0, 0, 0, 1], [0.1] * 4, [0, 0, 0, 80.0], top_k=[2])
    assert ours["roc_auc"] == 0.5
    assert ours["average_precision"] == ours["precision@2"] == 0.25
    assert (ours["lift@2"], ours["recall@2"], ours["revenue@2"]) == (1, 0.5, 40)
    assert ours["ece"] == pytest.approx(0.15)


def test_a_k_past_the_rows_uses_all_rows():
    ours = metrics_of([0, 1, 1], [0.1, 0.2, 0.3], [5, 5, np.nan], top_k=[10])
    assert ours["precision@10"] == pytest.approx(2 / 3)
    assert (ours["recall@10"], ours["lift@10"], ours["revenue@10"]) == (1, 1, 5)


def test_revenue_counts_positives_with_a_known_value_only():
    assert metrics_of([1, 1, 0], [0.9, 0.8, 0.7], [np.nan, 30.0, 99.0], top_k=[3])["revenue@3"] == 30
    assert np.isnan(metrics_of([1, 1, 0], [0.9, 0.8, 0.7], None, top_k=[3])["revenue@3"])


def test_ece_is_the_mean_gap_over_ten_bins_of_equal_mass():
    generator = np.random.default_rng(3)
    probability = np.sort(generator.random(200))
    label = (generator.random(200) < 0.3).astype(int)
    bins = np.arange(200) // 20
    gaps = [abs(label[bins == b].mean() - probability[bins == b].mean()) for b in range(10)]
    assert metrics_of(label, probability)["ece"] == pytest.approx(np.mean(gaps))


@pytest.mark.parametrize("case", CASES)
def test_tied_rows_share_the_ece_bin_of_their_middle_rank(case):
    label, probability, _, _ = rows(case)
    middle = [(probability > own).sum() + (probability == own).sum() / 2 for own in probability]
    bins = np.floor(10 * np.array(middle) / len(label))
    gaps = [abs((label - probability)[bins == b].sum()) for b in np.unique(bins)]
    assert metrics_of(label, probability)["ece"] == pytest.approx(np.sum(gaps) / len(label))


@pytest.mark.parametrize("case", CASES)
def test_the_order_of_the_rows_does_not_matter(case):
    label, probability, value, generator = rows(case)
    shuffled = generator.permutation(len(label))
    first, second = (
        metrics_of(label, probability, value),
        metrics_of(label[shuffled], probability[shuffled], value[shuffled]),
    )
    for name in first:
        assert first[name] == pytest.approx(second[name], rel=1e-12), name


@pytest.mark.parametrize(
    ("label", "undefined"),
    [([0, 0, 0], {"roc_auc", "average_precision", "recall@1", "lift@1"}), ([1, 1, 1], {"roc_auc"})],
)
def test_some_metrics_are_undefined_with_one_class(label, undefined):
    ours = metrics_of(label, [0.2, 0.4, 0.6], [1, 1, 1], top_k=[1])
    assert {name for name, number in ours.items() if np.isnan(number)} == undefined


def test_every_metric_of_a_resample_without_rows_is_undefined():
    fold = ScoredFold([0, 1], [0.2, 0.4], [1, 1], top_k=[1])
    assert all(
        np.isnan(number[0]) and not np.isnan(number[1])
        for number in measure(fold, np.array([[0.0, 0], [1, 1]])).values()
    )


def test_scores_that_are_not_probabilities_have_no_probability_metrics():
    fold = ScoredFold([0, 1, 1], [-np.inf, -np.inf, 7.0], None, top_k=[1], is_probability=False)
    ours = measure(fold, np.ones((1, 3)))
    assert ours["roc_auc"] == 0.75
    assert not {"log_loss", "brier", "ece"} & set(ours)


@pytest.mark.parametrize(
    ("label", "score", "message"),
    [
        ([], [], "not empty"),
        ([0, 1], [0.5], "same length"),
        ([0, 2], [0.5, 0.5], "neither 0 nor 1"),
        ([0, np.nan], [0.5, 0.5], "neither 0 nor 1"),
        (
            [0, 1],
            [0.5, 1.5],
            r"1 of 2 scores is NaN or outside \[0, 1\] \(first: 1.5 in row 1\)",
        ),
        ([0, 1], [np.nan, 0.5], "1 of 2 scores is"),
        ([0, 1], [np.nan, 1.5], "2 of 2 scores are"),
        ([2, 3], [0.5, 0.5], "2 of 2 labels are neither"),
    ],
)
def test_invalid_columns_are_an_error(label, score, message):
    with pytest.raises(DataError, match=message):
        ScoredFold(label, score, None, top_k=[1])
