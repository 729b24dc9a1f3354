"""Errors of the service: the ones that stop it, and the ones that are sent to clients."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from mlsys.errors import MlsysError


class ServeError(MlsysError):
    """The service cannot start or cannot continue."""


class RequestError(Exception):
    """An error response to a request.

    Parameters
    ----------
    status : int
        HTTP status code, 400 to 599.
    kind : str
        Machine-readable error code; also the label of the metric ``mlsys_serve_errors_total``.
    message : str
        One sentence for people: what is wrong and what to send instead.
    problems : sequence of mapping
        Each invalid field with the value received, the value expected and the closest field name.
    headers : mapping of str to str
        Additional response headers, such as Retry-After.

    Examples
    --------
    >>> RequestError(429, "rate_limit", "Too many requests.", headers={"retry-after": "1"}).status
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
        """Return the response body."""
        return {"error": self.kind, "message": self.message, "problems": self.problems, "request_id": request_id}


def unavailable(kind: str, message: str, retry_after: int = 1) -> RequestError:
    """Return a 503 error that tells the client to retry after a number of seconds."""
    return RequestError(503, kind, message, headers={"retry-after": str(retry_after)})


def internal_error() -> RequestError:
    """Return the 500 error for a bug in mlsys; the details go to the log only."""
    return RequestError(500, "internal", "Internal error; see the log.")
