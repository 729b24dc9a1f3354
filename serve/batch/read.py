"""Read the rows of a batch from any format, with their ids and as-ofs."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import IO, TYPE_CHECKING, Any

from mlsys.runs.json_format import Json
from serve import media_types
from serve.errors import RequestError
from serve.identifiers import check_ids, parse_as_of
from serve.json_body import parse_json
from serve.scoring import BatchResult, Scorer
from serve.scoring.fields import Inputs
from serve.scoring.raw_tables import read_raw_csv, with_index_names
from serve.scoring.tables import read_csv

if TYPE_CHECKING:
    import pyarrow as pa

FIELDS = {"records", "ids", "as_of"}
MAX_EXPANSION = 50  # times its size that a Parquet file may decompress to


@dataclass(frozen=True)
class Rows:
    """Rows to score.

    Attributes
    ----------
    content : list or pyarrow Table
        Parsed records, or a table.
    names : dict of str to list
        Columns that identify the rows, where they were sent: the entity's id and the as-of.
    id_name, as_of_name : str or None
        Names of those columns.
    warnings : tuple of str
        Warnings about the batch as a whole.
    """

    content: Any
    names: dict[str, list[Any]]
    id_name: str | None = None
    as_of_name: str | None = None
    warnings: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.content)

    def score(self, scorer: Scorer) -> BatchResult:
        """Score the rows.

        Raises
        ------
        InvalidInput
            If rows cannot be scored; has all problems.
        """
        return scorer.score_many(self.content) if isinstance(self.content, list) else scorer.score_table(self.content)

    def column(self, name: str | None) -> Sequence[Any]:
        """Return the id or as-of column; each value is None if it was not sent."""
        return self.names.get(name or "") or [None] * len(self)

    def records(self, inputs: Inputs) -> Sequence[Any]:
        """Return the model inputs of each row by name, or the columns of the training table that were sent instead."""
        if isinstance(self.content, list):
            return self.content
        names = set(inputs.known_names)
        sent = self.content.select([name for name in self.content.column_names if name in names])
        rows: list[Any] = _as_json_types(sent).to_pylist()
        return rows


def _as_json_types(table: pa.Table) -> pa.Table:
    """Return a table with dates and times as text and decimals as floats, so that its rows can be written as JSON."""
    import pyarrow as pa

    for position, column in enumerate(table.schema):
        kind = pa.float64() if pa.types.is_decimal(column.type) else pa.string()
        if kind == pa.float64() or pa.types.is_temporal(column.type):
            table = table.set_column(position, column.name, table.column(position).cast(kind))
    return table


def read_rows(input_format: str, body: IO[bytes], max_rows: int, scorer: Scorer) -> Rows:
    """Read a batch.

    Parameters
    ----------
    input_format : {"json", "csv", "parquet", "arrow"}
    body : file
        Positioned at its start.
    max_rows : int
    scorer : Scorer
        Scorer whose schema names the inputs, the id and the as-of.

    Raises
    ------
    RequestError
        400 if the body is not in that format, 413 if it has too many rows, 422 if it has none.
    InvalidInput
        If CSV cells do not match the types of their columns.
    """
    if input_format == media_types.JSON:
        rows = _json_rows(body.read(), scorer)
    else:
        rows = _table_rows(input_format, body, max_rows, scorer)
    if len(rows) > max_rows:
        raise too_many_rows_error(len(rows), max_rows)
    if not len(rows):
        raise RequestError(422, "empty_batch", "The batch has no rows; send at least one.")
    return rows


def too_many_rows_error(rows: int, max_rows: int) -> RequestError:
    """Return the 413 for a batch that has too many rows."""
    return RequestError(
        413, "too_many_rows", f"The batch has {rows:,} rows; the limit is {max_rows:,}. Send it in parts."
    )


def _json_rows(body: bytes, scorer: Scorer) -> Rows:
    batch = parse_json(body)
    if not isinstance(batch, dict) or not isinstance(batch.get("records"), list):
        raise RequestError(422, "invalid_input", 'The body must be an object such as {"records": [{…}, {…}]}.')
    if unknown := sorted(set(batch) - FIELDS):
        raise RequestError(
            422, "invalid_input", f"Unknown field {unknown[0][:40]!r}; a batch has records, ids and as_of."
        )
    records, ids, as_of = batch["records"], batch.get("ids"), batch.get("as_of")
    id_name, as_of_name = key_columns(scorer)
    names: dict[str, list[Any]] = {}
    if ids is not None:
        if not isinstance(ids, list) or len(ids) != len(records) or None in ids:
            raise RequestError(422, "invalid_input", "ids must be a list of strings or integers, one per record.")
        check_ids("ids", ids)
        names[id_name] = ids
    if as_of is not None:
        names[as_of_name] = [parse_as_of(as_of)] * len(records)
    return Rows(records, names, id_name, as_of_name)


def key_columns(scorer: Scorer) -> tuple[str, str]:
    """Return the names of the run's id and as-of columns."""
    return str(scorer.schema.get("id") or "id"), str(scorer.schema.get("as_of") or "as_of")


