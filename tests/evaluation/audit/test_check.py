import pytest

from mlsys.evaluation.audit.check import AuditCheck, listed, worst
from mlsys.text import counted


@pytest.mark.parametrize(
    ("statuses", "expected"),
    [([], "pass"), (["pass", "pass"], "pass"), (["warn", "pass"], "warn"), (["pass", "fail", "warn"], "fail")],
)
def test_the_worst_status_counts(statuses, expected):
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


def test_many():
    assert [counted(0, "row"), counted(1, "row"), counted(1234, "row")] == ["0 rows", "1 row", "1,234 rows"]
