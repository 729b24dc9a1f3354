"""The sentence about an uplift model."""

import pytest

from mlsys.evaluation.report.recommendation import recommend
from mlsys.evaluation.report.uplift import uplift_sentence

CURVE = [
    {"fraction": 0.3, "value": 0.034, "low": 0.023, "high": 0.045},
    {"fraction": 1.0, "value": 0.01, "low": -0.01, "high": 0.03},
]
QINI = {"value": 0.02, "low": 0.01, "high": 0.03}
DOUBT = {"checks": [{"name": "treatment", "status": "warn"}]}


def sentence(qini, curve=CURVE, audit=None):
    return uplift_sentence({"overall": {"qini": qini}, "uplift_curve": curve}, audit or {}, "leads", "customers", "95%")


def test_it_says_what_contacting_the_top_gains():
    assert sentence(QINI) == (
        "Of 1,000 leads, contacting the 300 with the highest uplift gains 34.0 customers (95% interval 23.0 to 45.0); "
        "contacting as many at random gains 3.0 (Qini coefficient 2.0%, 95% interval 1.0% to 3.0%)."
    )


def test_a_harmful_treatment_loses():
    harmful = [{"fraction": 0.3, "value": -0.06, "low": None, "high": None}, {"fraction": 1.0, "value": -0.48}]
    assert "highest uplift loses 60.0 customers; contacting as many at random loses 144.0 (" in sentence(QINI, harmful)


@pytest.mark.parametrize(
    ("qini", "start"),
    [
        ({"value": 0.001, "low": -0.01, "high": 0.012}, "No evidence that the model finds whom to contact ("),
        ({"value": -0.02, "low": -0.03, "high": -0.01}, "The model ranks the wrong leads first ("),
        ({"value": 0.02, "low": None, "high": None, "too_few": True}, "Too few customers in an arm to tell"),
        ({"value": 0.02, "low": None, "high": None}, "Without intervals nobody can tell"),
    ],
)
def test_it_does_not_promise_what_nobody_knows(qini, start):
    assert sentence(qini).startswith(start)


def test_nobody_is_contacted_where_the_treatment_harms_and_nobody_is_found():
    nothing, harmful = {"value": 0.001, "low": -0.01, "high": 0.012}, {"fraction": 1.0, "value": -0.05}
    certain = sentence(nothing, [harmful | {"low": -0.09, "high": -0.01}])
    assert certain.endswith("and contacting all leads loses 50.0 customers per 1,000: contact none of them.")
    uncertain = sentence(nothing, [harmful | {"low": -0.11, "high": 0.01}])
    assert uncertain.endswith("contact at random or all leads, or test on more data.")


def test_it_is_doubtful_where_the_treatment_was_not_at_random():
    assert sentence(QINI, audit=DOUBT).endswith(", if the treatment was assigned at random, which the audit doubts.")


def test_it_is_what_to_do_first_unless_the_audit_failed():
    metrics = {"overall": {"qini": QINI}, "uplift_curve": CURVE}
    assert recommend(metrics, {}, "customers", "95%", "leads") == sentence(QINI)
    failed = {"checks": [{"name": "groups", "status": "fail"}]}
    assert recommend(metrics, failed, "customers", "95%", "leads").startswith("Fix the leak first")
