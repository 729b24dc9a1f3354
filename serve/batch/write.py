"""Write the response to a batch in the requested format."""

from __future__ import annotations

from typing import IO, TYPE_CHECKING, Any

import msgspec

from serve import media_types
from serve.batch.read import Rows

if TYPE_CHECKING:
    import pyarrow as pa

    from serve.scoring import BatchResult
    from serve.served_models import LoadedModel

NO_WARNINGS: tuple[str, ...] = ()


def write_response(
    output_format: str, rows: Rows, scores: BatchResult, model: LoadedModel, request_id: str, sink: IO[bytes]
) -> None:
    """Write the predictions of a batch, in the order of its rows.

    Parameters
    ----------
    output_format : {"json", "csv", "parquet", "arrow"}
    rows : Rows
        Scored rows; their ids and as-ofs are returned, where they were sent.
    scores : BatchResult
    model : LoadedModel
        Model that scored them. Tables have it in the response headers; Parquet and Arrow also in their metadata.
    request_id : str
    sink : file
    """
    if output_format == media_types.JSON:
        sink.write(_json(rows, scores, model, request_id))
        return
    table = _table(rows, scores, model, request_id, nested=output_format != media_types.CSV)
    if output_format == media_types.CSV:
        from pyarrow import csv

        csv.write_csv(table, sink)
    elif output_format == media_types.PARQUET:
        from pyarrow import parquet

        parquet.write_table(table, sink)
    else:
        from pyarrow import ipc

        with ipc.new_stream(sink, table.schema) as writer:
            writer.write_table(table)


def _json(rows: Rows, scores: BatchResult, model: LoadedModel, request_id: str) -> bytes:
    warnings = scores.warnings
    predictions: list[dict[str, Any]] = [
        {"probability": probability, "decision": decision, "warnings": warnings.get(row, NO_WARNINGS)}
        for row, (probability, decision) in enumerate(
            zip(scores.probabilities.tolist(), scores.decisions.tolist(), strict=True)
        )
    ]
    for output, values in scores.outputs.items():
        for prediction, value in zip(predictions, values.tolist(), strict=True):
            prediction[output] = value
    for key, name in (("as_of", rows.as_of_name), ("id", rows.id_name)):
        if name in rows.names:
            predictions = [{key: value, **each} for value, each in zip(rows.column(name), predictions, strict=True)]
    return msgspec.json.encode(
        {
            "predictions": predictions,
            "warnings": rows.warnings,
            "threshold": model.scorer.threshold,
            "model": model.info,
            "request_id": request_id,
        }
    )


def _table(rows: Rows, scores: BatchResult, model: LoadedModel, request_id: str, *, nested: bool) -> pa.Table:
    import pyarrow as pa

    messages = [scores.warnings.get(row, NO_WARNINGS) for row in range(len(rows))]
    warnings = pa.array(messages, pa.list_(pa.string())) if nested else pa.array([" ".join(each) for each in messages])
    columns: dict[str, Any] = {name: _array(values) for name, values in rows.names.items()}
    columns |= {
        "probability": pa.array(scores.probabilities),
        "decision": pa.array(scores.decisions),
        **{name: pa.array(values) for name, values in scores.outputs.items()},
        "warnings": warnings,
    }
    metadata = {**model.info, "threshold": repr(model.scorer.threshold), "request_id": request_id}
    return pa.table(columns).replace_schema_metadata(metadata)


def _array(values: list[Any]) -> pa.Array:
    """Return ids or as-ofs as an Arrow array: as text, unless all are integers."""
    import pyarrow as pa

    if all(value is None or type(value) is int for value in values):
        return pa.array(values, pa.int64())
    return pa.array([None if value is None else str(value) for value in values], pa.string())
