"""Tree traversal compared with the libraries that grew the trees."""

import numpy as np
import pandas as pd
import pytest
from lightgbm import LGBMClassifier
from xgboost import DMatrix, XGBClassifier

from mlsys.errors import RunError
from serve.scoring import Scorer
from serve.scoring.models import lightgbm, lightgbm_trees, xgboost
from serve.scoring.models.xgboost import XgboostBooster, xgboost_traversal
from serve.scoring.trees import compiled, vectorised
from serve.scoring.trees.arrays import Trees
from serve.scoring.trees.compiled import CompiledTraversal, is_compiled
from serve.scoring.trees.vectorised import VectorisedTraversal

COMPILED = pytest.param(CompiledTraversal, marks=pytest.mark.skipif(not is_compiled(), reason="no C compiler"))


@pytest.fixture(params=[VectorisedTraversal, COMPILED])
def traversal_class(request):
    return request.param


@pytest.fixture
def forced_traversal(traversal_class, monkeypatch):
    """Use this traversal instead of the fastest."""
    for module in (xgboost, lightgbm_trees):
        monkeypatch.setattr(module, "make_traversal", traversal_class)
    return traversal_class


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
    return model.get_booster(), XgboostBooster(raw), rows, types


@pytest.mark.parametrize(
    ("categories", "parameters"),
    [
        (0, {}),
        (2, {"max_cat_to_onehot": 1}),  # splits between groups of categories
        (2, {"max_cat_to_onehot": 100}),  # splits of one category against all others
        (1, {"base_score": 0.01, "scale_pos_weight": 9}),
        (0, {"num_parallel_tree": 3, "subsample": 0.5}),
        (0, {"grow_policy": "lossguide", "max_leaves": 20, "max_depth": 0}),
        (1, {"grow_policy": "lossguide", "max_leaves": 400, "max_depth": 0, "n_estimators": 60}),
    ],
)
def test_margins_equal_xgboosts_bit_for_bit(categories, parameters, forced_traversal):
    library, booster, rows, types = grown(categories, **parameters)
    traversal = xgboost_traversal(booster, rows.shape[1])
    assert traversal.implementation == forced_traversal.implementation
    if categories:
        rows[:20, 0] = 30  # a code that training did not see
    expected = library.predict(DMatrix(rows, feature_types=types, enable_categorical=True), output_margin=True)
    assert [traversal.margin(row) for row in rows.tolist()] == expected.tolist()
    probabilities = np.array([traversal.probability(row) for row in rows.tolist()])
    np.testing.assert_allclose(probabilities, booster.predictions(rows), rtol=0, atol=1.2e-7)
    sums = booster.contributions(rows).sum(axis=1)
    np.testing.assert_allclose(sums, expected, rtol=0, atol=1e-4)


@pytest.mark.parametrize("base", [0.44375, 0.0021, 0.3, 0.999])
@pytest.mark.usefixtures("forced_traversal")
def test_trees_start_from_the_librarys_base_score(base):
    library, booster, rows, _ = grown(base_score=base, n_estimators=3)
    traversal = xgboost_traversal(booster, rows.shape[1])
    assert [traversal.margin(row) for row in rows.tolist()] == library.predict(
        DMatrix(rows), output_margin=True
    ).tolist()


@pytest.mark.usefixtures("forced_traversal")
def test_every_value_takes_the_librarys_branch():
    library, booster, rows, _ = grown(n_estimators=30)
    splits, rng = library.trees_to_dataframe().dropna(subset="Split"), np.random.default_rng(1)
    unusual = rows[rng.integers(len(rows), size=300)].copy()
    for row in unusual:
        for _, split in splits.sample(4, random_state=rng).iterrows():
            row[int(split["Feature"][1:])] = split["Split"]
        row[rng.integers(len(row))] = rng.choice([np.nan, 0, -0.0, 1e-36, -1e-36, 1e-45, 3e38, -3e38])
    traversal = xgboost_traversal(booster, rows.shape[1])
    expected = library.predict(DMatrix(unusual), output_margin=True)
    assert [traversal.margin(row) for row in unusual.tolist()] == expected.tolist()


def test_a_tree_may_be_one_leaf(traversal_class):
    trees = one_tree(left=np.array([-1, -1, -1]), right=np.array([-1, -1, -1]), value=np.array([7, 1, 2], np.float32))
    traversal = traversal_class(trees, 2)
    assert traversal.sum([1.0, np.nan], 0.5) == 7.5
    assert traversal.sums(np.zeros((3, 2), np.float32), 0.5).tolist() == [7.5] * 3
    assert traversal.sums(np.zeros((0, 2), np.float32), 0.5).tolist() == []


