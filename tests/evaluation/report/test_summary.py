"""The sentences of card and report, with 0, 1 and 2 of everything that is counted."""

import pytest

from mlsys.evaluation.report.summary import summarise


def summary(**changes):
    inputs = {"config": {}, "metrics": {}, "audit": {}, "threshold": None, "facts": {}}
    return summarise(**inputs | changes)


def check(number, status="pass", value=0.0):
    return {"name": f"check_{number}", "status": status, "value": value, "message": "Message."}


@pytest.mark.parametrize(
    ("applicable", "others", "text"),
    [
        (1, 0, "1 of 1 check passed: no sign"),
        (2, 0, "2 of 2 checks passed: no sign"),
        (2, 1, "2 of 2 checks passed (1 more does not apply): no sign"),
        (2, 2, "2 of 2 checks passed (2 more do not apply): no sign"),
    ],
)
def test_the_audit(applicable, others, text):
    checks = [*map(check, range(applicable)), *(check(9, value=None) for _ in range(others))]
    assert summary(audit={"status": "pass", "checks": checks}).audit.startswith(text)


def test_no_audit():
    assert summary().audit == "The leakage audit was not run: do not trust the metrics yet."


def test_audit_warnings_are_caveats():
    caveats = summary(audit={"status": "warn", "checks": [check(1, "warn")]}).caveats
    assert caveats[0] == "Audit check “check 1” (warn): Message."


@pytest.mark.parametrize("positives", [0, 1, 2])
def test_few_positives(positives):
    caveats = summary(metrics={"folds": [{"as_of": "2020-02-24", "positives": positives}]}).caveats
    assert caveats[0] == (
        f"Few converters in the test rows ({positives}): rely on the intervals, not on small differences."
    )


@pytest.mark.parametrize(
    ("number", "folds"),
    [(1, "2020-01-01"), (2, "2020-01-01 and 2020-01-02"), (3, "2020-01-01, 2020-01-02 and 2020-01-03")],
)
def test_incomplete_folds(number, folds):
    entries = [{"as_of": f"2020-01-{day:02d}", "label_complete": False} for day in range(1, number + 1)]
    assert summary(metrics={"folds": entries}).caveats[0].startswith(f"Outcomes are incomplete in {folds}: the horizon")


@pytest.mark.parametrize(("days", "text"), [(1, "1 day"), (2, "2 days")])
def test_the_horizon(days, text):
    found = summary(facts={"horizon_days": days})
    assert found.purpose == f"This model predicts which accounts have the outcome within {text}."
    assert ("Horizon", f"{text} after each date") in found.data


def test_the_purpose_names_estimator_and_sampler():
    choices = {"model": "catboost", "sampler": "smote"}
    found = summary(config={"choices": choices}, facts={"positives_name": "leavers", "entities_name": "users"})
    assert found.purpose == (
        "This model predicts which users are leavers. Estimator: catboost, trained on rows resampled with smote."
    )
