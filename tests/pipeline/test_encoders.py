"""Every encoder with every model: whatever columns hold, a fit works, repeats, survives saving, never guesses."""

import numpy as np
import pandas as pd
import pytest
from sklearn.base import BaseEstimator, clone
from sklearn.utils.estimator_checks import check_estimator, parametrize_with_checks

from mlsys.pipeline import encoders
from mlsys.pipeline.encoders import (
    MISSING,
    RARE,
    UNKNOWN,
    AsText,
    FillEmpty,
    Native,
    NativeColumns,
    OneHot,
    Ordinal,
    SignedLog,
    TargetRate,
    outputs_of,
)
from mlsys.pipeline.fitting import Training, fit
from mlsys.pipeline.requirements import InputRequirements
from mlsys.runs.model_io import load_model, model_bytes, save_model

SIZE = "Größe, €"
PLAIN = InputRequirements(categories=False, missing=False, missing_categories=False, scaled=False)
BOOSTED = InputRequirements(categories=True, missing=True, missing_categories=True, scaled=False)


def with_level(inputs, level, column=SIZE):
    """Return the rows with one level throughout."""
    return inputs.assign(**{column: pd.Series([level] * len(inputs), index=inputs.index, dtype="str")})


TRANSFORMERS = [FillEmpty(), SignedLog(), AsText(), NativeColumns(), NativeColumns(impute=True, scaled=True)]
# The checks that a transformer cannot pass, and why; a check that does pass must not be listed.
TEXT = "it compares outputs as numbers, and these are text"
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


# scikit-learn's contract


@parametrize_with_checks(TRANSFORMERS, expected_failed_checks=expected_failures, xfail_strict=True)
def test_scikit_learns_contract(estimator, check):
    check(estimator)


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.EstimatorCheckFailedWarning")
def test_expected_failures_name_checks_that_there_are():
    for kind, checks in EXPECTED_FAILURES.items():
        results = check_estimator(kind(), expected_failed_checks=checks, on_skip=None, on_fail=None)
        assert {result["check_name"] for result in results if result["status"] == "xfail"} == set(checks)


def test_every_transformer_is_checked():
    own = [it for it in vars(encoders).values() if isinstance(it, type) and it.__module__ == encoders.__name__]
    assert {type(it) for it in TRANSFORMERS} == {it for it in own if issubclass(it, BaseEstimator)}


@pytest.mark.parametrize("transformer", [FillEmpty(), SignedLog(), AsText()], ids=repr)
def test_columns_keep_their_names(transformer):
    rows = pd.DataFrame({"b": [1.0, np.nan], "a": [2.0, 3.0]})
    made = clone(transformer).set_output(transform="pandas").fit_transform(rows)
    assert made.columns.tolist() == ["b", "a"]
    with pytest.raises(ValueError, match="feature names should match"):
        clone(transformer).fit(rows).transform(rows[["a", "b"]])


def test_text_is_the_same_for_rows_alone_and_in_another_order():
    rows = np.array([["a", None], [np.nan, "b"], ["c", "d"]], dtype=object)
    fitted = AsText().fit(rows)
    expected = pd.DataFrame(np.array([["a", np.nan], [np.nan, "b"], ["c", "d"]], dtype=object))
    pd.testing.assert_frame_equal(pd.DataFrame(fitted.transform(rows)), expected)
    pd.testing.assert_frame_equal(pd.DataFrame(fitted.transform(rows[::-1])[::-1]), expected)
    alone = np.vstack([fitted.transform(rows[[row]]) for row in range(3)])
    pd.testing.assert_frame_equal(pd.DataFrame(alone), expected)


def test_text_leaves_the_rows_as_they_were():
    rows = np.array([["a"], [None]], dtype=object)
    AsText().fit_transform(rows)
    assert rows.tolist() == [["a"], [None]]


# One suite that every encoder passes with every model


def test_scores_are_probabilities_that_follow_the_labels(any_encoder, any_model, fitted, table, later):
    both = fitted(any_encoder, any_model)
    for inputs in (table.inputs, later.inputs):
        scores = both.scores(inputs)
        assert scores.shape == (len(inputs),)
        assert np.isfinite(scores).all()
        assert scores.min() >= 0
        assert scores.max() <= 1
    if any_model != "dummy":
        assert scores[later.labels == 1].mean() > scores[later.labels == 0].mean()


def test_saving_and_loading_keeps_every_bit(any_encoder, any_model, fitted, later, tmp_path):
    both = fitted(any_encoder, any_model)
    rows = pd.concat([later.inputs, with_level(later.inputs, "never seen")], ignore_index=True)
    save_model(both.pipeline, tmp_path)
    assert np.array_equal(load_model(tmp_path).predict_proba(rows), both.pipeline.predict_proba(rows))


def test_two_fits_are_one(any_encoder, any_model, fitted, recipe, table, later):
    again = fit(recipe(any_model, any_encoder), Training(table.inputs, table.labels))
    first = fitted(any_encoder, any_model)
    assert np.array_equal(again.scores(later.inputs), first.scores(later.inputs))
    assert model_bytes(again.pipeline) == model_bytes(first.pipeline)


