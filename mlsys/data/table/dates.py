"""Converts the dates of a column to timestamps, and these to numeric features."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from mlsys.data.config import DateOrder
from mlsys.data.table.date_formats import MIN_VALID, DateFormat, counted_format, find_format
from mlsys.data.table.moments import CLOCKS, FIRST_DAY, ISO, LAST_DAY, QUARTER, WEEK, parse_dates
from mlsys.data.table.values import Levels, as_levels
from mlsys.errors import DataError
from mlsys.text import counted

_PERIODS = {
    "%Y": r"(?:19|20)\d\d",
    "%Y%m": r"(?:19|20)\d\d(?:0[1-9]|1[0-2])",
    QUARTER: r"(?:19|20)\d\d-Q[1-4]",
    WEEK: r"(?:19|20)\d\d-W(?:0[1-9]|[1-4]\d|5[0-3])",
}
_DAY, _HOUR = pd.Timedelta(days=1), pd.Timedelta(hours=1)


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


def time_format(series: pd.Series, *, day_first: bool | None = None, stated: DateOrder | None = None) -> DateFormat:
    """Detect the format of the time column.

    Parameters
    ----------
    series : Series, shape (n_rows,)
        Datetimes, dates as text, years, months as 202001, quarters as 2020-Q1, weeks as 2020-W05, days as 20200131,
        Unix times or Excel days.
    day_first : bool, optional
        Whether the day comes first if that is ambiguous; by default the month does.
    stated : {"day_first", "month_first", "year_first"}, optional
        The setting ``data.dates``.

    Returns
    -------
    DateFormat

    Raises
    ------
    DataError
        If any row lacks a valid date, as such rows cannot be ordered.

    Examples
    --------
    >>> time_format(pd.Series([2019, 2020, 2021], name="season")).pattern
    '%Y'
    """
    form = DateFormat(ISO, len(series), filled=len(series))
    if not pd.api.types.is_datetime64_any_dtype(series.dtype):
        levels = as_levels(series)
        period = _period(levels)
        detected = find_format(levels, stated) or counted_format(levels, share=MIN_VALID)
        form = replace(form, pattern=period) if period else detected.ordered(day_first) if detected else form
    timestamps = as_timestamps(series, form.pattern)[0]
    if form.pattern in CLOCKS:  # a time of 0 is a missing one
        numbers = pd.to_numeric(series.astype("str").str.replace(",", "."), errors="coerce").astype("float64")
        timestamps = timestamps.where(CLOCKS[form.pattern].covers(numbers))
    _require_timestamps(series, timestamps)
    return form


def _period(levels: Levels) -> str:
    """Return the format of years, months, quarters or weeks, such as 2020, 202001, 2020-Q1 or 2020-W05; "" if none."""
    if not len(levels.values):
        return ""
    return next((form for form, text in _PERIODS.items() if levels.values.str.fullmatch(text).all()), "")


def _require_timestamps(series: pd.Series, timestamps: pd.Series[pd.Timestamp]) -> None:
    if len(series) and not timestamps.isna().any():
        return
    invalid = series[timestamps.isna()]
    filled = invalid.dropna().head(3).tolist()
    found = f", such as {filled}" if filled else ", which are empty"
    examples = f"{found}, the first at row {invalid.index[0]}" if len(invalid) else ""
    raise DataError(
        f"Time column {series.name!r}: no valid date in {len(invalid):,} of {counted(len(series), 'row')}{examples}."
        " Every row needs a date. Fix or remove these rows, use dates such as 2020-01-31, or choose another data.time."
    )


def to_time(series: pd.Series, pattern: str | None = None) -> pd.Series[pd.Timestamp]:
    """Parse the time column.

    Parameters
    ----------
    series : Series, shape (n_rows,)
        Datetimes, dates as text, years, days as 20200131, Unix times or Excel days.
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
    timestamps, _ = as_timestamps(series, pattern or time_format(series).pattern)
    _require_timestamps(series, timestamps)
    timestamps.name = series.name
    return timestamps
