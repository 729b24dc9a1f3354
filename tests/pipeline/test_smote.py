"""SMOTE for any mix of columns: the contract of imbalanced-learn, and columns that are resampled together."""

from functools import partial

import numpy as np
import pandas as pd
import pytest
from imblearn.over_sampling import SMOTE, SMOTEN, SMOTENC
from imblearn.utils.estimator_checks import estimator_checks_generator
from sklearn.base import clone
from sklearn.utils.estimator_checks import parametrize_with_checks

from mlsys.pipeline.smote import SmoteMixed

SAMPLER = SmoteMixed(random_state=0)


def rows_of(columns=2, positives=12, rows=60):
    """Return normal numbers, and labels of which the first are positive."""
    return np.random.default_rng(0).normal(size=(rows, columns)), (np.arange(rows) < positives).astype(np.int8)


@parametrize_with_checks([SAMPLER])
def test_the_contract_of_scikit_learn(estimator, check):
    check(estimator)


def _name(value):
    return getattr(value.func if isinstance(value, partial) else value, "__name__", None)


@pytest.mark.parametrize(("sampler", "check"), list(estimator_checks_generator(SAMPLER)), ids=_name)
def test_the_contract_of_imbalanced_learn(sampler, check):
    check(sampler)


@pytest.mark.parametrize("constants", [["users", "deals"], ["users", "seats", "deals"]])
@pytest.mark.parametrize("as_groups", [False, True])
def test_numbers_that_are_constant_among_the_positives(constants, as_groups):
    rng = np.random.default_rng(0)
    labels = (np.arange(200) < 40).astype(np.int8)
    plan = rng.choice(["free", "pro", "team"], 200)
    frame = pd.DataFrame({"users": rng.normal(size=200), "plan": pd.Categorical(plan)})
    frame = frame.assign(seats=rng.normal(size=200), deals=rng.normal(size=200))
    frame.loc[labels == 1, constants] = 3.0
    if as_groups:
        numbers = frame.select_dtypes("number")
        rows = np.column_stack([numbers, pd.get_dummies(frame["plan"])]).astype(float)
        group = list(range(numbers.shape[1], rows.shape[1]))
        made, found = SmoteMixed([group], random_state=0).fit_resample(rows, labels)
        made = pd.DataFrame(made[:, : numbers.shape[1]], columns=numbers.columns).assign(
            plan=np.array(["free", "pro", "team"])[made[:, group].argmax(axis=1)]
        )
    else:
        made, found = SmoteMixed(random_state=0).fit_resample(frame, labels)
        assert list(made.columns) == list(frame.columns)
        assert made.dtypes.to_dict() == frame.dtypes.to_dict()
    new = made.iloc[200:]
    assert len(new) == 120
    assert (found[200:] == 1).all()
    assert (new[constants] == 3).all().all()
    assert set(new["plan"]) == {"free", "pro", "team"}
    assert new["seats"].nunique() == (1 if "seats" in constants else 120)
    pd.testing.assert_series_equal(made["users"].iloc[:200], frame["users"], check_index=False)


def test_parameters_are_set_and_cloned():
    sampler = clone(SmoteMixed([0, [1, 2]], k_neighbors=3)).set_params(sampling_strategy=0.5)
    assert sampler.get_params() == {
        "categorical_features": [0, [1, 2]],
        "k_neighbors": 3,
        "max_minority": None,
        "random_state": None,
        "sampling_strategy": 0.5,
    }


@pytest.mark.parametrize(
    ("categorical", "equivalent"),
    [
        ([], SMOTE(random_state=0)),
        ([1], SMOTENC([1], random_state=0)),
        ([0, 1], SMOTEN(random_state=0)),
    ],
)
def test_each_mix_is_resampled_as_imbalanced_learn_does(categorical, equivalent):
    X, y = rows_of()
    X[:, categorical] = np.round(X[:, categorical])
    expected_X, expected_y = equivalent.fit_resample(X, y)
    frame = pd.DataFrame(X, columns=["a", "b"]).astype({"ab"[column]: "category" for column in categorical})
    for sampler, rows in [(SmoteMixed(categorical, random_state=0), X), (SAMPLER, frame)]:
        resampled, labels = clone(sampler).fit_resample(rows, y)
        np.testing.assert_array_equal(np.asarray(resampled, dtype=float), expected_X)
        np.testing.assert_array_equal(labels, expected_y)