def test_values_on_a_threshold_go_right(traversal_class):
    traversal = traversal_class(one_tree(threshold=np.full(3, 0.1, np.float32)), 1)
    below = np.nextafter(np.float32(0.1), np.float32(0))
    sums = [traversal.sum([float(value)], 0.0) for value in (below, np.float32(0.1), 1e39, -1e39, np.nan)]
    assert sums == [1.0, 2.0, 2.0, 1.0, 1.0]
    rows = np.array([[below], [0.1], [np.inf], [-np.inf], [np.nan]], dtype=np.float32)
    assert traversal.sums(rows, 0.0).tolist() == sums


def test_missing_values_take_the_nodes_default_branch(traversal_class):
    for left, total in ((True, 1.0), (False, 2.0)):
        traversal = traversal_class(one_tree(missing_left=np.full(3, left)), 1)
        assert traversal.sum([np.nan], 0.0) == total
        assert traversal.sums(np.array([[np.nan]], np.float32), 0.0).tolist() == [total]


def test_leaves_are_added_in_tree_order(traversal_class):
    values = np.array([1e8, 1.0, -1e8, 1.0] * 5, dtype=np.float32)  # float32 loses the first 1 of every four
    places = np.arange(20)
    trees = Trees(
        places, np.full(20, -1), np.full(20, -1), np.zeros(20, int), np.zeros(20, np.float32), places > 0, values, {}
    )
    assert traversal_class(trees, 1).sum([0.0], 0.0) == 1.0
    assert traversal_class(trees, 1).sums(np.zeros((2, 1), np.float32), 0.0).tolist() == [1.0, 1.0]


def test_a_library_of_another_version_is_not_used(monkeypatch):
    if is_compiled():
        monkeypatch.setattr(compiled, "VERSION", 0)
        assert not is_compiled()
    monkeypatch.setattr(compiled, "LIBRARY", compiled.LIBRARY.with_name("none.so"))
    assert not is_compiled()


def one_tree(**changes):
    nodes = {
        "roots": np.array([0]), "left": np.array([1, -1, -1]), "right": np.array([2, -1, -1]),
        "feature": np.zeros(3, dtype=np.intp), "threshold": np.full(3, 0.5, np.float32),
        "missing_left": np.ones(3, dtype=bool), "value": np.array([0, 1, 2], dtype=np.float32), "categories": {},
    }  # fmt: skip
    return Trees(**(nodes | changes))


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"left": np.array([7, -1, -1])}, "outside its tree"),
        ({"right": np.array([-5, -1, -1])}, "outside its tree"),
        ({"feature": np.array([4, 0, 0])}, "a column that does not exist"),
        ({"feature": np.array([-1, 0, 0])}, "a column that does not exist"),
        ({"threshold": np.full(3, np.nan, np.float32)}, "compares with NaN"),
    ],
)
def test_nodes_that_point_outside_are_refused(changes, reason, traversal_class):
    with pytest.raises(RunError, match=reason):
        traversal_class(one_tree(**changes), 1)


@pytest.mark.parametrize("back", [{"left": np.array([0, -1, -1])}, {"left": [1, 0, -1], "right": [2, 2, -1]}])
def test_a_tree_with_a_cycle_is_refused(back, traversal_class):
    with pytest.raises(RunError, match="not numbered after its parent"):
        traversal_class(one_tree(**{side: np.array(nodes) for side, nodes in back.items()}), 1)


def test_nodes_that_share_children_are_refused(traversal_class):
    chain = np.append(np.arange(1, 40), -1)  # each node's two children are the next node: 2**39 paths
    trees = one_tree(
        left=chain, right=chain, feature=np.zeros(40, int), threshold=np.zeros(40, np.float32),
        missing_left=np.ones(40, bool), value=np.zeros(40, np.float32),
    )  # fmt: skip
    with pytest.raises(RunError, match="two nodes share a child"):
        traversal_class(trees, 1)


@pytest.mark.parametrize("model", ["xgboost", "random_forest", "hist_gradient_boosting"])
def test_every_traversal_gives_the_same(model, run_of, records, monkeypatch):
    scorers = {}
    for name, positions, in_c in (("C", 0, True), ("NumPy", 500_000, False), ("deep, NumPy", 10, False)):
        if in_c and not is_compiled():
            continue
        monkeypatch.setattr("serve.scoring.trees.traversal.is_compiled", lambda in_c=in_c: in_c)
        monkeypatch.setattr(vectorised, "MAX_POSITIONS", positions)
        scorers[name] = Scorer.load(run_of(model))
        assert scorers[name].path == "trees"
        assert ("in C" in scorers[name].reason) == in_c
    expected = scorers["NumPy"].score_many(records).probabilities.tolist()
    for scorer in scorers.values():
        assert scorer.score_many(records).probabilities.tolist() == expected
        assert [scorer.score(record).probability for record in records] == [
            scorers["NumPy"].score(record).probability for record in records
        ]


