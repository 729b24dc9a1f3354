"""A sample of the negatives in sentences."""

from __future__ import annotations

from mlsys.evaluation.formats import Numbers, count, percent
from mlsys.evaluation.weighted_metrics import MIN_POSITIVES, MIN_SAMPLED_ROWS


def sample_text(sample: Numbers, positives: str) -> str:
    """Describe which rows a run used.

    Parameters
    ----------
    sample : mapping
        As recorded in manifest.json.
    positives : str
        Plural noun for the positive rows.

    Examples
    --------
    >>> sample_text({"fraction": 0.05, "rows": 4_000_000, "whole_from": None}, "converters")
    '5.0% of the rows that are no converters, of 4,000,000 rows in all; weights undo it'
    """
    tested = "; tests are on all rows" if sample.get("whole_from") else ""
    rows = f"of {count(sample.get('rows'))} rows in all"
    return f"{percent(float(sample['fraction']))} of the rows that are no {positives}, {rows}; weights undo it{tested}"


def sample_caveat(sample: Numbers, entities: str, positives: str) -> str:
    """Say what a test on the sampled rows cannot tell; empty if tests are on all rows.

    Examples
    --------
    >>> sample_caveat({"fraction": 0.05, "whole_from": None}, "accounts", "converters")[:77]
    'Each tested row that is not positive stands for 20 accounts. So lists of fewe'
    """
    if sample.get("whole_from"):
        return ""
    weight = 1 / float(sample["fraction"])
    return (
        f"Each tested row that is not positive stands for {weight:.3g} {entities}. So lists of fewer than "
        f"{count(MIN_SAMPLED_ROWS * weight)} {entities} have no metrics, and folds with fewer than "
        f"{count(MIN_POSITIVES * weight)} {positives} have no average precision: split.test_negatives=all tests on all "
        "rows."
    )
