"""Dates in text: finds the one format of a column, and turns dates into numbers that a model can use."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from mlsys.data.table.values import Levels, as_levels, spaced
from mlsys.errors import DataError

ISO = "ISO8601"
COMPACT = "%Y%m%d"
# Dates outside are placeholders (1753-01-01, 9999-12-31): "never" and "unknown", not days.
FIRST_DAY, LAST_DAY = pd.Timestamp("1850-01-01"), pd.Timestamp("2150-12-31")
LAST_SHORT_YEAR = 2035  # "36" is 1936: years of two digits are births and hires more often than the far future

_DAY = pd.Timedelta(days=1)
_DAYS = (
    *("%Y-%m-%d", "%Y/%m/%d", "%Y.%m.%d", "%d.%m.%Y", "%d.%m.%y", "%m/%d/%Y", "%d/%m/%Y", "%m/%d/%y", "%d/%m/%y"),
    *(
        "%d-%m-%Y",
        "%m-%d-%Y",
        "%d-%m-%y",
        "%m-%d-%y",
        "%d %b %Y",
        "%d %B %Y",
        "%d-%b-%Y",
        "%d-%b-%y",
        "%d%b%Y",
        "%d %b %y",
    ),
    *(
        "%b %d, %Y",
        "%B %d, %Y",
        "%b %d %Y",
        "%B %d %Y",
        "%a, %d %b %Y",
        "%b-%Y",
        "%b %Y",
        "%B %Y",
        "%b-%y",
        "%m/%Y",
        COMPACT,
    ),
)
_TIMES = ("%H:%M:%S", "%H:%M", "%H:%M:%S.%f", "%I:%M %p", "%I:%M:%S %p", "%H:%M:%S%z", "%H:%M:%S %z")
_CLOCKED = re.compile(r"(?P<day>.*?)(?P<glue>, | |T)(?P<time>\d\d?:\d\d.*)")
_MONTHS = r"(?:jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec)[a-z]*"
_LOOKS_ISO = re.compile(
    r"\d{4}-\d\d(?:-\d\d(?:[T ]\d\d(?::?\d\d(?::?\d\d(?:[.,]\d{1,9})?)?)?(?: ?Z|[-+]\d\d(?::?\d\d)?)?)?)?"
)
_LOOKS_DATED = re.compile(
    r"\d{1,4}([-/.])\d{1,2}\1\d{1,4}\b.*|\d\d?/\d{4}|\d{8}"
    rf"|(?:\w{{3}}, )?\d{{1,2}}[- ]?{_MONTHS}[- ]?\d{{2,4}}\b.*"
    rf"|{_MONTHS}[- ](?:\d{{1,2}},? )?\d{{2,4}}\b.*",
    re.IGNORECASE,
)


@dataclass(frozen=True)
class DateFormat:
    """How a column writes its dates.

    Attributes
    ----------
    pattern : str
        A strptime format, or "ISO8601".
    rows : int
        How many rows it reads.
    ambiguous : bool
        Whether day and month could be swapped as well.
    """

    pattern: str
    rows: int
    ambiguous: bool = False

    @property
    def day_first(self) -> bool | None:
        """Whether the day stands before the month; None where the format leaves no doubt."""
        twin = _twin(self.pattern)
        return None if twin is None else self.pattern.index("%d") < self.pattern.index("%m")


def find_format(levels: Levels, *, day_first: bool | None = None) -> DateFormat | None:
    """Find the format that reads most of a column; None if its texts do not look like dates.

    Parameters
    ----------
    levels : Levels
    day_first : bool, optional
        What to believe where every value can be read both ways ("03/04/2020"); without it the month comes first.

    Returns
    -------
    DateFormat or None

    Examples
    --------
    >>> from mlsys.data.table.values import as_levels
    >>> find_format(as_levels(pd.Series(["31/12/2020", "01/02/2021"])))
    DateFormat(pattern='%d/%m/%Y', rows=2, ambiguous=False)
    >>> find_format(as_levels(pd.Series(["small", "large"]))) is None
    True
    """
    sample = spaced(levels.values, 200)
    if 2 * sum(bool(_LOOKS_ISO.fullmatch(text)) for text in sample) > len(sample):
        return _measured(levels, ISO)
    if 2 * sum(bool(_LOOKS_DATED.fullmatch(text)) for text in sample) <= len(sample):
        return None
    best = _best_pattern(sample)
    twin = _twin(best)
    if twin is None:
        return _measured(levels, best)
    month_first, day_last = sorted(
        (_measured(levels, best), _measured(levels, twin)), key=lambda found: bool(found.day_first)
    )
    if month_first.rows == day_last.rows:
        chosen = day_last if day_first or "." in best else month_first
        return DateFormat(chosen.pattern, chosen.rows, ambiguous="." not in best)
    return max(month_first, day_last, key=lambda found: found.rows)


def _measured(levels: Levels, pattern: str) -> DateFormat:
    return DateFormat(pattern, levels.count(parse_dates(levels.values, pattern).notna().to_numpy()))


def _twin(pattern: str) -> str | None:
    swapped = pattern.replace("%d", "\0").replace("%m", "%d").replace("\0", "%m")
    return (
        swapped if swapped != pattern and not pattern.startswith("%Y") and "%d" in pattern and "%m" in pattern else None
    )


def _best_pattern(sample: list[str]) -> str:
    parts = [found for text in sample if (found := _CLOCKED.fullmatch(text))]
    if 2 * len(parts) <= len(sample):
        return _best_of(_DAYS, sample)
    day = _best_of(_DAYS, [part["day"] for part in parts])
    return day + parts[0]["glue"] + _best_of(_TIMES, [part["time"] for part in parts])


def _best_of(patterns: Sequence[str], texts: list[str]) -> str:
    values = pd.Series(texts, dtype="str")
    return max(
        patterns, key=lambda pattern: pd.to_datetime(values, format=pattern, errors="coerce", utc=True).notna().sum()
    )


def parse_dates(values: pd.Series[str], pattern: str) -> pd.Series[pd.Timestamp]:
    """Read texts as moments in UTC without a zone; NaT where a text does not fit or lies outside 1850 to 2150.

    Examples
    --------
    >>> parse_dates(pd.Series(["2020-02-01T01:00+02:00", "soon", "9999-12-31"]), "ISO8601").tolist()
    [Timestamp('2020-01-31 23:00:00'), NaT, NaT]
    """
    moments = pd.to_datetime(values, format=pattern, errors="coerce", utc=True).dt.tz_localize(None)
    if "%y" in pattern:
        moments = moments.mask(moments.dt.year > LAST_SHORT_YEAR, moments - pd.DateOffset(years=100))
    return moments.where(moments.between(FIRST_DAY, LAST_DAY))


def as_moments(series: pd.Series, pattern: str) -> tuple[pd.Series[pd.Timestamp], int]:
    """Read a column as moments, and count the filled cells that could not be read.

    Parameters
    ----------
    series : Series, shape (n_rows,)
        Datetimes, or text or numbers written in ``pattern``.
    pattern : str
        A strptime format, or "ISO8601".

    Returns
    -------
    moments : Series of datetime64, shape (n_rows,)
        In UTC without a zone, with the index of ``series``.
    unread : int
    """
    if isinstance(series.dtype, pd.DatetimeTZDtype):
        series = series.dt.tz_convert("UTC").dt.tz_localize(None)
    if series.dtype.kind == "M":
        moments = series.where(series.between(FIRST_DAY, LAST_DAY))
        return moments, int(series.notna().sum() - moments.notna().sum())
    levels = as_levels(series)
    parsed = parse_dates(levels.values, pattern)
    moments = parsed.reindex(levels.codes).set_axis(series.index)
    return moments, levels.count(parsed.isna().to_numpy())


def date_part(
    moments: pd.Series[pd.Timestamp], part: str, relative_to: pd.Series[pd.Timestamp] | None = None
) -> NDArray[np.float64]:
    """Turn moments into one feature; NaN where there is none.

    Parameters
    ----------
    moments : Series of datetime64, shape (n_rows,)
    part : str
        "day" (days since 1970-01-01), "age_days" (days from the moment to the row's own time), "month" (1 to 12),
        "weekday" (0 is Monday) or "hour" (0 to 23).
    relative_to : Series of datetime64, optional
        The rows' own times, for "age_days".

    Returns
    -------
    array of float64, shape (n_rows,)

    Examples
    --------
    >>> moments = pd.Series(pd.to_datetime(["2020-02-03 12:00", None]))
    >>> date_part(moments, "day").tolist(), date_part(moments, "month").tolist()
    ([18295.0, nan], [2.0, nan])
    """
    if part == "age_days":
        if relative_to is None:
            raise ValueError("age_days needs the rows' own times")
        return ((relative_to - moments) / _DAY).to_numpy().astype(np.float64)
    if part == "day":
        return ((moments.dt.floor("D") - pd.Timestamp(0)) / _DAY).to_numpy().astype(np.float64)
    attribute = "day_of_week" if part == "weekday" else part
    return getattr(moments.dt, attribute).to_numpy(dtype=np.float64, na_value=np.nan)  # type: ignore[no-any-return]


def time_format(series: pd.Series, *, day_first: bool | None = None) -> str:
    """Find out how the time column writes its moments.

    Parameters
    ----------
    series : Series, shape (n_rows,)
        Datetimes, dates as text, years, or days as 20200131.
    day_first : bool, optional
        As for `find_format`.

    Returns
    -------
    str
        A strptime format, or "ISO8601".

    Raises
    ------
    DataError
        If it holds no dates, or rows without one: such rows cannot be put in order.

    Examples
    --------
    >>> time_format(pd.Series([2019, 2020, 2021], name="season"))
    '%Y'
    """
    pattern = ISO
    if not pd.api.types.is_datetime64_any_dtype(series.dtype):
        levels = as_levels(series)
        found = find_format(levels, day_first=day_first)
        years = len(levels.values) > 0 and bool(levels.values.str.fullmatch(r"(?:19|20)\d\d").all())
        pattern = "%Y" if years else found.pattern if found else ISO
    _demand_moments(series, as_moments(series, pattern)[0])
    return pattern


def _demand_moments(series: pd.Series, moments: pd.Series[pd.Timestamp]) -> None:
    if len(series) and not moments.isna().any():
        return
    bad = series[moments.isna()]
    shown = f", such as {bad.head(3).tolist()}, the first at row {bad.index[0]}" if len(bad) else ""
    raise DataError(
        f"time column {series.name!r}: {len(bad):,} of {len(series):,} rows hold no date that can be read{shown}. Every"
        " row needs one to be put in order: mend or remove those, write dates as 2020-01-31, or name another data.time."
    )


def to_time(series: pd.Series, pattern: str | None = None) -> pd.Series[pd.Timestamp]:
    """Read the time column: the moment that each row stands for.

    Parameters
    ----------
    series : Series, shape (n_rows,)
        Datetimes, dates as text, years, or days as 20200131.
    pattern : str, optional
        Its format, where known; else it is found (see `time_format`).

    Returns
    -------
    Series of datetime64, shape (n_rows,)
        In UTC without a zone, with the index and name of ``series``; none is missing.

    Raises
    ------
    DataError
        If a row has no date that can be read.

    Examples
    --------
    >>> to_time(pd.Series(["31.12.2020", "1.1.2021"])).tolist()
    [Timestamp('2020-12-31 00:00:00'), Timestamp('2021-01-01 00:00:00')]
    """
    moments, _ = as_moments(series, pattern or time_format(series))
    _demand_moments(series, moments)
    moments.name = series.name
    return moments
