"""Every sampler with every encoder: few positives, one kind of column, balanced rows, and in fit only."""

import logging

import numpy as np
import pandas as pd
import pytest
from imblearn.combine import SMOTEENN, SMOTETomek
from imblearn.over_sampling import ADASYN, SMOTE, SMOTENC
from imblearn.under_sampling import EditedNearestNeighbours

from mlsys.errors import FitError
from mlsys.pipeline.encoders import Native, OneHot, outputs_of
from mlsys.pipeline.fitting import fit
from mlsys.pipeline.outputs import Output
from mlsys.pipeline.pipeline_spec import Training
from mlsys.pipeline.requirements import InputRequirements
from mlsys.pipeline.sampling import resample
from mlsys.pipeline.smote import SmoteMixed
from mlsys.runs.model_io import load_model, model_bytes, save_model

ENCODERS = ["native", "onehot", "target"]
INTERPOLATING = {"adasyn", "borderline_smote", "smote", "smoteenn", "smotenc"}
SCALED = InputRequirements(categories=False, missing=False, missing_categories=False, scaled=True)
NUMBER, LEVEL = Output("n", False), Output("c", True)


def fit_with(spec, table, **options):
    made = spec(**options, numbers=table.numbers, categories=table.categories)
    return fit(made, Training(table.inputs, table.labels))


def numbers_with(positives, rows=60, columns=3):
    rng = np.random.default_rng(0)
    return rng.normal(size=(rows, columns)), (np.arange(rows) < positives).astype(np.int8)


# Checks that every sampler passes


@pytest.mark.parametrize("model", ["xgboost", "catboost", "logistic"])
@pytest.mark.parametrize("encoder", ENCODERS)
def test_a_sampler_acts_in_fit_only(any_sampler, encoder, model, spec, table, later):
    both = fit_with(spec, table.only(10), model=model, encoder=encoder, sampler=any_sampler)
    scores = both.scores(later.inputs)
    assert np.isfinite(scores).all()
    assert scores[later.labels == 1].mean() > scores[later.labels == 0].mean()
    assert [name for name, _ in both.pipeline.steps] == ["encoder", "model"]
    assert b"imblearn" not in model_bytes(both.pipeline)
    assert both.calibration.kind == ("none" if any_sampler == "none" else "prior")


@pytest.mark.parametrize("encoder", ENCODERS)
def test_distances_are_measured_on_one_scale(any_sampler, encoder, spec, table, monkeypatch):
    seen = []

    def spy(sampler, X, y, outputs):
        seen.append(pd.DataFrame(np.asarray(X)[:, [not output.level for output in outputs]], dtype=np.float64))
        return resample(sampler, X, y, outputs)

    monkeypatch.setattr("mlsys.pipeline.single_fit.resample", spy)
    both = fit_with(spec, table, encoder=encoder, sampler=any_sampler)
    if any_sampler in INTERPOLATING:
        spread = seen[0].iloc[:, : len(table.numbers)].std(ddof=0)
        assert spread[spread > 0].tolist() == pytest.approx([1] * 3)
    elif encoder == "native":  # samplers without distances need no scaling
        numbers = both.pipeline["encoder"].transform(table.inputs).iloc[:, : len(table.numbers)]
        known = table.inputs[table.numbers].notna().to_numpy()
        np.testing.assert_array_equal(numbers.to_numpy()[known], table.inputs[table.numbers].to_numpy()[known])


@pytest.mark.parametrize("model", ["xgboost", "catboost", "logistic"])
def test_a_resampled_model_scores_identically_when_loaded(any_sampler, model, spec, table, later, tmp_path):
    both = fit_with(spec, table, model=model, sampler=any_sampler)
    save_model(both.pipeline, tmp_path)
    assert np.array_equal(load_model(tmp_path).predict_proba(later.inputs)[:, 1], both.scores(later.inputs))


@pytest.mark.parametrize("encoder", ENCODERS)
def test_unseen_and_missing_values_after_resampling(any_sampler, encoder, spec, table, later):
    both = fit_with(spec, table, encoder=encoder, sampler=any_sampler)
    scores = [
        both.scores(later.inputs.assign(**{"Größe, €": pd.Series([level] * len(later.inputs), dtype="str")}))
        for level in ("aaa", "h", "zzz")
    ]
    assert np.array_equal(scores[0], scores[1])
    assert np.array_equal(scores[0], scores[2])
    empty = later.inputs.assign(**dict.fromkeys(later.numbers, np.nan))
    assert np.isfinite(both.scores(empty)).all()


