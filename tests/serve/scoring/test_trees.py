"""The walk through trees, against the libraries that grew them."""

import numpy as np
import pytest
from xgboost import DMatrix, XGBClassifier

from mlsys.errors import RunError
from serve.scoring import Scorer, trees
from serve.scoring.leaves import Leaves, fits
from serve.scoring.trees import Forest, Trees
from serve.scoring.xgboost import Booster, tree_walk


def grown(categories=0, seed=3, **parameters):
    """A booster on rows with gaps, some of whose columns are codes of categories; and the rows."""
    rng = np.random.default_rng(seed)
    rows = rng.normal(size=(600, 5)).astype(np.float32)
    for column in range(categories):
        rows[:, column] = rng.integers(0, 9, 600)
    rows[rng.random(rows.shape) < 0.15] = np.nan
    label = (np.nan_to_num(rows).sum(axis=1) + np.isin(rows[:, 0], [1, 4, 7]) * 4 + rng.normal(size=600) > 3).astype(
        int
    )
    types = ["c"] * categories + ["float"] * (5 - categories)
    fixed = {"n_estimators": 25, "max_depth": 5, "n_jobs": 1, "feature_types": types, "enable_categorical": True}
    model = XGBClassifier(**(fixed | parameters)).fit(rows, label)
    raw = bytes(model.get_booster().__getstate__()["handle"])
    return model.get_booster(), Booster(raw), rows, types


@pytest.mark.parametrize(
    ("categories", "parameters"),
    [
        (0, {}),
        (2, {"max_cat_to_onehot": 1}),  # splits between groups of categories
        (2, {"max_cat_to_onehot": 100}),  # splits that tell one category from all others
        (1, {"base_score": 0.01, "scale_pos_weight": 9}),
        (0, {"num_parallel_tree": 3, "subsample": 0.5}),
        (0, {"grow_policy": "lossguide", "max_leaves": 20, "max_depth": 0}),
        (1, {"grow_policy": "lossguide", "max_leaves": 400, "max_depth": 0, "n_estimators": 60}),
    ],
)
@pytest.mark.parametrize("numpy", [False, True])
def test_margins_equal_xgboosts_to_the_bit(categories, parameters, numpy):
    library, booster, rows, types = grown(categories, **parameters)
    walk = tree_walk(booster, rows.shape[1], numpy=numpy)
    assert isinstance(walk.way, Forest if numpy or categories else Leaves)
    if categories:
        rows[:20, 0] = 30  # a code that training never saw
    expected = library.predict(DMatrix(rows, feature_types=types, enable_categorical=True), output_margin=True)
    assert [walk.margin(row) for row in rows.tolist()] == expected.tolist()
    probabilities = np.array([walk.probability(row) for row in rows.tolist()])
    np.testing.assert_allclose(probabilities, booster.probabilities(rows), rtol=0, atol=1.2e-7)
    sums = booster.contributions(rows).sum(axis=1)
    np.testing.assert_allclose(sums, expected, rtol=0, atol=1e-4)


@pytest.mark.parametrize("base", [0.44375, 0.0021, 0.3, 0.999])
def test_trees_start_from_the_librarys_own_number(base):
    library, booster, rows, _ = grown(base_score=base, n_estimators=3)
    walk = tree_walk(booster, rows.shape[1])
    assert [walk.margin(row) for row in rows.tolist()] == library.predict(DMatrix(rows), output_margin=True).tolist()


@pytest.mark.parametrize("numpy", [False, True])
def test_any_value_goes_the_way_of_the_library(numpy):
    library, booster, rows, _ = grown(n_estimators=30)
    splits, rng = library.trees_to_dataframe().dropna(subset="Split"), np.random.default_rng(1)
    odd = rows[rng.integers(len(rows), size=300)].copy()
    for row in odd:
        for _, split in splits.sample(4, random_state=rng).iterrows():
            row[int(split["Feature"][1:])] = split["Split"]
        row[rng.integers(len(row))] = rng.choice([np.nan, 0, -0.0, 1e-36, -1e-36, 1e-45, 3e38, -3e38])
    walk = tree_walk(booster, rows.shape[1], numpy=numpy)
    expected = library.predict(DMatrix(odd), output_margin=True)
    assert [walk.margin(row) for row in odd.tolist()] == expected.tolist()


