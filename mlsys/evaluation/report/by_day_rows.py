"""Expected and observed outcomes by day, as text, of models that predict when the outcome comes."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from mlsys.evaluation.formats import Numbers
from mlsys.text import counted


@dataclass(frozen=True)
class ByDayRow:
    """One day: the expected and the observed number of outcomes by then, and both as fractions of the largest."""

    within: str
    expected: str
    observed: str
    expected_bar: float
    observed_bar: float


def by_day_rows(metrics: Numbers) -> Iterator[ByDayRow]:
    """Yield the rows, from the first day to the horizon.

    Parameters
    ----------
    metrics : mapping
        Content of metrics.json.

    Examples
    --------
    >>> [row] = by_day_rows({"by_day": [{"days": 7, "expected": 10.21, "observed": 5}]})
    >>> row.within, row.expected, row.observed
    ('7 days', '10.2', '5')
    """
    entries = metrics.get("by_day") or []
    largest = max((float(max(entry["expected"], entry["observed"])) for entry in entries), default=0.0) or 1.0
    for entry in entries:
        expected, observed = float(entry["expected"]), int(entry["observed"])
        yield ByDayRow(
            counted(entry["days"], "day"), f"{expected:,.1f}", f"{observed:,}", expected / largest, observed / largest
        )
