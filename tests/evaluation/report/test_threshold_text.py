"""The sentences about the operating threshold."""

import pytest

from mlsys.evaluation.report.threshold_text import threshold_rows, threshold_text


@pytest.mark.parametrize(
    ("mean", "flagged"),
    [
        (None, "accounts"),
        (0.4, "an average of 0.4 accounts per fold"),
        (1.0, "an average of 1.0 accounts per fold"),
        (2.0, "an average of 2.0 accounts per fold"),
        (1234.4, "an average of 1,234 accounts per fold"),
    ],
)
def test_the_number_of_flagged_rows(mean, flagged):
    threshold = {"threshold": 0.5, "precision": 0.1, "recall": 0.25, "flagged_mean": mean}
    assert threshold_text(threshold, "accounts", "converters", "") == (
        "A probability of 50% or more counts as positive. "
        f"On the test rows, {flagged} reached it: 10% of them were converters, which is 25% of all converters."
    )


@pytest.mark.parametrize("k", [1, 2])
def test_a_small_k(k):
    text = threshold_text({"threshold": 0.5, "method": "top_k", "parameters": {"k": k}}, "accounts", "converters", "")
    assert f"It was chosen to flag about the top {k} of each fold. None of the test rows reached it." in text


def test_rows():
    threshold = {"threshold": 0.5, "parameters": {"k": 50}, "flagged": [1, 2], "expected_gain": None}
    assert list(threshold_rows(threshold)) == [
        ("threshold", "0.5"), ("parameters k", "50"), ("flagged", "1, 2"), ("expected gain", "–"),
    ]  # fmt: skip
