"""What a check says."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

Status = Literal["pass", "warn", "fail"]

_SEVERITY: Sequence[Status] = ("pass", "warn", "fail")
NAMES_SHOWN = 5


@dataclass(frozen=True)
class AuditCheck:
    """One check's verdict.

    Attributes
    ----------
    name : str
        Of the check.
    status : {"pass", "warn", "fail"}
    value : float, int or None
        What was measured; None where the check does not apply.
    limit : float, int or None
        From where on it counts.
    message : str
        What was found, what it means and what to do.
    """

    name: str
    status: Status
    value: float | None
    limit: float | None
    message: str

    @classmethod
    def not_applicable(cls, name: str, reason: str) -> AuditCheck:
        """Return the verdict of a check that has nothing to look at."""
        return cls(name, "pass", None, None, f"Does not apply: {reason}")

    def to_dict(self) -> dict[str, Any]:
        """Return the entry of audit.json.

        Examples
        --------
        >>> Check("groups", "pass", 0, 0, "Fine.").to_dict()
        {'name': 'groups', 'status': 'pass', 'value': 0, 'limit': 0, 'message': 'Fine.'}
        """
        return asdict(self)


def worst(statuses: Iterable[Status]) -> Status:
    """Return the most severe status.

    Examples
    --------
    >>> worst(["pass", "warn"])
    'warn'
    """
    return max(statuses, key=_SEVERITY.index, default="pass")


def listed(names: Sequence[str]) -> str:
    """Name the first few, and how many more there are.

    Examples
    --------
    >>> listed(["a", "b", "c", "d", "e", "f", "g"])
    'a, b, c, d, e and 2 more'
    """
    more = len(names) - NAMES_SHOWN
    return ", ".join(names[:NAMES_SHOWN]) + (f" and {more} more" if more > 0 else "")
