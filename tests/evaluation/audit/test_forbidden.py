import numpy as np
import pytest

from mlsys.evaluation.audit.forbidden import forbidden_columns

from .subjects import accounts, audited, flat, leads


def test_honest_features_pass():
    check = forbidden_columns(
        audited(accounts(), forbidden={"id": "the entity's id", "CLOSEDATE": "the outcome's time"})
    )
    assert (check.status, check.value) == ("pass", 0)


def test_a_forbidden_name_fails_in_any_case():
    frame = accounts()
    subject = audited(frame.assign(closedate=frame["usage"]), forbidden={"CLOSEDATE": "the outcome's time"})
    check = forbidden_columns(subject)
    assert (check.status, check.value) == ("fail", 1)
    assert "closedate (the outcome's time)" in check.message


@pytest.mark.parametrize(
    ("names", "finding"),
    [(["OWNER"], "Found 1 forbidden feature: owner"), (["OWNER", "PAID"], "Found 2 forbidden features: owner (a")],
)
def test_forbidden_features_are_counted(names, finding):
    frame = accounts().assign(owner=1.0, paid=1.0)
    check = forbidden_columns(audited(frame, forbidden=dict.fromkeys(names, "a raw column")))
    assert check.value == len(names)
    assert finding in check.message


@pytest.mark.parametrize("make", [np.float64, str])
@pytest.mark.parametrize("id_type", [np.int64, str])
def test_the_id_under_another_name_fails(make, id_type):
    frame = accounts()
    frame = frame.assign(customer=frame["id"].astype(str if make is str else float), id=frame["id"].astype(id_type))
    check = forbidden_columns(audited(frame))
    assert check.status == "fail"
    assert "customer (it equals the id)" in check.message


def test_a_column_that_equals_the_id_in_most_rows_only_is_not_the_id():
    frame = accounts()
    frame["owner"] = frame["id"].astype(float).where(frame.index < len(frame) - 1)
    assert forbidden_columns(audited(frame)).status == "pass"


def by_label(frame, values):
    return np.where(frame["label"] == 1, values[0], values[1])


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        ((1.0, 0.0), "it equals the label"),
        ((0.0, 7.0), "it equals the label"),
        (("won", "open"), "it equals the label"),
        ((1.0, np.nan), "it is missing exactly where the label is 0"),
        ((np.nan, 1.0), "it is missing exactly where the label is 1"),
    ],
)
def test_the_label_under_another_name_fails(values, reason):
    frame = leads()
    check = forbidden_columns(flat(frame.assign(status=by_label(frame, values))))
    assert check.status == "fail"
    assert f"status ({reason})" in check.message


def test_one_row_that_differs_is_not_the_label():
    frame = leads()
    flag = frame["label"].astype(float)
    flag[3] = 1 - flag[3]
    assert forbidden_columns(flat(frame.assign(flag=flag))).status == "pass"


@pytest.mark.parametrize("factor", [1, 12])
def test_the_value_of_the_outcome_fails(factor):
    frame = accounts()
    usage = frame["usage"]
    check = forbidden_columns(audited(frame.assign(plan=(factor * frame["value"]).fillna(usage))))
    assert check.status == "fail"
    assert "plan (it is the outcome's value, or a multiple of it)" in check.message


def test_with_very_few_positive_rows_values_are_not_compared():
    frame = leads()
    frame["label"] = (frame["id"] < 4).astype(np.int8)
    assert forbidden_columns(flat(frame.assign(flag=frame["label"].astype(float)))).status == "pass"
