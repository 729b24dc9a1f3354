"""Decides where the year stands in dates with two-digit years, such as 01.02.20, and in which century they lie."""

from __future__ import annotations

import pandas as pd

from mlsys.data.config import DateOrder
from mlsys.data.table.moments import LAST_SHORT_YEAR, century, parse_moments, with_last_year

_FEW_DATES = 8
_LONGEST_MONTH = 31
# The chance below which the days of months are not those of a calendar, such as the 18th to the 22nd in 60 dates.
_UNLIKELY = 0.001
_MUCH_SHORTER = 10
# A column's years are in one century if they leave out this many years in a row, and none more than this later.
_MIN_GAP = 20
_LATEST = 2065


def place_year(values: pd.Series[str], year_last: str, stated: DateOrder | None = None) -> tuple[str, bool]:
    r"""Return the format of days with the year first or last, and whether both are as likely.

    Days of months show which it is: all are the first or the last of their months, or they are spread over the month.
    Where both readings have such days, the one that spans far less time is likelier.

    Parameters
    ----------
    values : Series of str, shape (n,)
        Days such as 01.02.20.
    year_last : str
        A format of days and months with a two-digit year at the end.
    stated : {"day_first", "month_first", "year_first"}, optional
        The order where the values do not show it.

    Returns
    -------
    pattern : str
    undecided : bool

    Examples
    --------
    >>> months = pd.Series([f"01.{month:02}.{year}" for year in (18, 19, 20) for month in range(1, 13)])
    >>> place_year(months, "%d.%m.%y")
    ('%d.%m.%y', False)
    >>> place_year(months.str.replace(r"(..).(..).(..)", r"\3.\2.\1", regex=True), "%d.%m.%y")
    ('%y.%m.%d', False)
    """
    mark = year_last[2]
    year_first = f"%y{mark}%m{mark}%d"
    last, first = _dates(values, year_last), _dates(values, year_first)
    if len(first) < len(last):
        return year_last, False
    swapped = _dates(values, f"%m{mark}%d{mark}%y" if year_last.startswith("%d") else f"%d{mark}%m{mark}%y")
    others = [last, swapped] if len(swapped) >= len(last) else [last]
    evidence = _evidence(first), max(map(_evidence, others))
    if evidence[0] != evidence[1]:
        return (year_first if evidence[0] > evidence[1] else year_last), False
    spans = _span(first), min(map(_span, others))
    if len(first) < _FEW_DATES:
        return (year_first if 2 * spans[0] < spans[1] else year_last), False
    if _MUCH_SHORTER * min(spans) < max(spans):
        return (year_first if spans[0] < spans[1] else year_last), False
    return (year_first if stated == "year_first" else year_last), stated is None


def place_century(values: pd.Series[str], pattern: str) -> str:
    """Return the format with the last year of its century if the years of a column go on past 2035.

    The century then ends in the middle of the longest gap between years.

    Examples
    --------
    >>> ends = pd.Series([f"31.12.{year}" for year in range(24, 49)])
    >>> place_century(ends, "%d.%m.%y")
    '%d.%m.%y (to 2085)'
    >>> place_century(ends.head(10), "%d.%m.%y")
    '%d.%m.%y'
    """
    if "%y" not in pattern:
        return pattern
    years = sorted({int(year) % 100 for year in parse_moments(values, pattern).dropna().dt.year})
    if len(years) < 2 or len(values) < _FEW_DATES:
        return pattern
    gaps = [(after - before - 1) % 100 for before, after in zip(years, [*years[1:], years[0]], strict=True)]
    end = years[gaps.index(max(gaps))]
    border = LAST_SHORT_YEAR % 100
    length = 100 - max(gaps)
    wraps = (border - (end - length + 1)) % 100 < length - 1  # years on both sides of the border
    if max(gaps) < _MIN_GAP or not wraps:
        return pattern
    last = 2000 + end if 2000 + end <= _LATEST else 1900 + end
    return with_last_year(pattern, last + max(gaps) // 2)  # later rows may have years on either side


def century_guess(pattern: str, example: str) -> str:
    """Return how the years of a format that `place_century` changed are read; "" if it did not.

    Examples
    --------
    >>> century_guess("%d.%m.%y (to 2085)", "31.12.48")
    '31.12.48 is read as 2048-12-31, and all years as 1986 to 2085; if that is wrong, write them with four digits'
    """
    _, last = century(pattern)
    if last == LAST_SHORT_YEAR:
        return ""
    day = parse_moments(pd.Series([example], dtype="str"), pattern).iloc[0]
    return (
        f"{example} is read as {day:%Y-%m-%d}, and all years as {last - 99} to {last};"
        " if that is wrong, write them with four digits"
    )


def _dates(values: pd.Series[str], pattern: str) -> pd.DatetimeIndex:
    return pd.DatetimeIndex(parse_moments(values, pattern).dropna().unique())


def _span(dates: pd.DatetimeIndex) -> pd.Timedelta:
    return dates.max() - dates.min()


def _evidence(dates: pd.DatetimeIndex) -> int:
    """Return how much the days of months look like a calendar's: 2 if they do, 0 if they do not, 1 if perhaps."""
    if len(dates) > 1 and ((dates.day == 1).all() or dates.is_month_end.all()):
        return 2
    if len(dates) < _FEW_DATES:
        return 1
    days = dates.day
    if ((days.max() - days.min() + 1) / _LONGEST_MONTH) ** len(dates) >= _UNLIKELY:
        return 2
    return int(days.nunique() == 1 or _span(dates).days <= _LONGEST_MONTH)