def test_a_frame_keeps_its_columns_and_dtypes():
    X, y = rows_of()
    frame = pd.DataFrame(X, columns=["a", "b"]).assign(c=pd.Categorical(["x", "y", "z"] * 20))
    resampled, labels = SAMPLER.fit_resample(frame, y)
    assert resampled.dtypes.to_dict() == frame.dtypes.to_dict()
    assert len(resampled) == len(labels) == 2 * 48


def test_one_hot_columns_are_resampled_together():
    X, y = rows_of(columns=1)
    X = np.column_stack([np.eye(3)[np.arange(60) % 3], X])
    resampled, _ = SmoteMixed([[0, 1, 2]], random_state=0).fit_resample(X, y)
    assert len(resampled) == 2 * 48
    assert set(resampled[:, :3].ravel()) == {0.0, 1.0}
    assert (resampled[:, :3].sum(axis=1) == 1).all()
    np.testing.assert_array_equal(resampled[:60], X)


def test_the_float_is_the_ratio_of_minority_rows():
    X, y = rows_of()
    _, labels = SmoteMixed(sampling_strategy=0.5, random_state=0).fit_resample(X, y)
    assert labels.sum() == 24


@pytest.mark.parametrize("categorical", [["c"], [False, False, True]])
def test_columns_may_be_given_by_name_or_mask(categorical):
    X, y = rows_of()
    frame = pd.DataFrame(X, columns=["a", "b"]).assign(c=[0.0, 1.0, 2.0] * 20)
    resampled, _ = SmoteMixed(categorical, random_state=0).fit_resample(frame, y)
    expected, _ = SmoteMixed([2], random_state=0).fit_resample(frame, y)
    pd.testing.assert_frame_equal(resampled, expected)
    assert set(resampled["c"]) == {0.0, 1.0, 2.0}


@pytest.mark.parametrize("categorical", ["mixed", [0, 2], [-1], [[0, 1], 1], ["a"], [True, False, False]])
def test_missing_or_repeated_columns_are_an_error(categorical):
    X, y = rows_of()
    with pytest.raises(ValueError, match=r"categorical_features is .*; expected"):
        SmoteMixed(categorical).fit_resample(X, y)


@pytest.mark.parametrize("kind", ["mixed", "numbers", "categories", "array"])
def test_with_many_positives_neighbours_are_searched_in_a_sample(kind, monkeypatch):
    monkeypatch.setattr("mlsys.pipeline.smote.BATCH", 30)
    rng = np.random.default_rng(0)
    labels = (np.arange(400) < 100).astype(np.int8)
    frame = pd.DataFrame({"users": rng.normal(size=400), "seats": rng.normal(size=400)})
    frame["plan"] = pd.Categorical(rng.choice(["free", "pro", "team"], 400))
    frame["size"] = pd.Categorical(rng.choice(["s", "m"], 400))
    numbers, categories = ["users", "seats"], ["plan", "size"]
    rows = {"mixed": frame, "numbers": frame[numbers], "categories": frame[categories]}
    rows["array"] = rows["numbers"].to_numpy()
    features = [] if kind == "array" else "auto"
    sampler = SmoteMixed(random_state=0, k_neighbors=3, max_minority=20, categorical_features=features)
    sizes, resampled = [], SmoteMixed._resample
    monkeypatch.setattr(
        SmoteMixed, "_resample", lambda self, X, *rest: sizes.append(len(X)) or resampled(self, X, *rest)
    )
    made, found = sampler.fit_resample(rows[kind], labels)
    assert sizes[0] == 400
    assert max(sizes[1:]) == 40
    again, _ = sampler.fit_resample(rows[kind], labels)
    assert np.bincount(found).tolist() == [300, 300]
    assert np.asarray(made).shape[0] == 600
    assert pd.DataFrame(made).equals(pd.DataFrame(again))
    assert pd.DataFrame(made).iloc[:400].equals(pd.DataFrame(rows[kind]))
    assert pd.DataFrame(made).dtypes.equals(pd.DataFrame(rows[kind]).dtypes)


def test_up_to_the_limit_nothing_changes():
    X, y = rows_of(positives=12)
    bounded, plain = (SmoteMixed(random_state=0, max_minority=size).fit_resample(X, y)[0] for size in (12, None))
    assert np.array_equal(bounded, plain)
