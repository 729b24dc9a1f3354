import json

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import fbeta_score

from mlsys.errors import FitError
from mlsys.pipeline.threshold import choose_threshold, operating_threshold

COST = {"false_positive": 2.0, "false_negative": 30.0}


def rows(count=300, seed=0, decimals=9):
    generator = np.random.default_rng(seed)
    probability = np.round(generator.beta(1, 8, count), decimals)
    return (generator.random(count) < probability).astype(int), probability


def cost_at(threshold, label, probability, cost):
    flag = probability >= threshold
    by_outcome = {
        "true_positive": flag & (label == 1),
        "false_positive": flag & (label == 0),
        "false_negative": ~flag & (label == 1),
        "true_negative": ~flag & (label == 0),
    }
    return sum(cost.get(name, 0) * where.sum() for name, where in by_outcome.items())


def test_top_k_flags_k_rows_a_fold_on_average():
    label, probability = rows()
    groups = np.repeat(["a", "b", "c"], 100)
    choice = choose_threshold(label, probability, method="top_k", k=10, groups=groups)
    flag = probability >= choice.threshold
    assert flag.sum() == 30
    assert choice.flagged == tuple(flag[groups == fold].sum() for fold in "abc")
    assert (choice.flagged_mean, choice.folds, choice.rows) == (10, 3, 300)
    assert choice.precision == pytest.approx(label[flag].mean())
    assert choice.recall == pytest.approx(label[flag].sum() / label.sum())


@pytest.mark.parametrize(("k", "flagged"), [(1, 2), (3, 2), (4, 4), (5, 4), (7, 8), (50, 8)])
def test_top_k_takes_the_nearest_number_that_ties_allow(k, flagged):
    probability = [0.9, 0.9, 0.5, 0.5, 0.1, 0.1, 0.1, 0.1]
    assert choose_threshold([0] * 8, probability, method="top_k", k=k).flagged == (flagged,)


def test_constant_probabilities_flag_everybody():
    choice = choose_threshold([0, 1, 0], [0.2] * 3, method="top_k", k=1)
    assert (choice.threshold, choice.flagged) == (0.2, (3,))


@pytest.mark.parametrize("beta", [0.5, 1, 2])
@pytest.mark.parametrize("decimals", [1, 9])
def test_f_beta_is_maximal(beta, decimals):
    label, probability = rows(decimals=decimals)
    choice = choose_threshold(label, probability, method="f_beta", beta=beta)
    scores = {t: fbeta_score(label, probability >= t, beta=beta, zero_division=0) for t in np.unique(probability)}
    assert choice.parameters["f_beta"] == pytest.approx(max(scores.values()))
    assert scores[choice.threshold] == pytest.approx(max(scores.values()))


@pytest.mark.parametrize(
    "cost", [COST, {"true_positive": -50, "false_positive": 5}, {**COST, "true_negative": -1, "true_positive": 3}]
)
def test_cost_is_minimal(cost):
    label, probability = rows()
    choice = choose_threshold(label, probability, method="cost", cost=cost)
    least = min(cost_at(t, label, probability, cost) for t in [*np.unique(probability), 2])
    assert cost_at(choice.threshold, label, probability, cost) == pytest.approx(least)
    assert choice.expected_gain == pytest.approx(-least)


def test_the_cost_threshold_approaches_the_theory_for_perfect_probabilities():
    label, probability = rows(count=200_000)
    choice = choose_threshold(label, probability, method="cost", cost=COST)
    assert choice.parameters["elkan"] == 2 / 32
    assert choice.threshold == pytest.approx(2 / 32, abs=0.01)


def test_value_makes_true_positives_worth_their_own_revenue():
    label, probability = np.array([1, 0, 0, 1]), np.array([0.9, 0.8, 0.7, 0.6])
    worthless_last = choose_threshold(label, probability, [50, 99, 99, 15], method="cost", cost={"false_positive": 10})
    worthy_last = choose_threshold(label, probability, [50, 99, 99, 25], method="cost", cost={"false_positive": 10})
    assert (worthless_last.threshold, worthless_last.expected_gain) == (0.9, 50)
    assert (worthy_last.threshold, worthy_last.expected_gain) == (0.6, 55)
    assert worthy_last.parameters["elkan"] == 10 / (10 + (50 + 25) / 2)


