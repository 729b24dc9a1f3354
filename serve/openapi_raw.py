"""The part of the OpenAPI document about the columns of a run's training table, which a record may have."""

from __future__ import annotations

from typing import Any

from mlsys.text import joined
from serve.scoring.raw_columns import TrainingColumn, TrainingTable, date_kind
from serve.scoring.typical_cells import typical_cells

Json = dict[str, Any]

CELL = ["string", "number", "boolean", "null"]
INTRODUCTION = (
    "One record. Each column of the training table is given under its own name, as in the table, or as the model's "
    "inputs made from it; never both. Numbers are taken as they are; text is read as training read it."
)


def with_raw_columns(record: Json, raw: TrainingTable, created: str) -> Json:
    """Return the JSON Schema of a record that may have the columns of the training table instead of the inputs.

    Parameters
    ----------
    record : dict
        JSON Schema of a record of inputs.
    raw : TrainingTable
    created : str
        When the run was made, in ISO format, for the example.
    """
    properties, required, choices = dict(record["properties"]), [], []
    for column in raw.columns:
        outputs = list(column.outputs)
        if outputs == [column.name]:
            required.append(column.name)
            properties[column.name] = _value(properties[column.name], column)
            continue
        properties[column.name] = _cell(column)
        without_inputs = {"not": {"anyOf": [{"required": [name]} for name in outputs]}}
        without_column = {"not": {"required": [column.name]}}
        choices.append(
            {"oneOf": [{"required": [column.name], **without_inputs}, {"required": outputs, **without_column}]}
        )
    if raw.aged:
        text = f"The row's own time, {date_kind(raw.time_format)}; needed where dates are given as in the table"
        properties[raw.time] = {"type": ["string", "integer"], "description": text}
    for name in sorted(raw.unused - properties.keys()):
        properties[name] = {"type": CELL, "description": "Not used by the model; may be sent and is ignored"}
    example = example_row(raw, created)
    properties |= {name: properties[name] | {"examples": [cell]} for name, cell in example.items()}
    schema = record | {
        "description": INTRODUCTION,
        "properties": properties,
        "required": required,
        "examples": [example],
    }
    if choices:
        schema["allOf"] = choices
    if raw.aged:
        schema["dependentRequired"] = {column.name: [raw.time] for column in raw.columns if column.needs_time}
    return schema


def example_row(raw: TrainingTable, created: str) -> Json:
    """Return a typical row of the training table as a record: text as in the table, numbers as JSON numbers."""
    cells: Json = dict(typical_cells(raw, created))
    numbers = {column.name: column.inputs[0].example for column in raw.columns if column.kind == "number"}
    return cells | numbers


def _value(field: Json, column: TrainingColumn) -> Json:
    """Return the field of a column that has the same name as its input."""
    kinds = ["number", "string"] if column.is_number else ["string", "number", "boolean"]
    if column.kind == "boolean":
        kinds.append("boolean")
    how = f"as text: {column.meaning}" if column.is_number else "read as in the training table"
    return field | {"type": kinds + ["null"] * column.nullable, "description": f"{field['description']}; {how}"}


def _cell(column: TrainingColumn) -> Json:
    outputs = joined(list(column.outputs), "and")
    kinds = [kind for kind in CELL if kind != "null" or column.nullable]
    return {"type": kinds, "description": f"{column.name} as in the training table: {column.meaning}. Gives {outputs}"}
