"""Every encoder with every model: fits work on all kinds of columns, are reproducible, and can be saved and loaded."""

import numpy as np
import pandas as pd
import pytest

from mlsys.pipeline.encoders import Native, OneHot, Ordinal, TargetRate, outputs_of
from mlsys.pipeline.fitting import fit
from mlsys.pipeline.outputs import Output
from mlsys.pipeline.requirements import InputRequirements
from mlsys.runs.levels import MISSING, RARE, UNKNOWN
from mlsys.runs.model_io import load_model, model_bytes, save_model

SIZE = "Größe, €"
PLAIN = InputRequirements(categories=False, missing=False, missing_categories=False, scaled=False)
BOOSTED = InputRequirements(categories=True, missing=True, missing_categories=True, scaled=False)


def with_level(inputs, level, column=SIZE):
    """Return the rows with one level throughout."""
    return inputs.assign(**{column: pd.Series([level] * len(inputs), index=inputs.index, dtype="str")})


# Checks that every encoder passes with every model


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


def test_a_loaded_model_gives_identical_scores(any_encoder, any_model, fitted, later, tmp_path):
    both = fitted(any_encoder, any_model)
    rows = pd.concat([later.inputs, with_level(later.inputs, "never seen")], ignore_index=True)
    save_model(both.pipeline, tmp_path)
    assert np.array_equal(load_model(tmp_path).predict_proba(rows), both.pipeline.predict_proba(rows))


def test_fits_are_reproducible(any_encoder, any_model, fitted, spec, table, later):
    again = fit(spec(any_model, any_encoder), table.training())
    first = fitted(any_encoder, any_model)
    assert np.array_equal(again.scores(later.inputs), first.scores(later.inputs))
    assert model_bytes(again.pipeline) == model_bytes(first.pipeline)


def test_all_unseen_levels_are_scored_alike(any_encoder, any_model, fitted, later):
    # XGBoost scores an unseen category as the next known one in sort order, so try levels before, between and after.
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


def test_a_value_in_a_column_that_was_empty_in_training_does_not_crash(any_encoder, any_model, fitted, later):
    known = later.inputs.assign(
        **{"all missing": 3.0, "nothing at all": pd.Series(["news"] * len(later.inputs), dtype="str")}
    )
    assert np.isfinite(fitted(any_encoder, any_model).scores(known)).all()


def test_the_dtype_of_a_string_column_does_not_matter(any_encoder, any_model, fitted, later):
    both = fitted(any_encoder, any_model)
    plain = later.inputs.astype(dict.fromkeys(later.categories, object))
    plain[later.categories] = plain[later.categories].where(plain[later.categories].notna(), None)
    kinds = [later.inputs.astype(dict.fromkeys(later.categories, "category")), plain]
    expected = both.scores(later.inputs)
    for inputs in kinds:
        assert np.array_equal(both.scores(inputs), expected)


def test_a_row_gets_the_same_score_alone_and_in_a_batch(any_encoder, any_model, fitted, later):
    both = fitted(any_encoder, any_model)
    alone = [both.scores(later.inputs.iloc[[row]])[0] for row in range(5)]
    # Linear algebra may round differently for another number of rows.
    np.testing.assert_allclose(alone, both.scores(later.inputs)[:5], rtol=1e-12)


# Scores of unseen, missing and rare levels


@pytest.mark.parametrize("model", ["xgboost", "lightgbm", "hist_gradient_boosting", "ebm"])
def test_boosted_trees_score_an_unseen_level_as_a_missing_one(model, fitted, later):
    both = fitted("native", model)
    missing = both.scores(with_level(later.inputs, None))
    assert np.array_equal(both.scores(with_level(later.inputs, "h")), missing)
    for level in ("groß", "klein"):
        assert not np.array_equal(both.scores(with_level(later.inputs, level)), missing)


def test_catboost_distinguishes_unseen_levels_from_known_and_missing_ones(fitted, later):
    both = fitted("native", "catboost")
    unseen = both.scores(with_level(later.inputs, "h"))
    for level in ("groß", "klein", None):
        assert not np.array_equal(both.scores(with_level(later.inputs, level)), unseen)


@pytest.mark.parametrize("encoder", ["native", "onehot", "ordinal"])
def test_rare_levels_are_merged(encoder, fitted, later):
    both = fitted(encoder, "xgboost")
    first, second, unseen = (both.scores(with_level(later.inputs, it, 'a="b"')) for it in ("rare 1", "rare 2", "new"))
    assert np.array_equal(first, second)
    assert encoder != "ordinal" or not np.array_equal(first, unseen)


