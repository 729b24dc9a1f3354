import pytest

from mlsys.evaluation.audit.check import AuditCheck, listed, worst


@pytest.mark.parametrize(
    ("statuses", "expected"),
    [([], "pass"), (["pass", "pass"], "pass"), (["warn", "pass"], "warn"), (["pass", "fail", "warn"], "fail")],
)
def test_worst_is_the_most_severe_status(statuses, expected):
    assert worst(statuses) == expected


def test_a_check_that_does_not_apply_passes_without_a_value():
    check = AuditCheck.not_applicable("groups", "the split is by time.")
    assert check.to_dict() == {
        "name": "groups",
        "status": "pass",
        "value": None,
        "limit": None,
        "message": "Does not apply: the split is by time.",
    }


def test_long_lists_are_cut():
    assert listed(["a", "b"]) == "a, b"
    assert listed(list("abcdefgh")) == "a, b, c, d, e and 3 more"
