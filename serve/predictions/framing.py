"""Wire format of rows sent to the log worker: length-prefixed MessagePack."""

from __future__ import annotations

import struct
from collections.abc import Sequence

import msgspec

from serve.predictions.row import PredictionRow, as_json

LENGTH = struct.Struct("!I")
_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder().decode


def to_frame(rows: Sequence[PredictionRow], *, commit: bool) -> bytes:
    """Encode rows as a frame.

    Parameters
    ----------
    rows : sequence of PredictionRow
    commit : bool
        Whether the sender waits for a reply: empty once the rows are committed, else the reason why they are not.

    Raises
    ------
    OverflowError, TypeError, ValueError
        If a row has a value that cannot be encoded, such as a lone surrogate.

    Examples
    --------
    >>> from_frame(to_frame([PredictionRow(0.0, 0.5, "m", "1.0.0", "r")], commit=False)[LENGTH.size:])[1][0].probability
    0.5
    """
    content = _encode((commit, rows))
    return LENGTH.pack(len(content)) + content


def from_frame(content: bytes) -> tuple[bool, list[PredictionRow]]:
    """Decode a frame; return whether the sender waits for a reply, and the rows."""
    commit, rows = _decode(content)
    return commit, [PredictionRow(*row) for row in rows]


def as_text(row: PredictionRow) -> PredictionRow:
    """Return a row with its id and inputs as text, as integers may be too large for MessagePack."""
    return row._replace(
        id=None if row.id is None else str(row.id), features=None if row.features is None else as_json(row.features)
    )
