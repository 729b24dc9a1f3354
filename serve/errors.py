"""What the service refuses, as one clear sentence with a status and a kind."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from mlsys.errors import MlsysError


class ServeError(MlsysError):
    """The service cannot start, or not go on."""


class RequestError(Exception):
    """A request that gets no answer but the reason why.

    Parameters
    ----------
    status : int
        The HTTP status, 400 to 599.
    kind : str
        One word for programs and for the metric ``mlsys_serve_errors_total``.
    message : str
        One sentence for people: what was wrong and what to send instead.
    problems : sequence of mapping
        Each faulty field with what came, what is expected and the nearest name.
    headers : mapping of str to str
        Further headers of the answer, such as Retry-After.

    Examples
    --------
    >>> Refused(429, "rate_limit", "Too many requests.", headers={"retry-after": "1"}).status
    429
    """

    def __init__(
        self,
        status: int,
        kind: str,
        message: str,
        *,
        problems: Sequence[Mapping[str, Any]] = (),
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.kind = kind
        self.message = message
        self.problems = tuple(problems)
        self.headers = dict(headers or {})

    def body(self, request_id: str) -> dict[str, Any]:
        """Return the answer's body."""
        return {"error": self.kind, "message": self.message, "problems": self.problems, "request_id": request_id}


def unavailable(kind: str, message: str, seconds: int = 1) -> RequestError:
    """Return a refusal that asks the client to come again in some seconds."""
    return RequestError(503, kind, message, headers={"retry-after": str(seconds)})
