"""How numbers and metrics are worded for people: one place, so that plots, card and report agree."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

MISSING = "–"
Numbers = Mapping[str, Any]  # content of metrics.json and its like
Kind = Literal["score", "rate", "times", "money"]


@dataclass(frozen=True)
class MetricText:
    """The words for one metric, and how its values are written.

    Attributes
    ----------
    title : str
        Its name in tables.
    meaning : str
        What it says, in one line without jargon; may hold ``{positives}`` and ``{k}``.
    kind : {"score", "rate", "times", "money"}
        Whether its values are plain numbers, shares, multiples or amounts.
    decimals : int
        For scores: how many decimals to show, more only where the value would vanish otherwise.
    higher_is_better : bool
        False for losses and errors.
    """

    title: str
    meaning: str
    kind: Kind = "score"
    decimals: int = 3
    higher_is_better: bool = True

    def write(self, value: float | None) -> str:
        """Write one value.

        Examples
        --------
        >>> METRICS["roc_auc"].write(0.9), METRICS["lift"].write(17.2), METRICS["revenue"].write(1234.4)
        ('0.900', '17×', '1,234')
        >>> METRICS["average_precision"].write(0.00021), METRICS["recall"].write(None)
        ('0.00021', '–')
        >>> METRICS["ece"].write(1e-17)
        '0.0000'
        """
        if value is None or not math.isfinite(value):
            return MISSING
        if self.kind == "rate":
            return percent(value)
        if self.kind == "times":
            return f"{value:.{0 if abs(value) >= 9.95 else 1}f}×"
        if self.kind == "money":
            return f"{value:,.0f}"
        return f"{value:.{self.decimals if _visible(value, self.decimals) else _decimals(value)}f}"

    @property
    def in_a_sentence(self) -> str:
        """The title as it stands amid other words.

        Examples
        --------
        >>> METRICS["log_loss"].in_a_sentence, METRICS["roc_auc"].in_a_sentence
        ('log loss', 'ROC-AUC')
        """
        return self.title if self.title[1:2].isupper() else self.title[:1].lower() + self.title[1:]

    def interval(self, metric: object) -> str:
        """Write the interval of a metric; an empty text if it has none.

        Examples
        --------
        >>> METRICS["average_precision"].interval({"value": 0.0769, "low": 0.05, "high": 0.16})
        '0.050 to 0.160'
        >>> METRICS["roc_auc"].interval(0.5)
        ''
        """
        ends = bounds(metric)
        return f"{self.write(ends[0])} to {self.write(ends[1])}" if ends else ""

    def difference(self, value: float | None) -> str:
        """Write a difference of two values with its sign; shares in percentage points.

        Examples
        --------
        >>> METRICS["roc_auc"].difference(0.131), METRICS["precision"].difference(-0.03)
        ('+0.131', '−3.0 points')
        """
        if value is None or not math.isfinite(value):
            return MISSING
        size = f"{abs(value) * 100:.1f} points" if self.kind == "rate" else self.write(abs(value))
        return f"{'−' if value < 0 else '+'}{size}"


METRICS: Mapping[str, MetricText] = {
    "roc_auc": MetricText("ROC-AUC", "how often one of the {positives} is ranked above one of the others"),
    "average_precision": MetricText("Average precision", "precision all the way down the ranking; rewards a good top"),
    "precision": MetricText("Precision@{k}", "share of {positives} among the {k} ranked first", "rate"),
    "recall": MetricText("Recall@{k}", "share of all {positives} that are among the {k} ranked first", "rate"),
    "lift": MetricText("Lift@{k}", "precision@{k} as a multiple of picking at random", "times"),
    "revenue": MetricText("Revenue@{k}", "value (such as MRR) of the {positives} among the {k} ranked first", "money"),
    "log_loss": MetricText("Log loss", "how wrong the probabilities are; lower is better", "score", 4, False),
    "brier": MetricText("Brier score", "squared error of the probabilities; lower is better", "score", 4, False),
    "ece": MetricText(
        "Calibration error", "gap between predicted and observed rates; lower is better", "score", 4, False
    ),
}


def metric_text(name: str, positives: str = "converters") -> MetricText:
    """Return the words for a metric, with ``@k`` filled in; a metric that is not known here keeps its own name.

    Parameters
    ----------
    name : str
        A key of ``metrics.json``, such as ``"roc_auc"`` or ``"precision@10"``.
    positives : str
        What the positive rows are called, in the plural.

    Examples
    --------
    >>> metric_text("precision@10").meaning
    'share of converters among the 10 ranked first'
    >>> metric_text("f1").title
    'f1'
    """
    base, _, k = name.partition("@")
    text = METRICS.get(base)
    if text is None:
        return MetricText(name, "")
    words = {"k": k, "positives": positives}
    return replace(text, title=text.title.format(**words), meaning=text.meaning.format(**words))


def as_float(value: object) -> float | None:
    """Return a finite float, or None for None, NaN, infinity and text.

    Examples
    --------
    >>> as_float("0.5"), as_float(2), as_float(float("nan"))
    (None, 2.0, None)
    """
    if value is None or isinstance(value, str | bytes | Mapping):
        return None
    try:
        number = float(value)  # type: ignore[arg-type]  # what float() refuses is caught here
    except (TypeError, ValueError):
        return None
    return number if math.isfinite(number) else None


def point(value: object) -> float | None:
    """Return the number in a metric, which is either a plain number or ``{"value", "low", "high"}``.

    Examples
    --------
    >>> point({"value": 0.9, "low": 0.8, "high": 0.95}), point(0.5), point(None)
    (0.9, 0.5, None)
    """
    return as_float(value.get("value") if isinstance(value, Mapping) else value)


def bounds(value: object) -> tuple[float, float] | None:
    """Return the interval in a metric, or None if it has none.

    Examples
    --------
    >>> bounds({"value": 0.9, "low": 0.8, "high": 0.95}), bounds(0.5)
    ((0.8, 0.95), None)
    """
    if not isinstance(value, Mapping):
        return None
    low, high = as_float(value.get("low")), as_float(value.get("high"))
    return None if low is None or high is None else (low, high)


def percent(share: float | None) -> str:
    """Write a share as a percentage with two significant digits.

    Parameters
    ----------
    share : float or None
        A fraction, 0 to 1.

    Examples
    --------
    >>> percent(0.0024), percent(0.071), percent(0.71), percent(1.0), percent(None)
    ('0.24%', '7.1%', '71%', '100%', '–')
    """
    if share is None or not math.isfinite(share):
        return MISSING
    scaled = share * 100
    if scaled != 0 and abs(scaled) < 1e-4:
        return "<0.0001%"
    return f"{scaled:.{0 if abs(scaled) >= 9.95 else _decimals(scaled)}f}%"


def count(value: object) -> str:
    """Write a count with thousands separated.

    Examples
    --------
    >>> count(30240), count(None)
    ('30,240', '–')
    """
    number = as_float(value)
    return MISSING if number is None else f"{number:,.0f}"


def _visible(value: float, places: int) -> bool:
    return abs(value) < 1e-6 or abs(value) >= 10**-places  # what is smaller still is rounding error: a plain zero


def _decimals(value: float) -> int:
    """Return how many decimals show two significant digits of ``value``, six at most."""
    return 0 if value == 0 else min(6, max(0, 1 - math.floor(math.log10(abs(value)))))