def test_unseen_levels_are_one_unknown(any_encoder, any_model, fitted, later):
    # XGBoost scores an unseen category as the next known one in sort order: try levels before, between and after.
    both = fitted(any_encoder, any_model)
    scores = [both.scores(with_level(later.inputs, level)) for level in ("aaa", "h", "zzz", "", "RARE 1", UNKNOWN)]
    for other in scores[1:]:
        assert np.array_equal(scores[0], other)


def test_missing_values_everywhere_do_not_crash(any_encoder, any_model, fitted, later):
    empty = later.inputs.copy()
    empty[later.numbers] = np.nan
    empty[later.categories] = pd.DataFrame(
        {name: pd.Series([None] * len(empty), dtype="str") for name in later.categories}
    )
    scores = fitted(any_encoder, any_model).scores(empty)
    assert np.isfinite(scores).all()
    assert np.ptp(scores) == 0


def test_a_value_where_training_saw_none_does_not_crash(any_encoder, any_model, fitted, later):
    known = later.inputs.assign(
        **{"all missing": 3.0, "nothing at all": pd.Series(["news"] * len(later.inputs), dtype="str")}
    )
    assert np.isfinite(fitted(any_encoder, any_model).scores(known)).all()


def test_the_kind_of_string_column_does_not_matter(any_encoder, any_model, fitted, later):
    both = fitted(any_encoder, any_model)
    plain = later.inputs.astype(dict.fromkeys(later.categories, object))
    plain[later.categories] = plain[later.categories].where(plain[later.categories].notna(), None)
    kinds = [later.inputs.astype(dict.fromkeys(later.categories, "category")), plain]
    expected = both.scores(later.inputs)
    for inputs in kinds:
        assert np.array_equal(both.scores(inputs), expected)


def test_a_row_is_scored_alike_alone_and_among_others(any_encoder, any_model, fitted, later):
    both = fitted(any_encoder, any_model)
    alone = [both.scores(later.inputs.iloc[[row]])[0] for row in range(5)]
    # Linear algebra may round differently for another number of rows.
    np.testing.assert_allclose(alone, both.scores(later.inputs)[:5], rtol=1e-12)


# What unknown, missing and rare levels are scored as


@pytest.mark.parametrize("model", ["xgboost", "lightgbm", "hist_gradient_boosting"])
def test_boosted_trees_score_an_unseen_level_as_a_missing_one(model, fitted, later):
    both = fitted("native", model)
    missing = both.scores(with_level(later.inputs, None))
    assert np.array_equal(both.scores(with_level(later.inputs, "h")), missing)
    for level in ("groß", "klein"):
        assert not np.array_equal(both.scores(with_level(later.inputs, level)), missing)


def test_catboost_tells_unseen_levels_from_known_and_missing_ones(fitted, later):
    both = fitted("native", "catboost")
    unseen = both.scores(with_level(later.inputs, "h"))
    for level in ("groß", "klein", None):
        assert not np.array_equal(both.scores(with_level(later.inputs, level)), unseen)


@pytest.mark.parametrize("encoder", ["native", "onehot", "ordinal"])
def test_rare_levels_are_one_level(encoder, fitted, later):
    both = fitted(encoder, "xgboost")
    first, second, unseen = (both.scores(with_level(later.inputs, it, 'a="b"')) for it in ("rare 1", "rare 2", "new"))
    assert np.array_equal(first, second)
    assert encoder != "ordinal" or not np.array_equal(first, unseen)


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


def test_native_numbers_behind_a_sampler_are_on_one_scale_and_in_the_same_order():
    rng = np.random.default_rng(0)
    rows = pd.DataFrame({"share": rng.random(200), "actions": rng.lognormal(8, 2, 200), "empty": np.nan})
    rows.loc[3, "actions"] = np.nan
    encoder = Native().build(list(rows), [], InputRequirements(True, False, False, True)).fit(rows)
    encoded = encoder.transform(rows)
    assert encoded.std(ddof=0).tolist() == pytest.approx([1, 1, 0])
    assert encoded["f0"].rank().tolist() == rows["share"].rank().tolist()
    filled = rows["actions"].fillna(rows["actions"].median())
    assert encoded["f1"].rank().tolist() == filled.rank().tolist()
    alone = encoder.transform(rows[:1])  # by the training rows' scale, not its own
    np.testing.assert_allclose(alone, encoded[:1], rtol=1e-12)


def test_native_numbers_without_a_sampler_are_as_they_were():
    rows = pd.DataFrame({"share": [0.1, 0.3], "actions": [1e6, np.nan]})
    encoded = Native().build(list(rows), [], BOOSTED).fit_transform(rows)
    np.testing.assert_array_equal(encoded, rows)


def test_native_columns_are_told_apart_by_their_types():
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


