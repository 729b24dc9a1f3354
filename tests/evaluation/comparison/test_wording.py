"""The sentences of a comparison, with 1, 2 and more runs."""

import pytest

from mlsys.evaluation.comparison.candidates import Candidate
from mlsys.evaluation.comparison.comparability import Comparability
from mlsys.evaluation.comparison.comparison import ComparedRun, Comparison
from mlsys.evaluation.comparison.wording import caveats, findings

BETTER = {"value": 0.1, "low": 0.05, "high": 0.15}
SAME = {"value": 0.1, "low": -0.05, "high": 0.15}


def comparison(*others, resamples=40, selected_from=0, confidence=0.95):
    runs = [ComparedRun("A", Candidate("a", "a", "complete", {}, {}, None), Comparability("reference"), {})]
    for key, (check, difference) in zip("BCDEFG", others, strict=False):
        gaps = {"roc_auc": difference} if difference else {}
        runs.append(ComparedRun(key, Candidate(key, key, "complete", {}, {}, None), check, {}, gaps))
    return Comparison(
        runs=runs,
        left_out=[],
        metrics=["roc_auc"],
        headline=["roc_auc"],
        settings={},
        agreements={},
        top_k=[],
        common={},
        sorted_by="log_loss" if selected_from else None,
        selected_from=selected_from,
        bootstrap_resamples=resamples,
        confidence=confidence,
    )


def compared(difference, number):
    return [(Comparability("fully"), difference)] * number


@pytest.mark.parametrize(
    ("number", "text"),
    [
        (0, []),
        (1, ["ROC-AUC: B does not clearly differ from A."]),
        (2, ["ROC-AUC: B and C do not clearly differ from A."]),
        (3, ["ROC-AUC: B, C and D do not clearly differ from A."]),
    ],
)
def test_runs_without_a_clear_difference(number, text):
    assert findings(comparison(*compared(SAME, number))) == text


@pytest.mark.parametrize(("number", "end"), [(3, ")."), (4, "; 1 more is better."), (5, "; 2 more are better.")])
def test_many_better_runs(number, end):
    (text,) = findings(comparison(*compared(BETTER, number)))
    assert text.startswith("ROC-AUC: B is better (difference +0.100, 95% interval +0.050 to +0.150); C is better (")
    assert text.endswith(end)


@pytest.mark.parametrize(
    ("number", "text"),
    [
        (1, "B cannot be compared with A: different data. Only its own metrics, settings and costs are shown."),
        (2, "B and C cannot be compared with A: different data. Only their own metrics, settings and costs are shown."),
    ],
)
def test_runs_that_cannot_be_compared(number, text):
    assert caveats(comparison(*[(Comparability("no", ("different data",)), None)] * number)) == [text]


@pytest.mark.parametrize(("number", "sentences"), [(1, 0), (2, 0), (3, 1)])
def test_many_comparisons(number, sentences):
    assert len(caveats(comparison(*compared(SAME, number)))) == sentences


def test_the_best_of_a_sweep():
    (text,) = caveats(comparison(*compared(SAME, 1), selected_from=2))
    assert text.startswith("A is the best of 2 runs by log loss on these same rows: part of its lead is luck")


def test_no_resamples():
    (text,) = caveats(comparison(*compared(SAME, 1), resamples=0))
    assert text.startswith("There are no intervals, because there are no bootstrap resamples")


def test_the_confidence_level_is_the_configured_one():
    compared_at = comparison(*compared(BETTER, 3), confidence=0.8)
    assert "80% interval +0.050 to +0.150" in findings(compared_at)[0]
    text = " ".join(caveats(compared_at))
    assert "about 1 in 5 shows a clear difference by chance" in text
    assert "95%" not in text
