"""The transformers of the encoders: scikit-learn's contract, and each of them by hand."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from sklearn.base import BaseEstimator, clone
from sklearn.utils.estimator_checks import check_estimator, parametrize_with_checks

from mlsys.pipeline import transformers
from mlsys.pipeline.transformers import AsText, FillEmpty, NativeColumns, SignedLog
from mlsys.runs.levels import MISSING, RARE, UNKNOWN

TRANSFORMERS = [FillEmpty(), SignedLog(), AsText(), NativeColumns(), NativeColumns(impute=True, scaled=True)]


# Checks that a transformer cannot pass, with the reason; xfail is strict, so a check that passes must not be listed.
TEXT = "the check compares outputs as numbers, but these are text"
EXPECTED_FAILURES = {
    AsText: dict.fromkeys(
        [
            "check_estimators_pickle",
            "check_fit_idempotent",
            "check_methods_sample_order_invariance",
            "check_methods_subset_invariance",
            "check_pipeline_consistency",
            "check_transformer_data_not_an_array",
            "check_transformer_general",
        ],
        TEXT,
    ),
}


def expected_failures(transformer):
    return EXPECTED_FAILURES.get(type(transformer), {})


@parametrize_with_checks(TRANSFORMERS, expected_failed_checks=expected_failures, xfail_strict=True)
def test_the_contract_of_scikit_learn(estimator, check):
    check(estimator)


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.EstimatorCheckFailedWarning")
def test_expected_failures_are_existing_checks():
    for kind, checks in EXPECTED_FAILURES.items():
        results = check_estimator(kind(), expected_failed_checks=checks, on_skip=None, on_fail=None)
        assert {result["check_name"] for result in results if result["status"] == "xfail"} == set(checks)


def test_every_transformer_is_checked():
    own = [it for it in vars(transformers).values() if isinstance(it, type) and it.__module__ == transformers.__name__]
    assert {type(it) for it in TRANSFORMERS} == {it for it in own if issubclass(it, BaseEstimator)}


@pytest.mark.parametrize("transformer", [FillEmpty(), SignedLog(), AsText()], ids=repr)
def test_columns_keep_their_names(transformer):
    rows = pd.DataFrame({"b": [1.0, np.nan], "a": [2.0, 3.0]})
    made = clone(transformer).set_output(transform="pandas").fit_transform(rows)
    assert made.columns.tolist() == ["b", "a"]
    with pytest.raises(ValueError, match="feature names should match"):
        clone(transformer).fit(rows).transform(rows[["a", "b"]])


def test_text_does_not_depend_on_the_other_rows_or_their_order():
    rows = np.array([["a", None], [np.nan, "b"], ["c", "d"]], dtype=object)
    fitted = AsText().fit(rows)
    expected = pd.DataFrame(np.array([["a", np.nan], [np.nan, "b"], ["c", "d"]], dtype=object))
    pd.testing.assert_frame_equal(pd.DataFrame(fitted.transform(rows)), expected)
    pd.testing.assert_frame_equal(pd.DataFrame(fitted.transform(rows[::-1])[::-1]), expected)
    alone = np.vstack([fitted.transform(rows[[row]]) for row in range(3)])
    pd.testing.assert_frame_equal(pd.DataFrame(alone), expected)


def test_text_does_not_modify_the_rows():
    rows = np.array([["a"], [None]], dtype=object)
    AsText().fit_transform(rows)
    assert rows.tolist() == [["a"], [None]]


def test_native_columns_by_hand():
    rows = pd.DataFrame({"n": [1.0, np.nan, 3.0, 4.0], "c": pd.Series(["b", "a", "b", None], dtype="str")})
    encoder = NativeColumns(["n"], ["c"], min_rows=2).fit(rows)
    later = pd.DataFrame({"n": [np.nan, 2.0, 1.0, 0.0], "c": pd.Series(["b", "a", "new", None], dtype="str")})
    encoded = encoder.transform(later)
    assert encoded.columns.tolist() == ["f0", "f1"]
    assert encoded["f0"].tolist()[1:] == [2.0, 1.0, 0.0]
    assert np.isnan(encoded["f0"].iloc[0])
    assert encoded["f1"].tolist()[:2] == ["b", RARE]
    assert encoded["f1"].isna().tolist() == [False, False, True, True]


def test_native_columns_by_hand_for_a_model_without_missing_values():
    rows = pd.DataFrame({"n": [1.0, np.nan, 3.0, 5.0], "c": pd.Series(["b", "a", "b", None], dtype="str")})
    encoder = NativeColumns(["n"], ["c"], min_rows=1, impute=True, name_missing=True).fit(rows)
    later = pd.DataFrame({"n": [np.nan, 2.0, 1.0], "c": pd.Series(["a", "new", None], dtype="str")})
    encoded = encoder.transform(later)
    assert encoded["f0"].tolist() == [3.0, 2.0, 1.0]
    assert encoded["f1"].tolist() == ["a", UNKNOWN, MISSING]


def test_native_columns_are_assigned_by_their_dtypes():
    rows = pd.DataFrame({"n": [1, 2], "flag": [True, False], "c": ["a", "b"], "d": pd.Categorical([1, 1])})
    for options, numbers, categories in [
        ({}, ["n", "flag"], ["c", "d"]),
        ({"numbers": ["n"]}, ["n"], ["c", "d"]),
        ({"categories": ["c", "flag"]}, ["n"], ["c", "flag"]),
    ]:
        encoder = NativeColumns(min_rows=1, **options).fit(rows)
        assert (encoder.numbers_, encoder.categories_) == (numbers, categories)
        names = [f"f{i}" for i in range(len(numbers) + len(categories))]
        assert encoder.transform(rows).columns.tolist() == encoder.get_feature_names_out().tolist() == names


def test_native_columns_of_an_array_equal_those_of_a_dataframe():
    rows = pd.DataFrame({"n": [1.0, np.nan, 3.0], "c": ["a", "b", "a"]})
    encoded = NativeColumns(min_rows=1).fit_transform(rows)
    pd.testing.assert_frame_equal(NativeColumns(min_rows=1).fit_transform(rows.to_numpy()), encoded)
    pd.testing.assert_frame_equal(NativeColumns([0], [1], min_rows=1).fit_transform(rows.to_numpy()), encoded)


def test_categories_need_not_be_text():
    rows = pd.DataFrame({"c": pd.Categorical([1, 2, 2, 3, 3])})
    assert NativeColumns(min_rows=2).fit_transform(rows)["f0"].tolist() == [RARE, "2", "2", "3", "3"]


def test_native_columns_reject_rows_without_one_of_the_columns():
    rows = pd.DataFrame({"n": [1.0, 2.0], "c": ["a", "b"]})
    for act in (
        lambda: NativeColumns(["n", "m"], []).fit(rows),
        lambda: NativeColumns().fit(rows).transform(rows[["c"]]),
    ):
        with pytest.raises(ValueError, match=r"NativeColumns needs columns that X does not have: \['[mn]'\]"):
            act()


def test_the_most_frequent_levels_are_kept_with_ties_in_sort_order():
    column = pd.Series(["c"] * 3 + ["b"] * 2 + ["a"] * 2 + ["d"], dtype="str")
    for rows in (column, column[::-1].reset_index(drop=True)):
        encoder = NativeColumns([], ["x"], max_categories=2, min_rows=1).fit(pd.DataFrame({"x": rows}))
        assert encoder.levels_ == {"x": ["a", "c"]}
        assert encoder.rare_ == {"x": ["b", "d"]}


def test_the_logarithm_is_taken_of_skewed_columns_only():
    rng = np.random.default_rng(0)
    minutes, amounts = rng.normal(200, 50, 500).clip(0), rng.lognormal(3, 2, 500)
    rows = np.column_stack([minutes, amounts, np.where(np.arange(500) % 3, np.nan, amounts), np.full(500, 7.0)])
    encoder = SignedLog().fit(rows)
    assert encoder.logged_.tolist() == [False, True, True, True]
    assert np.array_equal(encoder.transform(rows)[:, 0], minutes)
