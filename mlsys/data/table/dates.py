"""Parses dates: detects a column's date format, and converts dates to numeric features."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from mlsys.data.table.moments import CLOCKS, COMPACT, FIRST_DAY, ISO, LAST_DAY, parse_moments
from mlsys.data.table.values import Levels, as_levels, evenly_spaced
from mlsys.errors import DataError
from mlsys.text import counted

_DAY, _HOUR = pd.Timedelta(days=1), pd.Timedelta(hours=1)
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
_TIMES = (
    *("%H:%M:%S", "%H:%M", "%H:%M:%S.%f", "%I:%M %p", "%I:%M:%S %p"),
    *("%H:%M:%S%z", "%H:%M:%S %z", "%H:%M%z", "%H:%M %z", "%H:%M:%S %Z", "%H:%M %Z", "%H:%M:%S.%f %Z"),
)
MIN_VALID = 0.95  # fraction of the rows of a column that must parse in one format
_WITH_TIME = re.compile(r"(?P<day>.*?)(?P<separator>, | |T)(?P<time>\d\d?:\d\d.*)")
_LOOKS_LIKE_CLOCK = re.compile(r"\d\d?:\d\d(?::\d\d(?:\.\d+)?)?(?: ?[ap]m)?", re.IGNORECASE)
_MONTHS = r"(?:jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec)[a-z]*"
_LOOKS_LIKE_ISO = re.compile(
    r"\d{4}-\d\d(?:-\d\d(?:[T ]\d\d(?::?\d\d(?::?\d\d(?:[.,]\d{1,9})?)?)?(?: ?Z|[-+]\d\d(?::?\d\d)?)?)?)?"
)
_LOOKS_LIKE_DATE = re.compile(
    r"\d{1,4}([-/.])\d{1,2}\1\d{1,4}\b.*|\d\d?/\d{4}|\d{8}"
    rf"|(?:\w{{3}}, )?\d{{1,2}}[- ]?{_MONTHS}[- ]?\d{{2,4}}\b.*"
    rf"|{_MONTHS}[- ](?:\d{{1,2}},? )?\d{{2,4}}\b.*",
    re.IGNORECASE,
)


@dataclass(frozen=True)
class DateFormat:
    """The date format of a column.

    Attributes
    ----------
    pattern : str
        See `parse_moments`.
    rows : int
        Number of rows that parse.
    ambiguous : bool
        Whether all rows would parse with day and month swapped, too.
    proves_order : bool
        Whether some rows do not parse with day and month swapped.
    filled : int
        Number of rows with a value.
    other_order : int
        Number of rows that parse only with day and month swapped.
    example, other_example : str
        A date that parses, if possible not with day and month swapped; one that parses only with these swapped.
    """

    pattern: str
    rows: int
    ambiguous: bool = False
    proves_order: bool = False
    filled: int = 0
    other_order: int = 0
    example: str = ""
    other_example: str = ""

    @property
    def day_first(self) -> bool | None:
        """Whether the day precedes the month; None if the format is unambiguous."""
        swapped = _swap_day_and_month(self.pattern)
        return None if swapped is None else self.pattern.index("%d") < self.pattern.index("%m")

    def ordered(self, day_first: bool | None) -> DateFormat:
        """Return the format with that order of day and month if it is ambiguous; None keeps its own."""
        swapped = _swap_day_and_month(self.pattern)
        if not self.ambiguous or swapped is None or day_first in (None, self.day_first):
            return self
        return replace(self, pattern=swapped)

    @property
    def is_mixed(self) -> bool:
        """Whether the column has dates in both orders, and more than a few in each."""
        both = self.rows + self.other_order
        return both >= MIN_VALID * self.filled > self.rows and self.other_order > 0


def find_format(levels: Levels) -> DateFormat | None:
    """Return the format that parses most of a column; None if the column does not look like dates.

    An ambiguous format has the month first; `DateFormat.ordered` changes that.

    Parameters
    ----------
    levels : Levels
        The column's distinct values.

    Returns
    -------
    DateFormat or None

    Examples
    --------
    >>> from mlsys.data.table.values import as_levels
    >>> found = find_format(as_levels(pd.Series(["31/12/2020", "01/02/2021"])))
    >>> found.pattern, found.rows, found.ambiguous
    ('%d/%m/%Y', 2, False)
    >>> find_format(as_levels(pd.Series(["small", "large"]))) is None
    True
    """
    sample = evenly_spaced(levels.values, 200)
    if 2 * sum(bool(_LOOKS_LIKE_ISO.fullmatch(text)) for text in sample) > len(sample):
        return _evaluated(levels, ISO)
    if 2 * sum(bool(_LOOKS_LIKE_DATE.fullmatch(text)) for text in sample) <= len(sample):
        return None
    best = _best_pattern(sample)
    swapped = _swap_day_and_month(best)
    return _evaluated(levels, best) if swapped is None else _ordered(levels, best, swapped)


def _ordered(levels: Levels, best: str, swapped: str) -> DateFormat:
    """Return the order of day and month that parses more rows; if both parse the same values, the format is ambiguous.

    Dates with points are written with the day first.
    """
    dates = {pattern: parse_dates(levels.values, pattern) for pattern in (best, swapped)}
    parses = {pattern: parsed.notna().to_numpy() for pattern, parsed in dates.items()}
    month_first, day_first = sorted(parses, key=lambda pattern: pattern.index("%d") < pattern.index("%m"))
    with_points = "." in best.partition("%H")[0]
    undecided = bool((parses[best] == parses[swapped]).all())
    if undecided:
        chosen = day_first if with_points else month_first
    else:
        chosen = max(parses, key=lambda pattern: levels.count(parses[pattern]))
    differ = parses[best] & (dates[best] != dates[swapped]).to_numpy()
    only, other = _only(parses, chosen), _only(parses, swapped if chosen == best else best)
    return DateFormat(
        chosen,
        levels.count(parses[chosen]),
        ambiguous=undecided and not with_points and bool(differ.any()),
        proves_order=bool(only.any()),
        filled=levels.filled,
        other_order=levels.count(other),
        example=_first(levels, only) or _first(levels, differ) or _first(levels, parses[chosen]),
        other_example=_first(levels, other),
    )


def _only(parses: dict[str, NDArray[np.bool_]], pattern: str) -> NDArray[np.bool_]:
    others = [mask for other, mask in parses.items() if other != pattern]
    return parses[pattern] & ~others[0]


def _first(levels: Levels, mask: NDArray[np.bool_]) -> str:
    return str(levels.values[mask].iloc[0]) if mask.any() else ""


def find_clock(levels: Levels) -> DateFormat | None:
    """Return the format of times of day without a date; None if the column has none.

    Examples
    --------
    >>> from mlsys.data.table.values import as_levels
    >>> find_clock(as_levels(pd.Series(["05:12", "23:25"]))).pattern
    '%H:%M'
    """
    sample = evenly_spaced(levels.values, 200)
    if 2 * sum(bool(_LOOKS_LIKE_CLOCK.fullmatch(text)) for text in sample) <= len(sample):
        return None
    return _evaluated(levels, _best_of(_TIMES[:5], sample))


def _evaluated(levels: Levels, pattern: str) -> DateFormat:
    valid = parse_dates(levels.values, pattern).notna().to_numpy()
    return DateFormat(pattern, levels.count(valid), filled=levels.filled, example=_first(levels, valid))


def counted_format(levels: Levels) -> DateFormat | None:
    """Return how the numbers of a column count time: days as 20200131, Unix times or Excel days; None if they do not.

    Whether such numbers *are* times, only their column's name or role can tell.

    Examples
    --------
    >>> from mlsys.data.table.values import as_levels
    >>> counted_format(as_levels(pd.Series([1571522400, 1571562027]))).pattern
    'unix_s'
    """
    numbers = pd.to_numeric(levels.values, errors="coerce").astype("float64")
    if not len(numbers) or numbers.isna().any():
        return None
    if numbers.between(18_500_101, 21_501_231).all():
        compact = _evaluated(levels, COMPACT)
        return compact if compact.rows == levels.filled else None
    clocks = [name for name, clock in CLOCKS.items() if clock.covers(numbers)]
    return _evaluated(levels, clocks[0]) if clocks else None


def _swap_day_and_month(pattern: str) -> str | None:
    swapped = pattern.replace("%d", "\0").replace("%m", "%d").replace("\0", "%m")
    return (
        swapped if swapped != pattern and not pattern.startswith("%Y") and "%d" in pattern and "%m" in pattern else None
    )


def _best_pattern(sample: list[str]) -> str:
    parts = [match for text in sample if (match := _WITH_TIME.fullmatch(text))]
    if 2 * len(parts) <= len(sample):
        return _best_of(_DAYS, sample)
    day = _best_of(_DAYS, [part["day"] for part in parts])
    return day + parts[0]["separator"] + _best_of(_TIMES, [part["time"] for part in parts])


def _best_of(patterns: Sequence[str], texts: list[str]) -> str:
    values = pd.Series(texts, dtype="str")
    return max(patterns, key=lambda pattern: parse_moments(values, pattern).notna().sum())


def parse_dates(values: pd.Series[str], pattern: str) -> pd.Series[pd.Timestamp]:
    """Parse text as naive UTC timestamps; NaT if it does not match or is outside 1850 to 2150.

    Examples
    --------
    >>> parse_dates(pd.Series(["2020-02-01T01:00+02:00", "soon", "9999-12-31"]), "ISO8601").tolist()
    [Timestamp('2020-01-31 23:00:00'), NaT, NaT]
    """
    timestamps = parse_moments(values, pattern)
    return timestamps.where(timestamps.between(FIRST_DAY, LAST_DAY))


def as_timestamps(series: pd.Series, pattern: str) -> tuple[pd.Series[pd.Timestamp], int]:
    """Convert a column to timestamps, and count the non-missing cells that do not parse.

    Parameters
    ----------
    series : Series, shape (n_rows,)
        Datetimes, or text or numbers in the format ``pattern``.
    pattern : str
        See `parse_moments`.

    Returns
    -------
    timestamps : Series of datetime64, shape (n_rows,)
        Naive UTC timestamps with the index of ``series``.
    invalid : int
        Number of non-missing cells that do not parse.
    """
    if isinstance(series.dtype, pd.DatetimeTZDtype):
        series = series.dt.tz_convert("UTC").dt.tz_localize(None)
    if series.dtype.kind == "M":
        timestamps = series.where(series.between(FIRST_DAY, LAST_DAY))
        return timestamps, int(series.notna().sum() - timestamps.notna().sum())
    levels = as_levels(series)
    parsed = parse_dates(levels.values, pattern)
    timestamps = parsed.reindex(levels.codes).set_axis(series.index)
    return timestamps, levels.count(parsed.isna().to_numpy())


def date_part(
    timestamps: pd.Series[pd.Timestamp], part: str, relative_to: pd.Series[pd.Timestamp] | None = None
) -> NDArray[np.float64]:
    """Convert timestamps to one numeric feature; NaN where missing.

    Parameters
    ----------
    timestamps : Series of datetime64, shape (n_rows,)
    part : str
        "day" (days since 1970-01-01), "age_days" (days from the timestamp to the row's own time), "month" (1 to 12),
        "weekday" (0 is Monday), "hour" (0 to 23) or "hours" (since midnight, with a fraction).
    relative_to : Series of datetime64, optional
        The rows' own times, for "age_days".

    Returns
    -------
    array of float64, shape (n_rows,)

    Examples
    --------
    >>> timestamps = pd.Series(pd.to_datetime(["2020-02-03 12:00", None]))
    >>> date_part(timestamps, "day").tolist(), date_part(timestamps, "month").tolist()
    ([18295.0, nan], [2.0, nan])
    """
    if part == "age_days":
        if relative_to is None:
            raise ValueError("age_days requires relative_to, the rows' own times")
        return ((relative_to - timestamps) / _DAY).to_numpy().astype(np.float64)
    if part == "day":
        return ((timestamps.dt.floor("D") - pd.Timestamp(0)) / _DAY).to_numpy().astype(np.float64)
    if part == "hours":
        return ((timestamps - timestamps.dt.floor("D")) / _HOUR).to_numpy().astype(np.float64)
    attribute = "day_of_week" if part == "weekday" else part
    return getattr(timestamps.dt, attribute).to_numpy(dtype=np.float64, na_value=np.nan)  # type: ignore[no-any-return]


def time_format(series: pd.Series, *, day_first: bool | None = None) -> str:
    """Detect the format of the time column.

    Parameters
    ----------
    series : Series, shape (n_rows,)
        Datetimes, dates as text, years, days as 20200131, Unix times or Excel days.
    day_first : bool, optional
        Whether the day comes first if that is ambiguous; by default the month does.

    Returns
    -------
    str
        See `parse_moments`.

    Raises
    ------
    DataError
        If any row lacks a valid date, as such rows cannot be ordered.

    Examples
    --------
    >>> time_format(pd.Series([2019, 2020, 2021], name="season"))
    '%Y'
    """
    pattern = ISO
    if not pd.api.types.is_datetime64_any_dtype(series.dtype):
        levels = as_levels(series)
        detected = find_format(levels) or counted_format(levels)
        years = len(levels.values) > 0 and bool(levels.values.str.fullmatch(r"(?:19|20)\d\d").all())
        pattern = "%Y" if years else detected.ordered(day_first).pattern if detected else ISO
    _require_timestamps(series, as_timestamps(series, pattern)[0])
    return pattern


def _require_timestamps(series: pd.Series, timestamps: pd.Series[pd.Timestamp]) -> None:
    if len(series) and not timestamps.isna().any():
        return
    invalid = series[timestamps.isna()]
    examples = f", such as {invalid.head(3).tolist()}, the first at row {invalid.index[0]}" if len(invalid) else ""
    raise DataError(
        f"Time column {series.name!r}: no valid date in {len(invalid):,} of {counted(len(series), 'row')}{examples}."
        " Every row needs a date. Fix or remove these rows, use dates such as 2020-01-31, or choose another data.time."
    )


def to_time(series: pd.Series, pattern: str | None = None) -> pd.Series[pd.Timestamp]:
    """Parse the time column.

    Parameters
    ----------
    series : Series, shape (n_rows,)
        Datetimes, dates as text, years, or days as 20200131.
    pattern : str, optional
        The format; by default it is detected (see `time_format`).

    Returns
    -------
    Series of datetime64, shape (n_rows,)
        Naive UTC timestamps with the index and name of ``series``, without missing values.

    Raises
    ------
    DataError
        If a row has no valid date.

    Examples
    --------
    >>> to_time(pd.Series(["31.12.2020", "1.1.2021"])).tolist()
    [Timestamp('2020-12-31 00:00:00'), Timestamp('2021-01-01 00:00:00')]
    """
    timestamps, _ = as_timestamps(series, pattern or time_format(series))
    _require_timestamps(series, timestamps)
    timestamps.name = series.name
    return timestamps