def lightgbm_model(**parameters):
    rng = np.random.default_rng(5)
    rows = rng.normal(size=(800, 4)) * (rng.random((800, 4)) > 0.3)  # with many zeros
    label = (rows.sum(axis=1) + rng.normal(size=800) > 0.5).astype(int)
    rows[rng.random(rows.shape) < parameters.pop("gaps", 0.1)] = np.nan
    fixed = {"n_estimators": 40, "num_leaves": 12, "verbose": -1, "n_jobs": 1}
    model = LGBMClassifier(**(fixed | parameters)).fit(rows, label)
    return model.booster_.model_to_string(), rows


@pytest.mark.parametrize(
    ("parameters", "used"),
    [
        ({}, 0),
        ({}, 7),
        ({"gaps": 0.0}, 0),
        ({"scale_pos_weight": 5, "is_unbalance": False}, 0),
        ({"min_child_samples": 900}, 0),
    ],
)
def test_probabilities_equal_lightgbms_bit_for_bit(parameters, used, forced_traversal, monkeypatch):
    monkeypatch.setattr(lightgbm_trees, "is_compiled", lambda: True)
    text, rows = lightgbm_model(**parameters)
    booster = lightgbm.LightgbmBooster(text, 4, used)
    traversal = lightgbm_trees.lightgbm_traversal(text, used, 4)
    assert traversal.implementation == forced_traversal.implementation
    unusual = [
        0.0,
        -0.0,
        1e-36,
        -1e-36,
        1.0000000180025095e-35,
        -1.0000000180025095e-35,
        1e-34,
        -1e-34,
        1e300,
        np.inf,
        np.nan,
    ]
    rng = np.random.default_rng(0)
    more = rows[:300].copy()
    more[np.arange(300), rng.integers(4, size=300)] = rng.choice(unusual, 300)
    for row in [*rows.tolist(), *more.tolist()]:
        assert traversal.probability(row) == booster.probability(row)
    assert traversal.probabilities(more).tolist() == booster.probabilities(more).tolist()
    assert traversal.probabilities(more[:0]).tolist() == []


@pytest.mark.parametrize(
    ("parameters", "reason"),
    [
        ({"zero_as_missing": True}, "0 as missing"),
        ({"linear_tree": True}, "linear models"),
        ({"boosting_type": "rf", "subsample": 0.5, "subsample_freq": 1}, "averaged"),
        ({"objective": "cross_entropy"}, "objective is cross_entropy"),
        ({"categorical": True}, "on categories"),
    ],
)
def test_models_that_need_lightgbm_are_left_to_it(parameters, reason, monkeypatch):
    monkeypatch.setattr(lightgbm_trees, "is_compiled", lambda: True)
    if parameters.pop("categorical", False):
        codes = np.random.default_rng(0).integers(6, size=(500, 1))
        frame = pd.DataFrame({"plan": pd.Categorical(codes[:, 0])})
        model = LGBMClassifier(n_estimators=3, verbose=-1, n_jobs=1).fit(frame, codes[:, 0] % 2)
        text = model.booster_.model_to_string()
    else:
        text, _ = lightgbm_model(**parameters)
    assert reason in lightgbm_trees.lightgbm_traversal(text, 0, 4)


def test_lightgbms_own_call_is_faster_than_numpy(monkeypatch):
    monkeypatch.setattr(lightgbm_trees, "is_compiled", lambda: False)
    assert "was not compiled" in lightgbm_trees.lightgbm_traversal(lightgbm_model()[0], 0, 4)


def test_another_objective_or_booster_is_left_to_the_library():
    rows, label = np.random.default_rng(0).normal(size=(50, 2)), np.arange(50) % 2
    for parameters, reason in ({"booster": "dart"}, "dart"), ({"objective": "binary:hinge"}, "hinge"):
        model = XGBClassifier(n_estimators=2, n_jobs=1, **parameters).fit(rows, label)
        booster = XgboostBooster(bytes(model.get_booster().__getstate__()["handle"]))
        assert reason in str(xgboost_traversal(booster, 2))


def test_a_booster_that_is_no_booster_is_refused():
    with pytest.raises(RunError, match="XGBoost rejected the model"):
        XgboostBooster(b"{}")
