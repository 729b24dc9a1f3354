"""Results of audit checks."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

Status = Literal["pass", "warn", "fail"]

_SEVERITY: Sequence[Status] = ("pass", "warn", "fail")
NAMES_SHOWN = 5


@dataclass(frozen=True)
class AuditCheck:
    """Result of one audit check.

    Attributes
    ----------
    name : str
        Name of the check.
    status : {"pass", "warn", "fail"}
        Outcome of the check.
    value : float, int or None
        Measured value; None if the check does not apply.
    limit : float, int or None
        Threshold for the value.
    message : str
        The finding, what it means and what to do.
    """

    name: str
    status: Status
    value: float | None
    limit: float | None
    message: str

    @classmethod
    def not_applicable(cls, name: str, reason: str) -> AuditCheck:
        """Return the result of a check that does not apply to the run."""
        return cls(name, "pass", None, None, f"Does not apply: {reason}")

    def to_dict(self) -> dict[str, Any]:
        """Return the entry of audit.json.

        Examples
        --------
        >>> AuditCheck("groups", "pass", 0, 0, "Fine.").to_dict()
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
    """Return the first few names as text, followed by the number of omitted names.

    Examples
    --------
    >>> listed(["a", "b", "c", "d", "e", "f", "g"])
    'a, b, c, d, e and 2 more'
    """
    more = len(names) - NAMES_SHOWN
    return ", ".join(names[:NAMES_SHOWN]) + (f" and {more} more" if more > 0 else "")