def test_unknown_values_count_as_zero():
    choice = choose_threshold([1, 1], [0.9, 0.8], [np.nan, 20], method="top_k", k=2)
    assert choice.expected_gain == 20
    assert choose_threshold([1, 1], [0.9, 0.8], method="top_k", k=2).expected_gain is None


def test_expected_gain_is_a_mean_over_the_folds():
    label, probability, value = [1, 0, 1, 0], [0.9, 0.8, 0.7, 0.6], [40, 0, 60, 0]
    choice = choose_threshold(
        label, probability, value, method="top_k", k=2, cost={"false_positive": 10}, groups=[0, 0, 1, 1]
    )
    assert choice.expected_gain == (40 + 60 - 2 * 10) / 2


def test_nobody_is_flagged_if_that_is_cheapest():
    choice = choose_threshold([0, 0, 0], [0.3, 0.9, 1.0], method="cost", cost=COST)
    assert choice.threshold > 1
    assert (choice.flagged, choice.precision, choice.recall, choice.expected_gain) == ((0,), None, None, 0)


def test_top_k_works_without_positives():
    choice = choose_threshold([0, 0, 0], [0.3, 0.9, 1.0], method="top_k", k=2)
    assert (choice.threshold, choice.precision, choice.recall) == (0.9, 0, None)


@pytest.mark.parametrize(
    "options", [{"method": "top_k", "k": 5}, {"method": "f_beta"}, {"method": "cost", "cost": COST}]
)
def test_the_order_of_the_rows_does_not_matter(options):
    label, probability = rows(decimals=2)
    shuffled = np.random.default_rng(1).permutation(len(label))
    first = choose_threshold(label, probability, **options)
    assert first == choose_threshold(label[shuffled], probability[shuffled], **options)


def test_it_can_be_written_as_json():
    label, probability = rows()
    choice = choose_threshold(label, probability, method="cost", cost=COST)
    assert json.loads(json.dumps(choice.to_dict(), allow_nan=False)) == choice.to_dict()


@pytest.mark.parametrize(
    ("label", "probability", "options", "message"),
    [
        ([], [], {"method": "top_k", "k": 1}, "no rows"),
        ([0, 1], [0.5], {"method": "top_k", "k": 1}, r"same length, got \[1, 2\]"),
        ([0, 2], [0.5, 0.5], {"method": "top_k", "k": 1}, "1 of 2 labels is neither"),
        ([2, 3], [0.5, 0.5], {"method": "top_k", "k": 1}, "2 of 2 labels are neither"),
        ([3], [0.5], {"method": "top_k", "k": 1}, "1 of 1 label is neither"),
        ([0, 1], [0.5, np.nan], {"method": "top_k", "k": 1}, "1 of 2 probabilities is not in"),
        ([0, 1], [2, np.nan], {"method": "top_k", "k": 1}, "2 of 2 probabilities are not in"),
        ([0, 1], [0.5, 0.6], {"method": "top_k"}, "needs k >= 1"),
        ([0, 0], [0.5, 0.6], {"method": "f_beta"}, "there are none in 2 rows"),
        ([0, 1], [0.5, 0.6], {"method": "f_beta", "beta": 0}, "beta > 0"),
        ([0, 1], [0.5, 0.6], {"method": "cost"}, "needs the cost of at least one of"),
        ([0, 1], [0.5, 0.6], {"method": "cost", "cost": {"false_positve": 1}}, "closest: false_positive"),
        (
            [0, 1],
            [0.5, 0.6],
            {"method": "cost", "cost": {"false_positive": 1}},
            "the same decision is best",
        ),
        ([0, 1], [0.5, 0.6], {"method": "cost", "cost": {"false_positive": -1, "true_positive": 9}}, "gains negative"),
        ([0, 1], [0.5, 0.6], {"method": "topk"}, "closest: top_k"),
    ],
)
def test_invalid_arguments_are_an_error(label, probability, options, message):
    with pytest.raises(FitError, match=message):
        choose_threshold(label, probability, **options)


@pytest.mark.parametrize(("k", "warned"), [(39, False), (40, True), (50, True)])
def test_a_list_as_long_as_a_fold_is_warned_about(caplog, k, warned):
    label, probability = rows(count=120)
    folds = pd.DataFrame({"label": label, "label_complete": True, "probability": probability, "value": np.nan})
    operating_threshold(folds.assign(fold=np.arange(120) % 3), method="top_k", k=k)
    assert (f"threshold.k={k} is not less than the 40 rows of a fold" in caplog.text) == warned
