"""Formats of bodies: what a request says that it holds, and what its answer shall be."""

from __future__ import annotations

from collections.abc import Mapping

from serve.errors import RequestError

JSON, CSV, PARQUET, ARROW = "json", "csv", "parquet", "arrow"
TYPES = {
    "application/json": JSON,
    "text/csv": CSV,
    "application/vnd.apache.parquet": PARQUET,
    "application/x-parquet": PARQUET,
    "application/parquet": PARQUET,
    "application/vnd.apache.arrow.stream": ARROW,
    "application/vnd.apache.arrow.file": ARROW,
}
ANSWERS = {
    JSON: b"application/json",
    CSV: b"text/csv; charset=utf-8",
    PARQUET: b"application/vnd.apache.parquet",
    ARROW: b"application/vnd.apache.arrow.stream",
}
BATCH = (JSON, CSV, PARQUET, ARROW)


def require_json(headers: Mapping[bytes, bytes]) -> None:
    """Refuse a request whose body is not said to be JSON."""
    if headers.get(b"content-type") != b"application/json":  # the usual case needs no parsing
        sent(headers, (JSON,))


def sent(headers: Mapping[bytes, bytes], allowed: tuple[str, ...]) -> str:
    """Return the format that a request's body has.

    Raises
    ------
    RequestError
        415 if it is none of those allowed; names them.

    Examples
    --------
    >>> sent({b"content-type": b"text/csv; charset=utf-8"}, BATCH)
    'csv'
    """
    given = headers.get(b"content-type", b"").decode("latin-1")
    kind, _, parameters = given.partition(";")
    media = TYPES.get(kind.strip().lower())
    charset = parameters.partition("charset=")[2].strip(' "').lower()
    if media not in allowed or charset not in ("", "utf-8", "utf8"):
        names = ", ".join(name for name, each in TYPES.items() if each in allowed)
        came = given or "nothing"
        raise RequestError(
            415, "unsupported_media", f"The Content-Type is {came[:80]}; expected {names}, text in UTF-8."
        )
    return media


def wanted(headers: Mapping[bytes, bytes], default: str, allowed: tuple[str, ...] = BATCH) -> str:
    """Return the format that an answer shall have: the one that Accept likes most, else that of the request.

    Raises
    ------
    RequestError
        406 if it takes none that we have.

    Examples
    --------
    >>> wanted({b"accept": b"text/csv;q=0.5, application/json"}, "parquet")
    'json'
    >>> wanted({b"accept": b"*/*"}, "parquet")
    'parquet'
    """
    accept = headers.get(b"accept", b"*/*").decode("latin-1")
    liked: dict[str, float] = {}
    for part in accept.split(","):
        kind, *parameters = (piece.strip().lower() for piece in part.split(";"))
        media = default if kind in ("*/*", "") else TYPES.get(kind)
        if kind.endswith("/*") and media is None:
            media = next((each for name, each in TYPES.items() if name.startswith(kind[:-1])), None)
        if media in allowed:
            liked[media] = max(liked.get(media, 0.0), _quality(parameters))
    best = max(liked, key=lambda media: (liked[media], media == default), default=None)
    if best is None or liked[best] <= 0:
        names = ", ".join(name for name, each in TYPES.items() if each in allowed)
        raise RequestError(406, "not_acceptable", f"Accept is {accept[:80]}; the answer can be {names}.")
    return best


def _quality(parameters: list[str]) -> float:
    for parameter in parameters:
        name, _, value = parameter.partition("=")
        if name.strip() == "q":
            try:
                return float(value)
            except ValueError:
                return 0.0
    return 1.0