def test_lightgbm_is_not_asked_where_it_would_decide_otherwise(monkeypatch):
    assert fits(one_tree(threshold=np.float32(0.5)))
    for threshold in (0.0, 1e-36, -1e-45):
        assert not fits(one_tree(threshold=np.float32(threshold)))
    monkeypatch.setattr("serve.scoring.leaves.find_spec", lambda name: None)
    assert not fits(one_tree(threshold=np.float32(0.5)))


def test_a_tree_may_be_one_leaf():
    trees = one_tree(left=np.array([-1, -1, -1]), right=np.array([-1, -1, -1]), value=np.array([7, 1, 2], np.float32))
    assert Leaves(trees, 2).walk([1.0, np.nan]).tolist() == Forest(trees, 2).walk([1.0, np.nan]).tolist() == [7.0]


@pytest.mark.parametrize("way", [Forest, Leaves])
def test_the_values_on_a_threshold_go_right(way):
    forest = way(one_tree(threshold=np.float32(0.1)), 1)
    below = np.nextafter(np.float32(0.1), np.float32(0))
    ends = [forest.walk([float(value)])[0] for value in (below, np.float32(0.1), 1e39, -1e39, np.nan)]
    assert ends == [1.0, 2.0, 2.0, 1.0, 1.0]
    rows = np.array([[below], [0.1], [np.inf], [-np.inf], [np.nan]], dtype=np.float32)
    assert way is Leaves or forest.walk_rows(rows)[:, 0].tolist() == ends


def one_tree(**changes):
    nodes = {
        "roots": np.array([0]), "left": np.array([1, -1, -1]), "right": np.array([2, -1, -1]),
        "feature": np.zeros(3, dtype=np.intp), "threshold": np.full(3, changes.pop("threshold", 0.5), np.float32),
        "missing_left": np.ones(3, dtype=bool), "value": np.array([0, 1, 2], dtype=np.float32), "categories": {},
    }  # fmt: skip
    return Trees(**(nodes | changes))


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"left": np.array([7, -1, -1])}, "lies outside"),
        ({"right": np.array([-5, -1, -1])}, "lies outside"),
        ({"feature": np.array([4, 0, 0])}, "a column that is not there"),
        ({"feature": np.array([-1, 0, 0])}, "a column that is not there"),
        ({"threshold": np.float32(np.nan)}, "compares with NaN"),
    ],
)
def test_nodes_that_point_outside_are_refused(changes, reason):
    with pytest.raises(RunError, match=reason):
        Forest(one_tree(**changes), 1)


@pytest.mark.parametrize("back", [{"left": np.array([0, -1, -1])}, {"left": [1, 0, -1], "right": [2, 2, -1]}])
@pytest.mark.parametrize("way", [Forest, Leaves])
def test_a_tree_that_leads_back_is_refused(back, way):
    with pytest.raises(RunError, match="above it"):
        way(one_tree(**{side: np.array(nodes) for side, nodes in back.items()}), 1)


@pytest.mark.parametrize("model", ["xgboost", "random_forest", "hist_gradient_boosting"])
def test_deep_trees_give_the_same(model, run_of, records, monkeypatch):
    monkeypatch.setattr("serve.scoring.xgboost.fits", lambda trees: False)
    complete = Scorer.load(run_of(model))
    monkeypatch.setattr(trees, "MOST_POSITIONS", 10)
    linked = Scorer.load(run_of(model))
    assert linked.path == "trees"
    for record in records:
        assert linked.score(record).probability == complete.score(record).probability
    expected = complete.score_many(records).probabilities.tolist()
    assert linked.score_many(records).probabilities.tolist() == expected


def test_another_objective_or_booster_is_left_to_the_library():
    rows, label = np.random.default_rng(0).normal(size=(50, 2)), np.arange(50) % 2
    for parameters, said in ({"booster": "dart"}, "dart"), ({"objective": "binary:hinge"}, "hinge"):
        model = XGBClassifier(n_estimators=2, n_jobs=1, **parameters).fit(rows, label)
        booster = Booster(bytes(model.get_booster().__getstate__()["handle"]))
        assert said in str(tree_walk(booster, 2))


def test_a_booster_that_is_no_booster_is_refused():
    with pytest.raises(RunError, match="XGBoost refuses the model"):
        Booster(b"{}")
