"""The rows of a batch, whatever format they came in, with what names them."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import IO, TYPE_CHECKING, Any

from mlsys.runs.json_format import Json
from serve import media_types
from serve.errors import RequestError
from serve.json_body import check_names, parse_json
from serve.scoring import BatchResult, Scorer
from serve.scoring.tables import read_csv

if TYPE_CHECKING:
    import pyarrow as pa

PARTS = {"records", "ids", "as_of"}
UNPACKED = 50  # times its size, to which a Parquet file may grow


@dataclass(frozen=True)
class Rows:
    """Rows to score.

    Attributes
    ----------
    content : list or pyarrow Table
        Records as they were parsed, or a table.
    names : dict of str to list
        Columns that name the rows: the entity's id and the as-of, where they came.
    id_name, as_of_name : str or None
        What those columns are called.
    warnings : tuple of str
        What is odd about the batch as a whole.
    """

    content: Any
    names: dict[str, list[Any]]
    id_name: str | None = None
    as_of_name: str | None = None
    warnings: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.content)

    def score(self, scorer: Scorer) -> BatchResult:
        """Score them.

        Raises
        ------
        InvalidInput
            Naming all that is wrong.
        """
        return scorer.score_many(self.content) if isinstance(self.content, list) else scorer.score_table(self.content)

    def column(self, name: str | None) -> Sequence[Any]:
        """Return the column of id or as-of; None for each row where it did not come."""
        return self.names.get(name or "") or [None] * len(self)

    def records(self, inputs: Sequence[str]) -> Sequence[Any]:
        """Return the inputs of each row by name."""
        return self.content if isinstance(self.content, list) else self.content.select(list(inputs)).to_pylist()


def read_rows(sent: str, body: IO[bytes], max_rows: int, scorer: Scorer) -> Rows:
    """Read a batch.

    Parameters
    ----------
    sent : {"json", "csv", "parquet", "arrow"}
    body : file
        At its start.
    max_rows : int
    scorer : Scorer
        Says how the inputs, the id and the as-of are called.

    Raises
    ------
    RequestError
        400 if it is not of that format, 413 if it has too many rows, 422 if it has none.
    InvalidInput
        If cells of a CSV are not what their column takes.
    """
    rows = _json_rows(body.read(), scorer) if sent == media_types.JSON else _table_rows(sent, body, max_rows, scorer)
    if len(rows) > max_rows:
        raise too_many(len(rows), max_rows)
    if not len(rows):
        raise RequestError(422, "empty_batch", "The batch has no rows; send at least one.")
    return rows


def too_many(rows: int, most: int) -> RequestError:
    """Return the refusal of a batch that has too many rows."""
    return RequestError(
        413, "too_many_rows", f"The batch has {rows:,} rows; {most:,} is the most here. Send it in parts."
    )


def _json_rows(body: bytes, scorer: Scorer) -> Rows:
    batch = parse_json(body)
    if not isinstance(batch, dict) or not isinstance(batch.get("records"), list):
        raise RequestError(422, "invalid_input", 'The body must be an object such as {"records": [{…}, {…}]}.')
    if unknown := sorted(set(batch) - PARTS):
        raise RequestError(
            422, "invalid_input", f"{unknown[0][:40]!r} is no part of a batch; it takes records, ids and as_of."
        )
    records, ids, as_of = batch["records"], batch.get("ids"), batch.get("as_of")
    texts = [text for text in (*(ids if isinstance(ids, list) else ()), as_of) if isinstance(text, str)]
    check_names(body, records, len(batch) + sum(text.count(":") for text in texts))
    id_name, as_of_name = names_of(scorer)
    names: dict[str, list[Any]] = {}
    if ids is not None:
        if not isinstance(ids, list) or len(ids) != len(records) or not all(isinstance(i, str | int) for i in ids):
            raise RequestError(
                422, "invalid_input", "ids must be a list of texts or whole numbers, one for each record."
            )
        names[id_name] = ids
    if as_of is not None:
        names[as_of_name] = [day_of(as_of)] * len(records)
    return Rows(records, names, id_name, as_of_name)


def day_of(value: object) -> str:
    """Return an as-of that came as text, if it is a date.

    Raises
    ------
    RequestError
        422 if it is none.
    """
    try:
        if isinstance(value, str):
            return date.fromisoformat(value).isoformat()
    except ValueError:
        pass
    raise RequestError(422, "invalid_input", f"as_of is {str(value)[:40]!r}; expected a date such as 2020-02-24.")


def names_of(scorer: Scorer) -> tuple[str, str]:
    """Return how the run calls the entity's id and the as-of."""
    return str(scorer.schema.get("id") or "id"), str(scorer.schema.get("as_of") or "as_of")


