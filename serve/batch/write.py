"""The answer to a batch, in the format that was asked for."""

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


def write_answer(
    wanted: str, rows: Rows, many: BatchResult, served: LoadedModel, request_id: str, sink: IO[bytes]
) -> None:
    """Write the predictions of a batch, in the order of its rows.

    Parameters
    ----------
    wanted : {"json", "csv", "parquet", "arrow"}
    rows : Rows
        What was scored; its id and as-of come back, where they came.
    many : BatchResult
        The scores.
    served : LoadedModel
        What scored them. Tables carry it in the answer's headers, and Parquet and Arrow in their metadata too.
    request_id : str
    sink : file
    """
    if wanted == media_types.JSON:
        sink.write(_json(rows, many, served, request_id))
        return
    table = _table(rows, many, served, request_id, nested=wanted != media_types.CSV)
    if wanted == media_types.CSV:
        from pyarrow import csv

        csv.write_csv(table, sink)
    elif wanted == media_types.PARQUET:
        from pyarrow import parquet

        parquet.write_table(table, sink)
    else:
        from pyarrow import ipc

        with ipc.new_stream(sink, table.schema) as writer:
            writer.write_table(table)


def _json(rows: Rows, many: BatchResult, served: LoadedModel, request_id: str) -> bytes:
    warnings = many.warnings
    predictions: list[dict[str, Any]] = [
        {"probability": probability, "decision": decision, "warnings": warnings.get(row, NO_WARNINGS)}
        for row, (probability, decision) in enumerate(
            zip(many.probabilities.tolist(), many.decisions.tolist(), strict=True)
        )
    ]
    for key, name in (("as_of", rows.as_of_name), ("id", rows.id_name)):
        if name in rows.names:
            predictions = [{key: value, **each} for value, each in zip(rows.column(name), predictions, strict=True)]
    return msgspec.json.encode(
        {
            "predictions": predictions,
            "warnings": rows.warnings,
            "threshold": served.scorer.threshold,
            "model": served.model,
            "request_id": request_id,
        }
    )


def _table(rows: Rows, many: BatchResult, served: LoadedModel, request_id: str, *, nested: bool) -> pa.Table:
    import pyarrow as pa

    said = [many.warnings.get(row, NO_WARNINGS) for row in range(len(rows))]
    warnings = pa.array(said, pa.list_(pa.string())) if nested else pa.array([" ".join(each) for each in said])
    columns: dict[str, Any] = {name: pa.array(values) for name, values in rows.names.items()}
    columns |= {
        "probability": pa.array(many.probabilities),
        "decision": pa.array(many.decisions),
        "warnings": warnings,
    }
    metadata = {**served.model, "threshold": repr(served.scorer.threshold), "request_id": request_id}
    return pa.table(columns).replace_schema_metadata(metadata)
