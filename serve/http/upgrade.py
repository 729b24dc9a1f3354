"""Offers of another protocol: clients such as Java's HttpClient and `curl --http2` send one with their first request.

A server may ignore an offer and answer in HTTP/1.1. The parser cannot: once it has seen an offer, it takes everything
after the headers, even the body, for the other protocol. So such a request is parsed again without its offer.
"""

from __future__ import annotations

from serve.http.request_context import Headers

UPGRADE = b"upgrade"


def head_without_offer(method: bytes, url: bytes, version: str, headers: Headers) -> bytes:
    r"""Return the head of a request without its offer of another protocol.

    Parameters
    ----------
    method, url : bytes
    version : str
    headers : list
        Names in lower case.

    Examples
    --------
    >>> offer = [(b"host", b"localhost"), (b"connection", b"Upgrade, close"), (b"upgrade", b"h2c")]
    >>> head_without_offer(b"GET", b"/ready", "1.1", offer)
    b'GET /ready HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n'
    """
    lines = [b"%b %b HTTP/%b" % (method, url, version.encode())]
    for name, value in headers:
        kept = _without_upgrade(value) if name == b"connection" else value
        if name != UPGRADE and (kept or not value):
            lines.append(b"%b: %b" % (name, kept))
    return b"\r\n".join([*lines, b"", b""])


def _without_upgrade(connection: bytes) -> bytes:
    options = [option.strip() for option in connection.split(b",")]
    return b", ".join(option for option in options if option.lower() != UPGRADE)