def test_native_columns_of_an_array_are_those_of_a_frame():
    rows = pd.DataFrame({"n": [1.0, np.nan, 3.0], "c": ["a", "b", "a"]})
    encoded = NativeColumns(min_rows=1).fit_transform(rows)
    pd.testing.assert_frame_equal(NativeColumns(min_rows=1).fit_transform(rows.to_numpy()), encoded)
    pd.testing.assert_frame_equal(NativeColumns([0], [1], min_rows=1).fit_transform(rows.to_numpy()), encoded)


def test_categories_that_are_not_text_have_levels_of_their_own():
    rows = pd.DataFrame({"c": pd.Categorical([1, 2, 2, 3, 3])})
    assert NativeColumns(min_rows=2).fit_transform(rows)["f0"].tolist() == [RARE, "2", "2", "3", "3"]


def test_native_columns_refuse_rows_without_one_of_them():
    rows = pd.DataFrame({"n": [1.0, 2.0], "c": ["a", "b"]})
    for act in (
        lambda: NativeColumns(["n", "m"], []).fit(rows),
        lambda: NativeColumns().fit(rows).transform(rows[["c"]]),
    ):
        with pytest.raises(ValueError, match=r"NativeColumns reads columns that X does not have: \['[mn]'\]"):
            act()


def test_the_most_frequent_levels_are_kept_ties_in_sort_order():
    column = pd.Series(["c"] * 3 + ["b"] * 2 + ["a"] * 2 + ["d"], dtype="str")
    for rows in (column, column[::-1].reset_index(drop=True)):
        encoder = NativeColumns([], ["x"], max_categories=2, min_rows=1).fit(pd.DataFrame({"x": rows}))
        assert encoder.levels_ == {"x": ["a", "c"]}
        assert encoder.rare_ == {"x": ["b", "d"]}


@pytest.mark.parametrize("name", [MISSING, RARE, UNKNOWN])
@pytest.mark.parametrize("needs", [BOOSTED, InputRequirements(True, False, False, False)])
def test_a_level_named_like_one_of_ours_counts_as_rare(name, needs):
    rows = pd.DataFrame({"c": pd.Series([name] * 20 + ["b"] * 20, dtype="str")})
    encoded = Native().build([], ["c"], needs).fit_transform(rows)
    assert set(encoded["f0"]) == {RARE, "b"}


# Where the columns of an encoder's output come from


@pytest.mark.parametrize("encoder", [OneHot(min_rows=1), Ordinal(min_rows=1), TargetRate(folds=2), Native(min_rows=1)])
def test_outputs_name_their_sources(encoder):
    rows = pd.DataFrame(
        {"n": [1.0, None, 3.0, 4.0], "missingindicator_n": 1.0, "a=b": ["x", "y=z", "x", "y=z"], "1_0": list("ppqq")}
    )
    fitted = encoder.build(["n", "missingindicator_n"], ["a=b", "1_0"], PLAIN)
    encoded = fitted.fit_transform(rows, np.array([0, 1, 1, 0]))
    outputs = outputs_of(fitted)
    assert len(outputs) == encoded.shape[1]
    counts = {"OneHot": 2, "Ordinal": 1, "TargetRate": 1, "Native": 2}
    per_level = counts[type(encoder).__name__]
    levels = [(name, not isinstance(encoder, TargetRate)) for name in ("a=b", "1_0") for _ in range(per_level)]
    assert outputs == [("n", False), ("missingindicator_n", False), ("n", False), *levels]


def test_outputs_of_native_columns():
    rows = pd.DataFrame({"n": [1.0, None], "c": ["a", "b"]})
    encoder = Native().build(["n"], ["c"], BOOSTED).fit(rows)
    assert outputs_of(encoder) == [("n", False), ("c", True)]


@pytest.mark.parametrize("names", [(["n"], []), ([], ["c"])])
def test_one_kind_of_column_is_enough(names, any_encoder, component):
    rows = pd.DataFrame({"n": [1.0, None, 2.0, 3.0] * 10, "c": ["a", "b", "a", None] * 10})
    for needs in (PLAIN, BOOSTED):
        encoder = component("encoder", any_encoder).build(*names, needs)
        encoded = encoder.fit_transform(rows, np.tile([0, 1], 20))
        assert {output.source for output in outputs_of(encoder)} == {*names[0], *names[1]}
        assert len(outputs_of(encoder)) == encoded.shape[1]


def test_target_rates_are_cross_fitted():
    # A level of its own for each row: rates that a row's own label had entered would give it away.
    labels = np.tile([0, 1], 50)
    rows = pd.DataFrame({"c": [f"level {i}" for i in range(100)]})
    encoded = TargetRate().build([], ["c"], PLAIN).fit_transform(rows, labels)
    assert abs(encoded[labels == 1].mean() - encoded[labels == 0].mean()) < 0.02


def test_target_folds_follow_the_seed():
    labels = (np.arange(200) % 7 == 0).astype(int)
    rows = pd.DataFrame({"c": np.resize(["a", "b", "c"], 200)})
    first, same, other = (
        TargetRate(seed=seed).build([], ["c"], PLAIN).fit_transform(rows, labels) for seed in (0, 0, 1)
    )
    assert np.array_equal(first, same)
    assert not np.array_equal(first, other)
