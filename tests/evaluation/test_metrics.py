import json

import numpy as np
import pandas as pd
import pytest

from mlsys.errors import DataError
from mlsys.evaluation.metric_table import metric_names
from mlsys.evaluation.metrics import compare_scores, evaluate, fold_metrics

TOP_K = (5, 20)
OPTIONS = {"top_k": TOP_K, "bootstrap_resamples": 60, "seed": 0}


def predictions(folds=3, rows=120, positives=6, seed=0):
    generator = np.random.default_rng(seed)
    parts = []
    for fold in range(folds):
        label = (np.arange(rows) < positives).astype(int)
        score = generator.normal(size=rows) + 1.5 * label
        parts.append(
            pd.DataFrame(
                {
                    "id": generator.permutation(rows + 30)[:rows],
                    "as_of": pd.Timestamp("2020-02-24") + pd.Timedelta(days=28 * fold),
                    "fold": fold,
                    "label": label,
                    "label_complete": fold < folds - 1,
                    "probability": 1 / (1 + np.exp(3 - score)),
                    "value": np.where(label == 1, generator.gamma(2, 100, rows), np.nan),
                    "activity": np.floor(np.exp(generator.normal(size=rows) + label)),
                }
            )
        )
    return pd.concat(parts, ignore_index=True)


def test_undefined_metrics_are_none():
    fold = fold_metrics([0, 0], [0.1, 0.9], None, top_k=[1])
    assert fold["roc_auc"] is None
    assert fold["revenue@1"] is None
    assert fold["precision@1"] == 0


def test_the_shape_is_that_of_metrics_json():
    numbers = evaluate(predictions(), **OPTIONS)
    assert set(numbers) == {"overall", "folds", "baselines", "versus_activity"}
    assert tuple(numbers["overall"]) == tuple(numbers["baselines"]["chance"]) == metric_names(TOP_K)
    ranking = tuple(name for name in metric_names(TOP_K) if name not in {"log_loss", "brier", "ece"})
    assert tuple(numbers["baselines"]["activity"]) == tuple(numbers["versus_activity"]) == ranking
    for entry in (*numbers["overall"].values(), *numbers["baselines"]["activity"].values()):
        assert set(entry) == {"value", "low", "high"}
        assert entry["low"] <= entry["value"] <= entry["high"]
    facts = {"as_of": "2020-03-23", "fold": 1, "rows": 120, "positives": 6, "label_complete": True}
    assert facts.items() <= numbers["folds"][1].items()
    assert [fold["label_complete"] for fold in numbers["folds"]] == [True, True, False]
    json.dumps(numbers, allow_nan=False)


def test_the_same_input_gives_the_same_bytes():
    first, second = (json.dumps(evaluate(predictions(), **OPTIONS)) for _ in range(2))
    assert first == second


def test_overall_is_the_unweighted_mean_over_folds():
    frame = predictions().drop(index=range(60, 110))  # so that the folds differ in size
    numbers = evaluate(frame, **OPTIONS)
    for name in metric_names(TOP_K):
        folds = [fold[name] for fold in numbers["folds"]]
        assert numbers["overall"][name]["value"] == pytest.approx(np.mean(folds))
    first = frame[frame["fold"] == 0]
    alone = fold_metrics(first["label"], first["probability"], first["value"], top_k=TOP_K)
    assert alone.items() <= numbers["folds"][0].items()


def test_a_fold_without_positives_is_left_out_of_the_mean_and_counted():
    frame = predictions()
    frame.loc[frame["fold"] == 1, "label"] = 0
    numbers = evaluate(frame, **OPTIONS)
    assert numbers["folds"][1]["roc_auc"] is None
    assert numbers["overall"]["roc_auc"]["folds_used"] == 2
    assert "folds_used" not in numbers["overall"]["brier"]
    assert numbers["overall"]["roc_auc"]["low"] is not None


def test_without_positives_there_is_neither_value_nor_interval():
    numbers = evaluate(predictions().assign(label=0), **OPTIONS)
    assert numbers["overall"]["roc_auc"] == {"value": None, "low": None, "high": None, "folds_used": 0}
    json.dumps(numbers, allow_nan=False)


def test_chance_predicts_the_prevalence_of_the_training_rows():
    frame = predictions().assign(prevalence=0.01)
    chance = evaluate(frame, **OPTIONS)["baselines"]["chance"]
    assert chance["roc_auc"]["value"] == 0.5
    assert chance["average_precision"]["value"] == pytest.approx(0.05)
    assert chance["precision@5"]["value"] == pytest.approx(0.05)
    assert chance["log_loss"]["value"] == pytest.approx(-0.05 * np.log(0.01) - 0.95 * np.log(0.99))
    assert chance["ece"]["value"] == pytest.approx(0.04)
    best = evaluate(predictions(), **OPTIONS)["baselines"]["chance"]["log_loss"]["value"]
    assert best == pytest.approx(-0.05 * np.log(0.05) - 0.95 * np.log(0.95))


def test_activity_is_compared_on_the_same_resamples():
    frame = predictions()
    numbers = evaluate(frame, **OPTIONS)
    for name, entry in numbers["versus_activity"].items():
        difference = numbers["overall"][name]["value"] - numbers["baselines"]["activity"][name]["value"]
        assert entry["value"] == pytest.approx(difference), name
    same = evaluate(frame.assign(activity=frame["probability"] * 7), **OPTIONS)["versus_activity"]
    assert all(entry == {"value": 0, "low": 0, "high": 0} for entry in same.values())


