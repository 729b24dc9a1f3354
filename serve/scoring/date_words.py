"""Describes date formats to people, with an example. Does not need pandas, which the service imports late."""

from __future__ import annotations

from datetime import datetime

# Counts of time, as in mlsys.data.table.moments.CLOCKS: what people call them, and the example.
_COUNTED = {
    "excel": "Excel days such as 43885.5",
    "unix_s": "Unix seconds such as 1582533000",
    "unix_ms": "Unix milliseconds such as 1582533000000",
    "unix_us": "Unix microseconds such as 1582533000000000",
    "unix_ns": "Unix nanoseconds such as 1582533000000000000",
}
_EXAMPLE = datetime(2020, 2, 24, 8, 30)


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
    known = "%Y-%m-%d" if pattern == "ISO8601" else pattern.partition(" (to ")[0]
    example = _EXAMPLE.strftime(known.replace("%Z", "UTC").replace("%z", "+0000"))
    return f"a {'time' if known.startswith(('%H', '%I')) else 'date'} such as {example}"
