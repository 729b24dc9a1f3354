import itertools

import numpy as np
import pytest
from scipy.stats import spearmanr

from mlsys.evaluation.comparison.overlap import agreement


def test_without_ties_it_is_the_plain_count():
    rng = np.random.default_rng(0)
    first, second = [rng.normal(size=50) for _ in range(3)], [rng.normal(size=50) for _ in range(3)]
    found = agreement(first, second, top_k=[7])
    both = [len(set(np.argsort(-a)[:7]) & set(np.argsort(-b)[:7])) for a, b in zip(first, second, strict=True)]
    assert found.shared[7] == pytest.approx(np.mean(both) / 7)
    assert found.jaccard[7] == pytest.approx(np.mean([n / (14 - n) for n in both]))
    assert found.correlation == pytest.approx(np.mean([spearmanr(a, b)[0] for a, b in zip(first, second, strict=True)]))


def test_ties_are_the_mean_over_all_orders():
    scores, other = np.array([2.0, 1.0, 1.0, 1.0, 0.0]), np.array([0.1, 0.9, 0.8, 0.2, 0.3])
    k, theirs = 3, {1, 2, 4}
    lists = [{0, *some} for some in itertools.combinations([1, 2, 3], 2)]
    expected = np.mean([len(each & theirs) for each in lists]) / k
    assert agreement([scores], [other], top_k=[k]).shared[k] == pytest.approx(expected)


def test_a_constant_score_agrees_as_chance_does():
    found = agreement([np.ones(20)], [np.arange(20.0)], top_k=[5])
    assert found.shared[5] == pytest.approx(found.chance[5]) == pytest.approx(0.25)
    assert found.correlation is None


def test_a_list_longer_than_the_rows_takes_all():
    found = agreement([np.arange(4.0)], [np.arange(4.0)[::-1]], top_k=[10])
    assert found.shared[10] == found.jaccard[10] == found.chance[10] == 1.0
    assert found.correlation == pytest.approx(-1.0)