def test_accounts_without_activity_rank_last():
    frame = predictions(folds=1)
    unknown = frame.assign(activity=frame["activity"].where(frame.index % 2 == 0))
    last = frame.assign(activity=frame["activity"].where(frame.index % 2 == 0, -1.0))
    first, second = (evaluate(part, **OPTIONS)["baselines"]["activity"] for part in (unknown, last))
    assert first == second


@pytest.mark.parametrize("drop", [True, False])
def test_predictions_without_activity_or_value(drop):
    frame = predictions().assign(activity=np.nan, value=np.nan)
    numbers = evaluate(frame.drop(columns=["activity", "value"]) if drop else frame, **OPTIONS)
    assert numbers["baselines"]["activity"] == numbers["versus_activity"] == {}
    assert numbers["overall"]["revenue@5"]["value"] is None
    assert numbers["overall"]["roc_auc"]["value"] > 0.5


def test_without_resamples_the_intervals_are_empty():
    with_resamples, without = (
        evaluate(predictions(), **OPTIONS),
        evaluate(predictions(), top_k=TOP_K, bootstrap_resamples=0, seed=0),
    )
    assert without["overall"]["brier"] == {
        "value": with_resamples["overall"]["brier"]["value"],
        "low": None,
        "high": None,
    }
    assert without["folds"] == with_resamples["folds"]


def test_higher_confidence_means_a_wider_interval():
    wide, narrow = (evaluate(predictions(), **OPTIONS, confidence=c)["overall"]["roc_auc"] for c in (0.95, 0.5))
    assert wide["low"] < narrow["low"] < narrow["high"] < wide["high"]


def test_the_calibration_error_of_a_calibrated_model_lies_in_its_interval():
    generator = np.random.default_rng(0)
    frame = predictions(rows=2000)
    frame["probability"] = generator.beta(1, 100, len(frame))
    frame["label"] = (generator.random(len(frame)) < frame["probability"]).astype(int)
    ece = evaluate(frame, **OPTIONS)["overall"]["ece"]
    assert 0 <= ece["low"] < ece["value"] < ece["high"]


def test_a_calibration_error_is_never_negative_but_a_difference_may_be():
    frame = predictions().assign(base=0.05, doubled=0.1)
    assert evaluate(frame, **OPTIONS)["baselines"]["chance"]["ece"]["low"] == 0
    difference = compare_scores(frame, ["doubled", "base"], **OPTIONS)["base"].difference["ece"]
    assert difference["value"] == pytest.approx(-0.05)
    assert difference["low"] < -0.05


def test_dates_of_a_fold():
    frame = predictions(folds=1)
    held_out = frame.assign(as_of=pd.date_range("2020-01-01T06:00", periods=len(frame), freq="D"))
    fold = evaluate(held_out, **OPTIONS)["folds"][0]
    assert (fold["as_of"], fold["as_of_last"]) == ("2020-01-01T06:00:00", "2020-04-29T06:00:00")
    timeless = evaluate(frame.assign(as_of=pd.NaT), **OPTIONS)["folds"][0]
    assert timeless["as_of"] is None


def test_ids_may_be_text():
    frame = predictions()
    named = frame.assign(id=frame["id"].map("account-{:03}".format))
    assert evaluate(named, **OPTIONS) == evaluate(frame, **OPTIONS)


def test_the_order_of_the_rows_does_not_matter():
    frame = predictions()
    first, second = (evaluate(part, **OPTIONS) for part in (frame, frame.sample(frac=1, random_state=0)))
    for part in ("overall", "versus_activity"):
        assert list(first[part]) == list(second[part])
        for name, entry in first[part].items():
            assert second[part][name] == pytest.approx(entry, rel=1e-9, abs=1e-12), name


def test_the_interval_of_a_paired_difference_is_narrower_than_two_separate_ones():
    frame = predictions(positives=30).assign(other=lambda rows: rows["probability"] ** 2)
    frame.loc[::7, "other"] = 0.1
    paired = compare_scores(frame, ["other", "probability"], **OPTIONS)["probability"].difference
    ours, theirs = (
        evaluate(frame.assign(probability=frame[c]), **OPTIONS)["overall"] for c in ("probability", "other")
    )
    for name in ("roc_auc", "log_loss"):
        assert paired[name]["value"] == pytest.approx(ours[name]["value"] - theirs[name]["value"])
        widths = [entry["high"] - entry["low"] for entry in (paired[name], ours[name], theirs[name])]
        assert widths[0] < widths[1] + widths[2]
    assert tuple(paired) == metric_names(TOP_K)


def test_compared_scores_must_be_probabilities():
    with pytest.raises(DataError, match="expected probabilities"):
        compare_scores(predictions(), ["probability", "activity"], **OPTIONS)


@pytest.mark.parametrize(
    ("corrupt", "message"),
    [
        (
            lambda rows: rows.drop(columns="probability").rename(columns={"label": "lable"}),
            "lack label and probability.*lable",
        ),
        (lambda rows: rows.iloc[:0], "no predictions to evaluate"),
        (lambda rows: rows.assign(id=np.nan), "360 of 360 predictions have no id"),
        (lambda rows: rows.assign(probability="high"), "Column probability .* must be numeric"),
        (lambda rows: rows.assign(probability=2.0), "expected probabilities"),
        (lambda rows: rows.assign(label=rows["label"].astype("Int64").mask(rows["fold"] == 2)), "120 of 120 labels"),
    ],
)
def test_invalid_predictions_are_an_error(corrupt, message):
    with pytest.raises(DataError, match=message):
        evaluate(corrupt(predictions()), **OPTIONS)