def _table_rows(sent: str, body: IO[bytes], max_rows: int, scorer: Scorer) -> Rows:
    id_name, as_of_name = names_of(scorer)
    if sent == media_types.CSV:
        table = read_csv(body.read(), scorer.inputs, (id_name, as_of_name))
    else:
        table = _read_arrow(sent, body, max_rows)
    inputs = scorer.inputs.by_name
    names = {
        name: [_plain(name, value) for value in table.column(name).to_pylist()]
        for name in (id_name, as_of_name)
        if name not in inputs and table.column_names.count(name) == 1
    }
    if as_of_name in names:
        names[as_of_name] = [None if value is None else day_of(str(value)[:10]) for value in names[as_of_name]]
    return Rows(table, names, id_name, as_of_name)


def _read_arrow(sent: str, body: IO[bytes], max_rows: int) -> pa.Table:
    """Read a table and check every offset and text in it: what comes after trusts them."""
    import pyarrow as pa
    from pyarrow import ipc, parquet

    source = pa.py_buffer(body.read())
    try:
        if sent == media_types.PARQUET:
            table = _parquet_table(parquet.ParquetFile(io.BytesIO(source)), max_rows, source.size)
        elif source[:6].to_pybytes() == b"ARROW1":
            table = _limited(ipc.open_file(source), max_rows)
        else:
            table = _limited(ipc.open_stream(source), max_rows)
        table.validate(full=True)
    except MemoryError:
        raise
    except (pa.ArrowException, OSError, ValueError) as error:
        kind = "Parquet file" if sent == media_types.PARQUET else "Arrow stream or file"
        raise RequestError(
            400, "malformed_table", f"The body is no {kind}: {str(error).splitlines()[0][:200]}."
        ) from error
    return table


def _parquet_table(file: Any, max_rows: int, size: int) -> pa.Table:  # noqa: ANN401 - PyArrow has no types
    """Read a Parquet file unless it says that it is much more than it looks like."""
    described = file.metadata
    if described.num_rows > max_rows:
        raise too_many(described.num_rows, max_rows)
    unpacked = sum(described.row_group(group).total_byte_size for group in range(described.num_row_groups))
    if unpacked > UNPACKED * max(size, 1_000_000):
        raise RequestError(413, "too_large", f"The Parquet file unpacks to {unpacked / 1e6:,.0f} MB; send it in parts.")
    return file.read(use_threads=False)


def _limited(reader: Json, max_rows: int) -> pa.Table:
    import pyarrow as pa

    batches, rows = [], 0
    count = reader.num_record_batches if hasattr(reader, "num_record_batches") else None
    source = (reader.get_batch(i) for i in range(count)) if count is not None else iter(reader)
    for batch in source:
        rows += batch.num_rows
        if rows > max_rows:
            raise too_many(rows, max_rows)
        batches.append(batch)
    return pa.Table.from_batches(batches, schema=reader.schema)


def _plain(name: str, value: Json) -> str | int | None:
    """Return a value of an id or as-of column as JSON has it."""
    if isinstance(value, datetime):
        value = value.date()
    if isinstance(value, date):
        return value.isoformat()
    if isinstance(value, float) and (value != value or value.is_integer()):  # pandas' whole numbers with gaps
        return None if value != value else int(value)
    if isinstance(value, bool) or not isinstance(value, str | int | None):
        kind = type(value).__name__
        raise RequestError(422, "invalid_input", f"The column {name} holds {kind}; expected text or whole numbers.")
    return value