@pytest.mark.filterwarnings("ignore:The least populated class:UserWarning")  # the target encoder has five folds
@pytest.mark.parametrize(
    ("encoder", "positives"), [("native", 1), ("native", 2), ("native", 3), ("onehot", 2), ("target", 1), ("target", 3)]
)
def test_few_positives_work_or_are_an_error_with_advice(any_sampler, encoder, positives, spec, table):
    few = table.only(positives)
    if positives == 1 and any_sampler in INTERPOLATING:
        with pytest.raises(FitError, match=r"contain 1 positive row\. Use sampler=random_over"):
            fit_with(spec, few, encoder=encoder, sampler=any_sampler)
        return
    try:
        both = fit_with(spec, few, encoder=encoder, sampler=any_sampler)
    except FitError as error:
        assert any_sampler == "adasyn", "only ADASYN needs negative rows near the positive ones"
        assert "Use another sampler (random_over and random_under always work)" in str(error)  # noqa: PT017
    else:
        assert np.isfinite(both.scores(few.inputs)).all()


@pytest.mark.parametrize("kind", ["numbers", "categories"])
@pytest.mark.parametrize("encoder", ENCODERS)
def test_numbers_alone_or_categories_alone_are_enough(any_sampler, encoder, kind, spec, table):
    part = table.of(table.numbers, []) if kind == "numbers" else table.of([], table.categories)
    both = fit_with(spec, part, encoder=encoder, sampler=any_sampler)
    assert np.isfinite(both.scores(part.inputs)).all()


def test_balanced_rows_are_left_unchanged(any_sampler, component, caplog):
    sampler = component("sampler", any_sampler)
    if sampler is None:
        return
    X, y = numbers_with(positives=30)
    with caplog.at_level(logging.INFO):
        rows, labels = resample(sampler, X, y, [NUMBER] * 3)
    assert rows is X
    assert labels is y
    assert "leaves the rows unchanged: the ratio of positive to negative rows is already 1" in caplog.text


def test_the_same_seed_gives_the_same_rows(any_sampler, component):
    if any_sampler == "none":
        return
    X, y = numbers_with(positives=12)
    first, second = (resample(component("sampler", any_sampler), X, y, [NUMBER] * 3) for _ in range(2))
    assert np.array_equal(first[0], second[0])
    assert np.array_equal(first[1], second[1])
    assert first[1].dtype == np.int8


# SMOTE for mixed columns


def mixed_rows(rows=80, positives=12):
    rng = np.random.default_rng(3)
    levels = pd.Series(rng.choice(["a", "b", "c"], rows), dtype="str")
    return pd.DataFrame({"n": rng.normal(size=rows), "c": levels, "d": rng.permutation(levels)}), (
        np.arange(rows) < positives
    ).astype(np.int8)


@pytest.mark.parametrize("numbers", [["n"], []])
def test_a_new_row_has_exactly_one_level_of_a_one_hot_category(numbers):
    rows, y = mixed_rows()
    encoder = OneHot(min_rows=1).build(numbers, ["c", "d"], SCALED)
    outputs = outputs_of(fitted := encoder.fit(rows))
    X, labels = resample(SmoteMixed(random_state=0), fitted.transform(rows), y, outputs)
    assert labels.mean() == 0.5
    for source in ("c", "d"):
        group = [column for column, output in enumerate(outputs) if output.source == source]
        assert set(X[:, group].ravel()) == {0.0, 1.0}
        assert (X[:, group].sum(axis=1) == 1).all()
    assert np.array_equal(X[: len(y)], fitted.transform(rows))


def test_one_hot_and_native_categories_are_resampled_alike():
    rows, y = mixed_rows()
    onehot = OneHot(min_rows=1).build(["n"], ["c", "d"], InputRequirements(False, False, False, False)).fit(rows)
    native = Native(min_rows=1).build(["n"], ["c", "d"], InputRequirements(True, False, False, False)).fit(rows)
    expanded, _ = resample(SmoteMixed(random_state=0), onehot.transform(rows), y, outputs_of(onehot))
    codes, _ = resample(SmoteMixed(random_state=0), native.transform(rows), y, outputs_of(native))
    np.testing.assert_allclose(expanded[:, 0], codes["f0"])
    levels = np.array(["a", "b", "c"])
    assert levels[expanded[:, 1:4].argmax(axis=1)].tolist() == codes["f1"].tolist()
    assert levels[expanded[:, 4:7].argmax(axis=1)].tolist() == codes["f2"].tolist()


