"""Number formats for people, shared by plots, card and report."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

MISSING = "–"
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
        number = float(value)  # type: ignore[arg-type]  # an unsupported type is caught below
    except (TypeError, ValueError):
        return None
    return number if math.isfinite(number) else None


def point(value: object) -> float | None:
    """Return the value of a metric, which is either a plain number or ``{"value", "low", "high"}``.

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
        Fraction from 0 to 1.

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


def plain_number(value: float, decimals: int) -> str:
    """Format a number with the given number of decimals, or with more if it would otherwise be shown as 0.

    Examples
    --------
    >>> plain_number(0.9, 3), plain_number(0.00021, 3), plain_number(1e-17, 4)
    ('0.900', '0.00021', '0.0000')
    """
    return f"{value:.{decimals if _visible(value, decimals) else _decimals(value)}f}"


def _visible(value: float, decimals: int) -> bool:
    return abs(value) < 1e-6 or abs(value) >= 10**-decimals  # below 1e-6 is rounding error, shown as 0


def _decimals(value: float) -> int:
    """Return the number of decimals that shows two significant digits of ``value``, at most six."""
    return 0 if value == 0 else min(6, max(0, 1 - math.floor(math.log10(abs(value)))))
