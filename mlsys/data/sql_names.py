"""Names in SQL queries."""

from __future__ import annotations


def quoted(name: str) -> str:
    """Return a name of a table or column as SQL takes it, whatever it consists of.

    Examples
    --------
    >>> print(quoted('size "net" of lead'))
    "size ""net"" of lead"
    """
    return '"' + name.replace('"', '""') + '"'
