"""Explanations, and batches that run next to single records."""

import json
import threading
import time

import numpy as np
import pytest

from serve.scoring import InvalidInput, Scorer


@pytest.mark.parametrize("model", ["xgboost", "lightgbm", "logistic", "catboost", "random_forest", "vote", "stack"])
def test_a_batch_does_not_disturb_single_records(model, run_of, records):
    scorer = Scorer.load(run_of(model))
    expected = [scorer.score(record).probability for record in records]
    batch = [record for record in records for _ in range(100)]
    answers, done = [], threading.Event()

    def work():
        answers.append(scorer.score_many(batch).probabilities)
        done.set()

    thread = threading.Thread(target=work)
    thread.start()
    meanwhile = 0
    while not done.is_set() or meanwhile < 3:
        assert [scorer.score(record).probability for record in records] == expected
        meanwhile += 1
    thread.join()
    np.testing.assert_allclose(answers[0][::100], expected, rtol=0, atol=1e-6)


def test_reasons_name_fields_and_not_encoded_columns(run_of, records):
    scorer = Scorer.load(run_of("logistic", "onehot"))
    record = records[0] | {"users": 14, "plan": "pro", "industry": None}
    reasons = scorer.reasons(scorer.score(record).values, top=6)
    assert {reason["field"] for reason in reasons["top"]} == record.keys()
    sizes = [abs(reason["contribution"]) for reason in reasons["top"]]
    assert sizes == sorted(sizes, reverse=True)
    by_field = {reason["field"]: reason for reason in reasons["top"]}
    assert by_field["users"] == reasons["top"][0]
    assert by_field["users"]["label"] == "The users"
    assert by_field["users"]["contribution"] > 0.5
    assert by_field["industry"]["value"] is None
    assert by_field["plan"]["value"] == "pro"
    assert json.loads(json.dumps(reasons, allow_nan=False)) == reasons


@pytest.mark.parametrize(
    "model", ["xgboost", "lightgbm", "catboost", "random_forest", "vote", "stack", "hist_gradient_boosting", "ebm"]
)
def test_a_value_that_makes_the_outcome_more_likely_contributes_more_than_zero(model, run_of, records):
    scorer = Scorer.load(run_of(model))
    contribution = {}
    for users in (0, 10):
        values = scorer.score(records[0] | {"users": users}).values
        contribution[users] = {r["field"]: r["contribution"] for r in scorer.reasons(values, top=6)["top"]}["users"]
    assert contribution[0] < 0 < contribution[10]


def test_a_constant_model_has_no_contributions(run_of):
    scorer = Scorer.load(run_of("dummy"))
    record = {"users": 3, "industry": None, "mrr": None, "empty": None, "plan": "pro", "trend": 0.0}
    reasons = scorer.reasons(scorer.score(record).values)
    assert reasons["base"] == reasons["total"]
    assert {reason["contribution"] for reason in reasons["top"]} == {0.0}


def test_a_batch_names_every_row_that_is_wrong_across_chunks(run_of, records):
    scorer = Scorer.load(run_of("logistic"))
    batch = records * 40
    batch[5] = batch[5] | {"users": "5"}
    batch[900] = {}
    with pytest.raises(InvalidInput) as caught:
        scorer.score_many(batch)
    assert {problem["row"] for problem in caught.value.problems} == {5, 900}


def test_a_batch_lets_other_threads_run(run_of, records):
    scorer = Scorer.load(run_of("lightgbm"))
    batch = records * 400
    longest, done = 0.0, threading.Event()

    def work():
        scorer.score_many(batch)
        done.set()

    thread = threading.Thread(target=work)
    thread.start()
    turns = 0
    while not done.is_set():
        begin = time.perf_counter()
        time.sleep(0.0002)
        longest = max(longest, time.perf_counter() - begin)
        turns += 1
    thread.join()
    assert turns > 10  # without pauses it would be one every 5 ms
