"""Formats of request and response bodies: Content-Type and Accept."""

from __future__ import annotations

from collections.abc import Mapping

from mlsys.text import joined
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
CONTENT_TYPES = {
    JSON: b"application/json",
    CSV: b"text/csv; charset=utf-8",
    PARQUET: b"application/vnd.apache.parquet",
    ARROW: b"application/vnd.apache.arrow.stream",
}
BATCH = (JSON, CSV, PARQUET, ARROW)


def require_json(headers: Mapping[bytes, bytes]) -> None:
    """Reject a request whose Content-Type is not JSON."""
    if headers.get(b"content-type") != b"application/json":  # the usual case needs no parsing
        content_format(headers, (JSON,))


def content_format(headers: Mapping[bytes, bytes], allowed: tuple[str, ...]) -> str:
    """Return the format of a request's body.

    Raises
    ------
    RequestError
        415 if the format is not allowed; the message lists the media types that are.

    Examples
    --------
    >>> content_format({b"content-type": b"text/csv; charset=utf-8"}, BATCH)
    'csv'
    """
    content_type = headers.get(b"content-type", b"").decode("latin-1")
    media_type, _, parameters = content_type.partition(";")
    media = TYPES.get(media_type.strip().lower())
    charset = parameters.partition("charset=")[2].strip(' "').lower()
    if media not in allowed or charset not in ("", "utf-8", "utf8"):
        message = f"Unsupported media type {content_type[:80]}" if content_type else "No Content-Type"
        raise RequestError(
            415, "unsupported_media", f"{message}; send {joined(_media_types(allowed), 'or')}, encoded as UTF-8."
        )
    return media


def accepted_format(headers: Mapping[bytes, bytes], default: str, allowed: tuple[str, ...] = BATCH) -> str:
    """Return the format of the response: the one that Accept prefers, else the default.

    Raises
    ------
    RequestError
        406 if the client accepts none of the allowed formats.

    Examples
    --------
    >>> accepted_format({b"accept": b"text/csv;q=0.5, application/json"}, "parquet")
    'json'
    >>> accepted_format({b"accept": b"*/*"}, "parquet")
    'parquet'
    """
    accept = headers.get(b"accept", b"*/*").decode("latin-1")
    qualities: dict[str, float] = {}
    for part in accept.split(","):
        media_type, *parameters = (piece.strip().lower() for piece in part.split(";"))
        media = default if media_type in ("*/*", "") else TYPES.get(media_type)
        if media_type.endswith("/*") and media is None:
            media = next((each for name, each in TYPES.items() if name.startswith(media_type[:-1])), None)
        if media in allowed:
            qualities[media] = max(qualities.get(media, 0.0), _quality(parameters))
    best = max(qualities, key=lambda media: (qualities[media], media == default), default=None)
    if best is None or qualities[best] <= 0:
        message = f"Cannot produce {accept[:80]}; Accept may be {joined(_media_types(allowed), 'or')}."
        raise RequestError(406, "not_acceptable", message)
    return best


def _media_types(formats: tuple[str, ...]) -> list[str]:
    return [name for name, media in TYPES.items() if media in formats]


def _quality(parameters: list[str]) -> float:
    for parameter in parameters:
        name, _, value = parameter.partition("=")
        if name.strip() == "q":
            try:
                return float(value)
            except ValueError:
                return 0.0
    return 1.0
