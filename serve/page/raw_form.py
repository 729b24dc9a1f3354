"""The form for one row of a training table: one field for each column, in the format of the table."""

from __future__ import annotations

import json

from serve.page.form import UNGROUPED, Field, groups_html, range_text
from serve.scoring.date_words import in_words
from serve.scoring.raw_columns import TrainingColumn, TrainingTable
from serve.scoring.typical_cells import typical_cells


def raw_form_fields(table: TrainingTable, created: str) -> str:
    """Return the form's fields as HTML, filled with typical cells.

    Parameters
    ----------
    table : TrainingTable
    created : str
        When the run was made, in ISO format.
    """
    cells = typical_cells(table, created)
    fields = [_field(table.by_name[name], cell) for name, cell in cells.items() if name in table.by_name]
    if table.aged:
        hint = f"the row's own time, {in_words(table.time_format)}"
        time = Field(table.time, table.time, cells[table.time] or "", hint, number=False, required=True)
        fields.insert(0, time)
    return groups_html([(UNGROUPED, fields)])


def _field(column: TrainingColumn, cell: str | None) -> Field:
    return Field(
        name=column.name,
        label=column.name,
        value=cell or "",
        hint=_hint(column),
        number=column.kind == "number",
        required=not column.nullable,
        keyboard="decimal" if column.kind == "number" and column.inputs[0].low >= 0 else "",
        options=_options(column),
        is_open=not column.is_value
        or column.kind == "number"
        or (column.inputs[0].is_open and column.kind != "boolean"),
        data={"parts": json.dumps(dict(zip(column.outputs, column.parts, strict=True)))}
        | ({"free": ""} if column.kind == "text" else {}),
    )


def _is_choice(column: TrainingColumn) -> bool:
    """Whether training had few different cells, all of which are listed."""
    if not column.is_value:
        return False
    return column.kind == "boolean" or not (column.is_number or column.inputs[0].is_open)


def _options(column: TrainingColumn) -> tuple[str, ...]:
    if not column.is_value:
        return ()
    return (column.true[0], column.false[0]) if column.kind == "boolean" else column.inputs[0].listed


def _hint(column: TrainingColumn) -> str:
    parts = []
    if column.parts == ("filled",):
        return "any value, or leave empty"
    if column.kind == "date":
        parts.append(in_words(column.date_format))
    elif column.kind == "number":
        parts += [column.unit] if column.unit else []
        parts += [range_text(column.inputs[0], column.decimal)] if column.inputs[0].has_range else []
    elif column.kind == "text":
        parts.append("free text")
    if column.nullable:
        parts.append("leave empty if unknown")
    return " · ".join(parts)
