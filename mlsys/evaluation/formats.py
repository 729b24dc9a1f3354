"""Number formats shared by plots, card and report."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

MISSING = "–"
POINTS = " points"  # percentage points
ROUNDING = 1e-6  # smaller numbers are rounding errors, shown as zero
Numbers = Mapping[str, Any]  # content of metrics.json and similar files


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
        number = float(value)  # type: ignore[arg-type]  # errors are caught below
    except (TypeError, ValueError):
        return None
    return number if math.isfinite(number) else None


def point(value: object) -> float | None:
    """Return the value of a metric, given as a plain number or as ``{"value", "low", "high"}``.

    Examples
    --------
    >>> point({"value": 0.9, "low": 0.8, "high": 0.95}), point(0.5), point(None)
    (0.9, 0.5, None)
    """
    return as_float(value.get("value") if isinstance(value, Mapping) else value)


def bounds(value: object) -> tuple[float, float] | None:
    """Return the interval of a metric, or None if it has none.

    Examples
    --------
    >>> bounds({"value": 0.9, "low": 0.8, "high": 0.95}), bounds(0.5)
    ((0.8, 0.95), None)
    """
    if not isinstance(value, Mapping):
        return None
    low, high = as_float(value.get("low")), as_float(value.get("high"))
    return None if low is None or high is None else (low, high)


def percent(fraction: float | None) -> str:
    """Format a fraction as a percentage with two significant digits.

    Parameters
    ----------
    fraction : float or None
        From 0 to 1.

    Examples
    --------
    >>> percent(0.0024), percent(0.071), percent(0.71), percent(1.0), percent(None)
    ('0.24%', '7.1%', '71%', '100%', '–')
    """
    if fraction is None or not math.isfinite(fraction):
        return MISSING
    scaled = fraction * 100
    if scaled != 0 and abs(scaled) < 1e-4:
        return "<0.0001%"
    return f"{scaled:.{0 if abs(scaled) >= 9.95 else _decimals(scaled)}f}%"


def count(value: object) -> str:
    """Format a count with thousands separators.

    Examples
    --------
    >>> count(30240), count(None)
    ('30,240', '–')
    """
    number = as_float(value)
    return MISSING if number is None else f"{number:,.0f}"


def range_text(low: str, high: str) -> str:
    """Return two formatted numbers as a range, with a common unit after a space only once.

    Examples
    --------
    >>> range_text("+0.010", "+0.020"), range_text("−1.2 points", "+3.0 points"), range_text("143 EUR", "930 EUR")
    ('+0.010 to +0.020', '−1.2 to +3.0 points', '143 to 930 EUR')
    """
    number, space, unit = low.partition(" ")
    return f"{number if space and high.endswith(space + unit) else low} to {high}"


def plain_number(value: float, decimals: int) -> str:
    """Format a number with this many decimals, or more where it would be rounded to zero.

    Examples
    --------
    >>> plain_number(0.9, 3), plain_number(0.00021, 3), plain_number(1e-17, 4)
    ('0.900', '0.00021', '0.0000')
    """
    return f"{value:.{decimals if _visible(value, decimals) else _decimals(value)}f}"


def _visible(value: float, places: int) -> bool:
    return abs(value) < ROUNDING or abs(value) >= 10**-places


def _decimals(value: float) -> int:
    """Return the number of decimals that show two significant digits of ``value``, at most six."""
    return 0 if value == 0 else min(6, max(0, 1 - math.floor(math.log10(abs(value)))))


def confidence_level(config: Numbers) -> str:
    """Return the confidence level of a run's intervals.

    Parameters
    ----------
    config : mapping
        The run's config; ``metrics.confidence`` is read.

    Examples
    --------
    >>> confidence_level({"metrics": {"confidence": 0.9}}), confidence_level({})
    ('90%', '95%')
    """
    return f"{(config.get('metrics') or {}).get('confidence', 0.95):.0%}"


def currency(config: Numbers) -> str:
    """Return the currency of a run's revenue, from ``metrics.currency``; an empty string if it is not configured.

    Examples
    --------
    >>> currency({"metrics": {"currency": "EUR"}}), currency({"metrics": {"currency": None}})
    ('EUR', '')
    """
    return (config.get("metrics") or {}).get("currency") or ""