def test_category_columns_keep_their_levels():
    rows, y = mixed_rows()
    encoder = Native(min_rows=1).build(["n"], ["c", "d"], InputRequirements(True, False, False, False)).fit(rows)
    encoded = encoder.transform(rows)
    resampled, _ = resample(SmoteMixed(random_state=0), encoded, y, outputs_of(encoder))
    assert resampled.dtypes.to_dict() == encoded.dtypes.to_dict()
    assert len(resampled) == 2 * 68


def test_codes_are_never_interpolated():
    X, y = numbers_with(positives=12, columns=2)
    X[:, 1] = np.arange(60) % 3
    rows, _ = resample(SmoteMixed(random_state=0), X, y, [NUMBER, LEVEL])
    assert set(rows[:, 1]) == {0.0, 1.0, 2.0}
    rows, _ = resample(SmoteMixed(random_state=0), X, y, [NUMBER, Output("c", False)])
    assert not set(rows[:, 1]) <= {0.0, 1.0, 2.0}


def test_smotenc_gets_the_positions_of_the_categories():
    X, y = numbers_with(positives=12, columns=2)
    X[:, 1] = np.arange(60) % 3
    ours, _ = resample(SmoteMixed(random_state=0), X, y, [NUMBER, LEVEL])
    theirs, _ = resample(SMOTENC("auto", random_state=0), X, y, [NUMBER, LEVEL])
    np.testing.assert_array_equal(ours, theirs)


# Few positives, and samplers that fail


@pytest.mark.parametrize(
    "sampler", [SMOTE(random_state=0), SmoteMixed(random_state=0), SMOTEENN(random_state=0), SMOTETomek(random_state=0)]
)
def test_the_number_of_neighbours_is_lowered_with_a_warning(sampler, caplog):
    X, y = numbers_with(positives=3)
    rows, labels = resample(sampler, X, y, [NUMBER] * 3)
    assert (labels == 1).sum() > 3
    assert len(rows) == len(labels)
    name = type(sampler).__name__
    assert (
        f"{name}: lowered the number of neighbours from 5 to 2, because there are only 3 positive rows" in caplog.text
    )


def test_the_number_of_neighbours_stays_if_there_are_enough_positives(caplog):
    X, y = numbers_with(positives=6)
    resample(SMOTE(random_state=0), X, y, [NUMBER] * 3)
    assert caplog.text == ""


def test_the_sampler_is_not_modified():
    X, y = numbers_with(positives=3)
    for sampler in (SMOTE(random_state=0), SMOTEENN(random_state=0), SmoteMixed(random_state=0)):
        before = sampler.get_params(deep=False)
        resample(sampler, X, y, [NUMBER] * 3)
        assert sampler.get_params(deep=False) == before


@pytest.mark.parametrize("strategy", [1, 1.0])
def test_an_integer_ratio_is_a_ratio(strategy):
    X, y = numbers_with(positives=30)
    assert resample(SMOTE(sampling_strategy=strategy), X, y, [NUMBER] * 3)[0] is X


def test_a_sampler_that_fails_is_named_with_the_reason():
    X, y = numbers_with(positives=12)
    X[y == 1] += 100  # no negative row is near a positive one
    with pytest.raises(
        FitError, match=r"The sampler ADASYN failed on 60 training rows \(12 positive\): .* Use another"
    ):
        resample(ADASYN(random_state=0), X, y, [NUMBER] * 3)


def test_a_sampler_that_removes_a_class_is_an_error():
    X, y = numbers_with(positives=2)
    cleaner = EditedNearestNeighbours(sampling_strategy="all", n_neighbors=3)
    with pytest.raises(FitError, match="only one class would remain"):
        resample(cleaner, X, y, [NUMBER] * 3)


def test_a_sampler_that_changes_nothing_is_a_warning(component, caplog):
    X, y = numbers_with(positives=12)
    X[y == 1] += 100
    _, labels = resample(component("sampler", "borderline_smote"), X, y, [NUMBER] * 3)
    assert labels.sum() == 12
    assert "BorderlineSMOTE left all 60 training rows unchanged" in caplog.text


def test_a_model_that_reads_the_panel_skips_the_sampler(spec, table, caplog):
    with caplog.at_level(logging.INFO):
        both = fit_with(spec, table, model="activity", sampler="smotenc")
    assert both.calibration.kind == "none"
    assert "ActivityRanking does not depend on resampling: the sampler is skipped" in caplog.text