def _table_rows(input_format: str, body: IO[bytes], max_rows: int, scorer: Scorer) -> Rows:
    id_name, as_of_name = key_columns(scorer)
    inputs = scorer.inputs
    if input_format == media_types.CSV:
        if inputs.raw is None:
            table = read_csv(body.read(), inputs, (id_name, as_of_name))
        else:
            table = read_raw_csv(body.read(), inputs, inputs.raw)
    else:
        table = _read_arrow(input_format, body, max_rows)
        table = table if inputs.raw is None else with_index_names(table)
    found = {
        name: table.column(name).to_pylist()
        for name in (id_name, as_of_name)
        if _is_key(name, scorer) and table.column_names.count(name) == 1
    }
    names: dict[str, list[Any]] = {}
    if id_name in found:
        names[id_name] = [_json_value(value) for value in found[id_name]]
        check_ids(id_name, names[id_name])
    if as_of_name in found:
        names[as_of_name] = _as_ofs(found[as_of_name], scorer)
    return Rows(table, names, id_name, as_of_name)


def _is_key(name: str, scorer: Scorer) -> bool:
    """Return whether a column of this name has the rows' ids or as-ofs; one of the training table may be called so."""
    raw, schema = scorer.inputs.raw, scorer.schema
    if name in scorer.inputs.by_name:
        return False
    if raw is None or name in (schema.get("id"), schema.get("as_of")):
        return True
    return name not in raw.known or (name == "id" and name in raw.unused)


def _as_ofs(values: list[Any], scorer: Scorer) -> list[str | int | None]:
    """Return a column of as-ofs as ISO dates; they may also have the format of the run's training table."""
    raw = scorer.inputs.raw
    days = raw.days(values) if raw is not None else [None] * len(values)
    return [
        day if day is not None or value is None else parse_as_of(value) for value, day in zip(values, days, strict=True)
    ]


def _read_arrow(input_format: str, body: IO[bytes], max_rows: int) -> pa.Table:
    """Read a table and validate every offset and string in it, because later code trusts them."""
    import pyarrow as pa
    from pyarrow import ipc, parquet

    source = pa.py_buffer(body.read())
    try:
        if input_format == media_types.PARQUET:
            table = _parquet_table(parquet.ParquetFile(io.BytesIO(source)), max_rows, source.size)
        elif source[:6].to_pybytes() == b"ARROW1":
            table = _read_batches(ipc.open_file(source), max_rows)
        else:
            table = _read_batches(ipc.open_stream(source), max_rows)
        table.validate(full=True)
    except MemoryError:
        raise
    except (pa.ArrowException, OSError, ValueError) as error:
        kind = "Parquet file" if input_format == media_types.PARQUET else "Arrow stream or file"
        raise RequestError(
            400, "malformed_table", f"The body is not a valid {kind}: {str(error).splitlines()[0][:200]}."
        ) from error
    return table


def _parquet_table(file: Any, max_rows: int, size: int) -> pa.Table:  # noqa: ANN401 - PyArrow has no types
    """Read a Parquet file, unless its metadata reveals a decompression bomb."""
    metadata = file.metadata
    if metadata.num_rows > max_rows:
        raise too_many_rows_error(metadata.num_rows, max_rows)
    decompressed = sum(metadata.row_group(group).total_byte_size for group in range(metadata.num_row_groups))
    if decompressed > MAX_EXPANSION * max(size, 1_000_000):
        raise RequestError(
            413, "too_large", f"The Parquet file decompresses to {decompressed / 1e6:,.0f} MB; send it in parts."
        )
    return file.read(use_threads=False)


def _read_batches(reader: Json, max_rows: int) -> pa.Table:
    import pyarrow as pa

    batches, rows = [], 0
    count = reader.num_record_batches if hasattr(reader, "num_record_batches") else None
    source = (reader.get_batch(i) for i in range(count)) if count is not None else iter(reader)
    for batch in source:
        rows += batch.num_rows
        if rows > max_rows:
            raise too_many_rows_error(rows, max_rows)
        batches.append(batch)
    return pa.Table.from_batches(batches, schema=reader.schema)


def _json_value(value: Json) -> Json:
    """Return a value of an id column as JSON has it: a date as text, an integer that pandas made a float as integer."""
    if isinstance(value, datetime):
        value = value.date()
    if isinstance(value, date):
        return value.isoformat()
    if isinstance(value, float) and (value != value or value.is_integer()):
        return None if value != value else int(value)
    return value