def test_native_numbers_before_a_sampler_are_scaled_and_keep_their_order():
    rng = np.random.default_rng(0)
    rows = pd.DataFrame({"share": rng.random(200), "actions": rng.lognormal(8, 2, 200), "empty": np.nan})
    rows.loc[3, "actions"] = np.nan
    encoder = Native().build(list(rows), [], InputRequirements(True, False, False, True)).fit(rows)
    encoded = encoder.transform(rows)
    assert encoded.std(ddof=0).tolist() == pytest.approx([1, 1, 0])
    assert encoded["f0"].rank().tolist() == rows["share"].rank().tolist()
    filled = rows["actions"].fillna(rows["actions"].median())
    assert encoded["f1"].rank().tolist() == filled.rank().tolist()
    alone = encoder.transform(rows[:1])  # scaled like the training rows
    np.testing.assert_allclose(alone, encoded[:1], rtol=1e-12)


def test_native_numbers_without_a_sampler_are_unchanged():
    rows = pd.DataFrame({"share": [0.1, 0.3], "actions": [1e6, np.nan]})
    encoded = Native().build(list(rows), [], BOOSTED).fit_transform(rows)
    np.testing.assert_array_equal(encoded, rows)


@pytest.mark.parametrize("name", [MISSING, RARE, UNKNOWN])
@pytest.mark.parametrize("requirements", [BOOSTED, InputRequirements(True, False, False, False)])
def test_a_level_with_a_reserved_name_counts_as_rare(name, requirements):
    rows = pd.DataFrame({"c": pd.Series([name] * 20 + ["b"] * 20, dtype="str")})
    encoded = Native().build([], ["c"], requirements).fit_transform(rows)
    assert set(encoded["f0"]) == {RARE, "b"}


# Sources of output columns


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
    assert [output[:2] for output in outputs] == [("n", False), ("missingindicator_n", False), ("n", False), *levels]
    assert [output.indicator for output in outputs] == [position == 2 for position in range(len(outputs))]


def test_levels_whose_joined_names_coincide_stay_apart():
    rows = pd.DataFrame({"a": ["b_c", "b_c", "z", "z"], "a_b": ["c", "q", "c", "q"]})
    encoder = OneHot(min_rows=1).build([], ["a", "a_b"], PLAIN).fit(rows)
    assert encoder.transform(rows).tolist() == [[1, 0, 1, 0], [1, 0, 0, 1], [0, 1, 1, 0], [0, 1, 0, 1]]
    assert [output.source for output in outputs_of(encoder)] == ["a", "a", "a_b", "a_b"]


def test_outputs_of_native_columns():
    rows = pd.DataFrame({"n": [1.0, None], "c": ["a", "b"]})
    encoder = Native().build(["n"], ["c"], BOOSTED).fit(rows)
    assert outputs_of(encoder) == [Output("n", False), Output("c", True)]


@pytest.mark.parametrize("names", [(["n"], []), ([], ["c"])])
def test_numbers_alone_or_categories_alone_are_enough(names, any_encoder, component):
    rows = pd.DataFrame({"n": [1.0, None, 2.0, 3.0] * 10, "c": ["a", "b", "a", None] * 10})
    for requirements in (PLAIN, BOOSTED):
        encoder = component("encoder", any_encoder).build(*names, requirements)
        encoded = encoder.fit_transform(rows, np.tile([0, 1], 20))
        assert {output.source for output in outputs_of(encoder)} == {*names[0], *names[1]}
        assert len(outputs_of(encoder)) == encoded.shape[1]


def test_target_rates_are_cross_fitted():
    # Each row has its own level: a rate that included the row's own label would reveal it.
    labels = np.tile([0, 1], 50)
    rows = pd.DataFrame({"c": [f"level {i}" for i in range(100)]})
    encoded = TargetRate().build([], ["c"], PLAIN).fit_transform(rows, labels)
    assert abs(encoded[labels == 1].mean() - encoded[labels == 0].mean()) < 0.02


def test_target_folds_depend_on_the_seed():
    labels = (np.arange(200) % 7 == 0).astype(int)
    rows = pd.DataFrame({"c": np.resize(["a", "b", "c"], 200)})
    first, same, other = (
        TargetRate(seed=seed).build([], ["c"], PLAIN).fit_transform(rows, labels) for seed in (0, 0, 1)
    )
    assert np.array_equal(first, same)
    assert not np.array_equal(first, other)
