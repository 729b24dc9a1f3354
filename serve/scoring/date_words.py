"""Describes date formats to people, with an example. Does not need pandas, which the service imports late."""

from __future__ import annotations

from datetime import datetime, timedelta

# Counts of time, as in mlsys.data.table.moments.CLOCKS: what people call them, and the example.
_COUNTED = {
    "excel": "Excel days such as 43885.5",
    "unix_s": "Unix seconds such as 1582533000",
    "unix_ms": "Unix milliseconds such as 1582533000000",
    "unix_us": "Unix microseconds such as 1582533000000000",
    "unix_ns": "Unix nanoseconds such as 1582533000000000000",
}
_EXAMPLE = datetime(2020, 2, 24, 8, 30)
_EXCEL_DAY_0 = datetime(1899, 12, 30)
_UNIX_0 = datetime(1970, 1, 1)
_PER_SECOND = {"unix_s": 1, "unix_ms": 10**3, "unix_us": 10**6, "unix_ns": 10**9}


def is_counted(pattern: str) -> bool:
    """Whether dates in a format may be JSON numbers.

    Examples
    --------
    >>> is_counted("unix_s"), is_counted("%Y%m%d"), is_counted("%d%m%Y")
    (True, True, False)
    """
    return pattern in _COUNTED or pattern in ("%Y%m%d", "%Y%m%d%H%M%S")


def in_words(pattern: str) -> str:
    """Return what a date in a format is.

    Parameters
    ----------
    pattern : str
        See `mlsys.data.table.moments.parse_moments`.

    Examples
    --------
    >>> in_words("ISO8601"), in_words("%d/%m/%Y"), in_words("%H:%M")
    ('a date such as 2020-02-24', 'a date such as 24/02/2020', 'a time such as 08:30')
    >>> in_words("%d.%m.%y (to 2085)"), in_words("excel")
    ('a date such as 24.02.20', 'Excel days such as 43885.5')
    """
    if pattern in _COUNTED:
        return _COUNTED[pattern]
    if pattern == "%Y-Q%q":
        return "a quarter such as 2020-Q1"
    is_time = pattern.startswith(("%H", "%I"))
    return f"a {'time' if is_time else 'date'} such as {written(_EXAMPLE, pattern)}"


def written(moment: datetime, pattern: str) -> str:
    """Return a moment, in UTC, as a table with this format writes it.

    Examples
    --------
    >>> moment = datetime(2020, 2, 24, 12)
    >>> [written(moment, pattern) for pattern in ("%d.%m.%Y", "%Y-Q%q", "excel", "unix_ms")]
    ['24.02.2020', '2020-Q1', '43885.5', '1582545600000']
    """
    if pattern == "excel":
        return f"{(moment - _EXCEL_DAY_0) / timedelta(days=1):.10g}"
    if pattern in _PER_SECOND:
        return str(int((moment - _UNIX_0).total_seconds()) * _PER_SECOND[pattern])
    known = "%Y-%m-%d" if pattern == "ISO8601" else pattern.partition(" (to ")[0]
    quarter = str((moment.month + 2) // 3)
    return moment.strftime(known.replace("%q", quarter).replace("%Z", "UTC").replace("%z", "+0000"))
