"""Rows on their way from the processes that answer to the one that writes them: MessagePack behind its length."""

from __future__ import annotations

import struct
from collections.abc import Sequence

import msgspec

from serve.predictions.row import Row, as_json

LENGTH = struct.Struct("!I")
_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder().decode


def to_frame(rows: Sequence[Row], *, commit: bool) -> bytes:
    """Return rows as bytes.

    Parameters
    ----------
    rows : sequence of Row
    commit : bool
        Whether the sender waits for an answer: empty once they are in the database, else why they are not.

    Raises
    ------
    OverflowError, TypeError, ValueError
        If a row holds what has no form there, such as halves of characters.

    Examples
    --------
    >>> from_frame(to_frame([Row(0.0, 0.5, "m", "1.0.0", "r")], commit=False)[LENGTH.size:])[1][0].probability
    0.5
    """
    content = _encode((commit, rows))
    return LENGTH.pack(len(content)) + content


def from_frame(content: bytes) -> tuple[bool, list[Row]]:
    """Return whether the sender waits, and the rows."""
    commit, rows = _decode(content)
    return commit, [Row(*row) for row in rows]


def in_plain_types(row: Row) -> Row:
    """Return a row whose id and inputs are text: a whole number may be larger than MessagePack's."""
    return row._replace(
        id=None if row.id is None else str(row.id), features=None if row.features is None else as_json(row.features)
    )
