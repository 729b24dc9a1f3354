"""Compression: bodies may be sent as gzip, and large answers are sent as gzip to clients that accept it."""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Mapping

from starlette.middleware.gzip import DEFAULT_EXCLUDED_CONTENT_TYPES, GZipMiddleware
from starlette.types import ASGIApp, Receive, Scope, Send

from serve import media_types
from serve.errors import RequestError

GZIP = 31  # zlib's number for the format
PIECE = 262_144  # bytes decompressed at once
WORTH_COMPRESSING = 10_000  # bytes
FAST = 1  # compression level: higher ones take several times as long, for a tenth less


def is_gzip(headers: Mapping[bytes, bytes]) -> bool:
    """Return whether a request's body is sent as gzip.

    Raises
    ------
    RequestError
        415 if it is sent in another encoding.

    Examples
    --------
    >>> is_gzip({b"content-encoding": b"gzip"}), is_gzip({})
    (True, False)
    """
    encoding = headers.get(b"content-encoding", b"identity").strip().lower()
    if encoding not in (b"gzip", b"x-gzip", b"identity", b""):
        shown = encoding.decode("latin-1")[:40]
        message = f"Unsupported Content-Encoding {shown}; send the body as gzip or without Content-Encoding."
        raise RequestError(415, "unsupported_encoding", message, headers={"accept-encoding": "gzip"})
    return encoding.endswith(b"gzip")


class Decompressor:
    """Decompress a body of gzip that arrives in chunks, a piece at a time: a chunk may expand a thousandfold.

    Examples
    --------
    >>> import gzip
    >>> body = Decompressor()
    >>> b"".join(body.pieces(gzip.compress(b"a record")))
    b'a record'
    >>> body.check_complete()
    """

    def __init__(self) -> None:
        self._stream = zlib.decompressobj(GZIP)

    def pieces(self, chunk: bytes) -> Iterator[bytes]:
        """Yield what the chunk adds.

        Raises
        ------
        RequestError
            400 if it is not gzip.
        """
        while chunk:
            if self._stream.eof:  # gzip files may be concatenated
                self._stream = zlib.decompressobj(GZIP)
            try:
                piece = self._stream.decompress(chunk, PIECE)
            except zlib.error as error:
                raise _malformed(str(error)) from error
            if piece:
                yield piece
            chunk = self._stream.unused_data if self._stream.eof else self._stream.unconsumed_tail

    def check_complete(self) -> None:
        """Raise 400 if the end is missing."""
        if not self._stream.eof:
            raise _malformed("the end is missing")


def _malformed(reason: str) -> RequestError:
    message = f"The body is not gzip, as Content-Encoding says: {reason}."
    return RequestError(400, "malformed_gzip", message)


class Compression(GZipMiddleware):
    """Compress large answers of an application, except tables that are compressed already.

    Parameters
    ----------
    app : ASGI application
    """

    def __init__(self, app: ASGIApp) -> None:
        compressed = [name for name, media in media_types.TYPES.items() if media == media_types.PARQUET]
        super().__init__(
            app,
            minimum_size=WORTH_COMPRESSING,
            compresslevel=FAST,
            exclude_content_types=(*DEFAULT_EXCLUDED_CONTENT_TYPES, *compressed),
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle a request; HTTP/1.0 has no way to send an answer whose length is not known in advance."""
        if scope.get("http_version") == "1.0":
            await self.app(scope, receive, send)
        else:
            await super().__call__(scope, receive, send)
