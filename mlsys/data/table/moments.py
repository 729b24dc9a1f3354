"""Reads points in time from text: in a strptime format, as ISO 8601, or counted from an epoch (Unix, Excel)."""

from __future__ import annotations

import re
from typing import NamedTuple

import pandas as pd

ISO = "ISO8601"
COMPACT = "%Y%m%d"
COMPACT_TIME = "%Y%m%d%H%M%S"
WEEK, QUARTER = "%G-W%V", "%Y-Q%q"  # each is its first day
# Dates outside this range are placeholders for "never" or "unknown" (1753-01-01, 9999-12-31).
FIRST_DAY, LAST_DAY = pd.Timestamp("1850-01-01"), pd.Timestamp("2150-12-31")
LAST_SHORT_YEAR = 2035  # "36" is 1936: two-digit years are more often dates of birth or hire than the far future


class Clock(NamedTuple):
    """A count of units since an origin.

    Attributes
    ----------
    name : str
        What people call it.
    origin : str
        The moment at which the count is 0.
    per_second : float
        Units in a second.
    first, last : str
        The days between which a column of such numbers is taken for times.
    """

    name: str
    origin: str
    per_second: float
    first: str
    last: str

    def covers(self, numbers: pd.Series[float]) -> pd.Series[bool]:
        """Return which numbers lie in the clock's usual range."""
        low, high = ((pd.Timestamp(day) - pd.Timestamp(self.origin)).total_seconds() for day in (self.first, self.last))
        return numbers.between(low * self.per_second, high * self.per_second)


# Excel counts days from the end of 1899, with a February 29 in 1900 that never was.
CLOCKS = {
    "excel": Clock("Excel days", "1899-12-30", 1 / 86_400, "1954-01-01", "2064-01-01"),
    "unix_s": Clock("Unix seconds", "1970-01-01", 1.0, "1990-01-01", "2040-01-01"),
    "unix_ms": Clock("Unix milliseconds", "1970-01-01", 1e3, "1990-01-01", "2040-01-01"),
    "unix_us": Clock("Unix microseconds", "1970-01-01", 1e6, "1990-01-01", "2040-01-01"),
    "unix_ns": Clock("Unix nanoseconds", "1970-01-01", 1e9, "1990-01-01", "2040-01-01"),
}
# Only abbreviations with one meaning: CST, IST and AST name several zones each.
ZONES = {
    **{"Z": "+0000", "UTC": "+0000", "GMT": "+0000", "WET": "+0000", "WEST": "+0100", "BST": "+0100"},
    **{"CET": "+0100", "CEST": "+0200", "MEZ": "+0100", "MESZ": "+0200", "EET": "+0200", "EEST": "+0300"},
    **{"MSK": "+0300", "JST": "+0900", "KST": "+0900", "EST": "-0500", "EDT": "-0400", "CDT": "-0500"},
    **{"MST": "-0700", "MDT": "-0600", "PST": "-0800", "PDT": "-0700", "AEST": "+1000", "AEDT": "+1100"},
}
_DECIMAL_COMMA = re.compile(r"(?<=:\d\d),(?=\d)")
_DOTTED_HALF_DAY = re.compile(r"\b([ap])\. ?m\.?(?!\w)", re.IGNORECASE)
_CENTURY = re.compile(r" \(to (\d{4})\)$")
_ZONE = re.compile(r"\b(?:" + "|".join(ZONES) + r")$")


def parse_moments(values: pd.Series[str], pattern: str) -> pd.Series[pd.Timestamp]:
    """Parse text as naive UTC timestamps; NaT if it does not match.

    Parameters
    ----------
    values : Series of str, shape (n,)
    pattern : str
        A strptime format, where ``%Z`` is an abbreviation such as CEST, ``%q`` is a quarter, and " (to 2048)" at the
        end is the last year that two digits can mean (by default 2035); "ISO8601"; or the name of a clock, such as
        "unix_ms" or "excel".

    Returns
    -------
    Series of datetime64, shape (n,)

    Examples
    --------
    >>> parse_moments(pd.Series(["2019-10-27 02:30 CEST", "2019-10-27 02:30 CET"]), "%Y-%m-%d %H:%M %Z").tolist()
    [Timestamp('2019-10-27 00:30:00'), Timestamp('2019-10-27 01:30:00')]
    >>> parse_moments(pd.Series(["43758.5"]), "excel").tolist()
    [Timestamp('2019-10-20 12:00:00')]
    """
    if pattern in CLOCKS:
        return _counted(values, CLOCKS[pattern])
    pattern, last_year = century(pattern)
    if pattern == ISO:
        values = values.str.replace(_DECIMAL_COMMA, ".", regex=True)
    if pattern == WEEK:
        values, pattern = values + "-1", f"{WEEK}-%u"
    if pattern == QUARTER:
        values = values.str.replace(r"Q([1-4])$", lambda match: f"{3 * int(match[1]) - 2:02}", regex=True)
        pattern = "%Y-%m"
    if "%p" in pattern:
        values = values.str.replace(_DOTTED_HALF_DAY, r"\1m", regex=True)
    if pattern.endswith("%Z"):
        values = values.str.replace(_ZONE, lambda match: ZONES[match[0]], regex=True)
        pattern = pattern.removesuffix("%Z") + "%z"
    timestamps = pd.to_datetime(values, format=pattern, errors="coerce", utc=True).dt.tz_localize(None)
    if "%y" in pattern:
        timestamps = timestamps.mask(timestamps.dt.year > last_year, timestamps - pd.DateOffset(years=100))
        timestamps = timestamps.mask(timestamps.dt.year <= last_year - 100, timestamps + pd.DateOffset(years=100))
    return timestamps


def with_last_year(pattern: str, year: int) -> str:
    """Return a format whose two-digit years end with the given year.

    Examples
    --------
    >>> with_last_year("%d.%m.%y", 2048)
    '%d.%m.%y (to 2048)'
    """
    return f"{pattern} (to {year})"


def century(pattern: str) -> tuple[str, int]:
    """Return a format as strptime knows it, and the last year that two digits can mean.

    Examples
    --------
    >>> century("%d.%m.%y (to 2048)"), century("%d.%m.%y")
    (('%d.%m.%y', 2048), ('%d.%m.%y', 2035))
    """
    found = _CENTURY.search(pattern)
    return (pattern[: found.start()], int(found[1])) if found else (pattern, LAST_SHORT_YEAR)


def parse_dates(values: pd.Series[str], pattern: str) -> pd.Series[pd.Timestamp]:
    """Parse text as naive UTC timestamps; NaT if it does not match or is outside 1850 to 2150.

    Examples
    --------
    >>> parse_dates(pd.Series(["2020-02-01T01:00+02:00", "soon", "9999-12-31"]), "ISO8601").tolist()
    [Timestamp('2020-01-31 23:00:00'), NaT, NaT]
    """
    timestamps = parse_moments(values, pattern)
    return timestamps.where(timestamps.between(FIRST_DAY, LAST_DAY))


def _counted(values: pd.Series[str], clock: Clock) -> pd.Series[pd.Timestamp]:
    numbers = pd.to_numeric(values.str.replace(",", "."), errors="coerce")
    seconds = (numbers / clock.per_second).round(6).astype("float64")
    usual = seconds.abs() < 1e11  # beyond, pandas cannot represent the time
    elapsed = pd.to_timedelta((seconds.where(usual) * 1e3).round(), unit="ms")
    return (pd.Timestamp(clock.origin) + elapsed).astype("datetime64[us]")
